"""An actor's worker: what becomes of calls that come while it is not ready for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from himalia.cluster.core.runtime import Core
from himalia.cluster.worker import actor_host
from himalia.cluster.worker.actor_host import ActorHost
from himalia.cluster.worker.executor import Executor
from himalia.cluster.worker.peers import Job


class Leading:
    """A core whose leader runs what is posted when somebody waits."""

    def __init__(self) -> None:
        self.inbox: deque[Callable[[], None]] = deque()
        self.reactor = self
        self.on_wait: Callable[[], None] = lambda: None

    def post(self, action: Callable[[], None]) -> None:
        self.inbox.append(action)

    def drive(self, done: Callable[[], Any]) -> bool:
        self.on_wait()
        while self.inbox:
            self.inbox.popleft()()
        return bool(done())


def host(monkeypatch: pytest.MonkeyPatch, core: Leading) -> ActorHost:
    monkeypatch.setattr(actor_host, "set_visible_accelerators", lambda accelerators: None)
    spec = SimpleNamespace(max_concurrency=1, concurrency_groups={}, is_async=True, class_name="A")
    message = SimpleNamespace(spec=spec, actor_id=b"a" * 12, restart=0, accelerators={})
    executor = SimpleNamespace(core=cast(Core, cast(Any, core)))
    return ActorHost(cast(Executor, cast(Any, executor)), cast(Any, message))


def calls(*names: str) -> list[Job]:
    return cast("list[Job]", list(names))


def test_calls_that_come_before_there_is_who_runs_them_come_to_it_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    core = Leading()
    actor = host(monkeypatch, core)
    actor.enqueue(calls("during its constructor"))
    actor.instance = object()
    actor.enqueue(calls("after its constructor"))
    core.on_wait = lambda: actor.enqueue(calls("while it gets ready"))
    came: list[Any] = []
    actor._receive_by(came.extend)
    actor.enqueue(calls("afterwards", "at last"))
    assert came == [
        "during its constructor",
        "after its constructor",
        "while it gets ready",
        "afterwards",
        "at last",
    ]


def test_no_call_waits_for_a_loop_that_is_not_there_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time between the constructor's end and the loop's start is long on a busy machine."""
    core = Leading()
    actor = host(monkeypatch, core)
    actor.instance = object()
    actor.enqueue(calls("early"))
    came: list[Any] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        actor._receive_by(lambda jobs: loop.call_soon_threadsafe(came.extend, jobs))
        await asyncio.sleep(0)

    asyncio.run(run())
    assert came == ["early"]
