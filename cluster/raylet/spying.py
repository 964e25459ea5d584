"""Looks at processes of the node from outside, by py-spy: where their threads are, or what they do for some seconds.

Strategy: the raylet runs py-spy as a child of its own with a time limit, and waits for it on its loop; what it wrote is
read in another thread. A child needs no package of the worker's, sees a process that hangs in C code, and costs
the process it looks at little. It is in the raylet's process group, so the node host ends it together with the raylet.

The kernel may forbid it: Yama lets only ancestors look (which is why every process of ours names the node host as one
that may, with all that comes of it: see `launchers/child.py`), a container may lack the capability. Then the answer
says what to do about it, and that the process itself may be asked (`core/own_stacks.py`).

Rejected: py-spy within the worker (a process can not trace itself), and a thread in each worker that always samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sysconfig
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..protocol.stack_messages import Profile, StackAnswer, StackQuestion, StackStop
from ..protocol.traceback_text import is_internal
from ..telemetry.profiles import parse_dump, parse_recording

__all__ = ["MAX_RATE", "MAX_SECONDS", "Spies", "find_py_spy", "refusal", "server_pid"]

MAX_SECONDS: Final = 600.0
MAX_RATE: Final = 1_000
PROGRAM_VARIABLE: Final = "HIMALIA_PY_SPY"
_PATIENCE: Final = 15.0
"""Seconds that py-spy may take on top: to find its way in the process, and to write."""
_YAMA: Final = Path("/proc/sys/kernel/yama/ptrace_scope")

Tell = Callable[[bytes, StackAnswer], None]


def find_py_spy() -> str | None:
    """Where py-spy is: what the variable HIMALIA_PY_SPY names (a copy that has the capability, say), with this Python,
    or where programs are found."""
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        return named
    scripts = sysconfig.get_path("scripts")
    return shutil.which("py-spy", path=scripts) or shutil.which("py-spy")


def refusal(said: str, yama: str, is_container: bool) -> str:
    """Why py-spy may not look, and what to do, in words.

    Parameters
    ----------
    said
        What py-spy wrote.
    yama
        Content of the kernel's ``ptrace_scope``; empty where there is no Yama.
    """
    scope = yama.strip()
    if scope == "3":
        return (
            "this kernel lets nobody look at another process (kernel.yama.ptrace_scope is 3, until it is booted anew)"
        )
    if scope == "2":
        return (
            "this kernel lets only administrators look at another process: run the cluster as root, or set "
            "kernel.yama.ptrace_scope to 1 or 0 (sudo sysctl kernel.yama.ptrace_scope=1)"
        )
    if is_container:
        return (
            "this container must not look at other processes: start it with --cap-add SYS_PTRACE (Docker, Podman), or "
            "securityContext.capabilities.add: [SYS_PTRACE] (Kubernetes)"
        )
    if scope == "1":
        return (
            "this kernel lets a process be looked at only by its ancestors and those it names, which this one did not: "
            "sudo sysctl kernel.yama.ptrace_scope=0 lets all of your processes be"
        )
    return f"the system refused py-spy the process: {said.strip()[-300:]}"


class Spies:
    """The py-spy processes of a raylet.

    Parameters
    ----------
    find
        The process id by what a question names; None: there is no such process here.
    tell
        Answers a peer.
    """

    def __init__(self, folder: str, find: Callable[[bytes], int | None], tell: Tell) -> None:
        self._folder = folder
        self._find = find
        self._tell = tell
        self.tasks: set[asyncio.Task[None]] = set()
        # Each by who asked, and the request.
        self._running: dict[tuple[bytes, int], Process] = {}
        self._asked: set[tuple[bytes, int]] = set()  # profiles under way, also those whose process is yet to be made
        self._stopped: set[tuple[bytes, int]] = set()  # … that are to end early
        self._profiled: set[int] = set()  # process ids
        self._last = 0

    def ask(self, peer: bytes, question: StackQuestion) -> None:
        """Begin to answer."""
        if question.seconds:
            self._asked.add((peer, question.request))
        task = asyncio.get_running_loop().create_task(self._answer(peer, question))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def stop(self, peer: bytes, message: StackStop) -> None:
        """End a profile early; it is answered by what there is."""
        key = peer, message.request
        if key in self._asked:
            self._stopped.add(key)
            self._interrupt_stopped(key)

    def _interrupt_stopped(self, key: tuple[bytes, int]) -> None:
        process = self._running.get(key)
        if process is not None and key in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End them all, nobody is answered; they are gone when `tasks` are done."""
        for task in self.tasks:
            task.cancel()

    async def _answer(self, peer: bytes, question: StackQuestion) -> None:
        try:
            answer = await self._look(peer, question)
        except (OSError, ValueError) as error:  # msgspec's are ValueErrors: a py-spy that writes otherwise
            answer = StackAnswer(question.request, error=f"py-spy: {error}", ask_itself=True)
        finally:
            self._asked.discard((peer, question.request))
            self._stopped.discard((peer, question.request))
        self._tell(peer, answer)

    async def _look(self, peer: bytes, question: StackQuestion) -> StackAnswer:
        request = question.request
        if not (0 <= question.seconds <= MAX_SECONDS and 1 <= question.rate <= MAX_RATE):
            limits = f"0 to {MAX_SECONDS:g} seconds at a rate of 1 to {MAX_RATE}"
            return StackAnswer(
                request, error=f"a profile may have {limits}, not {question.seconds:g} s at {question.rate}"
            )
        pid = self._find(question.process)
        if pid is None:
            return StackAnswer(
                request, error="this node has no such process any more: `list_workers` has those that live"
            )
        program = find_py_spy()
        if program is None:
            missing = "py-spy is not installed on this node: pip install 'himalia[profile]'"
            return StackAnswer(request, error=missing, ask_itself=True)
        if not question.seconds:
            return await self._dump(peer, question, program, pid)
        if pid in self._profiled:
            return StackAnswer(request, error=f"process {pid} is being profiled already: try again when that is over")
        self._profiled.add(pid)
        try:
            return await self._record(peer, question, program, pid)
        finally:
            self._profiled.discard(pid)

    async def _dump(self, peer: bytes, question: StackQuestion, program: str, pid: int) -> StackAnswer:
        # A process that is profiled must not be stopped by two at a time; one that goes on may be seen half way.
        gently = ["--nonblocking"] if pid in self._profiled else []
        command = [program, "dump", "--json", *gently, "--pid", str(pid)]
        code, output, said = await self._run(peer, question, command)
        if code and gently:
            code, output, said = await self._run(peer, question, command)
        if code:
            return self._failed(question, pid, said)
        return StackAnswer(question.request, parse_dump(output, pid, is_internal))

    async def _record(self, peer: bytes, question: StackQuestion, program: str, pid: int) -> StackAnswer:
        self._last += 1
        path = Path(self._folder) / f"profile-{self._last}.json"
        command = [program, "record", "--pid", str(pid), "--rate", str(question.rate), "--format", "speedscope"]
        command += ["--duration", str(max(1, round(question.seconds))), "--full-filenames", "--output", str(path)]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            code, _, said = await self._run(peer, question, command + (["--idle"] if question.idle else []))
            seconds = min(loop.time() - begun, question.seconds)
            if code or not path.exists():
                if (peer, question.request) not in self._stopped:
                    return self._failed(question, pid, said)
                nothing = Profile([pid], seconds, question.rate, [], [], ["py-spy"], question.idle)
                return StackAnswer(question.request, profile=nothing)  # it had not begun yet
            data = await loop.run_in_executor(None, path.read_bytes)
            parts = data, pid, question.rate, question.idle, seconds, is_internal
            return StackAnswer(question.request, profile=await loop.run_in_executor(None, parse_recording, *parts))
        finally:
            path.unlink(missing_ok=True)

    async def _run(self, peer: bytes, question: StackQuestion, command: list[str]) -> tuple[int, bytes, str]:
        """Run py-spy to its end: its exit code, what it wrote, and what it said."""
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
        key = peer, question.request
        self._running[key] = process
        self._interrupt_stopped(key)
        limit = question.seconds + _PATIENCE
        try:
            output, said = await asyncio.wait_for(process.communicate(), limit)
        except TimeoutError:
            return -1, b"", f"it was not done after {limit:g} s"
        finally:
            self._running.pop(key, None)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode or 0, output, said.decode(errors="replace")

    @staticmethod
    def _failed(question: StackQuestion, pid: int, said: str) -> StackAnswer:
        low = said.lower()
        if "permission" in low or "not permitted" in low:
            text = refusal(said, _YAMA.read_text() if _YAMA.exists() else "", _in_container())
        elif not Path(f"/proc/{pid}").exists():
            text = f"process {pid} has ended"
        else:
            text = f"py-spy could not look at process {pid}: {said.strip()[-300:]}"
        return StackAnswer(question.request, error=text, ask_itself=True)


def server_pid(role: bytes, host: int) -> int | None:
    """The node host ("host"), or its child that is the GCS ("gcs")."""
    if role == b"host":
        return host
    if role != b"gcs":
        return None
    for child in Path(f"/proc/{host}/task/{host}/children").read_text().split():
        with contextlib.suppress(OSError):  # it ends
            if Path(f"/proc/{child}/comm").read_text().strip() == "himalia:gcs":
                return int(child)
    return None


def _in_container() -> bool:
    return (
        os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv") or "KUBERNETES_SERVICE_HOST" in os.environ
    )
