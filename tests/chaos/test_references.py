"""References whose object is gone, whose owner is gone, or which were never of this cluster."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from himalia.exceptions import ObjectFreedError, ObjectLostError, OwnerDiedError
from tests.support.clusters import Script, eventually, slay, took_less_than

IN_STORES = [("stored", "!=", "")]  # small values lie in their owners


def store_bytes() -> int:
    """Bytes of all objects in the store."""
    from himalia.util.state import list_objects

    return sum(row.object_size for row in list_objects(limit=1_000, filters=IN_STORES))


def test_get_on_a_freed_object_says_that_it_was_freed(hv: ModuleType) -> None:
    from himalia.cluster.core.current import find_core

    small, large = hv.put(1), hv.put(np.zeros(1 << 20, np.uint8))

    @hv.remote
    def use(x: Any) -> int:
        return len(x)

    core = find_core()
    assert core is not None
    core.free([small, large])
    for ref in (small, large):
        with took_less_than(2), pytest.raises(ObjectFreedError, match="freed"):
            hv.get(ref)
    with took_less_than(5), pytest.raises(ObjectFreedError):
        hv.get(use.remote(large))


def test_a_freed_object_is_freed_for_a_borrower_too(hv: ModuleType) -> None:
    from himalia.cluster.core.current import find_core

    @hv.remote(num_cpus=0)
    class Borrower:
        def keep(self, refs: list[Any]) -> None:
            self.ref = refs[0]

        def read(self) -> int:
            return len(hv.get(self.ref, timeout=5))

    borrower = Borrower.remote()
    ref = hv.put(np.zeros(1 << 20, np.uint8))
    hv.get(borrower.keep.remote([ref]))
    core = find_core()
    assert core is not None
    core.free([ref])
    with took_less_than(6), pytest.raises(ObjectLostError):
        hv.get(borrower.read.remote())


def test_ten_thousand_references_dropped_at_once_leave_nothing(hv: ModuleType) -> None:
    from himalia.cluster.core.current import find_core

    core = find_core()
    assert core is not None
    large = [hv.put(np.full(150_000, i % 250, np.uint8)) for i in range(100)]
    small = [hv.put(i) for i in range(5_000)]

    @hv.remote
    def number(i: int) -> int:
        return i

    tasks = [number.remote(i) for i in range(4_900)]
    holder = hv.put([large, small[:100]])
    assert hv.get(tasks) == list(range(4_900))
    eventually(lambda: store_bytes() >= 100 * 150_000, "the objects to be in the store")
    with took_less_than(2):
        del large, small, tasks, holder
    eventually(lambda: store_bytes() == 0, "the store to be empty")
    eventually(lambda: not core.references.exported, "all references to be let go")
    assert hv.get(number.remote(1)) == 1


def test_the_death_of_the_owner_of_an_object_is_the_error_of_who_borrowed_it(hv: ModuleType) -> None:
    @hv.remote(num_cpus=0)
    class Owner:
        def make(self, large: bool) -> tuple[int, list[Any]]:
            self.ref = hv.put(np.zeros(1 << 20, np.uint8) if large else [1, 2])
            return os.getpid(), [self.ref]

        def pending(self) -> tuple[int, list[Any]]:
            @hv.remote(num_cpus=0)
            def never() -> None:
                time.sleep(60)

            return os.getpid(), [never.remote()]

    for make in (lambda o: o.make.remote(True), lambda o: o.make.remote(False), lambda o: o.pending.remote()):
        owner = Owner.remote()
        pid, [ref] = hv.get(make(owner))
        slay(pid)
        with took_less_than(5), pytest.raises(OwnerDiedError):
            hv.get(ref)


def test_a_borrower_that_waits_when_the_owner_dies_is_told_soon(hv: ModuleType) -> None:
    @hv.remote(num_cpus=0)
    class Owner:
        def pending(self) -> tuple[int, list[Any]]:
            @hv.remote(num_cpus=0)
            def never() -> None:
                time.sleep(60)

            return os.getpid(), [never.remote()]

    @hv.remote(num_cpus=0)
    def read(refs: list[Any]) -> None:
        hv.get(refs[0])

    owner = Owner.remote()
    pid, refs = hv.get(owner.pending.remote())
    waiting = read.remote(refs)
    ready, _ = hv.wait([waiting], timeout=0.5)
    assert not ready
    slay(pid)
    with took_less_than(5), pytest.raises(OwnerDiedError):
        hv.get(waiting)


def test_a_process_that_starts_after_an_owner_died_is_told_that_it_did(hv: ModuleType) -> None:
    @hv.remote(num_cpus=0)
    class Owner:
        def make(self) -> tuple[int, list[Any]]:
            return os.getpid(), [hv.put(1)]

    @hv.remote(num_cpus=0, runtime_env={"env_vars": {"A_PROCESS": "of its own"}})
    class Late:
        def hold(self, refs: list[Any]) -> int:
            self.refs = refs
            return len(refs)

        def back(self) -> list[Any]:
            return list(self.refs)

        def read(self) -> Any:
            return hv.get(self.refs[0])

    owner = Owner.remote()
    pid, refs = hv.get(owner.make.remote())
    slay(pid)
    with pytest.raises(Exception, match=r"died|SIGKILL"):
        hv.get(owner.make.remote())
    late = Late.remote()
    with took_less_than(10):
        assert hv.get(late.hold.remote(refs), timeout=10) == 1
        assert hv.get(late.back.remote(), timeout=10) == refs
        with pytest.raises(OwnerDiedError):
            hv.get(late.read.remote(), timeout=10)


def test_a_reference_to_an_object_of_another_cluster_is_refused(
    hv: ModuleType, script: Callable[[str], Script]
) -> None:
    other = script(
        """
        import pickle, sys
        import himalia
        himalia.init("local", num_cpus=1, object_store_memory=64 << 20)
        ref = himalia.put([1, 2, 3])
        print(pickle.dumps(ref).hex())
        sys.stdin.readline()
        """
    )
    line = other.line()
    with took_less_than(2), pytest.raises(ValueError, match="another cluster"):
        pickle.loads(bytes.fromhex(line))
    other.process.communicate("\n", timeout=20)


def test_a_stale_reference_that_was_pickled_is_lost_and_not_a_hang(hv: ModuleType) -> None:
    @hv.remote(num_cpus=0)
    class Owner:
        def make(self) -> tuple[int, bytes]:
            return os.getpid(), pickle.dumps(hv.put(1))

    owner = Owner.remote()
    pid, data = hv.get(owner.make.remote())
    slay(pid)

    @hv.remote(num_cpus=0)
    class Probe:
        def pid(self) -> int:
            return os.getpid()

    with pytest.raises(Exception, match=r"died|SIGKILL"):
        hv.get(owner.make.remote())
    with took_less_than(6), pytest.raises(OwnerDiedError):
        hv.get(pickle.loads(data), timeout=5)


def test_a_value_whose_buffer_cannot_be_read_gives_its_place_back(
    hv: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from himalia.cluster.core import objects

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the device does not answer")

    size = hv.get(hv.put(np.zeros(300_000, np.uint8))).size
    assert size == 300_000
    eventually(lambda: store_bytes() == 0, "the store to be empty")
    for nbytes in (300_000, 20 << 20):
        with monkeypatch.context() as patch:
            patch.setattr(objects, "pack_into", broken)
            for _ in range(8):  # eight of 20 MB are more than there is
                with pytest.raises(RuntimeError, match="does not answer"):
                    hv.put(np.zeros(nbytes, np.uint8))
        ref = hv.put(np.ones(40 << 20, np.uint8))
        assert hv.get(ref)[-1] == 1
        del ref


def test_an_actor_whose_last_handle_went_before_its_arguments_came_does_not_stay(
    hv: ModuleType, tmp_path: Path
) -> None:
    from himalia.util.state import list_actors

    gate = tmp_path / "gate"
    os.mkfifo(gate)

    @hv.remote
    def late(path: str) -> int:
        with open(path) as opened:
            return len(opened.read())

    @hv.remote(num_cpus=0)
    class Dropped:
        def __init__(self, size: int) -> None:
            self.size = size

    Dropped.remote(late.remote(str(gate)))
    gate.write_text("go")

    def states() -> list[str]:
        return [row.state for row in list_actors(filters=[("class_name", "=", "Dropped")])]

    eventually(lambda: states() == ["DEAD"], "the end of the actor")
