"""When memory or the object store is exhausted: one task goes, the rest goes on, and the error names what to do."""

from __future__ import annotations

import os
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import psutil
import pytest

from himalia.cluster.core import session
from himalia.cluster.launchers.boot import NodeOptions
from himalia.exceptions import ActorDiedError, ObjectStoreFullError, OutOfMemoryError
from himalia.util import state
from tests.support.clusters import Script, has_own_mounts, took_less_than

MB = 1 << 20


def start(**options: Any) -> ModuleType:
    """A cluster with options of the node that `init` does not offer."""
    import himalia

    chosen = NodeOptions(**{"num_cpus": 2, "object_store_memory": 64 * MB, "owner_pid": os.getpid(), **options})
    session.init(chosen, None, {"log_to_driver": False})
    return himalia


@pytest.fixture
def ended() -> Iterator[None]:
    yield
    import himalia

    himalia.shutdown()


def start_with_little_memory() -> ModuleType:
    """A cluster whose limit is a little above what the machine uses now, so that nobody need fill it."""
    memory = psutil.virtual_memory()
    threshold = (memory.total - memory.available + 1_000 * MB) / memory.total
    if threshold > 0.97:
        pytest.skip("this machine has too little memory left to run this")
    return start(memory_usage_threshold=threshold)


def hoard() -> int:
    """Take 3 GB, slowly enough to be seen, and fast enough to be noticed; whatever the monitor does, this ends."""
    taken = []
    for _ in range(100):
        taken.append(np.ones(32 * MB, np.uint8))
        time.sleep(0.005)
    return len(taken)


def test_a_task_that_fills_memory_is_ended_and_says_so_while_others_go_on(ended: None) -> None:
    hv = start_with_little_memory()

    @hv.remote(max_retries=0)
    def fill() -> int:
        return hoard()

    @hv.remote(max_retries=-1)  # whatever else this machine does may use up the rest
    def modest() -> int:
        time.sleep(0.2)
        return 1

    with took_less_than(15):
        greedy = fill.remote()
        others = [modest.remote() for _ in range(5)]
        with pytest.raises(OutOfMemoryError, match=r"fill[\s\S]*about to run out of memory"):
            hv.get(greedy)
        assert hv.get(others) == [1] * 5
    events = state.list_cluster_events(filters=[("event_type", "=", "WORKER_OUT_OF_MEMORY")])
    assert any("about to run out of memory" in event.message for event in events)
    assert all(event.severity == "ERROR" for event in events)


def test_an_actor_that_fills_memory_dies_with_that_as_the_reason(ended: None) -> None:
    hv = start_with_little_memory()

    @hv.remote(num_cpus=0)
    class Filler:
        def fill(self) -> int:
            return hoard()

    filler = Filler.remote()
    with took_less_than(15), pytest.raises(ActorDiedError, match="about to run out of memory"):
        hv.get(filler.fill.remote())
    with took_less_than(2), pytest.raises(ActorDiedError, match="about to run out of memory"):
        hv.get(filler.fill.remote())


def test_an_object_larger_than_the_store_and_the_disk_it_may_use_is_refused_with_the_holders(
    small_disk: None, ended: None
) -> None:
    hv = start()
    held = [hv.put(np.full(10 * MB, i, np.uint8)) for i in range(5)]
    with took_less_than(20), pytest.raises(ObjectStoreFullError, match=r"driver") as caught:
        held.append(hv.put(np.ones(40 * MB, np.uint8)))
    assert caught.value.requested >= 40 * MB
    assert caught.value.capacity >= 60 * MB
    assert 0 < caught.value.used <= caught.value.capacity
    assert caught.value.holders
    assert caught.value.holders[0][1] >= 20 * MB  # what of it could not be spilled
    del held[1:]
    assert hv.get(hv.put(np.ones(40 * MB, np.uint8)))[-1] == 1
    assert hv.get(held[0])[0] == 0


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All files of sessions, with spilled objects and those that found no room, lie on a disk of 24 MB."""
    folder = tempfile.mkdtemp(prefix="small-", dir="/tmp")  # short, as the path of a socket must be
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder]
    try:
        if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("only root may mount a small disk")
        try:
            monkeypatch.setenv("HIMALIA_TMPDIR", folder)
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
    finally:
        os.rmdir(folder)


def test_a_result_for_which_there_is_no_room_is_an_error_of_the_task(small_disk: None, ended: None) -> None:
    hv = start()
    held = [hv.put(np.full(10 * MB, i, np.uint8)) for i in range(5)]

    @hv.remote(max_retries=0)
    def give() -> Any:
        return np.ones(40 * MB, np.uint8)

    with took_less_than(20), pytest.raises(ObjectStoreFullError):
        hv.get(give.remote())
    del held
    assert hv.get(give.remote()).nbytes == 40 * MB


FULL = """
import numpy as np
import himalia

MB = 1 << 20
himalia.init("local", num_cpus=1, object_store_memory=64 * MB, log_to_driver=False)
{body}
print("fine")
"""


def run_with_little_shared_memory(script: Callable[..., Script], body: str) -> None:
    """Run a driver whose store was promised 64 MB, where /dev/shm has 24."""
    if not has_own_mounts():
        pytest.skip("only root can have a small /dev/shm of its own")
    with took_less_than(25):
        assert script(FULL.format(body=textwrap.dedent(body)), 24).finish() == "fine\n"


def test_a_full_shared_memory_is_made_up_for_by_the_disk(script: Callable[..., Script]) -> None:
    run_with_little_shared_memory(
        script,
        """
        refs = [himalia.put(np.full(6 * MB, i, np.uint8)) for i in range(8)]
        for i, ref in enumerate(refs):
            value = himalia.get(ref)
            assert value[0] == value[-1] == i
        """,
    )


def test_a_worker_that_returns_more_than_shared_memory_holds_gets_no_bus_error(script: Callable[..., Script]) -> None:
    run_with_little_shared_memory(
        script,
        """
        @himalia.remote(max_retries=0)
        def make(i):
            return np.full(6 * MB, i, np.uint8)

        refs = [make.remote(i) for i in range(8)]
        assert [int(himalia.get(ref)[-1]) for ref in refs] == list(range(8))
        """,
    )


def test_when_shared_memory_is_full_of_objects_in_use_the_next_one_waits_for_a_place_on_disk(
    script: Callable[..., Script],
) -> None:
    run_with_little_shared_memory(
        script,
        """
        kept = [himalia.get(himalia.put(np.full(6 * MB, i, np.uint8))) for i in range(8)]
        assert [int(value[-1]) for value in kept] == list(range(8))
        """,
    )
