"""Cells that are run again after an edit: what was defined last is what runs."""

from __future__ import annotations

from tests.kernel_ext.notebook import Notebook

DEFINITIONS = """
SCALE = {number}

def helper(x):
    return x * SCALE + {number}

class Point:
    def __init__(self, x):
        self.x = x

    def doubled(self):
        return Point(self.x * {number})

@himalia.remote
def f(x):
    return helper(x), {number}

@himalia.remote
class Counter:
    def tell(self, point):
        return {number}, point.doubled().x
{more}
"""


def test_a_function_and_a_class_defined_again_run_as_they_were_defined_last(kernel: Notebook) -> None:
    kernel.value(DEFINITIONS.format(number=2, more=""))
    assert kernel.value("old = Counter.remote()\nhimalia.get([f.remote(10), old.tell.remote(Point(10))])") == str(
        [(22, 2), (2, 20)]
    )
    kernel.value(DEFINITIONS.format(number=3, more="    def added(self):\n        return 'new'"))
    # At workers that have run the old one: a class keeps its name, and its module is __main__ both times.
    assert kernel.value("[himalia.get(f.remote(i)) for i in range(5)]") == str([(3 * i + 3, 3) for i in range(5)])
    assert kernel.value("new = Counter.remote()\nhimalia.get([new.tell.remote(Point(10)), new.added.remote()])") == str(
        [(3, 30), "new"]
    )
    # An actor is what its class was when it was made, also for calls of later cells.
    assert kernel.value("himalia.get(old.tell.remote(Point(10)))[0]") == "2"
    assert "added" in kernel.run("old.added.remote()").traceback


def test_instances_of_a_class_of_the_notebook_come_back_as_instances_of_it(kernel: Notebook) -> None:
    kernel.value("class Thing:\n    pass\n\n@himalia.remote\ndef make():\n    return Thing()")
    assert kernel.value("isinstance(himalia.get(make.remote()), Thing)") == "True"
