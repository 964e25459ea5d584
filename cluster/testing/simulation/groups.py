"""Programs that use placement groups: tasks and actors in them, groups without room, groups that are removed early.

Nobody relies on a group ever being there, since nodes die: whoever uses one waits for a while, then removes it, and
each of its tasks must have come to an end: a value, an error that its faults explain, or that its group was removed.
"""

from __future__ import annotations

from typing import Any

from ...core.actor_class import ActorClass
from ...core.id_types import PlacementGroupID
from ...core.placement_groups import PlacementGroup
from ...core.refs import ObjectRef
from ...core.strategies import PlacementGroupSchedulingStrategy
from ...gcs.bundle_placement import STRATEGIES
from ...protocol.common import RESOURCE_UNIT
from ...protocol.constraints import in_group
from ...protocol.errors import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    TaskPlacementGroupRemoved,
)
from .api import get, here, outcome, sleep, submit, wait
from .book import value_of
from .workloads import Context, judge, settle, work

__all__ = ["GROUPS"]


class Member:
    """An actor in a group."""

    def where(self, seconds: float) -> bytes:
        sleep(seconds)
        return here().node_id


def _call(ref: ObjectRef) -> None:
    try:
        get(ref)
    except (ActorDiedError, ActorUnavailableError, ActorPlacementGroupRemoved):
        return  # it was killed, or its group was removed


def groups(context: Context) -> None:
    """Make a group, use it, remove it."""
    for number in range(max(1, context.scale // 10)):
        _use_group(context, f"{context.name}/{number}")


def _use_group(context: Context, name: str) -> None:
    chance = context.random
    units = [chance.choice((RESOURCE_UNIT // 2, RESOURCE_UNIT)) for _ in range(chance.randint(1, 4))]
    desk = here().core.groups()
    others = [f"{name}/other{task}" for task in range(chance.choice((0, 0, 5, 20)))]  # that hold what the group wants
    outside = [(key, submit(work, key, context.seconds(), retries=-1)) for key in others]
    group_id = desk.create([{"CPU": each} for each in units], chance.choice(STRATEGIES), "", False, [])
    if chance.random() < 0.1:
        desk.remove(group_id)
    refs: list[tuple[str, ObjectRef]] = []
    for task in range(chance.randint(1, 10)):
        key, strategy = f"{name}/{task}", in_group(group_id, chance.randint(-1, len(units) - 1))
        retries = context.some_retries()
        refs.append((key, submit(work, key, context.seconds(), retries=retries, cpus=0.5, strategy=strategy)))
        if chance.random() < 0.1:
            sleep(context.seconds())
    calls = _use_actors(context, group_id, units) if chance.random() < 0.5 else []
    if chance.random() < 0.5:
        wait([ref for _, ref in refs], len(refs), 20 * context.seconds())
    else:
        desk.wait(group_id, chance.choice((0.0, 0.1, 3.0)))
    desk.remove(group_id)
    for key, ref in refs:
        found = outcome(key, ref)
        if isinstance(found, TaskPlacementGroupRemoved):
            continue
        if isinstance(found, Exception):
            judge(key, found)
        else:
            assert found == value_of(key), f"{key} returned {found!r}"
    for call in calls:
        _call(call)
    for key, ref in outside:
        settle(key, ref, value_of(key))


def _use_actors(context: Context, group_id: bytes, units: list[int]) -> list[ObjectRef]:
    chance = context.random
    calls: list[ObjectRef] = []
    for _ in range(chance.randint(1, 3)):
        strategy = PlacementGroupSchedulingStrategy(
            PlacementGroup(PlacementGroupID(group_id)), chance.randint(-1, len(units) - 1)
        )
        options: dict[str, Any] = {
            "num_cpus": 0.5,
            "max_restarts": chance.choice((0, 2)),
            "scheduling_strategy": strategy,
        }
        member = ActorClass(Member, options).remote()
        calls += [member.where.remote(context.seconds()) for _ in range(chance.randint(1, 4))]
    return calls


GROUPS = {"groups": groups}
