"""Failures that nobody asks for, under the cell that submitted the tasks."""

from __future__ import annotations

import re

from tests.kernel_ext.notebook import Cell, Notebook

DEFINE = """
@himalia.remote
def bad(number):
    raise ValueError(f"no good: {number}")
"""


def others(cell: Cell, name: str) -> int:
    """Of how many failures a number is all that was told; in several sentences if they did not come at once."""
    found = re.findall(rf"`{name}` failed (?:once|(\d+)) more", cell.stream("stderr"))
    return sum(int(number or 1) for number in found)


def test_the_traceback_of_a_task_that_nobody_gets_stands_once_under_its_cell(any_kernel: Notebook) -> None:
    any_kernel.run(DEFINE)
    cell = any_kernel.run("refs = [bad.remote(7) for _ in range(40)]\nprint('submitted')")
    other = any_kernel.run("print('something else')")
    cell.wait_for(lambda cell: others(cell, "bad") == 39)
    told = cell.stream("stderr")
    assert told.count("Traceback (most recent call last)") == 1
    assert told.count("ValueError: no good: 7\n") == 2  # in the title, and at the end of the traceback
    assert told.endswith(" in this way (the first: ValueError: no good: 7)\n")
    assert re.search(r"\n  In \[\d+\], line \d, in bad\n    raise ValueError", told)
    assert "ipykernel_" not in told
    assert cell.stream() == "submitted\n"
    assert other.stream("stderr") == ""
    again = any_kernel.run("try:\n    himalia.get(refs[3])\nexcept ValueError as error:\n    print(error.args)")
    assert again.stream() == "('no good: 7',)\n"
    assert cell.stream("stderr") == told
    kinds = any_kernel.run(
        "from himalia.util.state import list_errors\n"
        "while not (found := list_errors(detail=True)):\n    time.sleep(0.05)\n"
        "print([row.place for row in found])"
    )
    assert re.fullmatch(r"\['In \[\d+\], line \d'\]\n", kinds.stream()), kinds.stream()


def test_an_error_that_the_cell_gets_is_not_told_again(kernel: Notebook) -> None:
    kernel.run(DEFINE)
    got = kernel.run("refs = [bad.remote(n) for n in range(20)]\nhimalia.wait(refs, num_returns=20)\nhimalia.get(refs)")
    assert got.error == "RayTaskError(ValueError)"
    caught = kernel.run("refs = [bad.remote(1)]\ntry:\n    himalia.get(refs)\nexcept ValueError:\n    print('caught')")
    awaited = kernel.run("ref = bad.remote(2)\ntry:\n    await ref\nexcept ValueError:\n    print('caught')")
    passed = kernel.run("ref = bad.options(name='g').remote(bad.remote(3))\nhimalia.get(ref)")
    assert passed.error == "RayTaskError(ValueError)"
    last = kernel.run("bad.options(name='last').remote(3)\nNone")
    last.wait_for(lambda cell: "Traceback" in cell.stream("stderr"))  # so the others would have been told as well
    for cell in (got, caught, awaited, passed):
        assert cell.stream("stderr") == ""


def test_failures_of_nested_tasks_stand_under_the_cell_that_began_it_all(kernel: Notebook) -> None:
    kernel.run(DEFINE)
    cell = kernel.run(
        "@himalia.remote\n"
        "def outer():\n"
        "    seen = bad.options(name='seen').remote(1)\n"
        "    try:\n"
        "        himalia.get(seen)\n"
        "    except ValueError:\n"
        "        pass\n"
        "    [bad.options(name='lost').remote(number) for number in range(5)]\n"
        "    return bad.options(name='given').remote(2)\n"
        "given = himalia.get(outer.remote())"
    )
    cell.wait_for(lambda cell: others(cell, "lost") == 4)
    assert kernel.run("himalia.get(given)").error == "RayTaskError(ValueError)"
    assert cell.stream("stderr").count("Traceback") == 1
    assert "`seen`" not in cell.stream("stderr")
    assert "`given`" not in cell.stream("stderr")


def test_cancelled_tasks_are_no_failures(kernel: Notebook) -> None:
    kernel.run(DEFINE)
    cell = kernel.run(
        "@himalia.remote\ndef sleep():\n    time.sleep(60)\n"
        "refs = [sleep.remote() for _ in range(8)]\nfor ref in refs:\n    himalia.cancel(ref)\n"
        "himalia.wait(refs, num_returns=8)\nNone"
    )
    last = kernel.run("bad.options(name='last').remote(3)\nNone")
    last.wait_for(lambda cell: "Traceback" in cell.stream("stderr"))
    assert cell.stream("stderr") == ""


def test_a_constructor_that_fails_is_told_under_the_cell_that_made_the_actor(kernel: Notebook) -> None:
    kernel.run(
        "@himalia.remote\nclass Model:\n"
        "    def __init__(self, path):\n        raise ValueError(f'no model in {path}')\n"
        "    def ask(self):\n        return 1\n"
    )
    cell = kernel.run("models = [Model.remote('attic') for _ in range(3)]\nNone")
    cell.wait_for(lambda cell: others(cell, "Model") == 2)
    dropped = kernel.run("Model.remote('cellar')\nNone")
    called = kernel.run("himalia.get(Model.remote('shed').ask.remote())")
    by_task = kernel.run(
        "@himalia.remote\ndef use(model):\n    return himalia.get(model.ask.remote())\n"
        "handle = Model.remote('garage')\nhimalia.get(use.remote(handle))"
    )
    crashed = kernel.run(
        "@himalia.remote\nclass Crash:\n    def __init__(self):\n        os._exit(3)\ncrash = Crash.remote()\nNone"
    )
    told = cell.stream("stderr")
    assert told.startswith(
        "Nobody has called an actor that could not be made.\nThe actor `Model` died: its constructor"
    )
    assert told.count("Traceback (most recent call last)") == 1
    assert "raise ValueError(f'no model in {path}')" in told
    assert told.endswith(" in this way (the first: ValueError: no model in attic)\n")
    crashed.wait_for(lambda cell: "exited with code 3" in cell.stream("stderr"))
    dropped.wait_for(lambda cell: "no model in cellar" in cell.stream("stderr"))
    assert called.error == "ActorDiedError"
    assert by_task.error.startswith("RayTaskError")
    assert called.stream("stderr") + by_task.stream("stderr") == ""
