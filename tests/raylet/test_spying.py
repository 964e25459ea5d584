"""py-spy as a raylet runs it: whom it may look at, and what is said where it may not."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from himalia.cluster.launchers import child
from himalia.cluster.protocol.stack_messages import StackAnswer, StackQuestion, StackStop
from himalia.cluster.raylet import spying
from himalia.cluster.raylet.spying import Spies, refusal

PEER = b"somebody"


@pytest.fixture
def busy() -> Iterator[int]:
    """A process that works."""
    code = "print(flush=True)\nwhile True: sum(range(1000))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 another process does it
            await asyncio.sleep(0.01)


class Asked:
    """A `Spies` that knows one process, and its answers."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        self.answers: asyncio.Queue[StackAnswer] = asyncio.Queue()
        self.spies = Spies(str(folder), lambda process: pid, lambda peer, answer: self.answers.put_nowait(answer))

    async def ask(self, **question: Any) -> StackAnswer:
        self.spies.ask(PEER, StackQuestion(b"p", **question))
        return await asyncio.wait_for(self.answers.get(), 30)


async def test_a_dump_has_the_threads_of_the_process(busy: int, tmp_path: Path) -> None:
    answer = await Asked(tmp_path, busy).ask(request=4)
    assert answer.error == ""
    assert answer.stacks is not None
    assert (answer.request, answer.stacks.pid, answer.stacks.by) == (4, busy, "py-spy")
    assert answer.stacks.threads[0].frames[-1].name == "<module>"


async def test_a_profile_that_is_stopped_is_answered_at_once_and_leaves_no_file(busy: int, tmp_path: Path) -> None:
    asked = Asked(tmp_path, busy)
    asked.spies.ask(PEER, StackQuestion(b"p", 300.0, request=1))
    refused = await asked.ask(seconds=1.0, request=2)
    assert refused.error == f"process {busy} is being profiled already: try again when that is over"
    assert not refused.ask_itself
    beside = await asked.ask(request=3)  # a dump goes on beside a profile
    assert beside.stacks is not None, beside.error
    asked.spies.stop(PEER, StackStop(1))
    answer = await asyncio.wait_for(asked.answers.get(), 30)
    assert answer.request == 1
    assert answer.profile is not None, answer.error
    assert os.listdir(tmp_path) == []


async def test_a_profile_that_is_stopped_before_it_has_begun_does_not_begin(busy: int, tmp_path: Path) -> None:
    asked = Asked(tmp_path, busy)
    for rounds_between in range(4):  # of the loop: the process may be being made by then
        asked.spies.ask(PEER, StackQuestion(b"p", 300.0, request=rounds_between))
        for _ in range(rounds_between):
            await asyncio.sleep(0)
        asked.spies.stop(PEER, StackStop(rounds_between))
        answer = await asyncio.wait_for(asked.answers.get(), 30)
        assert answer.profile is not None, answer.error
        assert answer.profile.seconds < 100.0
    assert os.listdir(tmp_path) == []


async def test_a_stop_that_comes_too_late_is_forgotten(busy: int, tmp_path: Path) -> None:
    asked = Asked(tmp_path, busy)
    await asked.ask(request=1)
    asked.spies.stop(PEER, StackStop(1))
    asked.spies.ask(PEER, StackQuestion(b"p", 300.0, request=1))
    await eventually(lambda: busy in asked.spies._profiled)
    asked.spies.stop(PEER, StackStop(1))
    assert (await asyncio.wait_for(asked.answers.get(), 30)).profile is not None


async def test_what_can_not_be_asked_is_refused_with_what_can(tmp_path: Path) -> None:
    asked = Asked(tmp_path, None)
    assert "no such process" in (await asked.ask()).error
    assert "0 to 600 seconds" in (await asked.ask(seconds=1e6)).error
    assert "rate of 1 to 1000, not 1 s at 0" in (await asked.ask(seconds=1.0, rate=0)).error


async def test_without_py_spy_the_answer_says_how_to_get_it(
    busy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spying.shutil, "which", lambda *args, **kwargs: None)
    answer = await Asked(tmp_path, busy).ask()
    assert "pip install 'himalia[profile]'" in answer.error
    assert answer.ask_itself


async def test_a_py_spy_that_hangs_is_ended(busy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "py-spy"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(spying.PROGRAM_VARIABLE, str(program))
    monkeypatch.setattr(spying, "_PATIENCE", 0.2)
    answer = await Asked(tmp_path, busy).ask()
    assert "was not done after 0.2 s" in answer.error
    assert answer.ask_itself


async def test_closing_ends_py_spy(busy: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, started = tmp_path / "py-spy", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {started}.new; mv {started}.new {started}\nexec sleep 1000\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv(spying.PROGRAM_VARIABLE, str(program))
    asked = Asked(tmp_path, busy)
    asked.spies.ask(PEER, StackQuestion(b"p"))
    await eventually(started.exists)
    asked.spies.close()
    await asyncio.gather(*asked.spies.tasks, return_exceptions=True)
    assert started.read_text().strip() not in os.listdir("/proc")
    assert asked.answers.empty()


@pytest.mark.parametrize(
    ("yama", "is_container", "advice"),
    [
        ("3\n", False, "until it is booted anew"),
        ("2\n", True, "kernel.yama.ptrace_scope=1"),
        ("1\n", True, "--cap-add SYS_PTRACE"),
        ("1\n", False, "kernel.yama.ptrace_scope=0"),
        ("", False, "Error: Permission denied"),
    ],
)
def test_a_refusal_says_what_to_do(yama: str, is_container: bool, advice: str) -> None:
    assert advice in refusal("Error: Permission denied\n", yama, is_container)


def test_processes_name_the_host_as_one_that_may_look(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    class Recorder:
        @staticmethod
        def prctl(*arguments: int) -> int:
            asked.append(arguments)
            return 0

    monkeypatch.setattr(child, "_libc", Recorder)
    child.let_look(os.getpid())
    assert asked == [(0x59616D61, os.getpid(), 0, 0, 0)]  # PR_SET_PTRACER, as <linux/prctl.h> has it
