"""Answers questions about the logs of a node, off the raylet's loop, and keeps the logs within their bound.

Reading is done in a thread. A search by a regular expression is done in a process of its own, since an expression may
take for ever on one line and would hold the interpreter's lock meanwhile; that process is ended when its time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

import msgspec

from ..protocol.log_messages import FoundLines, LogQuestion, LogSearch
from ..telemetry.task_log import log_limits
from . import log_keeper, log_reader

__all__ = ["LogDesk", "serve_search"]

_START: Final = 3.0
"""Seconds that the process of a search may take to start, on a machine that is busy."""
_MOST_SECONDS: Final = 30.0

# As the node host starts (launchers/local.py): without the public API, which this needs nothing of.
_ENTRY: Final = (
    "import sys; from importlib.util import find_spec, module_from_spec; "
    "sys.modules['himalia'] = module_from_spec(find_spec('himalia')); "
    "from himalia.cluster.raylet.log_desk import serve_search; serve_search(sys.argv[1])"
)


class LogDesk:
    """The logs of one node."""

    def __init__(self, session_dir: str, reply: Callable[[bytes, Any], None], living: Callable[[], set[str]]) -> None:
        self._session_dir = session_dir
        self._reply = reply
        self._living = living
        self._limit = log_limits().node
        self._next_look = 0.0
        self.tasks: set[asyncio.Task[None]] = set()

    def ask(self, peer: bytes, question: LogQuestion | LogSearch) -> None:
        """Begin to answer."""
        self._begin(self._answer(peer, question))

    def worker_ended(self) -> None:
        """What it leaves behind may be too much."""
        now = asyncio.get_running_loop().time()
        if now >= self._next_look:
            self._next_look = now + log_keeper.CHECK_EVERY
            self._begin(self._trim())

    def close(self) -> None:
        """End what is under way; nobody is answered."""
        for task in self.tasks:
            task.cancel()

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _trim(self) -> None:
        work = partial(log_keeper.trim_logs, self._session_dir, self._limit, self._living())
        with contextlib.suppress(OSError):  # the disk does not want to: the next look tries again
            await _in_thread(work)

    async def _answer(self, peer: bytes, question: LogQuestion | LogSearch) -> None:
        if isinstance(question, LogQuestion):
            self._reply(peer, await _in_thread(partial(log_reader.answer, self._session_dir, question)))
            return
        question.seconds = min(question.seconds, _MOST_SECONDS)
        try:
            if question.is_regex:
                found = await self._search_aside(question)
            else:
                from ..telemetry.log_search import search_logs  # not before somebody searches: a node starts faster

                found = await _in_thread(partial(search_logs, f"{self._session_dir}/logs", question))
        except (OSError, ValueError) as error:
            found = FoundLines(question.request, cursor=question.cursor, error=str(error))
        self._reply(peer, found)

    async def _search_aside(self, question: LogSearch) -> FoundLines:
        """Search in a process of its own.

        Raises
        ------
        ValueError
            It failed, or was not done in time.
        """
        command = [sys.executable, "-c", _ENTRY, f"{self._session_dir}/logs"]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        try:
            work = process.communicate(msgspec.msgpack.encode(question))
            output, _ = await asyncio.wait_for(work, question.seconds + _START)
        except TimeoutError:
            raise ValueError(
                f"{question.pattern!r} took more than {question.seconds:g} s on one line: an expression with "
                "repetitions inside repetitions may; search for a part of it as text"
            ) from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        if not output:
            raise ValueError(f"the process that searched ended with code {process.returncode}")
        return msgspec.msgpack.decode(output, type=FoundLines)


def _in_thread(work: Callable[[], Any]) -> Awaitable[Any]:
    return asyncio.get_running_loop().run_in_executor(None, work)


def serve_search(folder: str) -> None:
    """In a process of its own: take a `LogSearch` from stdin, write what was found to stdout."""
    from ..telemetry.log_search import search_logs

    question = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=LogSearch)
    try:
        found = search_logs(folder, question)
    except (OSError, ValueError) as error:
        found = FoundLines(question.request, cursor=question.cursor, error=str(error))
    sys.stdout.buffer.write(msgspec.msgpack.encode(found))
