"""Widgets of tasks, as a front end sees them: models that it is told of, changes both ways, and a last state."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.telemetry.comm_machine import CommFlow
from himalia.kernel_ext.task_widgets import TaskWidgets
from tests.kernel_ext.notebook import Cell, Notebook

VIEW = "application/vnd.jupyter.widget-view+json"

SLIDE = """
@himalia.remote
def slide(gate):
    import ipywidgets
    slider = ipywidgets.IntSlider(description='from a task')
    heard = []
    slider.observe(lambda change: (heard.append(change.new), print('heard', change.new)), 'value')
    display(slider)
    for step in range(1, 6):
        slider.value = step
        time.sleep(0.02)
    while not os.path.exists(gate):
        time.sleep(0.01)
    return heard
"""


class Front:
    """What a front end makes of the messages of a cell."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def comms(self, kind: str, comm_id: str = "") -> list[dict[str, Any]]:
        found = [m["content"] for m in self.cell.messages if m["msg_type"] == kind]
        return [one for one in found if comm_id in ("", one["comm_id"])]

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """The state of each model by its id."""
        states: dict[str, dict[str, Any]] = {}
        for message in self.cell.messages:
            content = message["content"]
            if message["msg_type"] == "comm_open" and content["target_name"] == "jupyter.widget":
                states[content["comm_id"]] = dict(content["data"]["state"])
            elif message["msg_type"] == "comm_msg" and content["comm_id"] in states:
                if content["data"].get("method") in ("update", "echo_update"):
                    states[content["comm_id"]].update(content["data"]["state"])
            elif message["msg_type"] == "comm_close":
                states.pop(content["comm_id"], None)
        return states

    def named(self, model: str) -> list[str]:
        return [comm_id for comm_id, state in self.models.items() if state.get("_model_name") == model]

    @property
    def views(self) -> list[str]:
        return [bundle[VIEW]["model_id"] for bundle in self.cell.shown if VIEW in bundle]  # type: ignore[index]


def say(notebook: Notebook, comm_id: str, data: dict[str, Any]) -> Cell:
    """The front end says something on a comm, and gets what answers it."""
    message = notebook.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
    notebook.client.shell_channel.send(message)
    return Cell(notebook, message["header"]["msg_id"])


def start(notebook: Notebook, code: str, call: str) -> tuple[Cell, Front]:
    notebook.run("from himalia.util.progress import configure\nconfigure(enabled=False)")
    made = notebook.run(code)
    assert not made.error, made.traceback
    cell = notebook.run(f"ref = {call}")
    assert not cell.error, cell.traceback
    return cell, Front(cell)


