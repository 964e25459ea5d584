"""Failures that a program does not ask for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import himalia
from himalia.cluster.core.actors import ActorOps
from himalia.cluster.core.current import get_core
from himalia.cluster.protocol.core_messages import UnseenErrors
from tests.support.clusters import eventually

PROGRAM = """
import himalia

@himalia.remote
def bad(number):
    raise ValueError(f"no good: {number}")

himalia.init(num_cpus=2, OPTIONS)
got = bad.options(name="got").remote(1)
try:
    himalia.get(got)
except ValueError:
    pass
kept = [bad.options(name="kept").remote(number) for number in range(30)]
himalia.wait(kept, num_returns=30)
"""


def errors_of(options: str) -> str:
    program = PROGRAM.replace("OPTIONS", options)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr


def test_a_program_tells_at_its_end_of_the_failures_that_it_did_not_ask_for() -> None:
    told = errors_of("")
    assert told.count("Traceback (most recent call last)") == 1
    assert "task `kept` failed: ValueError: no good: " in told
    assert "Task `kept` failed 29 more times" in told
    assert "`got`" not in told


def test_a_program_that_wants_no_output_of_tasks_is_told_nothing() -> None:
    assert errors_of("log_to_driver=False") == ""


class Sink:
    """Takes what would be shown."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def show(self, message: Any) -> None:
        self.told.append(message)

    def tick(self, now: float) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("name", [None, "it"])
def test_an_actor_that_dies_while_its_maker_is_held_up_is_told(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine, where the thread that makes it may get no processor for so long."""

    @himalia.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("no good")

    himalia.init(num_cpus=1)
    core = get_core()
    core.log_sink = sink = Sink()
    clients, post, create_named = core.actor_calls.clients, core.post, ActorOps._create_named

    def wait_for_its_death() -> None:
        eventually(lambda: [client for client in clients.values() if client.state == "DEAD"], "the actor is dead")

    def post_slowly(act: Callable[[], None]) -> None:
        post(act)
        if "_create_when_ready" in act.__code__.co_names:
            wait_for_its_death()

    def create_slowly(self: ActorOps, *args: Any) -> bytes:
        made = create_named(self, *args)
        wait_for_its_death()
        return made

    monkeypatch.setattr(core, "post", post_slowly)
    monkeypatch.setattr(ActorOps, "_create_named", create_slowly)
    Broken.options(name=name).remote()
    (told,) = eventually(lambda: [one for one in sink.told if isinstance(one, UnseenErrors)], "it is told")
    assert told.actor == "Broken"
    assert "no good" in told.text
    himalia.shutdown()
