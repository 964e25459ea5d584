"""`ActorPool`: gives work to whichever of its actors is free."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import himalia

if TYPE_CHECKING:
    from himalia import ActorHandle, ObjectRef

__all__ = ["ActorPool"]

V = TypeVar("V")
Work = Callable[[Any, V], Any]


class ActorPool(Generic[V]):
    """Several actors as one: each gets its next piece of work when its last result was taken.

    Parameters
    ----------
    actors
        Handles. An actor belongs to one pool at a time.

    Examples
    --------
    >>> pool = ActorPool([Doubler.remote() for _ in range(2)])  # doctest: +SKIP
    >>> list(pool.map(lambda actor, x: actor.double.remote(x), [1, 2, 3]))  # doctest: +SKIP
    [2, 4, 6]
    """

    def __init__(self, actors: Iterable[ActorHandle]) -> None:
        self._idle = list(actors)
        self._working: dict[ObjectRef, tuple[int, ActorHandle]] = {}
        self._by_index: dict[int, ObjectRef] = {}
        self._waiting: deque[tuple[int, Work[V], V]] = deque()  # the first free actor takes the first of them
        self._next_submitted = 0
        self._next_returned = 0

    # -- many at once -------------------------------------------------------------------------------------------------

    def map(self, fn: Work[V], values: Iterable[V]) -> Iterator[Any]:
        """Apply ``fn(actor, value)`` to all values; yield results in the order of the values.

        Parameters
        ----------
        fn
            Submits to the actor it is given and returns the reference.
        values
            Each is given to the first actor that is free.

        Notes
        -----
        Results of earlier calls that nobody took are dropped.
        """
        self._submit_all(fn, values)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next()

        return results()

    def map_unordered(self, fn: Work[V], values: Iterable[V]) -> Iterator[Any]:
        """As `map`, but yield results in the order in which they become ready."""
        self._submit_all(fn, values)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next_unordered()

        return results()

    def _submit_all(self, fn: Work[V], values: Iterable[V]) -> None:
        while self.has_next():
            try:
                self.get_next_unordered()
            except himalia.exceptions.RayError:
                continue  # nobody asked for this result, nor for its error
        for value in values:
            self.submit(fn, value)

    # -- one by one ---------------------------------------------------------------------------------------------------

    def submit(self, fn: Work[V], value: V) -> None:
        """Give ``fn(actor, value)`` to a free actor, or keep it until one is free."""
        index = self._next_submitted
        self._next_submitted += 1
        if self._idle:
            self._start(index, self._idle.pop(), fn, value)
        else:
            self._waiting.append((index, fn, value))

    def _start(self, index: int, actor: ActorHandle, fn: Work[V], value: V) -> None:
        ref = fn(actor, value)
        if isinstance(ref, list | tuple):
            raise TypeError("the function given to an ActorPool must return one reference, got several")
        self._working[ref] = (index, actor)
        self._by_index[index] = ref

    def has_next(self) -> bool:
        """Whether results are there or will come."""
        return bool(self._working)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission.

        Parameters
        ----------
        timeout
            Seconds to wait at most; None: as long as it takes.
        ignore_if_timedout
            Whether a result that is not ready in time is given up, so that the next call goes on with the one after
            it, and its actor is free again.

        Raises
        ------
        StopIteration
            There is no result to come.
        TimeoutError
            It was not ready in time.
        ValueError
            A later result was taken already with `get_next_unordered`.
        """
        if not self.has_next():
            raise StopIteration("no more results to get")
        ref = self._by_index.get(self._next_returned)
        if ref is None:
            raise ValueError("get_next() is not possible after get_next_unordered(): the order is not known any more")
        ready, _ = himalia.wait([ref], timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                self._next_returned += 1
                self._release(ref)
            raise TimeoutError(f"the next result was not ready within {timeout} s")
        self._next_returned += 1
        return self._take(ref)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """A result that is ready, whichever was submitted first.

        Parameters
        ----------
        timeout, ignore_if_timedout
            As in `get_next`.

        Raises
        ------
        StopIteration
            There is no result to come.
        TimeoutError
            None was ready in time.
        """
        if not self.has_next():
            raise StopIteration("no more results to get")
        refs = list(self._working)
        ready, _ = himalia.wait(refs, num_returns=1, timeout=timeout)
        if not ready:
            if ignore_if_timedout:
                index, _ = self._working[refs[0]]
                self._next_returned = max(self._next_returned, index + 1)
                self._release(refs[0])
            raise TimeoutError(f"no result was ready within {timeout} s")
        index, _ = self._working[ready[0]]
        self._next_returned = max(self._next_returned, index + 1)
        return self._take(ready[0])

    def _take(self, ref: ObjectRef) -> Any:
        try:
            value = himalia.get(ref)
        except himalia.exceptions.ActorDiedError:
            # A dead actor gets no more work; if it was the last, those that wait keep waiting for a `push`.
            self._forget(ref)
            raise
        except BaseException:
            self._release(ref)
            raise
        self._release(ref)
        return value

    def _forget(self, ref: ObjectRef) -> ActorHandle:
        index, actor = self._working.pop(ref)
        del self._by_index[index]
        return actor

    def _release(self, ref: ObjectRef) -> None:
        self._welcome(self._forget(ref))

    def _welcome(self, actor: ActorHandle) -> None:
        self._idle.append(actor)
        if self._waiting:
            index, fn, value = self._waiting.popleft()
            self._start(index, self._idle.pop(), fn, value)

    # -- the actors ---------------------------------------------------------------------------------------------------

    def has_free(self) -> bool:
        """Whether an actor is free, so that `submit` starts at once."""
        return bool(self._idle) and not self._waiting

    def pop_idle(self) -> ActorHandle | None:
        """Take a free actor out of the pool; None if none is free."""
        return self._idle.pop() if self.has_free() else None

    def push(self, actor: ActorHandle) -> None:
        """Add an actor to the pool.

        Raises
        ------
        ValueError
            It is in the pool already.
        """
        known = [*self._idle, *(busy for _, busy in self._working.values())]
        if any(actor._actor_id == other._actor_id for other in known):
            raise ValueError("this actor belongs to the pool already")
        self._welcome(actor)
