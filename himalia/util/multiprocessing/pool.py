"""`Pool`, as in the standard library, whose processes are actors."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import himalia
from himalia.util.multiprocessing.dispatch import Chunk, Dispatcher
from himalia.util.multiprocessing.results import (
    AsyncResult,
    IMapIterator,
    OrderedIMapIterator,
    UnorderedIMapIterator,
)

if TYPE_CHECKING:
    from himalia import ActorHandle

__all__ = ["AsyncResult", "IMapIterator", "OrderedIMapIterator", "Pool", "UnorderedIMapIterator"]

#: Chunks for each process that `map` makes when it is not told: few enough to cost little, enough to even out.
_CHUNKS_PER_PROCESS = 4
#: Chunks for each process that `imap` has under way.
_AHEAD_PER_PROCESS = 2


class Pool:
    """A pool of processes, anywhere in the cluster.

    Parameters
    ----------
    processes
        How many; None: as many as the cluster has CPUs.
    initializer, initargs
        Called in each process when it starts.
    maxtasksperchild
        After how many chunks a process is replaced by a new one; None: never.
    context
        Accepted as the standard library does, and not used.
    ray_address
        Of the cluster to join if none is joined yet; the name is that of Ray's pool.
    ray_remote_args
        Options of the actors, as ``{"num_cpus": 2}``. A process takes one CPU unless they say otherwise.

    Raises
    ------
    ValueError
        ``processes`` is not positive, or is more than the cluster has CPUs for.

    Examples
    --------
    >>> with Pool(4) as pool:  # doctest: +SKIP
    ...     print(pool.map(abs, [-1, 2]))
    [1, 2]
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if processes is not None and processes < 1:
            raise ValueError(f"a pool needs at least one process, got processes={processes}")
        if initializer is not None and not callable(initializer):
            raise TypeError(f"initializer must be callable, got {initializer!r}")
        if maxtasksperchild is not None and maxtasksperchild < 1:
            raise ValueError(f"maxtasksperchild must be positive, got {maxtasksperchild}")
        options = {"num_cpus": 1, **(ray_remote_args or {})}
        self._processes = _count_processes(processes, ray_address, float(options["num_cpus"] or 0))
        self._open = True
        self._terminated = False
        actor_class = himalia.remote(**options)(_PoolProcess)
        arguments = tuple(initargs or ())

        def make_actor() -> ActorHandle:
            handle: ActorHandle = actor_class.remote(initializer, arguments)
            return handle

        self._dispatcher = Dispatcher(make_actor, self._processes, maxtasksperchild)
        # A pool that is dropped without `close` must not leave its thread and actors.
        self._finalizer = weakref.finalize(self, Dispatcher.terminate, self._dispatcher)

    # -- one call -----------------------------------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] | None = None, kwargs: dict[str, Any] | None = None
    ) -> Any:
        """``func(*args, **kwargs)``, in one of the processes."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """As `apply`, without waiting.

        Parameters
        ----------
        callback, error_callback
            Called with the result or the exception, on a thread of the pool: they should return soon.
        """
        result = AsyncResult(True, callback, error_callback)
        self._submit_all(result, func, [[(tuple(args or ()), dict(kwargs or {}))]])
        return result

    # -- many calls ---------------------------------------------------------------------------------------------------

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """``[func(item) for item in iterable]``, in parallel.

        Parameters
        ----------
        chunksize
            How many items a process gets at a time; None: so that each gets a few chunks.
        """
        return list(self.map_async(func, iterable, chunksize).get())

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        """As `map`, without waiting."""
        return self._map_async(func, (((item,), {}) for item in iterable), chunksize, callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """``[func(*item) for item in iterable]``, in parallel."""
        return list(self._map_async(func, _unpacked(iterable), chunksize).get())

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        chunksize: int | None = None,
    ) -> AsyncResult:
        """As `starmap`, without waiting. ``callback`` comes third, as in Ray."""
        return self._map_async(func, _unpacked(iterable), chunksize, callback, error_callback)

    def _map_async(
        self,
        func: Callable[..., Any],
        calls: Iterable[Any],
        chunksize: int | None,
        callback: Callable[[list[Any]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> AsyncResult:
        result = AsyncResult(False, callback, error_callback)
        everything = list(calls)
        if chunksize is None:
            chunksize = max(1, -(-len(everything) // (self._processes * _CHUNKS_PER_PROCESS)))
        self._submit_all(result, func, _chunked(everything, chunksize))
        return result

    def imap(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1) -> IMapIterator:
        """Yield ``func(item)`` in the order of the items; the iterable is read as results are taken."""
        return self._imap(OrderedIMapIterator, func, iterable, chunksize)

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> IMapIterator:
        """As `imap`, in the order in which results become ready."""
        return self._imap(UnorderedIMapIterator, func, iterable, chunksize)

    def _imap(
        self, kind: type[IMapIterator], func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None
    ) -> IMapIterator:
        self._check_open()
        function = himalia.put(func)
        chunks = enumerate(_chunked((((item,), {}) for item in iterable), chunksize or 1))
        dispatcher = self._dispatcher

        def more(iterator: IMapIterator) -> bool:
            found = next(chunks, None)
            if found is None:
                return False
            dispatcher.submit(Chunk(iterator, found[0], function, found[1]))
            return True

        iterator = kind(more)
        iterator._start(self._processes * _AHEAD_PER_PROCESS)
        return iterator

    def _submit_all(self, result: AsyncResult, func: Callable[..., Any], chunks: Iterable[list[Any]]) -> None:
        self._check_open()
        function = himalia.put(func)
        count = 0
        for index, calls in enumerate(chunks):
            self._dispatcher.submit(Chunk(result, index, function, calls))
            count += 1
        self._dispatcher.call(lambda: result._expect(count))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("the pool does not run: it was closed or terminated")

    def close(self) -> None:
        """Take no more work; the processes end when all is done."""
        if self._open:
            self._open = False
            self._dispatcher.close()

    def terminate(self) -> None:
        """End the processes at once. Results that were not ready raise RuntimeError."""
        if not self._terminated:
            self._open, self._terminated = False, True
            self._dispatcher.terminate()

    def join(self) -> None:
        """Wait until the processes have ended, after `close` or `terminate`.

        Raises
        ------
        ValueError
            The pool still runs.
        """
        if self._open:
            raise ValueError("the pool still runs: close or terminate it before join")
        self._dispatcher.join()
        self._finalizer.detach()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.terminate()

    def __reduce__(self) -> Any:
        raise NotImplementedError("a pool can not be passed between processes or pickled")


def _count_processes(processes: int | None, address: str | None, cpus_each: float) -> int:
    """How many processes there will be, in a cluster that is joined or started here if there is none."""
    if not himalia.is_initialized():
        himalia.init(address) if address is not None else himalia.init(num_cpus=processes)
    cpus = float(himalia.cluster_resources().get("CPU", 0))
    if processes is None:
        return max(1, int(cpus // cpus_each)) if cpus_each else max(1, int(cpus))
    if processes * cpus_each > cpus:
        raise ValueError(
            f"a pool of {processes} processes needs {processes * cpus_each:g} CPUs, and the cluster has {cpus:g}"
        )
    return processes


def _unpacked(iterable: Iterable[Iterable[Any]]) -> Iterator[Any]:
    return ((tuple(item), {}) for item in iterable)


def _chunked(calls: Iterable[Any], size: int) -> Iterator[list[Any]]:
    if size < 1:
        raise ValueError(f"chunksize must be at least 1, got {size}")
    iterator = iter(calls)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


class _PoolProcess:
    """The actor. A call that raises is an answer, so that the other calls of its chunk are not lost to `imap`."""

    def __init__(self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
        self._functions: dict[Any, Callable[..., Any]] = {}
        if initializer is not None:
            initializer(*initargs)

    def run(self, function_refs: list[Any], calls: list[Any]) -> list[tuple[bool, Any]]:
        # The reference comes in a list, so that the function is fetched and unpickled once, not for each chunk.
        (ref,) = function_refs
        function = self._functions.get(ref)
        if function is None:
            self._functions.clear()  # a process works for one call of the pool at a time, mostly
            function = self._functions[ref] = himalia.get(ref)
        return [_call(function, args, kwargs) for args, kwargs in calls]


def _call(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[bool, Any]:
    try:
        return True, function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - it is raised again where the result is asked for
        return False, error
