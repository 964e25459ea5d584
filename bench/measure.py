"""Ways of measuring that several benchmarks share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["bare_sleep_s", "medians_of", "percentile", "rate", "tree_pss_mb"]


def rate(function: Callable[[], Any], operations: int, seconds: float) -> float:
    """Operations a second, of which a call does several: called once to warm up, then for about ``seconds``."""
    function()
    calls, elapsed, start = 0, 0.0, time.perf_counter()
    while not calls or elapsed < seconds:
        function()
        calls += 1
        elapsed = time.perf_counter() - start
    return calls * operations / elapsed


def bare_sleep_s(milliseconds: float, times: int = 200) -> float:
    """What one sleep takes on this machine, in seconds: the limit that an engine's short tasks meet."""
    start = time.perf_counter()
    for _ in range(times):
        time.sleep(milliseconds / 1000)
    return (time.perf_counter() - start) / times


def tree_pss_mb() -> float:
    """Memory of this process and all its descendants in MB, shared pages counted once (PSS)."""
    import psutil

    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 1e6


def percentile(values: list[float], part: float) -> float:
    """The value below which ``part`` (0 to 1) of all values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def medians_of(figures: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, float]]:
    """The median of the rounds, by figure and engine."""
    return {name: {engine: statistics.median(each) for engine, each in by.items()} for name, by in figures.items()}
