"""Results as they come: `as_completed`, `map_unordered`, and `map` with a progress bar."""

from __future__ import annotations

import builtins
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import himalia
from himalia.util.progress import together

if TYPE_CHECKING:
    from himalia import ObjectRef
    from himalia.cluster.core.progress.watching import Group

__all__ = ["as_completed", "map", "map_unordered"]

#: Results that are fetched with one `get`: enough that its cost does not show.
DEFAULT_CHUNK_SIZE = 10
#: Tasks that may be under way at once: enough for a large machine, and little memory.
DEFAULT_BACKPRESSURE_SIZE = 100


def as_completed(
    refs: Sequence[ObjectRef],
    *,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    yield_obj_refs: bool = False,
    **wait_options: Any,
) -> Iterator[Any]:
    """Yield results in the order in which they become ready.

    Parameters
    ----------
    refs
        References; each once.
    chunk_size
        How many results that are ready are fetched at a time. Nothing waits for a chunk to be full.
    yield_obj_refs
        Yield the references, without fetching their values.
    **wait_options
        For `himalia.wait`: ``fetch_local``.

    Raises
    ------
    ValueError
        ``chunk_size`` is not positive, or an option of `himalia.wait` is not one that fits here.
    RayTaskError
        A task failed: raised when its turn comes, after the results that were ready before it.

    Examples
    --------
    >>> refs = [square.remote(x) for x in range(3)]  # doctest: +SKIP
    >>> sorted(as_completed(refs))  # doctest: +SKIP
    [0, 1, 4]
    """
    _check(chunk_size, wait_options)
    return _as_completed(list(refs), chunk_size, yield_obj_refs, wait_options)


def _check(chunk_size: int, wait_options: dict[str, Any]) -> None:
    if chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, got {chunk_size}")
    for name in ("num_returns", "timeout"):
        if name in wait_options:
            raise ValueError(f"{name} is chosen here: say chunk_size to fetch several results at a time")


def _as_completed(
    pending: list[ObjectRef], chunk_size: int, yield_refs: bool, wait_options: dict[str, Any]
) -> Iterator[Any]:
    with together() as group:
        while pending:
            ready, pending = _take_ready(pending, wait_options, group)
            yield from _results(ready, chunk_size, yield_refs)


def _take_ready(
    pending: list[ObjectRef], wait_options: dict[str, Any], group: Group
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """Wait for one reference, and take with it all others that are ready already."""
    with group.waiting():
        ready, rest = himalia.wait(pending, num_returns=1, **wait_options)
        if rest:
            also, rest = himalia.wait(rest, num_returns=len(rest), timeout=0, **wait_options)
            ready = ready + also
    group.took(len(ready))
    return ready, rest


def _results(ready: list[ObjectRef], chunk_size: int, yield_refs: bool) -> Iterator[Any]:
    if yield_refs:
        yield from ready
        return
    for start in range(0, len(ready), chunk_size):
        chunk = ready[start : start + chunk_size]
        try:
            values = himalia.get(chunk)
        except himalia.exceptions.RayError:
            # One of them failed: give what comes before it, then its error.
            for ref in chunk:
                yield himalia.get(ref)
        else:
            yield from values


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = DEFAULT_BACKPRESSURE_SIZE,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    yield_obj_refs: bool = False,
    **wait_options: Any,
) -> Iterator[Any]:
    """Call a remote function with each item, and yield results in the order in which they become ready.

    Parameters
    ----------
    fn
        A remote function, or a method of an actor handle: what has ``.remote``.
    items
        Arguments, one for each call; may be without end.
    backpressure_size
        How many calls may be under way or unread at once; None: no limit, ``items`` is read to its end at once.
    chunk_size, yield_obj_refs, **wait_options
        As in `as_completed`.

    Raises
    ------
    ValueError
        A size is not positive.
    TypeError
        ``fn`` has no ``remote``.
    """
    if backpressure_size is not None and backpressure_size < 1:
        raise ValueError(f"backpressure_size must be positive, got {backpressure_size}")
    _check(chunk_size, wait_options)
    if not hasattr(fn, "remote"):
        raise TypeError(
            f"map_unordered() calls fn.remote for each item, and {fn!r:.100} has none: make it a remote function"
        )
    return _map_unordered(fn, iter(items), backpressure_size, chunk_size, yield_obj_refs, wait_options)


