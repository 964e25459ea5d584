"""``%%task``: what goes along, what comes back, and what is said."""

from __future__ import annotations

import re

import pytest

from tests.kernel_ext.notebook import Notebook


def test_what_the_cell_assigns_comes_back_as_references(kernel: Notebook) -> None:
    kernel.run("base = 20\ndef scaled(v):\n    return v * factor\nfactor = 2")
    cell = kernel.run("%%task sums\ntotal = scaled(base) + 2\nhalf = total / 2\n_hidden = 1\ntotal + half")
    assert not cell.error, cell.traceback
    assert "Task sums" in cell.text
    assert kernel.value("type(total).__name__, himalia.get([total, half])") == "('ObjectRef', [42, 21.0])"
    assert kernel.value("sums.result(), list(sums.outs), sums.state, sums.values()") == (
        "(63.0, ['total', 'half'], 'ready', {'total': 42, 'half': 21.0})"
    )
    assert kernel.value("'_hidden' in globals()") == "False"


def test_waiting_gives_values_and_shows_the_last_expression(kernel: Notebook) -> None:
    cell = kernel.run("%%task --wait\nimport math\nfor i in range(3):\n    square = i * i\nmath.sqrt(square)")
    assert not cell.error, cell.traceback
    assert cell.shown[-1]["text/plain"] == "2.0"
    assert kernel.value("square") == "4"
    assert kernel.value("'i' in globals()") == "False"
    assert kernel.run("%%task --wait\nsquare = 9\nsquare;").shown == []


def test_references_and_tasks_are_values_in_the_next_cell(kernel: Notebook) -> None:
    kernel.run("%%task one\nfirst = [1, 2]\n'text'")
    cell = kernel.run("%%task --wait\nfirst.append(len(one))\nfirst")
    assert cell.shown[-1]["text/plain"] == "[1, 2, 4]"


def test_modules_go_along_by_name_and_await_works_at_the_top(kernel: Notebook) -> None:
    kernel.run("import numpy as np, asyncio")
    cell = kernel.run("%%task --wait\nawait asyncio.sleep(0)\nfloat(np.arange(4).sum())")
    assert cell.shown[-1]["text/plain"] == "6.0", cell.traceback


def test_functions_and_classes_of_the_cell_come_back(kernel: Notebook) -> None:
    point = "class Point:\n    def norm(self):\n        return root(self.x)\ndef root(v):\n    return v ** 0.5\n"
    cell = kernel.run(f"%%task --wait\n{point}p = Point()\np.x = 16")
    assert not cell.error, cell.traceback
    assert kernel.value("p.norm(), isinstance(p, Point), root(9)") == "(4.0, True, 3.0)"


def test_functions_of_the_notebook_see_what_the_cell_assigns(kernel: Notebook) -> None:
    kernel.run("rate = 1\ndef rated(v):\n    return v * rate")
    cell = kernel.run("%%task --wait\nrate = 10\nrated(4)")
    assert cell.shown[-1]["text/plain"] == "40"


def test_in_limits_and_declares_what_goes_along(kernel: Notebook) -> None:
    kernel.run("a, b = 1, 2")
    assert kernel.run("%%task --wait --in a,b\neval('a + b')").shown[-1]["text/plain"] == "3"
    failed = kernel.run("%%task --wait --in a\na + b")
    assert failed.error == "RayTaskError(NameError)"
    assert "--in names 'nowhere'" in kernel.run("%%task --in nowhere\n1").stream("stderr")


def test_out_limits_and_declares_what_comes_back(kernel: Notebook) -> None:
    kernel.run("items = [1]\nkept = 'here'")
    assert not kernel.run("%%task --wait --out items\nitems.append(2)\nkept = 'there'").error
    assert kernel.value("items, kept") == "([1, 2], 'here')"
    missing = kernel.run("%%task --wait --out other\n1")
    assert "NameError" in missing.error
    assert "--out asks for 'other'" in missing.traceback


def test_what_can_not_come_back_says_why_and_the_rest_does(kernel: Notebook) -> None:
    cell = kernel.run(
        "%%task --wait\nimport threading\nlock = threading.Lock()\nif False:\n    rare = 1\ndone = 5\nlock"
    )
    assert not cell.error, cell.traceback
    assert "`lock` did not come back: a _thread.lock can not be pickled" in cell.text
    assert "`rare` did not come back: the cell did not assign it" in cell.text
    assert cell.shown[-1]["text/plain"].startswith("<unlocked _thread.lock")
    assert kernel.value("done, 'lock' in globals(), 'rare' in globals()") == "(5, False, False)"


def test_what_can_not_go_along_is_named(kernel: Notebook) -> None:
    kernel.run("import threading\nguard = threading.Lock()\nholder = {'deep': [guard]}")
    assert "`guard` (a _thread.lock) can not be sent to a worker" in kernel.run("%%task\nguard").stream("stderr")
    nested = kernel.run("%%task\nlen(holder)").stream("stderr")
    assert "`holder` (a dict) can not be sent to a worker, of which holder['deep'][0] (a _thread.lock)" in nested


