"""What tasks display, as a front end sees it."""

from __future__ import annotations

import base64

import pytest

from tests.kernel_ext.notebook import Cell, Notebook


@pytest.fixture(autouse=True)
def _no_bars_of_waiting(request: pytest.FixtureRequest) -> None:
    """On a busy machine a `get` may take the two seconds after which it shows a bar, which is not looked at here."""
    for name in {"kernel", "any_kernel"} & set(request.fixturenames):
        notebook: Notebook = request.getfixturevalue(name)
        notebook.run("from himalia.util.progress import configure\nconfigure(enabled=False)")


def displayed(cell: Cell, kind: str = "display_data") -> list[dict[str, str]]:
    return [m["content"]["data"] for m in cell.messages if m["msg_type"] == kind]


def run(notebook: Notebook, code: str) -> Cell:
    """Execute a cell that ends with ``ref = …``, and wait for it elsewhere: bars of waiting are not looked at here."""
    cell = notebook.run(code)
    assert not cell.error, cell.traceback
    waiting = notebook.run("himalia.get(ref)")
    assert not waiting.error, waiting.traceback
    return cell


def is_picture(data: dict[str, str]) -> bool:
    return base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_what_a_nested_task_displays_stands_in_the_cell_that_submitted_it(any_kernel: Notebook) -> None:
    any_kernel.run(
        "from IPython.display import HTML, display\n"
        "@himalia.remote\ndef inner():\n"
        "    print('before')\n    display(HTML('<b>bold</b>'))\n    print('after')\n"
        "@himalia.remote\ndef outer():\n    himalia.get(inner.remote())\n"
    )
    first = any_kernel.run("ref = outer.remote()")
    second = any_kernel.run("himalia.get(ref)")
    first.wait_for(lambda cell: len(cell.lines) >= 2)
    assert displayed(first)[0]["text/html"] == "<b>bold</b>"
    assert displayed(second) == []
    kinds = [m["msg_type"] for m in first.messages if m["msg_type"] in ("stream", "display_data")]
    assert kinds == ["stream", "display_data", "stream"]


def test_frames_of_pandas_and_objects_with_a_representation(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "@himalia.remote\ndef show():\n"
        "    import pandas\n"
        "    class Own:\n"
        "        def _repr_mimebundle_(self, include=None, exclude=None):\n"
        "            return {'text/plain': 'own', 'application/json': {'a': [1, 2]}}\n"
        "    display(pandas.DataFrame({'column': [1, 2]}), Own())\n"  # a builtin, as in the notebook
        "ref = show.remote()",
    )
    cell.wait_for(lambda cell: len(displayed(cell)) >= 2)
    frame, own = displayed(cell)
    assert "<table" in frame["text/html"]
    assert "column" in frame["text/plain"]
    assert own == {"text/plain": "own", "application/json": {"a": [1, 2]}}


def test_a_display_is_updated_in_place_also_by_another_task(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "from IPython.display import display, update_display\n"
        "@himalia.remote\ndef begin():\n"
        "    handle = display('first', display_id='mine')\n    handle.update('second')\n"
        "@himalia.remote\ndef go_on():\n    update_display('third', display_id='mine')\n"
        "@himalia.remote\ndef after(first):\n    return himalia.get(go_on.remote())\n"
        "ref = after.remote(begin.remote())",
    )
    cell.wait_for(lambda cell: any("third" in data["text/plain"] for data in displayed(cell, "update_display_data")))
    assert [data["text/plain"] for data in displayed(cell)] == ["'first'"]
    assert {m["content"]["transient"]["display_id"] for m in cell.messages if "display_data" in m["msg_type"]} == {
        "mine"
    }


def test_what_is_displayed_after_clear_output_takes_the_place_of_what_was_before(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "from IPython.display import clear_output, display\n"
        "@himalia.remote\ndef live():\n"
        "    for i in range(5):\n"
        "        clear_output(wait=True)\n        display(i)\n"
        "ref = live.remote()",
    )
    cell.wait_for(lambda cell: any(data["text/plain"] == "4" for data in displayed(cell, "update_display_data")))
    assert [data["text/plain"] for data in displayed(cell)] == ["0"]


