"""Functions and classes travel by content; what they take along is named when it is large or can not travel."""

from __future__ import annotations

import linecache
import subprocess
import sys
import textwrap
import threading
import traceback
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest

from himalia.cluster.serialization.functions import (
    HASH_SIZE,
    LARGE_CAPTURE,
    captures_of_argument,
    estimate_size,
    export_function,
    import_function,
)
from himalia.exceptions import SerializationError


def notebook(source: str, **variables: Any) -> dict[str, Any]:
    """Run source as a notebook does: in ``__main__``, from a file that exists in memory only."""
    source = textwrap.dedent(source)
    filename = f"/cells/{hash(source)}.py"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    space: dict[str, Any] = {"__name__": "__main__", **variables}
    exec(compile(source, filename, "exec"), space)
    return space


def imported_elsewhere(payload: bytes, expression: str) -> str:
    """Evaluate an expression of ``it``, the imported function, in another process; its text."""
    script = f"""
import sys
from himalia.cluster.serialization.functions import import_function
it = import_function(sys.stdin.buffer.read())
print({expression}, end="")
"""
    done = subprocess.run([sys.executable, "-c", script], input=payload, check=True, capture_output=True)
    return done.stdout.decode()


# Content --------------------------------------------------------------------------------------------------------------


def test_a_function_of_the_notebook_runs_elsewhere_with_its_helpers_and_globals() -> None:
    space = notebook(
        """
        import math
        factor = 3
        def helper(x): return x * factor
        def task(x): return helper(x) + math.floor(1.5)
        """
    )
    exported = export_function(space["task"])
    assert len(exported.content_hash) == HASH_SIZE
    assert imported_elsewhere(exported.payload, "it(5)") == "16"


def test_a_class_of_the_notebook_runs_elsewhere() -> None:
    space = notebook(
        """
        class Base:
            def hello(self): return "hello"
        class Counter(Base):
            def __init__(self, n): self.n = n
            async def wait(self): return self.n
            def total(self): return super().hello() + str(self.n)
        """
    )
    assert imported_elsewhere(export_function(space["Counter"]).payload, "it(2).total()") == "hello2"


def test_an_importable_function_travels_by_name() -> None:
    assert import_function(export_function(textwrap.dedent).payload) is textwrap.dedent
    assert len(export_function(textwrap.dedent).payload) < 200


def test_the_same_definition_has_the_same_hash_and_a_changed_one_another() -> None:
    first = notebook("def f(x): return x + 1")["f"]
    again = notebook("def f(x): return x + 1")["f"]
    other = notebook("def f(x): return x + 2")["f"]
    assert export_function(first).content_hash == export_function(again).content_hash
    assert export_function(first).content_hash != export_function(other).content_hash


def test_a_captured_value_is_part_of_the_hash() -> None:
    def make(n: int) -> Any:
        return lambda: n

    assert export_function(make(1)).content_hash != export_function(make(2)).content_hash


def test_recursive_and_mutually_recursive_functions_travel() -> None:
    space = notebook(
        """
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        """
    )
    assert imported_elsewhere(export_function(space["even"]).payload, "it(10)") == "True"


def test_lambdas_partials_methods_and_callable_objects_can_be_exported() -> None:
    import functools

    class Scale:
        def __init__(self, by: int) -> None:
            self.by = by

        def __call__(self, x: int) -> int:
            return x * self.by

    for function in (lambda x: x * 2, functools.partial(Scale.__call__, Scale(2)), Scale(2), Scale(2).__call__):
        assert import_function(export_function(function).payload)(4) == 8


def test_tracebacks_elsewhere_show_the_source_of_the_cell() -> None:
    space = notebook(
        """
        def fails(x):
            return 1 / x  # the line to see
        """
    )
    payload = export_function(space["fails"]).payload
    linecache.clearcache()
    task = import_function(payload)
    try:
        task(0)
    except ZeroDivisionError:
        text = traceback.format_exc()
    assert "return 1 / x  # the line to see" in text


def test_source_of_files_that_exist_does_not_travel() -> None:
    linecache.getlines(__file__)

    def local() -> int:
        return 1

    assert b"source of files that exist" not in export_function(local).payload


# Large captures -------------------------------------------------------------------------------------------------------


