"""What tasks print a lot of, again and again, and over what they printed, as a front end sees it."""

from __future__ import annotations

import re
import time
from typing import Any

import nbformat
import pytest

from tests.kernel_ext.notebook import Cell, Notebook
from tests.support.clusters import unhindered


@pytest.fixture(autouse=True)
def _no_bars_of_waiting(request: pytest.FixtureRequest) -> None:
    """On a busy machine a `get` may take the two seconds after which it shows a bar, which is not looked at here."""
    for name in {"kernel", "any_kernel"} & set(request.fixturenames):
        notebook: Notebook = request.getfixturevalue(name)
        notebook.run("from himalia.util.progress import configure\nconfigure(enabled=False)")


def pictures(cell: Cell) -> list[str]:
    """The last state of each output that was displayed or updated, as text."""
    last: dict[str, str] = {}
    for message in cell.messages:
        if message["msg_type"] in ("display_data", "update_display_data"):
            content = message["content"]
            last[content["transient"].get("display_id", str(len(last)))] = content["data"]["text/plain"]
    return list(last.values())


def counted(text: str) -> int:
    """How many lines a stream stands for."""
    total = 0
    for line in text.splitlines():
        gap = re.match(r"… ([\d,]+) lines? left out", line)
        more = re.search(r"\[([\d,]+) more times\]$", line)
        found = gap or more
        total += int(found[1].replace(",", "")) if found else 1
    return total


def test_a_flood_leaves_the_notebook_small_and_the_kernel_quick(kernel: Notebook) -> None:
    kernel.run("@himalia.remote(num_cpus=0.5)\ndef flood(n):\n    for i in range(n):\n        print('line', i)")
    flooded = kernel.run("refs = [flood.remote(125_000) for _ in range(8)]")
    delays = []
    while kernel.value("len(himalia.wait(refs, num_returns=8, timeout=0)[0])") != "8":
        begin = time.monotonic()
        assert kernel.value("1 + 1") == "2"
        delays.append(time.monotonic() - begin)
    assert len(delays) > 10
    assert sorted(delays)[len(delays) * 9 // 10] < 0.2
    flooded.wait_for(lambda cell: counted(cell.stream()) >= 1_000_000)
    assert counted(flooded.stream()) == 1_000_000
    output = nbformat.v4.new_output("stream", text=flooded.stream())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])])
    assert len(nbformat.writes(notebook)) < 200_000
    assert "line 124999" in flooded.stream()[-2_000:]
    assert "%logs" in flooded.stream()


def test_an_interrupt_stops_a_flood(kernel: Notebook) -> None:
    kernel.run("@himalia.remote\ndef endless():\n    while True:\n        print('more')\n        print('and more')")
    cell = kernel.send("himalia.get([endless.remote() for _ in range(4)])")
    cell.wait_for(lambda cell: len(cell.lines) > 10)
    begin = unhindered()
    kernel.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"
    assert kernel.value("himalia.get(himalia.remote(lambda: 5).options(num_cpus=4).remote(), timeout=20)") == "5"
    assert unhindered() - begin < 5.0
    assert len(cell.stream()) < 130_000


def test_equal_lines_are_counted_and_the_first_of_them_do_not_wait(kernel: Notebook) -> None:
    kernel.run(
        "@himalia.remote\ndef same(n, path):\n"
        "    for _ in range(n):\n        print('the same')\n"
        "    while not os.path.exists(path):\n        time.sleep(0.01)"
    )
    path = kernel.value("import tempfile\nfolder = tempfile.mkdtemp()\nfolder + '/go'")
    cell = kernel.run(f"refs = [same.remote(10_000, {path}) for _ in range(4)]")
    cell.wait_for(lambda cell: cell.lines)
    assert cell.lines[0] == "the same"
    cell.wait_for(lambda cell: counted(cell.stream()) == 40_000)  # while the tasks still run
    assert len(cell.lines) < 20
    kernel.run(f"open({path}, 'w').close()\nhimalia.get(refs)")


