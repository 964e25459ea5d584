"""``%tasks``, ``%actors`` and ``%objects``."""

from __future__ import annotations

import re

import pytest

from tests.kernel_ext.notebook import Notebook

DEFINE = """
@himalia.remote
def quick(i):
    return i
@himalia.remote(max_retries=0)
def wrong():
    raise ValueError("no good")
@himalia.remote
class Keeper:
    def big(self):
        import numpy as np
        return np.zeros(250_000)
"""


@pytest.fixture(scope="module")
def filled(kernel: Notebook) -> Notebook:
    """A kernel whose cell has run 8 tasks, one of which failed, and whose next one has an actor and objects."""
    assert not kernel.run(DEFINE).error
    submit = "refs = [quick.remote(i) for i in range(7)] + [wrong.remote()]"
    kernel.run(f"first_cell = len(In) - 1\n{submit}\nhimalia.wait(refs, num_returns=8);")
    create = "keeper = Keeper.options(name='alice').remote()\nvalue = keeper.big.remote()"
    kernel.run(f"{create}\nstored = himalia.put(bytes(3_000_000))\nhimalia.wait([value]);")
    return kernel


def test_tasks_are_counted_by_function_and_listed(filled: Notebook) -> None:
    cell = filled.run("%tasks --limit 3")
    assert not cell.error, cell.traceback
    assert re.match(r"Tasks: 10 tasks: 9 finished, 1 failed\n", cell.text)
    assert re.search(r"quick +7 +", cell.text)
    assert "3 of 10 tasks, failures and then the newest first: --limit shows more" in cell.text
    assert re.search(r"wrong +failed", cell.text)
    assert "<table" in cell.shown[0]["text/html"]


def test_tasks_are_filtered_by_cell_state_and_name(filled: Notebook) -> None:
    number = filled.value("first_cell")
    failed = filled.run(f"%tasks --cell {number} --state failed").text
    assert failed.startswith("Tasks: 1 task: 1 failed")
    assert "ValueError: no good" in failed
    assert filled.run(f"%tasks --cell {number} --name QUI").text.startswith("Tasks: 7 tasks: 7 finished")
    assert filled.run("%tasks --cell last").text.startswith("Tasks: 2 tasks")
    assert filled.run("%tasks --cell this").text == "Tasks: 0 tasks"


def test_what_is_under_way_is_seen_at_once(filled: Notebook) -> None:
    filled.run("@himalia.remote\ndef waits():\n    time.sleep(60)")
    cell = filled.run("slow = [waits.remote() for _ in range(6)]\nget_ipython().run_line_magic('tasks', '--cell this')")
    assert cell.text.startswith("Tasks: 6 tasks: ")
    assert re.search(r"\d pending", cell.text)
    filled.run("%cancel slow\nhimalia.wait(slow, num_returns=6)")
    assert filled.run("%tasks --name waits").text.startswith("Tasks: 6 tasks: 6 cancelled")


def test_actors_show_their_state_and_why_they_died(filled: Notebook) -> None:
    cell = filled.run("%actors")
    assert cell.text.startswith("Actors: 1 alive")
    assert re.search(r"Keeper +alice +alive", cell.text)
    filled.run("other = Keeper.remote()\nhimalia.get(other.big.remote())\nhimalia.kill(other)")
    filled.run("while 'dead' not in str(himalia.util.state.list_actors()).lower(): time.sleep(0.01)")
    dead = filled.run("%actors --state dead").text
    assert dead.startswith("Actors: 1 dead")
    assert "kill" in dead.lower()
    assert filled.run("%actors --name bob").text == "Actors: none"


def test_objects_show_size_and_maker(filled: Notebook) -> None:
    cell = filled.run("%objects --larger-than 1.5MB")
    assert re.match(r"Objects: 2 objects, 5.0 MB\n", cell.text)
    assert re.search(r"3.0 MB +put", cell.text)
    assert re.search(r"2.0 MB +Keeper.big", cell.text)
    assert filled.run("%objects --name big --larger-than 1.5MB").text.startswith("Objects: 1 object, 2.0 MB")


@pytest.mark.parametrize("magic", ["%tasks", "%actors", "%objects", "%timeline", "%every"])
def test_before_a_start_a_cluster_is_started_and_that_is_said(filled: Notebook, magic: str) -> None:
    filled.run("himalia.shutdown()")
    cell = filled.run(magic)
    assert not cell.error, cell.traceback
    assert cell.text.startswith("No cluster ran: started one with all of this machine")


def test_what_does_not_fit_is_refused_with_what_would(filled: Notebook) -> None:
    assert "invalid choice: 'fine' (choose from" in filled.run("%tasks --state fine").stream("stderr")
    assert "'x' is no cell: write this, last, or the n" in filled.run("%actors --cell x").stream("stderr")
    assert "did you mean --larger-than?" in filled.run("%objects --large-than 5").stream("stderr")
