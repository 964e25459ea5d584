"""An event loop that drives a core: when it looks, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any, cast

import pytest

from himalia.cluster.core.reactor import Reactor
from himalia.cluster.worker.loop_lead import FLUSH_AFTER, LoopLead


class FakeReactor:
    """A reactor that counts looks. ``left`` is how many further looks it asks for."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.looks = 0
        self.left = 0
        self.looked = asyncio.Event()

    def descriptors(self) -> list[int]:
        return [self.wake_fd]

    def look(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.wake_fd)
        self.looks += 1
        self.looked.set()
        self.left -= 1
        return self.left >= 0


@pytest.fixture
def reactor() -> Iterator[FakeReactor]:
    fake = FakeReactor()
    yield fake
    os.close(fake.wake_fd)


def lead_of(reactor: FakeReactor) -> LoopLead:
    return LoopLead(asyncio.get_running_loop(), cast(Reactor, cast(Any, reactor)))


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_what_one_turn_brings_is_sent_at_once(reactor: FakeReactor) -> None:
    async def run() -> None:
        lead = lead_of(reactor)
        for _ in range(100):
            lead.soon()
        assert reactor.looks == 0
        await turns(2)
        assert reactor.looks == 1
        lead.close()

    asyncio.run(run())


def test_a_long_turn_sends_in_between(reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        monkeypatch.setattr(loop, "time", lambda: now)
        lead = lead_of(reactor)
        lead.soon()
        assert reactor.looks == 0
        for turn in range(1, 4):
            now += 2 * FLUSH_AFTER
            lead.soon()
            lead.soon()
            assert reactor.looks == turn
        lead.close()

    asyncio.run(run())


def test_a_wake_ends_the_loops_sleep_once(reactor: FakeReactor) -> None:
    async def run() -> None:
        lead = lead_of(reactor)
        os.eventfd_write(reactor.wake_fd, 1)
        await asyncio.wait_for(reactor.looked.wait(), 10)
        await turns(10)
        assert reactor.looks == 1
        lead.close()

    asyncio.run(run())


def test_it_looks_again_while_there_is_work(reactor: FakeReactor) -> None:
    async def run() -> None:
        lead = lead_of(reactor)
        reactor.left = 3
        lead.look()
        await turns(10)
        assert reactor.looks == 4
        lead.close()

    asyncio.run(run())


def test_a_closed_lead_watches_nothing(reactor: FakeReactor) -> None:
    async def run() -> None:
        lead_of(reactor).close()
        os.eventfd_write(reactor.wake_fd, 1)
        await turns(10)
        assert reactor.looks == 0

    asyncio.run(run())
