"""``%cancel`` and ``%timeline``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kernel_ext.notebook import Notebook


@pytest.fixture(scope="module")
def busy(kernel: Notebook) -> Notebook:
    """A kernel with functions that take long."""
    code = "\n".join(f"@himalia.remote\ndef {name}(*args):\n    time.sleep(60)" for name in ("bake", "cook"))
    assert not kernel.run(code).error
    return kernel


def _states(notebook: Notebook, refs: str) -> str:
    code = f"""
found = []
for ref in {refs}:
    try:
        himalia.get(ref, timeout=0)
    except Exception as error:
        found.append(type(error).__name__)
print(found)
"""
    notebook.run(f"himalia.wait({refs}, num_returns=len({refs}), timeout=5)")
    return notebook.run(code).stream().strip()


def test_a_variable_names_the_tasks_it_holds(busy: Notebook) -> None:
    busy.run("kept = bake.remote()\nheld = {'a': [bake.remote(), bake.remote()]}")
    assert busy.run("%cancel held").text == "Cancelled 2 tasks: 2 `bake`."
    assert _states(busy, "held['a']") == "['TaskCancelledError', 'TaskCancelledError']"
    assert busy.value("himalia.wait([kept], timeout=0)[0]") == "[]"
    assert busy.run("%cancel kept").text == "Cancelled 1 task: 1 `bake`."
    assert _states(busy, "[kept]") == "['TaskCancelledError']"
    assert "Nothing was left to cancel" in busy.run("%cancel kept").text


def test_a_function_names_all_its_tasks_and_a_number_one(busy: Notebook) -> None:
    busy.run("first = [bake.remote() for _ in range(3)]\nsecond = cook.remote(first)")
    number = busy.value("second.task_id().hex()[16:]").strip("'")
    assert busy.run("%cancel bake").text == "Cancelled 3 tasks: 3 `bake`."
    assert busy.run(f"%cancel {int(number, 16)}").text == "Cancelled 1 task: 1 `cook`."
    assert _states(busy, "[*first, second]") == str(["TaskCancelledError"] * 4)


def test_a_cell_takes_along_what_it_submitted_and_nothing_else(busy: Notebook) -> None:
    busy.run("mine = [bake.remote() for _ in range(2)]\nnumber = len(In) - 1")
    busy.run("other = bake.remote()")
    number = busy.value("number")
    assert busy.run(f"%cancel --cell {number}").text == "Cancelled 2 tasks: 2 `bake`."
    assert _states(busy, "mine") == "['TaskCancelledError', 'TaskCancelledError']"
    assert busy.value("himalia.wait([other], timeout=0)[0]") == "[]"
    assert busy.run("%cancel --all").text == "Cancelled 1 task: 1 `bake`."
    assert _states(busy, "[other]") == "['TaskCancelledError']"


def test_task_cells_can_be_cancelled_by_their_name(busy: Notebook) -> None:
    busy.run("%%task longone\nimport time\ntime.sleep(60)")
    assert busy.run("%cancel longone").text == "Cancelled 1 task: 1 `longone`."
    assert _states(busy, "[longone.ref]") == "['TaskCancelledError']"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "%cancel what? A variable, a function, a number of %tasks, --cell or --all"),
        ("--all --cell 3", "takes one of WHAT, --cell and --all"),
        ("nothing_such", "no variable and no function with unfinished tasks is called 'nothing_such'"),
        ("plain", "`plain` (a int) holds no reference to a task"),
        ("actor", "`actor` is an actor: himalia.kill(actor) ends it"),
        ("--cells 3", "did you mean --cell?"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(busy: Notebook, line: str, said: str) -> None:
    busy.run("plain = 5\n@himalia.remote\nclass Kept:\n    pass\nactor = Kept.remote()")
    assert said in busy.run(f"%cancel {line}").stream("stderr")


def test_what_can_be_cancelled_is_completed(busy: Notebook) -> None:
    busy.run("ended = himalia.put(1)\nwaiting = [bake.remote()]")
    line = "%cancel wai"
    reply = busy.client.complete(line, reply=True, timeout=30)
    assert reply["content"]["matches"] == ["waiting"]
    assert "ended" not in busy.client.complete("%cancel ", reply=True, timeout=30)["content"]["matches"]
    busy.run("%cancel waiting")


def test_a_timeline_shows_lanes_and_writes_a_trace(busy: Notebook, tmp_path: Path) -> None:
    busy.run("@himalia.remote\ndef tick():\n    time.sleep(0.02)\nhimalia.get([tick.remote() for _ in range(8)])")
    busy.run("while sum(r.name == 'tick' for r in himalia.util.state.list_tasks(limit=1000)) < 8: time.sleep(0.05)")
    cell = busy.run(f"%timeline {tmp_path / 'trace.json'} --cell last")
    assert not cell.error, cell.traceback
    assert cell.text.startswith("Timeline: 8 runs in ")
    assert "A tick" in cell.text
    assert "background-color" in cell.shown[0]["text/html"]
    events = json.loads((tmp_path / "trace.json").read_text())
    assert sum(event.get("name") == "tick" for event in events) == 8
    assert "can not be written" in busy.run("%timeline /nowhere/trace.json").stream("stderr")


def test_a_timeline_has_all_tasks_and_not_only_the_newest(busy: Notebook) -> None:
    busy.run("@himalia.remote\ndef tiny(i):\n    return i\nhimalia.get([tiny.remote(i) for i in range(12_000)]);")
    count = "sum(event.get('name') == 'tiny' for event in himalia.timeline())"
    assert busy.value(f"while {count} < 12_000: time.sleep(0.1)\n{count}") == "12000"
    assert busy.run("%timeline --cell last").text.startswith("Timeline: 12000 runs in ")


def test_an_ended_cluster_is_said_in_a_line(busy: Notebook) -> None:
    code = """
import signal
from himalia.cluster.core import current, session
os.kill(session.current_session().connection.pid, signal.SIGKILL)
while current.find_core().fatal is None:
    time.sleep(0.01)
"""
    assert not busy.run(code).error
    for magic in ("%tasks", "%actors", "%objects", "%cancel --all", "%timeline"):
        said = busy.run(magic).stream("stderr")
        assert "%cluster stop, then %cluster start begins anew" in said
        assert "Traceback" not in said
    assert "begins anew" in busy.run("%%task\n1").stream("stderr")
    busy.run("himalia.shutdown()")
