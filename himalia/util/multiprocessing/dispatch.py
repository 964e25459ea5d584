"""Gives the chunks of a pool to its actors.

Chunks wait in one queue, and an actor gets the next when it has finished one: a slow chunk holds up nothing but itself.
(Rejected: giving chunks to the actors in turn, which leaves actors idle while others have work waiting.) Each actor has
one chunk beyond the one that it runs, so that it does not wait for the round trip.

Everything here runs on the pool's completion thread, except what is said to be for other threads.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

import himalia
from himalia.util._completions import CompletionThread

if TYPE_CHECKING:
    from himalia import ActorHandle, ObjectRef

__all__ = ["Chunk", "Dispatcher", "Receiver"]

#: Chunks that an actor has at once: the one it runs, and the next.
_DEPTH = 2


class Receiver(Protocol):
    """What wants the results of chunks."""

    def _arrive(self, index: int, results: list[tuple[bool, Any]]) -> None: ...

    def _fail(self, index: int, error: BaseException) -> None: ...


class Chunk:
    """Some calls of one function, and who wants their results."""

    __slots__ = ("calls", "function", "index", "receiver")

    def __init__(self, receiver: Receiver, index: int, function: ObjectRef, calls: list[Any]) -> None:
        self.receiver = receiver
        self.index = index
        self.function = function
        self.calls = calls


class _Process:
    """An actor of the pool, what it has been given, and how much it may still be given."""

    __slots__ = ("actor", "chunks_left", "running")

    def __init__(self, actor: ActorHandle, chunks_left: int | None) -> None:
        self.actor = actor
        self.chunks_left = chunks_left
        self.running: list[Chunk] = []


class Dispatcher:
    """The actors of a pool and the chunks that wait for them.

    Parameters
    ----------
    make_actor
        Starts an actor.
    processes
        How many there are.
    max_chunks
        After how many chunks an actor is replaced; None: never.
    """

    def __init__(self, make_actor: Callable[[], ActorHandle], processes: int, max_chunks: int | None) -> None:
        self._make_actor = make_actor
        self._max_chunks = max_chunks
        self._thread = CompletionThread("himalia-pool")
        self._waiting: deque[Chunk] = deque()
        self._processes = [self._start_process() for _ in range(processes)]
        self._closing = False
        self._ended = threading.Event()

    # -- for other threads --------------------------------------------------------------------------------------------

    def submit(self, chunk: Chunk) -> None:
        """Take a chunk."""
        self._thread.call(lambda: self._submit(chunk))

    def call(self, function: Callable[[], None]) -> None:
        """Call a function on the thread, after the chunks that were submitted before."""
        self._thread.call(function)

    def close(self) -> None:
        """End the actors when all chunks are done."""
        self._thread.call(self._close)

    def terminate(self) -> None:
        """End the actors at once; chunks that are not done fail."""
        self._thread.call(self._terminate)

    def join(self) -> None:
        """Wait until the actors were told to end."""
        if not self._thread.is_current:
            self._ended.wait()
            self._thread.join()

    # -- on the thread ------------------------------------------------------------------------------------------------

    def _start_process(self) -> _Process:
        return _Process(self._make_actor(), self._max_chunks)

    def _submit(self, chunk: Chunk) -> None:
        if self._ended.is_set():
            chunk.receiver._fail(chunk.index, _terminated())
            return
        self._waiting.append(chunk)
        self._assign()

    def _assign(self) -> None:
        for depth in range(_DEPTH):  # first one for each, then the second
            for process in self._processes:
                if not self._waiting:
                    return
                if len(process.running) == depth and process.chunks_left != 0:
                    self._give(process, self._waiting.popleft())

    def _give(self, process: _Process, chunk: Chunk) -> None:
        if process.chunks_left is not None:
            process.chunks_left -= 1
        process.running.append(chunk)
        try:
            ref = process.actor.run.remote([chunk.function], chunk.calls)
        except Exception as error:  # noqa: BLE001 - it belongs to who wants the result
            process.running.remove(chunk)
            chunk.receiver._fail(chunk.index, error)
            return
        self._thread.watch(ref, lambda done: self._finished(process, chunk, done))

    def _finished(self, process: _Process, chunk: Chunk, done: Future[Any]) -> None:
        if chunk not in process.running:
            return  # terminated in the meantime
        process.running.remove(chunk)
        error = done.exception()
        died = isinstance(error, himalia.exceptions.RayActorError)
        if died or (process.chunks_left == 0 and not process.running):
            self._replace(process)
        try:
            if error is not None:
                chunk.receiver._fail(chunk.index, error)
            else:
                chunk.receiver._arrive(chunk.index, done.result())
        finally:
            self._assign()
            self._end_if_done()

    def _replace(self, process: _Process) -> None:
        # What a dead actor had been given fails by itself, chunk by chunk.
        if process in self._processes:
            self._processes[self._processes.index(process)] = self._start_process()

    def _close(self) -> None:
        self._closing = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._closing and not self._waiting and not any(process.running for process in self._processes):
            self._end()

    def _terminate(self) -> None:
        unfinished = [*(chunk for process in self._processes for chunk in process.running), *self._waiting]
        self._waiting.clear()
        for process in self._processes:
            process.running.clear()
        self._end()
        for chunk in unfinished:
            chunk.receiver._fail(chunk.index, _terminated())

    def _end(self) -> None:
        if self._ended.is_set():
            return
        self._ended.set()
        for process in self._processes:
            if himalia.is_initialized():
                himalia.kill(process.actor)
        self._processes = []
        self._thread.close()


def _terminated() -> RuntimeError:
    return RuntimeError("the pool was terminated before this was done")
