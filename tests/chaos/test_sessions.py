"""Sessions in a row, twice, in forked children, and definitions that change between two calls."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from himalia.exceptions import ActorHandleNotFoundError, ObjectLostError, RaySystemError
from tests.chaos.conftest import start
from tests.support.clusters import Script, eventually, took_less_than


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


def old_references(hv: ModuleType) -> tuple[dict[str, Any], Any]:
    """References of every kind, and a handle, of a session that is over when this returns; another runs."""

    @hv.remote(num_cpus=0)
    def later() -> None:
        time.sleep(60)

    @hv.remote(num_cpus=0)
    class Holder:
        def make(self) -> list[Any]:
            self.kept = [hv.put(np.zeros(1 << 20, np.uint8)), hv.put([1]), later.remote()]
            return self.kept

    holder = Holder.remote()
    large, small, pending = hv.get(holder.make.remote())
    refs = {
        "own, pending": later.remote(),
        "own, small": hv.put([1]),
        "own, in the store": hv.put(np.zeros(1 << 20, np.uint8)),
        "borrowed, pending": pending,
        "borrowed, small": small,
        "borrowed, in the store": large,
    }
    for name, ref in refs.items():
        if "pending" not in name:
            hv.get(ref)  # so that this process has it pinned, and knows its place in memory
    hv.shutdown()
    start()
    return refs, holder


def test_an_old_reference_is_lost_however_it_is_asked_and_never_another_sessions_memory(
    fresh: Callable[..., ModuleType],
) -> None:
    hv = fresh()
    refs, _ = old_references(hv)
    new = [hv.put(np.full(1 << 20, 7, np.uint8)) for _ in range(3)]  # where the old ones lay

    async def awaited(ref: Any) -> Any:
        return await ref

    asks: dict[str, Callable[[Any], Any]] = {
        "get": lambda ref: hv.get(ref, timeout=2),
        "get of a list": lambda ref: hv.get([new[0], ref], timeout=2),
        "wait": lambda ref: hv.wait([ref], timeout=2),
        "future": lambda ref: ref.future().result(2),
        "await": lambda ref: asyncio.run(awaited(ref)),
    }
    for kind, ref in refs.items():
        for name, ask in asks.items():
            with took_less_than(1), pytest.raises(ObjectLostError, match="a session of this process that is over"):
                pytest.fail(f"{name} of what was {kind} gave {ask(ref)}")
    assert [hv.get(ref)[0] for ref in new] == [7] * 3


def test_an_old_reference_or_handle_can_not_be_passed_on(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()
    refs, holder = old_references(hv)

    @hv.remote
    def use(x: object) -> object:
        return x

    for ref in refs.values():
        with took_less_than(3), pytest.raises(ObjectLostError, match="session"):
            hv.get(use.remote(ref), timeout=2)
        for pass_on in (lambda r: use.remote([r]), lambda r: hv.put([r])):
            with took_less_than(3), pytest.raises(TypeError, match="belongs to another session"):
                pass_on(ref)
    with took_less_than(3), pytest.raises(TypeError, match="belongs to another session"):
        use.remote(holder)
    assert hv.get(use.remote(5)) == 5


def test_an_old_handle_says_that_its_session_is_over(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()
    _, holder = old_references(hv)
    for call in (holder.make.remote, lambda: hv.kill(holder)):
        with took_less_than(1), pytest.raises(ActorHandleNotFoundError, match="from a session that is over"):
            call()


def test_what_waits_when_the_session_ends_is_told_and_how_to_go_on(fresh: Callable[..., ModuleType]) -> None:
    hv = fresh()

    @hv.remote
    def later() -> None:
        time.sleep(60)

    ref = later.remote()
    future = ref.future()
    told: list[BaseException] = []

    def wait() -> None:
        try:
            hv.get(ref)
        except BaseException as error:
            told.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: not future.done() and hv.available_resources().get("CPU") == 1, "the task to run")
    with took_less_than(5):
        hv.shutdown()
        thread.join(5)
    with pytest.raises(RaySystemError, match=r"shut down[\s\S]*himalia\.init\(\)"):
        raise told[0]
    with pytest.raises(RaySystemError, match="shut down"):
        future.result(2)


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


def test_forked_pools_of_multiprocessing_work_and_are_told_what_they_can_not_do(
    script: Callable[[str], Script],
) -> None:
    done = script(
        """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        import numpy as np
        import himalia

        himalia.init("local", num_cpus=2, object_store_memory=64 << 20)
        ref = himalia.put(np.arange(1 << 20))
        array = himalia.get(ref)

        @himalia.remote
        def double(x):
            return 2 * x

        def square(x):
            return x * x

        def part(i):
            return int(array[i])  # memory of the store, as it was when the process forked

        def use(kind):
            try:
                himalia.get(ref, timeout=2) if kind == "get" else double.remote(1)
            except RuntimeError as error:
                return "was forked from one that is connected" in str(error)
            return "nothing was said"

        fork = multiprocessing.get_context("fork")
        with fork.Pool(2) as pool:
            assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]
            assert pool.map(part, [0, 7]) == [0, 7]
            assert pool.map(use, ["get", "submit"]) == [True, True]
        pool.join()
        with ProcessPoolExecutor(2, mp_context=fork) as executor:
            assert list(executor.map(square, range(3))) == [0, 1, 4]
            assert list(executor.map(use, ["submit"])) == [True]
        assert himalia.get(double.remote(4)) == 8
        assert himalia.get(ref)[-1] == (1 << 20) - 1
        print("fine")
        """
    )
    assert done.finish() == "fine\n"


def test_children_forked_while_other_threads_are_in_the_engine_end_and_leave_it_whole(
    script: Callable[[str], Script],
) -> None:
    done = script(
        """
        import gc, os, sys, threading
        import numpy as np
        import himalia

        himalia.init("local", num_cpus=2, object_store_memory=64 << 20)

        @himalia.remote
        def double(x):
            return 2 * x

        over = threading.Event()

        def work():
            while not over.is_set():
                assert himalia.get([double.remote(i) for i in range(20)]) == [2 * i for i in range(20)]

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in range(30):
            held = [himalia.put(1), himalia.put(np.zeros(1 << 20, np.uint8))]
            values = himalia.get(held)
            child = os.fork()
            if child == 0:
                held.clear()  # destructors of what belongs to the parent
                del values
                gc.collect()
                sys.exit(0) if number % 2 else os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        over.set()
        for thread in threads:
            thread.join()
        assert himalia.get(held[1]).nbytes == 1 << 20
        print("fine")
        """
    )
    assert done.finish() == "fine\n"


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
