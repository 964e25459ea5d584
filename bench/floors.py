"""What Himalia must reach: each figure's floor, against Ray, against a limit of the same run, or in itself.

A floor holds for one run in which both sides were measured alternately; a single figure from one day compares with
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["FLOORS", "Floor", "Verdict", "judge"]


class Floor(NamedTuple):
    """``figure`` of Himalia is ``at_least`` (or ``at_most``) so many times ``of``.

    ``of`` is the name of an engine (the same figure there), of another figure (of Himalia in the same run), or empty
    (the figure itself).
    """

    figure: str
    bound: float
    of: str
    at_most: bool = False

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{sign} {self.bound:g}{' × ' + self.of if self.of else ''}"


FLOORS: tuple[Floor, ...] = (
    Floor("tasks_async", 20, "ray"),
    Floor("tasks_10k_args", 20, "ray"),
    Floor("tasks_sync", 3, "ray"),
    Floor("actor_sync", 2, "ray"),
    Floor("task_chain", 10, "ray"),
    Floor("tree_reduce", 10, "ray"),
    Floor("tasks_two_clients", 8, "ray"),
    Floor("actor_n_to_n", 8, "ray"),
    Floor("actor_async", 15, "ray"),
    Floor("async_actor_async", 15, "ray"),
    Floor("actor_start", 20, "ray"),
    Floor("put_small", 50, "ray"),
    Floor("get_64kb", 2, "ray"),
    Floor("get_large_zero_copy_per_s", 2, "ray"),
    Floor("put_large_gb_per_s", 0.6, "memcpy_limit_gb_per_s"),
    Floor("arg_10mb_per_s", 4, "ray"),
    Floor("return_10mb_per_s", 4, "ray"),
    Floor("fine_grained_efficiency", 0.90, ""),
    Floor("startup_to_first_result_s", 0.15, "ray", at_most=True),
    Floor("idle_memory_mb", 0.25, "ray", at_most=True),
)


class Verdict(NamedTuple):
    """``reached`` is NaN and ``is_met`` None where the run lacks what the floor compares."""

    floor: Floor
    value: float
    reference: float
    reached: float
    is_met: bool | None


def judge(medians: Mapping[str, Mapping[str, float]], engine: str = "himalia") -> list[Verdict]:
    """Each floor against medians by figure and engine."""
    verdicts = []
    for floor in FLOORS:
        mine = medians.get(floor.figure, {})
        value = mine.get(engine, math.nan)
        if not floor.of:
            reference = 1.0
        elif floor.of in medians:
            reference = medians[floor.of].get(engine, math.nan)
        else:
            reference = mine.get(floor.of, math.nan)
        reached = value / reference if reference else math.nan
        is_met = None if math.isnan(reached) else reached <= floor.bound if floor.at_most else reached >= floor.bound
        verdicts.append(Verdict(floor, value, reference, reached, is_met))
    return verdicts