def _map_unordered(
    fn: Any,
    items: Iterator[Any],
    backpressure_size: int | None,
    chunk_size: int,
    yield_refs: bool,
    wait_options: dict[str, Any],
) -> Iterator[Any]:
    pending: list[ObjectRef] = []
    with together(open_ended=True) as group:
        while True:
            room = None if backpressure_size is None else backpressure_size - len(pending)
            more = [fn.remote(item) for item in itertools.islice(items, room)]
            group.add(more)
            pending += more
            if not pending:
                return
            ready, pending = _take_ready(pending, wait_options, group)
            yield from _results(ready, chunk_size, yield_refs)


def map(  # noqa: A001 - it is the parallel `map`
    fn: Any,
    *iterables: Iterable[Any],
    progress: bool | None = None,
    description: str | None = None,
    chunksize: int = 1,
    **options: Any,
) -> list[Any]:
    """Apply a function to the items of iterables in parallel, and return the results in order.

    Parameters
    ----------
    fn
        A function (then made remote with ``options``), a remote function, or a method of an actor handle.
    *iterables
        As for the builtin `map`: one for each argument; the shortest ends it.
    progress
        Whether to show a progress bar; None: in notebooks and terminals, once it takes more than two seconds; True:
        at once, and as lines on standard error where there is neither.
    description
        What the bar says; None: the name of the function.
    chunksize
        How many calls make one task. Raise it when a call takes less than a millisecond. A plain function only.
    **options
        Of the tasks: ``num_cpus``, ``max_retries``, …

    Raises
    ------
    TypeError
        ``fn`` can not be called; an iterable is not one, or there is none.
    RayTaskError
        A call failed. The tasks that were submitted and have not ended are cancelled.

    Examples
    --------
    >>> from himalia.util import map
    >>> map(pow, [2, 3], [3, 2])  # doctest: +SKIP
    [8, 9]
    """
    if chunksize < 1:
        raise ValueError(f"chunksize must be at least 1, got {chunksize}")
    is_remote = hasattr(fn, "remote")
    if not is_remote and not callable(fn):
        raise TypeError(f"map() calls its first argument for each item, and {fn!r:.100} can not be called")
    if not iterables:
        raise TypeError("map() needs at least one iterable of arguments")
    if is_remote and chunksize != 1:
        raise ValueError("chunksize is for plain functions: a remote function gets one call for each item")
    calls = builtins.list(zip(*iterables, strict=False))
    if is_remote:
        target = fn.options(**options) if options else fn
        refs = [target.remote(*arguments) for arguments in calls]
    else:
        chunks = [calls[start : start + chunksize] for start in range(0, len(calls), chunksize)]
        target = himalia.remote(**options)(_Batch(fn).run) if options else himalia.remote(_Batch(fn).run)
        refs = [target.remote(chunk) for chunk in chunks]
    try:
        with together(show=progress, title=description or "") as group, group.waiting():
            values = himalia.get(refs)
    except BaseException:
        for ref in refs:
            himalia.cancel(ref)
        raise
    return values if is_remote else [value for batch in values for value in batch]


class _Batch:
    """Several calls as one task."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    @property
    def run(self) -> Callable[[list[tuple[Any, ...]]], list[Any]]:
        fn = self.fn

        def run_batch(calls: list[tuple[Any, ...]]) -> list[Any]:
            return [fn(*arguments) for arguments in calls]

        run_batch.__name__ = run_batch.__qualname__ = _name_of(fn)
        return run_batch


def _name_of(fn: Any) -> str:
    for attribute in ("__name__", "_function_name", "_method_name"):
        name = getattr(fn, attribute, None)
        if isinstance(name, str):
            return name.rpartition(".")[2]
    return type(fn).__name__