def test_a_widget_is_live_both_ways_while_its_task_runs_and_then_keeps_its_state(
    any_kernel: Notebook, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gate = tmp_path_factory.mktemp("gate") / "open"
    cell, front = start(any_kernel, SLIDE, f"slide.remote({str(gate)!r})")
    cell.wait_for(lambda cell: front.views and front.models[front.views[0]]["value"] == 5)
    (slider,) = front.views
    assert front.models[slider]["description"] == "from a task"
    assert len(front.named("SliderStyleModel")) == 1

    echoed = say(any_kernel, slider, {"method": "update", "state": {"value": 42}, "buffer_paths": []})
    cell.wait_for(lambda cell: "heard 42" in cell.stream())
    echo = [m["content"]["data"] for m in echoed.messages if m["msg_type"] == "comm_msg"]
    assert echo == [{"method": "echo_update", "state": {"value": 42}, "buffer_paths": []}]

    gate.touch()
    assert any_kernel.value("himalia.get(ref)[-1]") == "42"
    cell.wait_for(lambda cell: front.models[slider]["disabled"])
    late = say(any_kernel, slider, {"method": "update", "state": {"value": 7}, "buffer_paths": []})
    late.wait_for(lambda late: [m for m in late.messages if m["msg_type"] == "comm_msg"])
    data = next(m["content"]["data"] for m in late.messages if m["msg_type"] == "comm_msg")
    assert data["state"] == {"value": 42}  # set back
    asked = say(any_kernel, slider, {"method": "request_state"})  # as a page does that is loaded again
    asked.wait_for(lambda asked: Front(asked).comms("comm_msg", slider))
    (answer,) = Front(asked).comms("comm_msg", slider)
    assert answer["data"]["method"] == "update"
    assert answer["data"]["state"]["value"] == 42


def test_a_page_that_is_loaded_again_is_told_of_widgets_of_tasks(kernel: Notebook) -> None:
    code = "@himalia.remote\ndef show():\n    import ipywidgets\n    display(ipywidgets.Valid(description='kept'))"
    cell, front = start(kernel, code, "show.remote()")
    kernel.run("himalia.get(ref)")
    cell.wait_for(lambda cell: front.views)
    known = kernel.run("import ipywidgets\nstates = ipywidgets.Widget.get_manager_state()['state']\nstates").text
    assert front.views[0] in known
    assert kernel.value(f"states[{front.views[0]!r}]['state']['description']") == "'kept'"
    assert kernel.value(f"import comm\n{front.views[0]!r} in comm.get_comm_manager().comms") == "True"


def test_widgets_in_widgets_pictures_and_messages_of_their_own_arrive(kernel: Notebook) -> None:
    code = (
        "@himalia.remote\ndef show():\n    import ipywidgets\n"
        "    picture = ipywidgets.Image(value=b'\\x00\\xff' * 100, format='png')\n"
        "    box = ipywidgets.VBox([ipywidgets.HTML('<b>bold</b>'), picture])\n"
        "    display(box)\n    picture.send({'hello': 1}, buffers=[b'raw'])\n"
    )
    cell, front = start(kernel, code, "show.remote()")
    kernel.run("himalia.get(ref)")
    cell.wait_for(lambda cell: front.views and [m for m in front.comms("comm_msg") if "content" in m["data"]])
    box = front.models[front.views[0]]
    children = [child.removeprefix("IPY_MODEL_") for child in box["children"]]
    assert [front.models[child]["_model_name"] for child in children] == ["HTMLModel", "ImageModel"]
    assert front.models[children[0]]["value"] == "<b>bold</b>"
    (opened,) = [m for m in cell.messages if m["msg_type"] == "comm_open" and m["content"]["comm_id"] == children[1]]
    assert opened["content"]["data"]["buffer_paths"] == [["value"]]
    assert [bytes(buffer) for buffer in opened["buffers"]] == [b"\x00\xff" * 100]
    (custom,) = [m for m in cell.messages if m["msg_type"] == "comm_msg" and "content" in m["content"]["data"]]
    assert custom["content"]["data"]["content"] == {"hello": 1}
    assert [bytes(buffer) for buffer in custom["buffers"]] == [b"raw"]
    kinds = [m["msg_type"] for m in cell.messages if m["msg_type"] in ("comm_open", "display_data")]
    assert kinds[-1] == "display_data"  # no view before its model


def test_a_state_that_changes_all_the_time_is_sent_now_and_then_and_at_last(kernel: Notebook) -> None:
    code = (
        "@himalia.remote\ndef count():\n    import ipywidgets\n    bar = ipywidgets.IntProgress(max=20_000)\n"
        "    display(bar)\n    begun = time.monotonic()\n"
        "    for step in range(20_001):\n        bar.value = step\n    return time.monotonic() - begun"
    )
    cell, front = start(kernel, code, "count.remote()")
    seconds = float(kernel.value("himalia.get(ref)"))
    cell.wait_for(lambda cell: front.views and front.models[front.views[0]]["value"] == 20_000)
    assert len(front.comms("comm_msg", front.views[0])) <= seconds / 0.1 + 3


def test_messages_of_a_widget_that_are_too_many_are_counted(kernel: Notebook) -> None:
    code = (
        "@himalia.remote\ndef flood():\n    import ipywidgets\n    html = ipywidgets.HTML('at first')\n"
        "    display(html)\n    for _ in range(40):\n        html.send({'x': 'y' * 1_000_000})\n"
        "    html.value = 'at last'"
    )
    cell, front = start(kernel, code, "flood.remote()")
    kernel.run("himalia.get(ref)")
    cell.wait_for(lambda cell: "messages of a widget were left out" in cell.stream("stderr"))
    cell.wait_for(lambda cell: front.models[front.views[0]]["value"] == "at last")
    passed = [m for m in front.comms("comm_msg") if m["data"]["method"] == "custom"]
    assert 15 < len(passed) < 25
    assert f"{40 - len(passed)} messages" in cell.stream("stderr")


def test_the_widgets_of_a_worker_that_dies_keep_their_state(
    kernel: Notebook, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gate = tmp_path_factory.mktemp("gate") / "open"
    kernel.run(SLIDE)
    cell, front = start(kernel, SLIDE, f"slide.options(max_retries=0).remote({str(gate)!r})")
    cell.wait_for(lambda cell: front.views and front.models[front.views[0]]["value"] == 5)
    kernel.run("from himalia.util import state\nimport signal\nos.kill(state.get_stack(ref).pid, signal.SIGKILL)")
    cell.wait_for(lambda cell: front.models[front.views[0]]["disabled"])
    assert front.models[front.views[0]]["value"] == 5


def test_the_widgets_of_an_actor_live_as_long_as_it_does(kernel: Notebook) -> None:
    code = (
        "@himalia.remote\nclass Panel:\n    def __init__(self):\n        import ipywidgets\n"
        "        self.button = ipywidgets.Button(description='press')\n        self.count = 0\n"
        "        self.button.on_click(self.pressed)\n        display(self.button)\n"
        "    def pressed(self, button):\n        self.count += 1\n"
        "        button.description = f'pressed {self.count}'\n        print('thank you')\n"
        "    def pressed_so_far(self):\n        return self.count\n"
        "panel = Panel.remote()"
    )
    kernel.run("from himalia.util.progress import configure\nconfigure(enabled=False)")
    cell = kernel.run(code)
    front = Front(cell)
    cell.wait_for(lambda cell: front.views)
    assert kernel.value("himalia.get(panel.pressed_so_far.remote())") == "0"
    say(kernel, front.views[0], {"method": "custom", "content": {"event": "click"}})
    cell.wait_for(lambda cell: front.models[front.views[0]]["description"] == "pressed 1")
    cell.wait_for(lambda cell: "thank you" in cell.stream())
    assert kernel.value("himalia.get(panel.pressed_so_far.remote())") == "1"
    kernel.run("himalia.kill(panel)")
    cell.wait_for(lambda cell: front.models[front.views[0]]["disabled"])


def test_a_handler_that_fails_says_so_under_the_cell_and_the_next_works(
    kernel: Notebook, tmp_path_factory: pytest.TempPathFactory
) -> None:
    gate = tmp_path_factory.mktemp("gate") / "open"
    code = (
        "@himalia.remote\ndef choose(gate):\n    import ipywidgets\n    box = ipywidgets.IntText()\n"
        "    box.observe(lambda change: print('half is', 100 // change.new), 'value')\n    display(box)\n"
        "    while not os.path.exists(gate):\n        time.sleep(0.01)"
    )
    cell, front = start(kernel, code, f"choose.remote({str(gate)!r})")
    cell.wait_for(lambda cell: front.views)
    for value in (1, 0, 50):
        say(kernel, front.views[0], {"method": "update", "state": {"value": value}, "buffer_paths": []})
    cell.wait_for(lambda cell: "half is 2" in cell.stream() and "ZeroDivisionError" in cell.stream("stderr"))
    gate.touch()
    assert not kernel.run("himalia.get(ref)").error


def test_closing_a_widget_takes_it_away_and_a_worker_keeps_none_of_them(kernel: Notebook) -> None:
    code = (
        "@himalia.remote\ndef make():\n    import ipywidgets\n"
        "    before = len(ipywidgets.widgets.widget._instances)\n"
        "    first = ipywidgets.IntSlider()\n    display(first)\n    first.close()\n    ipywidgets.HTML('left')\n"
        "    return before"
    )
    cell, front = start(kernel, code, "make.remote()")
    kernel.run("himalia.get(ref)")
    cell.wait_for(lambda cell: front.views and front.comms("comm_close", front.views[0]))
    counted = kernel.run("counts = himalia.get([make.remote() for _ in range(40)])")
    assert not counted.error, counted.traceback
    assert kernel.value("set(counts)") == "{0}"


def test_notebook_bars_of_tqdm_are_widgets_of_its_own(kernel: Notebook) -> None:
    code = (
        "@himalia.remote\ndef bars():\n"
        "    from tqdm.notebook import tqdm, trange\n"
        "    for _ in tqdm(range(3), desc='outer', colour='green'):\n"
        "        for _ in trange(5, desc='inner', leave=False):\n            pass\n"
        "    try:\n"
        "        for step in tqdm(range(4), desc='broken'):\n            1 / (step - 2)\n"
        "    except ZeroDivisionError:\n        pass\n"
    )
    cell, front = start(kernel, code, "bars.remote()")
    kernel.run("himalia.get(ref)")

    def bars() -> list[tuple[str, float, str]]:
        boxes = [state for state in front.models.values() if state.get("_model_name") == "HBoxModel"]
        parts = [[front.models[part.removeprefix("IPY_MODEL_")] for part in box["children"]] for box in boxes]
        return sorted((left["value"].strip(), bar["value"], bar["bar_style"]) for left, bar, _ in parts)

    cell.wait_for(lambda cell: len(bars()) == 2 and all(bar[2] for bar in bars()))
    broken, outer = bars()
    assert broken[0].startswith("broken")
    assert broken[1:] == (2.0, "danger")
    assert outer[0].startswith("outer: 100%".replace(" ", "\u2007"))
    assert outer[1:] == (3.0, "success")
    assert len(front.named("FloatProgressModel")) == 2  # those that did not stay took their widgets along
    assert not cell.stream("stderr")


def test_a_cell_may_end_while_somebody_looks_whether_its_widgets_wait() -> None:
    widgets = TaskWidgets(None)  # type: ignore[arg-type]  # nothing is said

    class Looked(CommFlow):
        @property
        def restless(self) -> bool:
            widgets._flows.pop("other", None)  # what another thread does at this moment
            return False

    for look in (widgets.tick, lambda: widgets.restless):
        widgets._flows = {"one": Looked(), "other": CommFlow()}
        assert not look()
