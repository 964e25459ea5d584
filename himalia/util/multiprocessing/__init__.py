"""The interface of `multiprocessing.Pool`, with actors of a cluster as the processes::

    from himalia.util.multiprocessing import Pool

A program that uses the standard library's pool runs on a cluster by replacing the import.
"""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError  # noqa: A004 - the standard library calls it so

from himalia.util.multiprocessing.pool import Pool

__all__ = ["JoinableQueue", "Pool", "TimeoutError"]
