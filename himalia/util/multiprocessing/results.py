"""What the calls of a pool give: a result to wait for, and iterators."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Self

__all__ = ["AsyncResult", "IMapIterator", "OrderedIMapIterator", "UnorderedIMapIterator"]


class AsyncResult:
    """The result of `Pool.apply_async`, `map_async` or `starmap_async`, which may not be there yet.

    Made by the pool. Its chunks arrive in any order, on the pool's thread.
    """

    def __init__(
        self,
        single: bool,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self._single = single
        self._callback = callback
        self._error_callback = error_callback
        self._chunks: dict[int, list[Any]] = {}
        self._expected: int | None = None  # known when the iterable has ended
        self._error: BaseException | None = None
        self._value: Any = None
        self._done = threading.Event()

    # -- for the user -------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there, or ``timeout`` seconds have gone."""
        self._done.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """The result.

        Raises
        ------
        multiprocessing.TimeoutError
            It is not there in time.
        Exception
            What the call raised.
        """
        if not self._done.wait(timeout):
            raise multiprocessing.TimeoutError(f"the result was not there within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value

    def ready(self) -> bool:
        """Whether the call has ended."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Whether the call ended without an error.

        Raises
        ------
        ValueError
            It has not ended.
        """
        if not self.ready():
            raise ValueError(f"{self!r} is not ready")
        return self._error is None

    # -- for the pool -------------------------------------------------------------------------------------------------

    def _expect(self, chunks: int) -> None:
        self._expected = chunks
        self._finish_if_complete()

    def _arrive(self, index: int, results: list[tuple[bool, Any]]) -> None:
        values = []
        for succeeded, value in results:
            if not succeeded:
                self._fail(index, value)
                return
            values.append(value)
        self._chunks[index] = values
        self._finish_if_complete()

    def _fail(self, index: int, error: BaseException) -> None:
        # As in the standard library: the first error is the result; what else there was is dropped.
        if not self._done.is_set():
            self._error = error
            self._finish()

    def _finish_if_complete(self) -> None:
        if self._done.is_set() or len(self._chunks) != self._expected:
            return
        values = [value for index in range(self._expected) for value in self._chunks[index]]
        self._value = values[0] if self._single else values
        self._finish()

    def _finish(self) -> None:
        self._chunks.clear()
        self._done.set()
        if self._error is None:
            if self._callback is not None:
                self._callback(self._value)
        elif self._error_callback is not None:
            self._error_callback(self._error)


class IMapIterator(Iterator[Any]):
    """Results of `Pool.imap` and `imap_unordered`, one by one.

    Parameters
    ----------
    more
        Submits the next chunk of the input; False at its end. Called as results are taken, so that an input without
        end is read only as far as needed.
    """

    def __init__(self, more: Callable[[IMapIterator], bool]) -> None:
        self._more = more
        self._exhausted = False
        self._under_way = 0  # chunks that were submitted and not taken
        self._changed = threading.Condition()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result.

        Raises
        ------
        StopIteration
            There are no more.
        multiprocessing.TimeoutError
            It is not there in time. A later call may get it.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._changed:
                while not self._has_item():
                    if self._under_way == 0:
                        break
                    left = None if deadline is None else deadline - time.monotonic()
                    if not self._changed.wait(left) and left is not None and not self._has_item():
                        raise multiprocessing.TimeoutError(f"the next result was not there within {timeout} s")
                else:
                    succeeded, value = self._pop_item()
                    if succeeded:
                        return value
                    raise value
            if self._exhausted:
                raise StopIteration
            self._submit_one()

    def _start(self, ahead: int) -> None:
        """Submit the first chunks."""
        for _ in range(ahead):
            self._submit_one()

    def _submit_one(self) -> None:
        if self._exhausted:
            return
        with self._changed:
            self._under_way += 1
        if not self._more(self):
            self._exhausted = True
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def _chunk_taken(self) -> None:
        """All of a chunk was taken: submit another. Called with the condition held, by the consumer."""
        self._under_way -= 1
        if not self._exhausted:
            self._submit_one()

    def _arrive(self, index: int, results: list[tuple[bool, Any]]) -> None:
        with self._changed:
            self._store(index, results)
            self._changed.notify_all()

    def _fail(self, index: int, error: BaseException) -> None:
        self._arrive(index, [(False, error)])

    def _has_item(self) -> bool:
        raise NotImplementedError

    def _pop_item(self) -> tuple[bool, Any]:
        raise NotImplementedError

    def _store(self, index: int, results: list[tuple[bool, Any]]) -> None:
        raise NotImplementedError


class OrderedIMapIterator(IMapIterator):
    """Yields in the order of the input."""

    def __init__(self, more: Callable[[IMapIterator], bool]) -> None:
        super().__init__(more)
        self._chunks: dict[int, deque[tuple[bool, Any]]] = {}
        self._current = 0

    def _has_item(self) -> bool:
        return self._current in self._chunks

    def _pop_item(self) -> tuple[bool, Any]:
        chunk = self._chunks[self._current]
        item = chunk.popleft()
        if not chunk:
            del self._chunks[self._current]
            self._current += 1
            self._chunk_taken()
        return item

    def _store(self, index: int, results: list[tuple[bool, Any]]) -> None:
        self._chunks[index] = deque(results)


class UnorderedIMapIterator(IMapIterator):
    """Yields what is ready first."""

    def __init__(self, more: Callable[[IMapIterator], bool]) -> None:
        super().__init__(more)
        self._ready: deque[deque[tuple[bool, Any]]] = deque()

    def _has_item(self) -> bool:
        return bool(self._ready)

    def _pop_item(self) -> tuple[bool, Any]:
        item = self._ready[0].popleft()
        if not self._ready[0]:
            self._ready.popleft()
            self._chunk_taken()
        return item

    def _store(self, index: int, results: list[tuple[bool, Any]]) -> None:
        self._ready.append(deque(results))
