"""`TaskExecutor`: the interface of `concurrent.futures`, with the tasks of a cluster behind it."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import himalia
from himalia.util._completions import CompletionThread

if TYPE_CHECKING:
    from himalia import ObjectRef

__all__ = ["TaskExecutor", "TaskFuture"]

P = ParamSpec("P")
T = TypeVar("T")

#: Remote functions that are kept for the next call; a program submits few different ones, again and again.
_KEPT_FUNCTIONS = 64


class TaskFuture(Future[T]):
    """A future of a task. Cancelling it also interrupts a task that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.ref: ObjectRef | None = None  # none while the task waits for room in its executor

    def cancel(self) -> bool:
        """Cancel the task, pending or running.

        Returns
        -------
        bool
            False if it has ended already.
        """
        # The future stays pending until its task ends, so this succeeds until then.
        if not super().cancel():
            return False
        if self.ref is not None:
            himalia.cancel(self.ref)
        return True


class TaskExecutor(Executor):
    """Runs functions as tasks.

    Parameters
    ----------
    max_workers
        How many tasks may be with the cluster at once; None: all, and the cluster's resources decide.
    **options
        Of the tasks: ``num_cpus``, ``num_gpus``, ``max_retries``, …

    Examples
    --------
    >>> with TaskExecutor() as executor:  # doctest: +SKIP
    ...     future = executor.submit(pow, 2, 10)
    ...     print(future.result())
    1024
    """

    def __init__(self, max_workers: int | None = None, **options: Any) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError(f"max_workers must be positive, got {max_workers}")
        himalia.remote(**{"num_cpus": 1, **options})(_nothing)  # refuses wrong options here, not at the first submit
        self._options = options
        self._functions: OrderedDict[Callable[..., Any], Any] = OrderedDict()
        self._state = _State(max_workers, CompletionThread("himalia-executor"))
        # An executor that is dropped without `shutdown` still ends its thread when its last task has ended.
        self._finalizer = weakref.finalize(self, _State.close, self._state)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` as a task.

        Raises
        ------
        RuntimeError
            The executor is shut down.
        TypeError
            The arguments do not fit, or can not be pickled.
        """
        remote_function = self._remote(fn)
        future: TaskFuture[T] = TaskFuture()
        self._state.add(future, lambda: remote_function.remote(*args, **kwargs))
        return future

    def _remote(self, fn: Any) -> Any:
        if hasattr(fn, "remote"):
            return fn.options(**self._options) if self._options else fn
        try:
            found = self._functions.get(fn)
        except TypeError:  # it can not be hashed
            return self._make_remote(fn)
        if found is None:
            found = self._functions[fn] = self._make_remote(fn)
            if len(self._functions) > _KEPT_FUNCTIONS:
                self._functions.popitem(last=False)
        return found

    def _make_remote(self, fn: Callable[..., Any]) -> Any:
        return himalia.remote(**{"num_cpus": 1, **self._options})(_as_function(fn))

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """As the builtin ``map``, in parallel; results come in order.

        Parameters
        ----------
        fn, *iterables
            The function, and an iterable for each of its arguments.
        timeout
            Seconds from this call until the last result, at most.
        chunksize
            How many calls make one task. Raise it when a call takes less than a millisecond.

        Raises
        ------
        TimeoutError
            A result was not there in time.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be at least 1, got {chunksize}")
        if chunksize == 1 or hasattr(fn, "remote"):
            return super().map(fn, *iterables, timeout=timeout)
        batches = super().map(_Chunk(fn), _chunks(zip(*iterables, strict=False), chunksize), timeout=timeout)
        return (result for batch in batches for result in batch)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work.

        Parameters
        ----------
        wait
            Whether to return only when all tasks have ended.
        cancel_futures
            Whether to cancel those that have not.
        """
        self._state.shutdown(cancel_futures)
        if wait:
            self._state.join()
        self._finalizer.detach()


class _State:
    """What the callbacks need, apart from the executor, so that they do not keep that alive."""

    def __init__(self, max_workers: int | None, completions: CompletionThread) -> None:
        self._max_workers = max_workers
        self._completions = completions
        self._lock = threading.Lock()
        self._waiting: deque[tuple[TaskFuture[Any], Callable[[], Any]]] = deque()
        self._running: set[TaskFuture[Any]] = set()
        self._closed = False

    def add(self, future: TaskFuture[Any], submit: Callable[[], Any]) -> None:
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor is shut down: it takes no more work")
            if self._max_workers is not None and len(self._running) >= self._max_workers:
                self._waiting.append((future, submit))
                return
            self._running.add(future)
        self._start(future, submit)

    def _start(self, future: TaskFuture[Any], submit: Callable[[], Any]) -> None:
        try:
            ref = submit()
        except BaseException:
            with self._lock:
                self._running.discard(future)
            raise
        future.ref = ref
        self._completions.watch(ref, lambda done: self._finish(future, done))
        if future.cancelled():  # while it was being submitted
            himalia.cancel(ref)

    def _finish(self, future: TaskFuture[Any], done: Future[Any]) -> None:
        if future.set_running_or_notify_cancel():
            error = done.exception()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(done.result())
        with self._lock:
            self._running.discard(future)
        self._start_next()

    def _start_next(self) -> None:
        while True:
            with self._lock:
                if self._closed and not self._running and not self._waiting:
                    self._completions.close()
                if not self._waiting or (self._max_workers is not None and len(self._running) >= self._max_workers):
                    return
                future, submit = self._waiting.popleft()
                if not future.cancelled():
                    self._running.add(future)
                    break
            future.set_running_or_notify_cancel()
        try:
            self._start(future, submit)
        except BaseException as error:  # noqa: BLE001 - only the future can be told: the caller has gone on
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
            self._completions.call(self._start_next)

    def shutdown(self, cancel: bool) -> None:
        with self._lock:
            self._closed = True
            unfinished = [*self._running, *(future for future, _ in self._waiting)] if cancel else []
        for future in unfinished:
            future.cancel()
        self._completions.call(self._start_next)

    def close(self) -> None:
        self.shutdown(cancel=False)

    def join(self) -> None:
        self._completions.join()


class _Chunk:
    """Several calls as one."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, calls: list[tuple[Any, ...]]) -> list[Any]:
        return [self.fn(*arguments) for arguments in calls]

    def __hash__(self) -> int:
        return hash(self.fn)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Chunk) and other.fn == self.fn


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _as_function(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function, which is what can be made remote: builtins and objects with ``__call__`` are wrapped."""
    if isinstance(fn, type(_nothing)):
        return fn

    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    name = getattr(fn, "__name__", type(fn).__name__)
    call.__name__ = call.__qualname__ = name if isinstance(name, str) else "call"
    return call


def _nothing() -> None:
    pass