def test_a_large_value_is_put_into_the_object_store_and_that_is_said(kernel: Notebook) -> None:
    kernel.run("import numpy as np\nlarge = np.ones(2_000_000)")
    cell = kernel.run("%%task --wait\nfloat(large.sum())")
    assert "Put into the object store for this cell: `large` (16.0 MB)" in cell.text
    assert cell.shown[-1]["text/plain"] == "2000000.0"


def test_errors_show_the_lines_of_the_cell(kernel: Notebook) -> None:
    cell = kernel.run("%%task --wait\nx = 1\n\ndef broken(v):\n    return v / 0\nbroken(x)")
    assert cell.error == "RayTaskError(ZeroDivisionError)"
    number = kernel.value("len(In) - 2")
    assert re.search(rf"  In \[{number}\], line 6, in <module>\n +broken\(x\)", cell.traceback)
    assert re.search(rf"  In \[{number}\], line 5, in broken\n +return v / 0", cell.traceback)
    assert "kernel_ext" not in cell.traceback
    assert "magics" not in cell.traceback


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("a = 1\nb = = 2", "Cell In[{n}], line 3\n    b = = 2\n        ^\nSyntaxError: invalid syntax"),
        ("a = 1\nreturn a", "Cell In[{n}], line 3\n    return a\n    ^\nSyntaxError: 'return' outside function"),
        ("yield 1", "SyntaxError: 'yield' outside function"),
        ("if True:\nx = 1", "IndentationError: expected an indented block"),
    ],
)
def test_a_syntax_error_looks_as_in_any_cell(kernel: Notebook, code: str, said: str) -> None:
    cell = kernel.run("%%task\n" + code)
    assert cell.error
    number = kernel.value("len(In) - 2")
    assert said.format(n=number) in cell.traceback
    assert "Traceback" not in cell.traceback


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("%%task --cpu 2\n1", "%%task has no option --cpu; did you mean --cpus?"),
        ("%%task 2nd\n1", "'2nd' is no name: write one like result_1"),
        ("%%task a\na = 1", "the cell assigns 'a' itself: give the task another name"),
        ("%%task\nx = 1\n!ls\n", "line 3, `!ls`, needs IPython"),
        ("%%task\n%timeit 1", "line 2, `%timeit 1`, needs IPython"),
        ("%%task --in class\n1", "'class' is no name"),
        ("%%task --retries many\n1", "'many' is no count"),
        ("%%task --resources disk\n1", "'disk' is no resource: write NAME=QUANTITY"),
        ("%%task --engine ray\n1", "works with the engine 'himalia', not 'ray'"),
        ("%%task\n  \n", "there is no code below %%task"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(kernel: Notebook, code: str, said: str) -> None:
    cell = kernel.run(code)
    assert said in cell.stream("stderr")
    assert "Traceback" not in cell.stream("stderr")


def test_options_reach_the_task(kernel: Notebook) -> None:
    kernel.run("%%task sized --cpus 2 --retries 0 --memory 1MB --engine himalia\nimport time\ntime.sleep(30)")
    resources = "himalia.available_resources()['CPU']"
    assert kernel.value(f"while {resources} != 2: time.sleep(0.01)\n{resources}") == "2.0"
    code = (
        "sized.cancel()\ntry:\n    sized.result()\nexcept himalia.exceptions.TaskCancelledError:\n    print('stopped')"
    )
    assert kernel.run(code).stream() == "stopped\n"
    assert kernel.value("sized.state") == "'failed: TaskCancelledError'"


def test_names_of_python_are_pythons_in_the_task(kernel: Notebook) -> None:
    code = "%%task --wait\nimport sys\nwith open('/proc/self/comm') as f:\n    read = len(f.read()) > 0\n"
    cell = kernel.run(f"{code}read, open.__module__")
    assert cell.shown[-1]["text/plain"] == "(True, 'io')"
    kernel.run("def display(value):\n    return f'my own {value}'")
    assert kernel.run("%%task --wait\ndisplay(1)").shown[-1]["text/plain"] == "'my own 1'"
    kernel.run("del display")


def test_an_interrupt_cancels_the_task_that_is_waited_for(kernel: Notebook) -> None:
    cell = kernel.send(
        "%%task endless --wait\nimport time\nprint('begun', flush=True)\nwhile True:\n    time.sleep(0.01)"
    )
    cell.wait_for(lambda cell: cell.lines)
    kernel.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"
    assert kernel.value("himalia.wait([endless.ref], timeout=10)\nendless.state") == "'failed: TaskCancelledError'"


def test_what_it_prints_stands_under_the_cell(kernel: Notebook) -> None:
    cell = kernel.run("%%task\nprint('from the task')")
    cell.wait_for(lambda cell: cell.lines)
    assert cell.lines == ["from the task"]


def test_before_a_start_it_starts_a_cluster_and_says_so(kernel: Notebook) -> None:
    kernel.run("himalia.shutdown()")
    cell = kernel.run("%%task --wait\n40 + 2")
    assert cell.text.startswith("No cluster ran: started one")
    assert cell.shown[-1]["text/plain"] == "42"
