"""Sessions in a row, twice, in forked children, and definitions that change between two calls."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import ModuleType

import pytest

from tests.support.clusters import Script, took_less_than


def test_a_second_init_is_refused_and_leaves_the_first_session_alone(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()
    first = hv.init(ignore_reinit_error=True)["session_dir"]
    with took_less_than(1), pytest.raises(RuntimeError, match="called twice"):
        hv.init(num_cpus=1)
    assert hv.init(num_cpus=1, ignore_reinit_error=True)["session_dir"] == first
    assert hv.get(hv.put(3)) == 3


def test_a_failed_init_leaves_nothing_and_the_next_one_works(fresh: Callable[..., ModuleType]) -> None:
    import himalia

    with took_less_than(10), pytest.raises(Exception, match=r"[Nn]o cluster|not|ended|known"):
        himalia.init("127.0.0.1:9")
    assert not himalia.is_initialized()
    hv = fresh()
    assert hv.get(hv.put(3)) == 3


def test_an_old_reference_says_that_its_session_is_over(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()

    @hv.remote(num_cpus=0)
    def later() -> None:
        time.sleep(60)

    @hv.remote
    def use(x: object) -> object:
        return x

    class Holder:
        def ping(self) -> int:
            return 1

    import numpy as np

    old = [later.remote(), hv.put([1]), hv.put(np.zeros(1 << 20, np.uint8))]
    handle = hv.remote(num_cpus=0)(Holder).remote()
    assert hv.get(handle.ping.remote()) == 1
    hv.shutdown()
    fresh()
    with took_less_than(3), pytest.raises(Exception, match="session"):
        hv.get(old[0], timeout=2)
    with took_less_than(3), pytest.raises(Exception, match="session"):
        hv.get(old[2], timeout=2)
    for ref in old:
        with took_less_than(3), pytest.raises(Exception, match=r"session|over"):
            hv.get(use.remote(ref), timeout=2)
        with took_less_than(3), pytest.raises(Exception, match=r"session|over"):
            hv.get(use.remote([ref]), timeout=2)
    with took_less_than(3), pytest.raises(Exception, match=r"session|over"):
        hv.get(handle.ping.remote(), timeout=2)
    assert hv.get(use.remote(5)) == 5


def test_a_forked_child_has_no_session_and_does_not_harm_its_parents(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()

    @hv.remote
    def double(x: int) -> int:
        return 2 * x

    ref = hv.put([1, 2])
    assert hv.get(double.remote(2)) == 4
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = []
        try:
            said.append(str(hv.is_initialized()))
            for call in (lambda: hv.get(ref, timeout=2), lambda: hv.cancel(ref), lambda: hv.put(1)):
                try:
                    call()
                    said.append("nothing")
                except BaseException as error:
                    said.append(f"{type(error).__name__}: {error}")
            hv.shutdown()
        finally:
            os.write(write, "\n".join(said).encode())
            os._exit(0)
    os.close(write)
    with took_less_than(10):
        _, status = os.waitpid(pid, 0)
    with os.fdopen(read) as file:
        lines = file.read().splitlines()
    assert status == 0
    assert lines[0] == "False"
    assert len(lines) == 4
    assert all("RuntimeError: this process was forked from one that is connected" in line for line in lines[1:]), lines
    assert hv.get([double.remote(i) for i in range(100)]) == [2 * i for i in range(100)]
    assert hv.get(ref) == [1, 2]


def test_a_forked_child_can_have_a_session_of_its_own(script: Callable[[str], Script]) -> None:
    done = script(
        """
        import os, sys
        import himalia
        himalia.init("local", num_cpus=1, object_store_memory=64 << 20)

        @himalia.remote
        def pid():
            return os.getpid()

        mine = himalia.get(pid.remote())
        child = os.fork()
        if child == 0:
            himalia.init("local", num_cpus=1, object_store_memory=64 << 20)
            other = himalia.get(pid.remote())
            himalia.shutdown()
            os._exit(0 if other != mine else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert himalia.get(pid.remote()) == mine
        himalia.shutdown()
        print("fine")
        """
    )
    assert done.finish() == "fine\n"


def test_a_child_that_was_forked_and_ends_leaves_the_cluster_running(script: Callable[[str], Script]) -> None:
    done = script(
        """
        import os, sys
        import himalia
        himalia.init("local", num_cpus=1, object_store_memory=64 << 20)

        @himalia.remote
        def one():
            return 1

        assert himalia.get(one.remote()) == 1
        child = os.fork()
        if child == 0:
            sys.exit(0)  # runs what was registered for the end of the interpreter
        assert os.waitpid(child, 0)[1] == 0
        assert himalia.get(one.remote()) == 1
        print("fine")
        """
    )
    assert done.finish() == "fine\n"


def test_a_function_or_class_that_is_defined_again_runs_as_it_was_defined_last(script: Callable[[str], Script]) -> None:
    done = script(
        """
        import himalia
        himalia.init("local", num_cpus=1, object_store_memory=64 << 20)

        def cell(text):
            exec(compile(text, "<cell>", "exec"), globals())

        FUNCTION = '''
        @himalia.remote
        def version():
            return {0} + helper()

        def helper():
            return {1}
        '''
        CLASS = '''
        class Plain:
            number = {0}

            def __init__(self, x):
                self.x = x

            def tell(self):
                return (self.number, self.x)

        @himalia.remote(num_cpus=0)
        class Counter:
            def tell(self, plain=None):
                return {0} if plain is None else plain.tell()
        '''
        import textwrap
        seen = []
        for number in (1, 2, 3):
            cell(textwrap.dedent(FUNCTION).format(10 * number, number))
            cell(textwrap.dedent(CLASS).format(number))
            counter = Counter.remote()
            kept = counter if number == 1 else kept
            seen.append(himalia.get([version.remote(), counter.tell.remote(), counter.tell.remote(Plain(7))]))
        print(seen)
        print(himalia.get(kept.tell.remote()))
        """
    )
    first, second = done.finish().splitlines()
    assert first == str([[11, 1, (1, 7)], [22, 2, (2, 7)], [33, 3, (3, 7)]])
    assert second == "1"
