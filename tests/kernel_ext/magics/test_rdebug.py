"""`%rdebug` in a real kernel."""

from __future__ import annotations

import re
import sys

from tests.kernel_ext.notebook import Cell, Notebook

FAILING = """
@himalia.remote(max_retries=0)
def ratio(rows, limit=2):
    total = sum(rows)
    return total / (len(rows) - limit)

data = himalia.put([1, 2])
ref = ratio.remote(data)
"""


# A lease is kept for a moment in case more tasks come.
ALL_FREE = """
end = time.time() + 20
while himalia.available_resources()["CPU"] < 4 and time.time() < end:
    time.sleep(0.02)
assert himalia.available_resources()["CPU"] == 4
"""


def run(kernel: Notebook, code: str) -> Cell:
    cell = kernel.run(code)
    assert not cell.error, cell.traceback
    return cell


def failed(kernel: Notebook) -> None:
    run(kernel, "%rdebug clear")
    run(kernel, FAILING)
    assert kernel.run("himalia.get(ref)").error.endswith("(ZeroDivisionError)")


def test_the_frames_of_a_failed_task_can_be_walked(kernel: Notebook) -> None:
    failed(kernel)
    where = run(kernel, "%rdebug open").stream()
    assert "task `ratio` failed: ZeroDivisionError" in where
    assert re.search(r"> In \[\d+\], line \d+, in ratio\(\)", where)
    assert "-> return total / (len(rows) - limit)" in where
    assert run(kernel, "%rdebug p rows, total").stream() == "([1, 2], 3)\n"
    assert run(kernel, "%rdebug p limit ;; p total").stream() == "2\n3\n"
    assert "total = 3" in run(kernel, "%rdebug locals").stream()
    assert "there is none above" in run(kernel, "%rdebug up").stream()


def test_the_worker_is_free_meanwhile(kernel: Notebook) -> None:
    failed(kernel)
    run(kernel, "%rdebug where")
    run(kernel, ALL_FREE)


def test_a_task_runs_again_with_edited_code_and_the_same_arguments(kernel: Notebook) -> None:
    failed(kernel)
    run(kernel, "del data")
    run(
        kernel,
        "@himalia.remote\ndef ratio(rows, limit=2):\n    return sum(rows) / max(1, len(rows) - limit)",
    )
    again = run(kernel, "again = %rdebug rerun ref\nprint(himalia.get(again))")
    assert again.stream() == "3.0\n"
    assert "as the notebook defines it now" in again.text
    assert kernel.run("old = %rdebug rerun ref --original\nhimalia.get(old)").error.endswith("(ZeroDivisionError)")


def test_the_list_shows_failures_and_says_what_is_next(kernel: Notebook) -> None:
    run(kernel, "%rdebug clear")
    assert "nothing to debug" in run(kernel, "%rdebug").text
    failed(kernel)
    text = run(kernel, "%rdebug").text
    assert "`ratio`, cell [" in text
    assert "ZeroDivisionError: division by zero" in text


def test_a_task_that_waited_for_a_failed_one_shows_both_stacks(kernel: Notebook) -> None:
    failed(kernel)
    run(
        kernel,
        "@himalia.remote(max_retries=0)\ndef asks(depth):\n    return himalia.get(ratio.remote([depth]))\n"
        "@himalia.remote(max_retries=0)\ndef ratio(rows):\n    return 1 / (rows[0] - 7)\n"
        "ref = asks.remote(7)\nhimalia.wait([ref])",
    )
    where = run(kernel, "%rdebug open ref").stream()
    assert where.index("in task `asks`") < where.index("in task `ratio`")
    assert run(kernel, "%rdebug p rows").stream() == "[7]\n"


def test_a_task_can_be_stepped_through_from_the_notebook(kernel: Notebook) -> None:
    begun = run(
        kernel,
        "@himalia.remote\ndef steps(n):\n    breakpoint()\n    doubled = 2 * n\n    return doubled + 1\n"
        "paused = steps.remote(20)",
    )
    begun.wait_for(lambda cell: "waits at a breakpoint" in cell.stream())
    assert "`steps`" in run(kernel, "%rdebug").text
    attached = run(kernel, "%rdebug attach").stream()
    if sys.version_info >= (3, 13):  # stops at the call itself, no longer behind it
        assert "-> breakpoint()" in attached
        attached = run(kernel, "%rdebug next").stream()
    assert "doubled = 2 * n" in attached
    assert re.search(r"> In \[\d+\], line \d, in steps\(\)", attached)
    assert run(kernel, "%rdebug p n").stream() == "20\n"
    assert "return doubled + 1" in run(kernel, "%rdebug next").stream()
    assert run(kernel, "%rdebug p doubled").stream() == "40\n"
    assert run(kernel, "%rdebug !doubled = 50").stream() == ""
    assert "goes on" in run(kernel, "%rdebug continue").stream()
    assert run(kernel, "print(himalia.get(paused))").stream() == "51\n"


def test_a_task_at_a_breakpoint_lends_its_cpu_and_can_be_cancelled(kernel: Notebook) -> None:
    begun = run(
        kernel,
        "@himalia.remote(max_retries=0)\ndef waits():\n    breakpoint()\n    return 1\npaused = waits.remote()",
    )
    begun.wait_for(lambda cell: "waits at a breakpoint" in cell.stream())
    run(kernel, ALL_FREE)
    run(kernel, "himalia.cancel(paused)")
    assert kernel.run("himalia.get(paused, timeout=20)").error == "TaskCancelledError"
    assert "nothing to debug" in run(kernel, "%rdebug clear\n%rdebug").text


def test_a_task_whose_worker_dies_at_a_breakpoint_waits_no_more(kernel: Notebook) -> None:
    run(kernel, "%rdebug clear")
    begun = run(
        kernel,
        "import signal\n@himalia.remote(max_retries=0)\ndef dies():\n    print('pid', os.getpid(), flush=True)\n"
        "    breakpoint()\npaused = dies.remote()",
    )
    begun.wait_for(lambda cell: "waits at a breakpoint" in cell.stream())
    run(kernel, "%rdebug attach")
    pid = next(line.split()[1] for line in begun.lines if line.startswith("pid"))
    run(kernel, f"os.kill({pid}, signal.SIGKILL)\nhimalia.wait([paused])")
    assert "at a breakpoint" not in run(kernel, "%rdebug").text
    assert "not debugged any more: its worker died" in kernel.run("%rdebug next").stream("stderr")


def test_what_can_not_be_done_is_said(kernel: Notebook) -> None:
    run(kernel, "%rdebug clear\nfine = 1")
    assert "no task of this notebook has failed" in kernel.run("%rdebug where").stream("stderr")
    assert "no task waits at a breakpoint" in kernel.run("%rdebug attach").stream("stderr")
    failed(kernel)
    assert "neither a number of the list nor a variable" in kernel.run("%rdebug open fine").stream("stderr")
    assert "there is no failure 7" in kernel.run("%rdebug open 7").stream("stderr")
    assert "needs a task that runs" in kernel.run("%rdebug next").stream("stderr")
    run(kernel, "@himalia.remote\nclass A:\n    def f(self): raise ValueError('no')\na = A.remote()\nr = a.f.remote()")
    run(kernel, "himalia.wait([r])")
    assert "call of an actor" in kernel.run("%rdebug rerun r").stream("stderr")
