"""Pages under a cell, in a real kernel."""

from __future__ import annotations

import json
from typing import Any

from tests.kernel_ext.notebook import Notebook

VIEW = "application/vnd.jupyter.widget-view+json"


class Shown:
    """What a widget was told so far."""

    def __init__(self, notebook: Notebook, comm: str) -> None:
        self.notebook = notebook
        self.comm = comm

    def _messages(self, *kinds: str) -> list[dict[str, Any]]:
        published = [one for messages in list(self.notebook.by_parent.values()) for one in messages]
        return [one for one in published if one["msg_type"] in kinds and one["content"]["comm_id"] == self.comm]

    def openings(self) -> list[dict[str, Any]]:
        """Pages with all their data."""
        return [
            json.loads(bytes(message["buffers"][place]))
            for message in self._messages("comm_open", "comm_msg")
            for place, path in enumerate(message["content"]["data"].get("buffer_paths", []))
            if path == ["opening"] and len(message["buffers"][place])
        ]

    def texts(self) -> list[dict[str, Any]]:
        """All of them, in whatever way they came."""
        changes = [
            json.loads(bytes(message["buffers"][0]))
            for message in self._messages("comm_msg")
            if message["content"]["data"].get("method") == "custom"
        ]
        return [text for one in self.openings() for text in one["texts"]] + changes

    def totals(self) -> set[int]:
        """Numbers of tasks that were shown of any function."""
        found: set[int] = set()
        for text in self.texts():
            for op in text.get("ops", []):
                if op["source"] == "functions" and "total" in op["data"]:
                    column = op["data"]["total"]
                    found.update(column[1] if op["op"] == "patch" else column)
        return found


def shown(notebook: Notebook, code: str) -> Shown:
    cell = notebook.run(f"from himalia.kernel_ext.widgets import page\n{code}")
    return Shown(notebook, json.loads(json.dumps(cell.shown[0][VIEW]))["model_id"])


def test_a_page_goes_on_while_a_cell_runs(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=2, include_dashboard=False)")
    overview = shown(kernel, "page('overview')")
    kernel.read_until(overview.openings)
    assert overview.openings()[0]["texts"][0]["title"] == "Overview"
    kernel.run("@himalia.remote\ndef f(x): return x\n@himalia.remote\nclass Never:\n    async def wait(self):\n"
               "        import asyncio\n        await asyncio.Event().wait()\nnever = Never.remote()")  # fmt: skip
    running = kernel.send("himalia.get([f.remote(i) for i in range(37)])\nhimalia.get(never.wait.remote())")
    kernel.read_until(lambda: 37 in overview.totals())
    assert not running.done
    kernel.interrupt()
    running.wait_for(lambda cell: cell.done)
    kernel.run("himalia.shutdown()")


def test_a_page_follows_to_the_next_cluster_and_leaves_no_thread(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=1, include_dashboard=False)")
    overview = shown(kernel, "p = page('overview')\np")
    kernel.read_until(overview.openings)
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=2, include_dashboard=False)")
    kernel.run("@himalia.remote\ndef g(x): return x\nhimalia.get([g.remote(i) for i in range(23)])")
    kernel.read_until(lambda: 23 in overview.totals())
    kernel.run("p.close()\nhimalia.shutdown()")
    assert kernel.value("[t.name for t in __import__('threading').enumerate() if t.name == 'himalia-pages']") == "[]"


def test_what_is_not_there_is_refused_at_the_call(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nfrom himalia.kernel_ext.widgets import page")
    assert "call himalia.init() first" in kernel.run("page()").traceback
    assert "There is no page 'nowhere', but overview," in kernel.run("page('nowhere')").traceback
    assert "the page overview has no parameter colour" in kernel.run("page('overview', colour='red')").traceback


def test_a_kernel_without_anywidget_says_what_to_install(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=1)")
    kernel.run(
        "import sys\nfrom himalia.kernel_ext.widgets import page_widget\n"
        "page_widget._widget_class.cache_clear()\nkept = sys.modules.get('anywidget')\nsys.modules['anywidget'] = None"
    )
    cell = kernel.run("%dashboard task_stream")
    assert "page/task_stream" in cell.shown[0]["text/html"]
    assert "anywidget is not installed: pip install anywidget" in cell.shown[1]["text/plain"]
    kernel.run("sys.modules.pop('anywidget')\nif kept: sys.modules['anywidget'] = kept\nhimalia.shutdown()")


def test_the_slider_of_the_cluster_changes_its_cpus(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=2, include_dashboard=False)")
    kernel.run(
        "from himalia.kernel_ext.widgets import cluster\nw = cluster()\nslider, adaptive = w.children[0].children"
    )
    assert kernel.value("(slider.value, adaptive.value)") == "(2, False)"
    kernel.run("slider.value = 3")
    wait = "import time\nend = time.monotonic() + 20\nwhile {} and time.monotonic() < end: time.sleep(0.01)"
    kernel.run(wait.format("himalia.cluster_resources().get('CPU') != 3"))
    assert kernel.value("himalia.cluster_resources()['CPU']") == "3.0"
    kernel.run("adaptive.value = True")
    kernel.run(wait.format("himalia.cluster_resources().get('CPU') != 1"))
    assert kernel.value("himalia.cluster_resources()['CPU']") == "1.0"
    kernel.run("himalia.shutdown()")


def test_an_action_says_what_it_hits_before_it_is_taken(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()\nhimalia.init(num_cpus=1, include_dashboard=False)")
    kernel.run("@himalia.remote\nclass Keeper:\n    def here(self): return 1\nkeeper = Keeper.remote()")
    kernel.run("himalia.get(keeper.here.remote())")
    actors = shown(kernel, "p = page('overview')\np")

    def said() -> dict[int, dict[str, Any]]:
        return {text["number"]: text for text in actors.texts() if text["type"] == "acted"}

    def act(number: int, name: str, arguments: str, dry_run: bool) -> dict[str, Any]:
        content = f"{{'type': 'act', 'number': {number}, 'name': '{name}', 'args': {arguments}, 'dry_run': {dry_run}}}"
        kernel.run(f"p._message(p, {content}, [])")
        kernel.read_until(lambda: number in said())
        return said()[number]

    arguments = "{'actor_id': keeper._actor_id.hex()}"
    assert "Actor Keeper (ALIVE) is ended at once" in act(1, "kill_actor", arguments, True)["text"]
    assert kernel.value("himalia.get(keeper.here.remote())") == "1"
    assert act(2, "kill_actor", arguments, False)["text"] == "Actor Keeper was ended."
    assert kernel.run("himalia.get(keeper.here.remote())").error == "ActorDiedError"
    assert "is dead already" in act(3, "kill_actor", arguments, True)["error"]
    assert "there is no action 'burn', but cancel_task" in act(4, "burn", "{}", True)["error"]
    assert "actor_id" in act(5, "kill_actor", "{}", True)["error"]
    kernel.run("himalia.shutdown()")