def test_bars_are_drawn_in_place_and_stay_as_one_line(kernel: Notebook) -> None:
    kernel.run(
        "@himalia.remote\ndef bars(name):\n"
        "    from tqdm.auto import tqdm\n"
        "    for i in tqdm(range(3), desc=name):\n"
        "        for j in tqdm(range(10), desc='inner', position=1, leave=False):\n            time.sleep(0.02)\n"
        "    print('end of', name)"
    )
    cell = kernel.run("refs = [bars.remote(name) for name in 'ABC']")
    kernel.run("himalia.get(refs)")

    def is_over(cell: Cell) -> bool:
        return bool(pictures(cell)) and pictures(cell)[0].count("100%") == 3 and "inner" not in pictures(cell)[0]

    cell.wait_for(is_over)
    states = [m for m in cell.messages if m["msg_type"] == "update_display_data"]
    assert any("inner" in m["content"]["data"]["text/plain"] for m in states)
    (picture,) = pictures(cell)
    lines = sorted(re.sub(r"^\(bars pid=\d+\) ", "", line)[:8] for line in picture.splitlines())
    assert lines == ["A: 100%|", "B: 100%|", "C: 100%|"]
    assert sorted(cell.lines) == ["end of A", "end of B", "end of C"]
    assert cell.stream("stderr") == ""


def test_half_a_line_that_is_flushed_is_seen_at_once(kernel: Notebook, folder: Any) -> None:
    kernel.run(
        "@himalia.remote\ndef slow(path):\n"
        "    print('loading ... ', end='', flush=True)\n"
        "    while not os.path.exists(path):\n        time.sleep(0.01)\n"
        "    print('done')"
    )
    cell = kernel.run(f"ref = slow.remote({str(folder / 'go')!r})")
    cell.wait_for(lambda cell: any("loading ..." in picture for picture in pictures(cell)))
    (folder / "go").touch()
    kernel.run("himalia.get(ref)")
    cell.wait_for(lambda cell: any("loading ... done" in picture for picture in pictures(cell)))


def test_what_subprocesses_and_forked_children_print_is_shown_too(kernel: Notebook) -> None:
    cell = kernel.run(
        "@himalia.remote\ndef start():\n"
        "    import multiprocessing, sys\n"
        "    os.system('echo from a shell')\n"
        "    child = multiprocessing.get_context('fork').Process(target=print, args=('from a child',))\n"
        "    child.start()\n"
        "    child.join()\n"
        "    sys.stdout.buffer.write(b'as bytes\\n')\n"
        "    sys.stdout.flush()\n"
        "himalia.get(start.remote())"
    )
    cell.wait_for(lambda cell: len(cell.lines) >= 3)
    assert sorted(cell.lines) == ["as bytes", "from a child", "from a shell"]


def test_warnings_logging_and_tracebacks_come_too(kernel: Notebook) -> None:
    cell = kernel.run(
        "@himalia.remote\ndef trouble():\n"
        "    import logging, traceback, warnings\n"
        "    warnings.warn('mind the step')\n"
        "    logging.getLogger('mine').error('it is dark')\n"
        "    try:\n        1 / 0\n    except ZeroDivisionError:\n        traceback.print_exc()\n"
        "himalia.get(trouble.remote())"
    )
    text = cell.wait_for(lambda cell: "ZeroDivisionError" in cell.stream("stderr")).stream("stderr")
    assert "UserWarning: mind the step" in text
    assert "it is dark" in text


def test_an_actor_that_a_task_made_prints_in_the_cell_of_the_task(kernel: Notebook) -> None:
    cell = kernel.run(
        "@himalia.remote\nclass Inner:\n"
        "    def __init__(self):\n        print('constructed')\n"
        "    def ping(self):\n        return 1\n"
        "@himalia.remote\ndef maker():\n"
        "    return himalia.get(Inner.remote().ping.remote())\n"
        "himalia.get(maker.remote())"
    )
    assert cell.wait_for(lambda cell: cell.lines).lines == ["constructed"]


def test_the_constructor_of_an_actor_prints_in_the_cell_that_created_it(kernel: Notebook) -> None:
    cell = kernel.run(
        "@himalia.remote\nclass Told:\n    def __init__(self):\n        print('constructed')\ntold = Told.remote()"
    )
    assert cell.wait_for(lambda cell: cell.lines).lines == ["constructed"]


def test_threads_of_an_actor_print_in_the_cell_that_created_it(kernel: Notebook) -> None:
    cell = kernel.run(
        "@himalia.remote\nclass Ticker:\n"
        "    def __init__(self, path):\n"
        "        import threading\n"
        "        threading.Thread(target=self.run, args=(path,), daemon=True).start()\n"
        "    def run(self, path):\n"
        "        while not os.path.exists(path):\n            time.sleep(0.01)\n"
        "        print('from a thread')\n"
        "    def ping(self):\n        return 1\n"
        "import tempfile\npath = tempfile.mkdtemp() + '/go'\n"
        "ticker = Ticker.remote(path)\nhimalia.get(ticker.ping.remote())"
    )
    kernel.run("open(path, 'w').close()")
    assert cell.wait_for(lambda cell: cell.lines).lines == ["from a thread"]
    kernel.run("del ticker")
