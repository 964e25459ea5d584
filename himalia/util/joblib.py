"""A joblib backend: what uses joblib, as scikit-learn does, runs on the cluster::

    from himalia.util.joblib import register_himalia

    register_himalia()
    with joblib.parallel_config("himalia"):
        search.fit(X, y)

Registered under the names ``himalia`` and ``ray``, so that a program written for Ray needs no change.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, SequentialBackend, register_parallel_backend

import himalia
from himalia.util.executor import TaskExecutor

__all__ = ["HimaliaBackend", "register_himalia", "register_ray"]


def register_himalia() -> None:
    """Make the backends ``himalia`` and ``ray`` known to joblib."""
    register_parallel_backend("himalia", HimaliaBackend)
    register_parallel_backend("ray", HimaliaBackend)


#: The name that programs written for Ray call.
register_ray = register_himalia


class HimaliaBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches as tasks.

    Parameters
    ----------
    nesting_level, inner_max_num_threads
        joblib's own.
    ray_remote_args
        Options of the tasks, as ``{"num_cpus": 2}``; the name is that of Ray's backend.
    **options
        Options of the tasks, too: ``joblib.parallel_config("himalia", num_cpus=2)``.
    """

    supports_retrieve_callback = True

    def __init__(
        self,
        nesting_level: int | None = None,
        inner_max_num_threads: int | None = None,
        ray_remote_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(nesting_level=nesting_level, inner_max_num_threads=inner_max_num_threads)
        self._options = {**(ray_remote_args or {}), **options}
        self._executor: TaskExecutor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many batches run at once: ``-1`` means all CPUs of the cluster."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        if not himalia.is_initialized():
            himalia.init()
        return max(1, int(himalia.cluster_resources().get("CPU", 1)) + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """Prepare a call of ``Parallel``; the number of batches that will run at once."""
        n_jobs = self.effective_n_jobs(n_jobs)
        self.parallel = parallel
        self._executor = TaskExecutor(max_workers=n_jobs, **self._options)
        return n_jobs

    def submit(self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None) -> Future[Any]:
        """Run a batch; ``callback`` gets its future."""
        if self._executor is None:
            raise RuntimeError("the backend was not configured by joblib")
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """The results of a batch, or its error."""
        return future.result()

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """What ``Parallel`` within a batch uses: the batch has one CPU, so it runs there one after another."""
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Cancel what runs, after an error."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def terminate(self) -> None:
        """The end of a call of ``Parallel``."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None
        self.reset_batch_stats()
