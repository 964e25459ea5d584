"""A queue that tasks, actors and drivers share: an asynchronous actor that holds the items."""

from __future__ import annotations

import asyncio
import queue as _queue
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import himalia

__all__ = ["Empty", "Full", "Queue"]


class Empty(_queue.Empty):
    """There is no item; also a ``queue.Empty``."""


class Full(_queue.Full):
    """There is no room; also a ``queue.Full``."""


class Queue:
    """First in, first out, between any processes of a cluster.

    Pass it to tasks and actors like any value. It lives as long as something refers to it.

    Parameters
    ----------
    maxsize
        How many items it holds; 0 or less: without limit.
    actor_options
        Options of the actor that holds the items, as ``{"num_cpus": 1, "name": "jobs"}``.

    Notes
    -----
    An `ObjectRef` that is put as an item arrives as its value, as arguments of tasks do; inside a list it stays a
    reference.

    Examples
    --------
    >>> queue = Queue(maxsize=10)  # doctest: +SKIP
    >>> queue.put("item")  # doctest: +SKIP
    >>> queue.get()  # doctest: +SKIP
    'item'
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        self.actor: Any = himalia.remote(_QueueActor).options(**(actor_options or {})).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items there are at the moment."""
        return int(himalia.get(self.actor.qsize.remote()))

    def qsize(self) -> int:
        """How many items there are at the moment."""
        return self.size()

    def empty(self) -> bool:
        """Whether there is no item at the moment."""
        return self.size() == 0

    def full(self) -> bool:
        """Whether there is no room at the moment."""
        return 0 < self.maxsize <= self.size()

    # -- put ----------------------------------------------------------------------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item.

        Parameters
        ----------
        item
            Anything that can be pickled.
        block
            Whether to wait for room.
        timeout
            Seconds to wait at most; None: as long as it takes.

        Raises
        ------
        Full
            There was no room (in time).
        ValueError
            ``timeout`` is negative.
        """
        _raise_full(himalia.get(self.actor.put.remote(item, _limit(block, timeout))))

    async def put_async(
        self,
        item: Any,
        block: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - as in Ray
    ) -> None:
        """As `put`, for coroutines."""
        _raise_full(await self.actor.put.remote(item, _limit(block, timeout)))

    def put_nowait(self, item: Any) -> None:
        """Add an item if there is room, else raise `Full`."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items in their order, or none.

        Raises
        ------
        Full
            There is no room for all of them.
        TypeError
            ``items`` is not iterable.
        """
        if not isinstance(items, Iterable):
            raise TypeError(f"items must be iterable, got a {type(items).__name__}")
        batch = list(items)
        if not himalia.get(self.actor.put_batch.remote(batch)):
            raise Full(f"there is no room for {len(batch)} more items: the queue holds {self.maxsize} at most")

    # -- get ----------------------------------------------------------------------------------------------------------

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item.

        Parameters
        ----------
        block
            Whether to wait for an item.
        timeout
            Seconds to wait at most; None: as long as it takes.

        Raises
        ------
        Empty
            There was no item (in time).
        ValueError
            ``timeout`` is negative.
        """
        return _item_of(himalia.get(self.actor.get.remote(_limit(block, timeout))))

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as in Ray
        """As `get`, for coroutines."""
        return _item_of(await self.actor.get.remote(_limit(block, timeout)))

    def get_nowait(self) -> Any:
        """Take the oldest item if there is one, else raise `Empty`."""
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take the ``num_items`` oldest items, or none.

        Raises
        ------
        Empty
            There are fewer.
        TypeError, ValueError
            ``num_items`` is not an integer, or negative.
        """
        if not isinstance(num_items, int):
            raise TypeError(f"num_items must be an int, got a {type(num_items).__name__}")
        if num_items < 0:
            raise ValueError(f"num_items must not be negative, got {num_items}")
        found = himalia.get(self.actor.get_batch.remote(num_items))
        if found is None:
            raise Empty(f"there are fewer than {num_items} items")
        return list(found)

    # -- the end ------------------------------------------------------------------------------------------------------

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """End the queue's actor; what is in the queue is lost, and using it afterwards is an error.

        Parameters
        ----------
        force
            End it at once, instead of after the calls that it has begun.
        grace_period_s
            Seconds until it is ended by force.
        """
        if self.actor is None:
            return
        if not force:
            ended = self.actor.__ray_terminate__.remote()
            himalia.wait([ended], timeout=grace_period_s)
        himalia.kill(self.actor, no_restart=True)
        self.actor = None


def _limit(block: bool, timeout: float | None) -> float | None:
    """Seconds that the actor may wait; 0: not at all."""
    if not block:
        return 0.0
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must not be negative, got {timeout}")
    return timeout


def _raise_full(accepted: bool) -> None:
    if not accepted:
        raise Full("the queue is full")


def _item_of(answer: tuple[bool, Any]) -> Any:
    found, item = answer
    if not found:
        raise Empty("the queue is empty")
    return item


class _QueueActor:
    """Holds the items. Answers tell success as a value: exceptions across processes cost more and read worse.

    Not an ``asyncio.Queue``: a batch is all or nothing, and a call that gives up must not take an item with it.
    """

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.items: deque[Any] = deque()
        self.changed = asyncio.Condition()

    def _room(self) -> float:
        return float("inf") if self.maxsize <= 0 else self.maxsize - len(self.items)

    async def _wait_until(self, ready: Callable[[], object], limit: float | None) -> bool:
        """Wait, holding the condition; whether it became ready in time."""
        if ready():
            return True
        if limit == 0:
            return False
        if limit is None:
            await self.changed.wait_for(lambda: bool(ready()))
            return True
        deadline = time.monotonic() + limit
        while not ready():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except TimeoutError:
                return bool(ready())
        return True

    async def qsize(self) -> int:
        return len(self.items)

    async def put(self, item: Any, limit: float | None) -> bool:
        async with self.changed:
            if not await self._wait_until(lambda: self._room() >= 1, limit):
                return False
            self.items.append(item)
            self.changed.notify_all()
            return True

    async def put_batch(self, items: list[Any]) -> bool:
        async with self.changed:
            if self._room() < len(items):
                return False
            self.items.extend(items)
            self.changed.notify_all()
            return True

    async def get(self, limit: float | None) -> tuple[bool, Any]:
        async with self.changed:
            if not await self._wait_until(lambda: self.items, limit):
                return False, None
            item = self.items.popleft()
            self.changed.notify_all()
            return True, item

    async def get_batch(self, count: int) -> list[Any] | None:
        async with self.changed:
            if len(self.items) < count:
                return None
            taken = [self.items.popleft() for _ in range(count)]
            self.changed.notify_all()
            return taken
