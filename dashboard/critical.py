"""What made a run take as long as it did: chains of functions, and of single tasks.

Strategy: between functions it is known who submitted whom and who worked on whose results, so a chain of mean times can
be laid over them. Times along results add up, since the second can only begin when the first has ended. A task that
submits others usually waits for them, so along a submission the longer of the two counts.

Of single tasks it is recorded when they ran and which task submitted them, not whose results they took: nobody pays for
that note with each task. So the chain of a run goes back from the task that ended last: to the task of a function whose
results its own works on that ended last before it began, or else to the one that submitted it. That is what it waited
for if it waited at all, and is called so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from .stream import Ended, TaskSeen

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Step", "longest_chain", "run_chain"]

_STEPS: Final = 60  # of a run's chain: the last ones
_TOLERANCE: Final = 0.001  # seconds by which clocks of two processes may differ

Edge = tuple[int, int]


class Step(msgspec.Struct):
    """A task of a chain. ``why``: it used a ``result`` of the one before, or was ``submitted`` by it, or is ``first``.

    ``gap`` are the seconds that passed before it began, since the one before ended, or submitted it at the earliest.
    """

    task: TaskSeen
    why: str
    gap: float


def longest_chain(weights: Mapping[int, float], links: Iterable[Edge], submits: Iterable[Edge]) -> list[int]:
    """The groups of the chain that takes longest, in order; see the top of the file for how times add up.

    Parameters
    ----------
    weights
        Mean seconds of a task, by group.
    links, submits
        Edges between groups: of results, and of submissions. Those that would close a cycle are left out.
    """
    after: dict[int, list[tuple[int, bool]]] = {}
    for edges, adds in ((links, True), (submits, False)):
        for first, second in edges:
            if first in weights and second in weights and first != second:
                after.setdefault(first, []).append((second, adds))
    best: dict[int, tuple[float, int, int]] = {}  # seconds from here on, boxes, the next one or -1
    for start in weights:
        _measure(start, weights, after, best)
    if not best:
        return []
    at = max(best, key=lambda number: best[number][:2])
    chain = []
    while at >= 0:
        chain.append(at)
        at = best[at][2]
    return chain


def _measure(
    start: int,
    weights: Mapping[int, float],
    after: Mapping[int, list[tuple[int, bool]]],
    best: dict[int, tuple[float, int, int]],
) -> None:
    """Depth first, without recursion: a chain may be longer than Python's stack."""
    if start in best:
        return
    on_way = {start}
    stack = [(start, iter(after.get(start, ())))]
    while stack:
        box, rest = stack[-1]
        deeper = next((one for one, _ in rest if one not in best and one not in on_way), None)
        if deeper is not None:
            on_way.add(deeper)
            stack.append((deeper, iter(after.get(deeper, ()))))
            continue
        own = weights[box]
        choices = [
            (own + best[one][0] if adds else max(own, best[one][0]), best[one][1] + 1, one)
            for one, adds in after.get(box, ())
            if one in best
        ]
        best[box] = max(choices, default=(own, 1, -1))
        on_way.discard(box)
        stack.pop()


def run_chain(model: Model, groups: Iterable[int]) -> list[Step]:
    """The single tasks that made groups end when they did, the first one first; see the top of the file."""
    ends = {number: model.stream.ended(number) for number in set(groups)}
    found = [one for one in ends.values() if len(one)]
    if not found:
        return []
    last = max(found, key=lambda one: float(one.ends[-1]))
    chain = [(last.task(len(last) - 1), "")]
    while len(chain) < _STEPS:
        before = _before(model, ends, chain[-1][0])
        if before is None:
            break
        chain.append(before)
    steps = []
    for index, (task, _) in enumerate(chain):
        if index + 1 == len(chain):
            steps.append(Step(task, "first", 0.0))
            continue
        earlier, why = chain[index + 1]
        steps.append(Step(task, why, max(0.0, task.begin - (earlier.end if why == "result" else earlier.begin))))
    return steps[::-1]


def _before(model: Model, ends: Mapping[int, Ended], task: TaskSeen) -> tuple[TaskSeen, str] | None:
    """What a task waited for, and why."""
    best: TaskSeen | None = None
    for made, used in model.graph.links:
        if used != task.group or made not in ends:
            continue
        one = ends[made]
        place = int(np.searchsorted(one.ends, task.begin + _TOLERANCE, side="right")) - 1
        if place >= 0 and one.begins[place] < task.begin and (best is None or one.ends[place] > best.end):
            best = one.task(place)
    if best is not None:
        return best, "result"
    parent = model.graph.parent_task(task.task_id)
    seen = model.task(parent) if parent else []
    return (seen[0], "submitted") if seen and seen[0].begin < task.begin else None
