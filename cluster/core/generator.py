"""`ObjectRefGenerator`: the references that a streaming task yields, as they come."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from .records import Record
from .refs import ObjectRef

if TYPE_CHECKING:
    from .tasks import TaskOps

__all__ = ["ObjectRefGenerator"]


class ObjectRefGenerator:
    """Iterate (``for`` or ``async for``) to get each `ObjectRef` as soon as the task has yielded it.

    An exception of the task is the last reference: `get` of it raises. Only the process that submitted the task can
    iterate.
    """

    def __init__(self, core: TaskOps, record: Record) -> None:
        self._core = core
        self._record = record
        assert record.ref is not None
        self._generator_ref = record.ref

    def __iter__(self) -> ObjectRefGenerator:
        return self

    def __next__(self) -> ObjectRef:
        self._wait(None)
        ref = self._take()
        if ref is None:
            raise StopIteration
        return ref

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef:
        """The next reference; nil if it has not come after ``timeout_s`` seconds."""
        if not self._wait(timeout_s):
            return ObjectRef.nil()
        ref = self._take()
        if ref is None:
            raise StopIteration
        return ref

    def __aiter__(self) -> ObjectRefGenerator:
        return self

    async def __anext__(self) -> ObjectRef:
        loop = asyncio.get_running_loop()
        while not self._available():
            arrived: asyncio.Future[None] = loop.create_future()
            self._core.post(partial(self._when_available, loop, arrived))
            await arrived
        ref = self._take()
        if ref is None:
            raise StopAsyncIteration
        return ref

    def completed(self) -> ObjectRef:
        """A reference that is ready when the task has ended."""
        return self._generator_ref

    def next_ready(self) -> bool:
        """Whether `next` would not wait."""
        return self._available()

    def is_finished(self) -> bool:
        """Whether all references were taken."""
        stream = self._record.stream
        assert stream is not None
        return 0 <= stream.total <= stream.taken

    def task_id(self) -> Any:
        """Id of the task."""
        return self._generator_ref.task_id()

    def _available(self) -> bool:
        stream = self._record.stream
        assert stream is not None
        return stream.taken < stream.arrived or stream.total >= 0

    def _when_available(self, loop: asyncio.AbstractEventLoop, arrived: asyncio.Future[None]) -> None:
        def settle() -> None:
            if not arrived.done():
                arrived.set_result(None)

        def tell() -> None:
            loop.call_soon_threadsafe(settle)

        stream = self._record.stream
        assert stream is not None
        if self._available():
            tell()
        elif stream.waiters is None:
            stream.waiters = [tell]
        else:
            stream.waiters.append(tell)

    def _wait(self, timeout: float | None) -> bool:
        if self._available():
            return True
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._core.blocking():  # a task that iterates lends its resources, which the generator's may need
            return self._core.wait_until(self._available, deadline)

    def _take(self) -> ObjectRef | None:
        stream = self._record.stream
        assert stream is not None
        if stream.taken >= stream.arrived:
            return None
        stream.taken += 1
        ref = stream.items.pop(stream.taken)
        if self._record.plan.backpressure > 0:
            self._core.post(lambda: self._core.completion.consumed(self._record))
        return ref

    def __del__(self) -> None:
        stream = self._record.stream
        if stream is not None and not stream.closed and not self._core.closed:
            stream.closed = True
            stream.items = {}
            if stream.total < 0:
                self._core.stream_abandoned(self._record)

    def __reduce__(self) -> Any:
        raise TypeError("an ObjectRefGenerator can not be pickled: pass the references that it yields instead")

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._generator_ref.hex()})"
