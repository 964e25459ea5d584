"""Ways of measuring that several benchmarks share."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Ratios", "bare_sleep_s", "medians_of", "paired", "percentile", "rate", "tree_pss_mb"]


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


class Ratios(NamedTuple):
    """What rounds in pairs gave.

    Attributes
    ----------
    without, with_it
        Medians of the rates.
    median, low, high
        Of the ratios of the pairs: the median, and the quartiles around it.
    pairs
        How many there were.
    """

    without: float
    with_it: float
    median: float
    low: float
    high: float
    pairs: int

    def text(self, limit: float) -> str:
        """In words, with what is demanded."""
        verdict = "met" if self.median >= limit else "not met"
        return (
            f"{self.median:.3f} of the rate is left (median of {self.pairs} pairs; half of them lie between "
            f"{self.low:.3f} and {self.high:.3f}): at least {limit:g} is demanded, {verdict}"
        )


def paired(without: Callable[[], float], with_it: Callable[[], float], pairs: int) -> Ratios:
    """Rates of two ways to do the same, in turn, each pair in the other order than the one before.

    What else the machine does changes slowly against a pair, so it falls on both of it: their ratio is what is left.
    Each is called once before, to warm up.
    """
    without(), with_it()
    found: list[tuple[float, float]] = []
    for number in range(pairs):
        if number % 2:
            second = with_it()
            found.append((without(), second))
        else:
            first = without()
            found.append((first, with_it()))
    ratios = [second / first for first, second in found]
    return Ratios(
        statistics.median(first for first, _ in found),
        statistics.median(second for _, second in found),
        statistics.median(ratios),
        percentile(ratios, 0.25),
        percentile(ratios, 0.75),
        pairs,
    )


def percentile(values: list[float], part: float) -> float:
    """The value below which ``part`` (0 to 1) of all values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def medians_of(figures: Mapping[str, Mapping[str, list[float]]]) -> dict[str, dict[str, float]]:
    """The median of the rounds, by figure and engine."""
    return {name: {engine: statistics.median(each) for engine, each in by.items()} for name, by in figures.items()}