def test_a_large_closure_variable_is_reported_with_name_and_size() -> None:
    def make() -> Any:
        weights = np.zeros(LARGE_CAPTURE // 8)
        small = 3

        def train() -> float:
            return float(weights.sum()) + small

        return train

    [capture] = export_function(make()).warnings
    assert (capture.variable, capture.kind, capture.nbytes) == ("weights", "closure", LARGE_CAPTURE)
    assert "closes over `weights`, about 10.5 MB" in str(capture)
    assert "himalia.put(weights)" in str(capture)


def test_large_globals_of_the_notebook_are_reported_also_those_of_helpers_and_methods() -> None:
    space = notebook(
        """
        def helper(): return data[0]
        def task(): return helper()
        class Actor:
            def method(self): return [data for _ in range(2)]
        """,
        data=np.zeros(LARGE_CAPTURE),
    )
    [capture] = export_function(space["task"]).warnings
    assert (capture.function, capture.variable, capture.kind) == ("helper", "data", "global")
    [capture] = export_function(space["Actor"]).warnings
    assert (capture.function, capture.variable) == ("Actor.method", "data")


def test_an_attribute_with_the_name_of_a_large_global_is_no_capture() -> None:
    space = notebook("def task(x): return x.data", data=np.zeros(LARGE_CAPTURE))
    assert export_function(space["task"]).warnings == ()


def test_what_an_imported_function_uses_is_not_reported() -> None:
    module = types.ModuleType("made_for_this_test")
    exec("big = bytes(20_000_000)\ndef f(): return big", module.__dict__)
    sys.modules[module.__name__] = module
    try:
        assert export_function(module.f).warnings == ()
    finally:
        del sys.modules[module.__name__]


def test_sizes_are_estimated_without_pickling_or_walking_everything() -> None:
    class Unpicklable:
        def __init__(self) -> None:
            self.array = np.zeros(1_000_000)

        def __reduce__(self) -> Any:
            raise AssertionError("pickled")

    assert 8_000_000 <= estimate_size(Unpicklable()) < 8_010_000
    assert estimate_size([np.zeros(1000)] * 500) == pytest.approx(4_000_000, rel=0.1)
    assert estimate_size({"a": b"x" * 1000}) > 1000
    assert estimate_size("x" * 1000) >= 1000

    frame = pd.DataFrame({"numbers": np.zeros(1_000_000), "texts": ["x"] * 1_000_000})
    assert 12_000_000 <= estimate_size(frame) < 30_000_000

    class Strange:
        nbytes = property(lambda self: 1 / 0)

        def __sizeof__(self) -> int:
            raise ValueError

    assert estimate_size(Strange()) == 0


# What can not travel --------------------------------------------------------------------------------------------------


def test_a_closed_over_lock_is_named() -> None:
    lock = threading.Lock()

    def task() -> bool:
        return lock.acquire()

    with pytest.raises(SerializationError, match=r"closes over `lock` \(a _thread\.lock\)") as caught:
        export_function(task)
    assert str(caught.value).startswith("Task `test_a_closed_over_lock_is_named.<locals>.task` can not be sent")
    assert (caught.value.path, caught.value.type_name) == ("lock", "_thread.lock")


def test_a_closed_over_generator_and_a_global_connection_are_named() -> None:
    values = (each for each in range(3))
    with pytest.raises(SerializationError, match=r"closes over `values` \(a generator\)"):
        export_function(lambda: next(values))

    space = notebook(
        """
        import threading
        class Connection:
            def __init__(self): self.lock = threading.Lock()
        connection = Connection()
        def helper(): return connection
        def task(): return helper()
        """
    )
    with pytest.raises(
        SerializationError,
        match=r"Task `task` can not .*`helper`, which it uses, uses the global `connection` \(a Connection\), "
        r"of which connection\.lock \(a _thread\.lock\) can not be pickled",
    ):
        export_function(space["task"])


def test_a_class_says_that_it_is_an_actor_and_the_caller_may_name_it() -> None:
    lock = threading.Lock()

    class Service:
        def run(self) -> Any:
            return lock

    with pytest.raises(SerializationError, match=r"Actor `.*Service` .*closes over `lock`"):
        export_function(Service)
    with pytest.raises(SerializationError, match=r"Method `x` can not be sent"):
        export_function(Service, "method `x`")


def test_a_default_that_can_not_travel_is_named() -> None:
    def task(lock: Any = threading.Lock()) -> None:  # noqa: B008 - the fault under test
        ...

    with pytest.raises(SerializationError, match=r"the default argument `lock` \(a _thread\.lock\)"):
        export_function(task)


def test_a_bound_method_of_what_can_not_travel_is_explained() -> None:
    class Holder:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def method(self) -> None: ...

    with pytest.raises(SerializationError, match=r"__self__\.lock \(a _thread\.lock\)"):
        export_function(Holder().method)


def test_large_defaults_are_reported() -> None:
    space = notebook(
        "def task(a, x=data, *, y=more): return a", data=np.zeros(LARGE_CAPTURE), more=np.ones(LARGE_CAPTURE)
    )
    found = [(capture.variable, capture.kind) for capture in export_function(space["task"]).warnings]
    assert found == [("x", "default"), ("y", "default")]


def test_large_class_attributes_are_reported_also_of_a_base() -> None:
    space = notebook(
        "class Base:\n    table = data\nclass Actor(Base):\n    def m(self): pass", data=np.zeros(LARGE_CAPTURE)
    )
    [capture] = export_function(space["Actor"]).warnings
    assert str(capture).startswith("`Base` has the class attribute `table`, about ")


def test_a_function_that_is_passed_tells_what_it_takes_along() -> None:
    space = notebook("inner = lambda: data", data=np.zeros(LARGE_CAPTURE))
    [capture] = captures_of_argument(space["inner"])
    assert (capture.variable, capture.kind) == ("data", "global")
    assert captures_of_argument(np.zeros(LARGE_CAPTURE)) == ()
