"""Who drives the sockets: the one that waits, and whom it tells."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.cluster.core.reactor import Reactor
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys
from tests.support.clusters import eventually


class Waiter(threading.Thread):
    """A user thread that waits until it is told."""

    def __init__(self, reactor: Reactor, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.reactor = reactor
        self.done = False

    def run(self) -> None:
        self.reactor.drive(lambda: self.done)

    def finish(self) -> None:
        """What it waits for has come."""
        self.done = True
        self.reactor.wake_up()

    @property
    def leads(self) -> bool:
        return self.reactor._leader == self.ident


class Held:
    """A reactor without peers, whose leader can be held in its work."""

    def __init__(self, folder: Path) -> None:
        self.bus = Bus(b"reactor1", CurveKeys("", ""))
        self.bus.bind_ipc(str(folder / "reactor"))
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.reactor = Reactor(self.bus, self._before, lambda frames: None, lambda frames: None, lambda: False)

    def _before(self) -> float | None:
        self.goes_on.wait()
        return None

    def close(self) -> None:
        self.goes_on.set()
        self.reactor.close()
        self.bus.close()
        self.reactor.close_fds()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    made = Held(tmp_path)
    made.reactor.start()
    yield made
    made.close()


def test_the_end_waits_for_a_thread_that_leads(held: Held) -> None:
    """It has the sockets in its hands, which are closed then."""
    reactor = held.reactor
    waiter = Waiter(reactor, "a")
    waiter.start()
    eventually(lambda: waiter.leads, "the thread to lead")
    held.goes_on.clear()
    reactor.wake_up()  # into its work, where it is held
    ended = threading.Thread(target=reactor.close)
    ended.start()
    ended.join(0.2)
    assert ended.is_alive()
    held.goes_on.set()
    ended.join(5)
    waiter.join(5)
    assert not ended.is_alive()
    assert not waiter.is_alive()
    assert reactor._leader == 0