def test_figures_are_shown_by_show_and_at_the_end_of_a_task(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "@himalia.remote\ndef plot():\n"
        "    import matplotlib.pyplot as plt\n"
        "    plt.plot([1, 2])\n    plt.show()\n    print('shown')\n"
        "    plt.plot([2, 1])\n"
        "@himalia.remote\ndef left():\n"
        "    import matplotlib.pyplot as plt\n    return plt.get_fignums()\n"
        "ref = plot.remote()",
    )
    cell.wait_for(lambda cell: len(displayed(cell)) >= 2)
    assert all(is_picture(data) for data in displayed(cell))
    kinds = [m["msg_type"] for m in cell.messages if m["msg_type"] in ("stream", "display_data")]
    assert kinds == ["display_data", "stream", "display_data"]
    assert cell.stream("stderr") == ""
    assert kernel.value("himalia.get([left.remote() for _ in range(8)]) == [[]] * 8") == "True"


def test_a_worker_imports_none_of_it_by_itself(kernel: Notebook) -> None:
    names = kernel.run(
        "@himalia.remote(max_calls=1, runtime_env={'env_vars': {'A': '1'}})\ndef imported():\n"  # in a new worker
        "    import sys\n"
        "    return [name for name in ('IPython', 'matplotlib', 'tqdm', 'ipywidgets') if name in sys.modules]\n"
        "himalia.get(imported.remote())"
    )
    assert names.text == "[]", names.traceback


def test_a_widget_of_too_many_is_shown_as_it_is_and_says_why(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "@himalia.remote\ndef widgets():\n"
        "    import ipywidgets\n    layout = ipywidgets.Layout()\n"
        "    kept = [ipywidgets.Valid(layout=layout) for _ in range(1_000)]\n"
        "    display(ipywidgets.IntSlider(3), ipywidgets.HTML('<i>text</i>'))\n"
        "ref = widgets.remote()",
    )
    cell.wait_for(lambda cell: len(displayed(cell)) >= 2)
    slider, html = displayed(cell)
    assert not [kind for data in (slider, html) for kind in data if "widget-view" in kind]
    assert "IntSlider(value=3)" in slider["text/plain"]
    assert "up to a thousand" in slider["text/html"]
    assert "<i>text</i>" in html["text/html"]


def test_notebook_bars_of_tqdm_are_text_where_there_is_no_room(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "@himalia.remote\ndef bar():\n"
        "    from himalia.cluster.worker import notebook_bars\n"
        "    notebook_bars.WIDGETS_OF_A_BAR = 5_000\n"  # more than there is room for
        "    from tqdm.notebook import tqdm, trange\n"
        "    for _ in tqdm([1, 2], desc='own', colour='green'):\n        pass\n"
        "    for _ in trange(3, desc='range'):\n        pass\n"
        "    with tqdm(total=4, desc='by hand') as manual:\n        manual.update(4)\n"
        "    tqdm(total=1, desc='hidden', display=False).update(1)\n"
        "    notebook_bars.WIDGETS_OF_A_BAR = 12\n"
        "ref = bar.remote()",
    )

    def is_over(cell: Cell) -> bool:
        states = [data["text/plain"] for data in displayed(cell) + displayed(cell, "update_display_data")]
        return all(any(f"{name}: 100%" in text for text in states) for name in ("own", "range", "by hand"))

    cell.wait_for(is_over)
    assert "hidden" not in str(displayed(cell))


def test_many_megabytes_of_displays_are_left_out_and_told(kernel: Notebook) -> None:
    cell = run(
        kernel,
        "@himalia.remote\ndef much():\n"
        "    from IPython.display import HTML, display\n"
        "    for _ in range(30):\n        display(HTML('x' * 1_000_000))\n"
        "ref = much.remote()",
    )
    cell.wait_for(lambda cell: len(cell.lines) >= 4)
    assert len(displayed(cell)) == 20
    assert "a display of 1.0 MB was left out" in cell.lines[0]
