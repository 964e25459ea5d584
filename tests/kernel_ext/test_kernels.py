"""What a front end sees, on every release of ipykernel that behaves in its own way."""

from __future__ import annotations

from pathlib import Path

from tests.kernel_ext.notebook import Notebook
from tests.support.clusters import unhindered

PRINTERS = """
@himalia.remote
def inner(i):
    print("inner", i)
    return i

@himalia.remote
def outer(i):
    print("outer", i)
    return himalia.get(inner.remote(i))
"""


def test_output_of_nested_tasks_stands_in_the_cell_that_submitted_them(any_kernel: Notebook) -> None:
    any_kernel.run(PRINTERS)
    expected = sorted(f"{kind} {i}" for kind in ("inner", "outer") for i in range(50))
    for _ in range(20):
        first = any_kernel.send("print('before')\nrefs = [outer.remote(i) for i in range(50)]")
        second = any_kernel.run("print('later')\nsum(himalia.get(refs))")
        assert second.text == "1225"
        first.wait_for(lambda cell: len(cell.lines) >= 101)
        assert first.lines[0] == "before"
        assert sorted(first.lines[1:]) == expected
        assert second.lines == ["later"]


def test_threads_and_coroutines_belong_to_the_cell_that_started_them(any_kernel: Notebook) -> None:
    any_kernel.run(PRINTERS)
    first = any_kernel.run(
        "import asyncio, threading\n"
        "go = threading.Event()\n"
        "def wait():\n"
        "    go.wait()\n"
        "    himalia.get(inner.remote('of a thread'))\n"
        "def nest():\n"
        "    thread = threading.Thread(target=wait)\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "thread = threading.Thread(target=nest)\n"
        "thread.start()\n"
        "async def hold():\n"
        "    while not go.is_set():\n"
        "        await asyncio.sleep(0.01)\n"
        "    await inner.remote('of a coroutine')\n"
        "task = asyncio.get_running_loop().create_task(hold())"
    )
    assert not first.error, first.traceback
    second = any_kernel.run("go.set()\nawait task\nthread.join()")
    assert not second.error, second.traceback
    first.wait_for(lambda cell: len(cell.lines) >= 2)
    assert sorted(first.lines) == ["inner of a coroutine", "inner of a thread"]
    assert second.lines == []


def test_streams_and_order_are_kept(any_kernel: Notebook) -> None:
    cell = any_kernel.run(
        "@himalia.remote\n"
        "def talk():\n"
        "    import logging, sys\n"
        "    print('one')\n"
        "    print('two', file=sys.stderr)\n"
        "    logging.warning('three')\n"
        "    print('four', end='')\n"
        "print('zero')\n"
        "himalia.get(talk.remote())\n"
        "print('five')"
    )
    assert cell.lines == ["zero", "one", "four", "five"]
    assert "two\n" in cell.stream("stderr")
    assert "WARNING:root:three\n" in cell.stream("stderr")


def test_calls_of_actors_print_in_the_cell_that_calls(any_kernel: Notebook) -> None:
    first = any_kernel.run(
        "@himalia.remote\n"
        "class Speaker:\n"
        "    def say(self, word):\n"
        "        print(word)\n"
        "@himalia.remote\n"
        "def through(speaker):\n"
        "    himalia.get(speaker.say.remote('third'))\n"
        "speaker = Speaker.remote()\n"
        "himalia.get(speaker.say.remote('first'))"
    )
    second = any_kernel.run("himalia.get(speaker.say.remote('second'))")
    third = any_kernel.run("himalia.get(through.remote(speaker))").wait_for(lambda cell: cell.lines)
    assert (first.lines, second.lines, third.lines) == (["first"], ["second"], ["third"])


def test_await_works_at_top_level(any_kernel: Notebook) -> None:
    any_kernel.run(PRINTERS)
    cell = any_kernel.run("await outer.remote(3)")
    assert cell.text == "3"
    gathered = any_kernel.run("import asyncio\nawait asyncio.gather(*[outer.remote(i) for i in range(3)])")
    assert gathered.text == "[0, 1, 2]"


# An interrupt ---------------------------------------------------------------------------------------------------------

WAITERS = """
@himalia.remote
def wait_for_file(path):
    print("waits")
    while not os.path.exists(path):
        time.sleep(0.01)
    return "done"

@himalia.remote
def nested(path):
    return himalia.get(wait_for_file.remote(path))

@himalia.remote
def after(value):
    return value
"""


def test_an_interrupt_cancels_what_its_cell_submitted_and_nothing_else(any_kernel: Notebook, folder: Path) -> None:
    any_kernel.run(WAITERS)
    kept, stopped = folder / "kept", folder / "stopped"
    background = any_kernel.run(f"kept = [wait_for_file.remote({str(kept)!r}), nested.remote({str(kept)!r})]")
    background.wait_for(lambda cell: cell.lines == ["waits", "waits"])

    # Running, nested, queued behind those, waiting for an own argument, and for one of the other cell.
    cell = any_kernel.send(
        f"stopped = [wait_for_file.remote({str(stopped)!r}), nested.remote({str(stopped)!r})]\n"
        f"stopped += [wait_for_file.remote({str(stopped)!r}) for _ in range(20)]\n"
        "stopped += [after.remote(stopped[0]), after.remote(kept[0])]\n"
        "himalia.get(stopped)"
    )
    cell.wait_for(lambda cell: len(cell.lines) >= 2)
    begin = unhindered()
    any_kernel.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"

    states = any_kernel.run(
        "ready, waiting = himalia.wait(stopped, num_returns=len(stopped), timeout=20)\n"
        "def outcome(ref):\n"
        "    try:\n"
        "        return himalia.get(ref)\n"
        "    except Exception as error:\n"
        "        return type(error).__name__\n"
        "{outcome(ref) for ref in ready}, len(waiting)"
    )
    assert states.text == "({'TaskCancelledError'}, 0)"
    assert unhindered() - begin < 10.0
    assert any_kernel.value("himalia.wait(kept, num_returns=2, timeout=0)[0]") == "[]"
    kept.touch()
    assert any_kernel.value("himalia.get(kept)") == "['done', 'done']"


def test_an_interrupted_await_cancels_its_cell_too(any_kernel: Notebook, folder: Path) -> None:
    any_kernel.run(WAITERS)
    cell = any_kernel.send(f"ref = wait_for_file.remote({str(folder / 'never')!r})\nawait ref")
    cell.wait_for(lambda cell: cell.lines)
    any_kernel.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "CancelledError"
    assert any_kernel.run("himalia.get(ref, timeout=20)").error == "TaskCancelledError"


def test_a_cell_that_fails_leaves_its_tasks_alone(any_kernel: Notebook, folder: Path) -> None:
    any_kernel.run(WAITERS)
    path = folder / "file"
    failed = any_kernel.run(f"ref = wait_for_file.remote({str(path)!r})\n1 / 0")
    assert failed.error == "ZeroDivisionError"
    path.touch()
    assert any_kernel.value("himalia.get(ref)") == "'done'"
