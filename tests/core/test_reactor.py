"""Who drives the sockets: the one that waits, and whom it tells."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from himalia.cluster.core import reactor as reactor_module
from himalia.cluster.core.reactor import Reactor
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys
from tests.support.clusters import eventually, took_less_than


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
        self.on_rest: Callable[[], bool] = lambda: False
        self.reactor = Reactor(self.bus, self._before, lambda frames: None, lambda frames: None, lambda: self.on_rest())

    def _before(self) -> float | None:
        self.goes_on.wait()
        return None

    def close(self) -> None:
        self.goes_on.set()
        self.reactor.close()
        self.bus.close()
        self.reactor.close_fds()


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    monkeypatch.setattr(reactor_module, "_MAX_POLL", 60.0)  # nothing goes on because a sleep is over by itself
    made = Held(tmp_path)
    made.reactor.start()
    yield made
    made.close()


def test_of_two_threads_that_relieve_the_io_thread_the_one_that_follows_is_told_while_the_other_leads(
    held: Held,
) -> None:
    reactor = held.reactor
    eventually(lambda: reactor._leader == reactor._thread.ident, "the IO thread to lead")
    held.goes_on.clear()
    reactor.wake_up()
    waiters = [Waiter(reactor, name) for name in "ab"]
    for waiter in waiters:
        waiter.start()
    eventually(lambda: len(reactor._followers) == 2, "both to wait for the IO thread")
    held.goes_on.set()
    eventually(lambda: any(waiter.leads for waiter in waiters), "one of them to lead")
    leader, other = waiters if waiters[0].leads else waiters[::-1]
    other.finish()
    other.join(5)
    assert not other.is_alive()
    assert leader.is_alive()
    leader.finish()
    leader.join(5)
    assert not leader.is_alive()
    eventually(lambda: reactor._leader == reactor._thread.ident, "the IO thread to lead again")


def test_many_threads_come_and_go_and_none_is_left_waiting(held: Held) -> None:
    reactor = held.reactor
    for _ in range(20):
        waiters = [Waiter(reactor, str(number)) for number in range(8)]
        for waiter in waiters:
            waiter.start()
        begin = time.monotonic()
        for waiter in waiters:
            waiter.finish()
        for waiter in waiters:
            waiter.join(5)
        assert not [waiter.name for waiter in waiters if waiter.is_alive()]
        assert time.monotonic() - begin < 5
    assert not reactor._followers


def test_a_look_returns_when_another_thread_has_taken_the_lead_for_long(held: Held) -> None:
    reactor = held.reactor
    waiter = Waiter(reactor, "a")
    waiter.start()
    eventually(lambda: waiter.leads, "it to lead")
    looks = threading.Thread(target=reactor.run_once, daemon=True)
    looks.start()
    looks.join(5)
    assert not looks.is_alive()
    waiter.finish()
    waiter.join(5)
    assert not waiter.is_alive()


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


def test_a_loop_goes_to_sleep_while_it_has_the_lead(held: Held) -> None:
    """Before it does, it asks the sockets, which another thread may not use meanwhile."""
    reactor = held.reactor
    leaders: list[int] = []

    def on_rest() -> bool:
        leaders.append(reactor._leader)
        return False

    held.on_rest = on_rest
    assert reactor.look() is False
    assert leaders[-1] == threading.get_ident()
    assert reactor.sleeping


def test_a_wake_for_the_io_thread_is_not_taken_from_it(held: Held) -> None:
    """A loop looks because of a wake that is the IO thread's; nobody sleeps on because of that."""
    reactor = held.reactor
    for _ in range(50):
        eventually(lambda: reactor._leader == reactor._thread.ident and reactor.sleeping, "the IO thread to sleep")
        reactor.wake()
        with took_less_than(30):
            assert reactor.look() is False


def test_a_loop_has_no_more_to_do_at_the_end(held: Held) -> None:
    held.on_rest = lambda: True
    assert held.reactor.look() is True
    held.reactor.close()
    assert held.reactor.look() is False
