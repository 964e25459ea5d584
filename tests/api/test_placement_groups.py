"""Placement groups: resources reserved together, and what runs in them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest


class Groups:
    """The functions of this subject, whichever engine executes them."""

    def __init__(self, ray: ModuleType) -> None:
        import importlib

        self.ray = ray
        self.util = importlib.import_module(f"{ray.__name__}.util")
        strategies = importlib.import_module(f"{ray.__name__}.util.scheduling_strategies")
        self.strategy = strategies.PlacementGroupSchedulingStrategy
        self.made: list[Any] = []

    def make(self, bundles: list[dict[str, float]], **options: Any) -> Any:
        """A group that the test's end removes."""
        group = self.util.placement_group(bundles, **options)
        self.made.append(group)
        return group

    def ready(self, bundles: list[dict[str, float]], **options: Any) -> Any:
        """One that is there."""
        group = self.make(bundles, **options)
        assert self.ray.get(group.ready()) == group
        return group

    def within(self, group: Any, index: int = -1, capture: bool | None = None) -> dict[str, Any]:
        return {"scheduling_strategy": self.strategy(group, index, capture)}


@pytest.fixture
def groups(ray: ModuleType, eventually: Any) -> Iterator[Groups]:
    eventually(lambda: ray.available_resources().get("CPU") == 4)
    found = Groups(ray)
    yield found
    for group in found.made:
        found.util.remove_placement_group(group)
    # Nothing leaks: the node has all that it had.
    eventually(
        lambda: all(ray.available_resources().get(name) == n for name, n in (("CPU", 4), ("GPU", 4), ("slot", 2)))
    )


def test_a_group_reserves_its_bundles_and_gives_them_back(ray: ModuleType, groups: Groups, eventually: Any) -> None:
    group = groups.make([{"CPU": 1, "slot": 1}, {"CPU": 2}])
    assert ray.get(group.ready()) == group
    assert group.wait(10)
    assert group.bundle_count == 2
    assert group.bundle_specs == [{"CPU": 1, "slot": 1}, {"CPU": 2}]
    eventually(lambda: ray.available_resources().get("CPU") == 1)
    assert ray.available_resources().get("slot") == 1
    groups.util.remove_placement_group(group)
    eventually(lambda: ray.available_resources().get("CPU") == 4)
    groups.util.remove_placement_group(group)  # again: nothing


def test_tasks_and_actors_run_in_a_bundle_beyond_what_is_free_outside(ray: ModuleType, groups: Groups) -> None:
    group = groups.ready([{"CPU": 2}, {"CPU": 2}])

    @ray.remote
    def where() -> Any:
        return ray.util.get_current_placement_group()

    @ray.remote(num_cpus=1)
    class Actor:
        def where(self) -> Any:
            return ray.util.get_current_placement_group()

    assert ray.util.get_current_placement_group() is None
    refs = [where.options(**groups.within(group, index)).remote() for index in (0, 1, -1)]
    assert ray.get(refs) == [group] * 3
    actor = Actor.options(**groups.within(group, 1)).remote()
    assert ray.get(actor.where.remote()) == group
    outside = where.remote()  # all CPUs are the group's
    assert ray.wait([outside], timeout=0.3)[0] == []
    ray.kill(actor)
    groups.util.remove_placement_group(group)
    assert ray.get(outside) is None


def test_a_bundle_holds_no_more_at_a_time_than_it_has(ray: ModuleType, groups: Groups, signal: Any) -> None:
    group = groups.ready([{"CPU": 1}])
    gate = signal()

    @ray.remote
    def wait_for(gate: Any) -> str:
        import asyncio

        async def wait() -> None:
            await gate.wait.remote()

        asyncio.run(wait())  # not in `get`, which might lend the CPU away
        return "done"

    options = groups.within(group, 0)
    first = wait_for.options(**options).remote(gate)
    second = wait_for.options(**options).remote(gate)
    assert ray.wait([first, second], timeout=0.3)[0] == []
    ray.get(gate.send.remote())
    assert ray.get([first, second]) == ["done", "done"]


def test_a_bundles_gpus_are_those_that_its_tasks_see(ray: ModuleType, groups: Groups) -> None:
    group = groups.ready([{"CPU": 1, "GPU": 1}, {"CPU": 1, "GPU": 1}])

    @ray.remote(num_gpus=1)
    def gpus() -> list[int]:
        return [int(index) for index in ray.get_gpu_ids()]

    one, other = (ray.get([gpus.options(**groups.within(group, i)).remote() for _ in range(2)]) for i in (0, 1))
    assert one[0] == one[1] != other[0] == other[1]
    assert len(one[0]) == len(other[0]) == 1


def test_children_are_captured_only_if_asked(ray: ModuleType, groups: Groups) -> None:
    group = groups.ready([{"CPU": 2}])

    @ray.remote
    def child() -> Any:
        return ray.util.get_current_placement_group()

    @ray.remote
    def parent() -> tuple[Any, Any, bool]:
        context = ray.get_runtime_context()
        refs = [child.remote(), child.options(scheduling_strategy="DEFAULT").remote()]
        mine, other = ray.get(refs)
        return mine, other, context.should_capture_child_tasks_in_placement_group

    @ray.remote(num_cpus=0)
    class Inner:
        def where(self) -> Any:
            return ray.util.get_current_placement_group()

    @ray.remote(num_cpus=1)
    class Actor:
        def child(self) -> Any:
            return ray.get([child.remote(), Inner.remote().where.remote()])

    captured = parent.options(**groups.within(group, 0, True)).remote()
    assert ray.get(captured) == (group, None, True)
    # The same process and functions, without: what was learnt for one is not used for the other.
    free = parent.options(**groups.within(group, 0)).remote()
    assert ray.get(free) == (None, None, False)
    for capture, expected in ((True, group), (False, None)):
        actor = Actor.options(**groups.within(group, 0, capture)).remote()
        assert ray.get(actor.child.remote()) == [expected] * 2
        ray.kill(actor)


def test_a_handle_can_be_pickled_and_used_by_tasks(ray: ModuleType, groups: Groups) -> None:
    group = groups.ready([{"CPU": 1}, {"CPU": 1}])
    assert pickle.loads(pickle.dumps(group)) == group

    @ray.remote(num_cpus=0)
    def use(handle: Any) -> tuple[Any, int, bool]:
        @ray.remote
        def inner() -> Any:
            return ray.util.get_current_placement_group()

        from importlib import import_module

        strategies = import_module(f"{ray.__name__}.util.scheduling_strategies")
        strategy = strategies.PlacementGroupSchedulingStrategy(handle, 1)
        return ray.get(inner.options(scheduling_strategy=strategy).remote()), handle.bundle_count, handle.wait(5)

    assert ray.get(use.remote(group)) == (group, 2, True)


def test_groups_are_found_by_name(ray: ModuleType, groups: Groups) -> None:
    group = groups.ready([{"CPU": 1}], name="by name")
    found = groups.util.get_placement_group("by name")
    assert found == group
    assert found.bundle_specs == [{"CPU": 1}]
    table = groups.util.placement_group_table(group)
    assert (table["name"], table["state"], table["strategy"]) == ("by name", "CREATED", "PACK")
    assert table["bundles"] == {0: {"CPU": 1.0}}
    assert group.id.hex() in groups.util.placement_group_table()
    groups.util.remove_placement_group(group)
    with pytest.raises(ValueError, match="by name"):
        groups.util.get_placement_group("by name")


def test_tasks_and_actors_end_with_their_group(ray: ModuleType, groups: Groups, signal: Any) -> None:
    group = groups.ready([{"CPU": 1}, {"CPU": 1}, {"CPU": 1}])
    started = signal()

    @ray.remote
    def forever(started: Any) -> None:
        import time

        ray.get(started.send.remote())
        while True:
            time.sleep(0.05)

    @ray.remote(num_cpus=1)
    class Actor:
        def ready(self) -> bool:
            return True

    running = forever.options(**groups.within(group, 0)).remote(started)
    queued = forever.options(**groups.within(group, 0)).remote(started)
    actor = Actor.options(**groups.within(group, 1)).remote()
    assert ray.get(actor.ready.remote())
    ray.get(started.wait.remote())
    groups.util.remove_placement_group(group)
    for ref in (running, queued):
        with pytest.raises((ray.exceptions.TaskPlacementGroupRemoved, ray.exceptions.WorkerCrashedError)):
            ray.get(ref)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(actor.ready.remote())
    with pytest.raises(ray.exceptions.TaskPlacementGroupRemoved):
        ray.get(forever.options(**groups.within(group, 0)).remote(started))


def test_a_group_that_does_not_fit_stays_pending_until_there_is_room(ray: ModuleType, groups: Groups) -> None:
    first = groups.ready([{"CPU": 3}])
    second = groups.make([{"CPU": 2}])
    ready = second.ready()
    assert not second.wait(0.2)
    assert ray.wait([ready], timeout=0)[0] == []
    groups.util.remove_placement_group(first)
    assert ray.get(ready) == second


def test_who_waits_for_a_group_that_is_removed_is_told(ray: ModuleType, groups: Groups) -> None:
    group = groups.make([{"CPU": 99}])
    ready = group.ready()

    @ray.remote(num_cpus=0)
    def after(group: Any) -> str:
        return "never"

    dependent = after.remote(ready)
    groups.util.remove_placement_group(group)
    for ref in (ready, dependent):
        with pytest.raises(ray.exceptions.TaskPlacementGroupRemoved):
            ray.get(ref)
    assert not group.wait(0.1)


def test_all_bundles_are_there_or_none(ray: ModuleType, groups: Groups) -> None:
    group = groups.make([{"CPU": 1}, {"CPU": 1}, {"CPU": 99}])
    assert not group.wait(0.3)
    assert ray.available_resources()["CPU"] == 4
    spread = groups.make([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")  # there is one node
    assert not spread.wait(0.3)
    assert groups.ready([{"CPU": 4}], strategy="STRICT_PACK").bundle_count == 1


def test_what_fits_into_no_bundle_is_refused_at_the_call(ray: ModuleType, groups: Groups) -> None:
    group = groups.ready([{"CPU": 1}, {"CPU": 2}])

    @ray.remote
    def f() -> None: ...

    @ray.remote(num_gpus=1)
    class Actor: ...

    with pytest.raises(ValueError, match="bundle"):
        f.options(**groups.within(group), num_cpus=3).remote()
    with pytest.raises(ValueError, match="bundle"):
        Actor.options(**groups.within(group)).remote()
    for index in (2, -2):
        with pytest.raises(ValueError, match="bundle"):
            f.options(**groups.within(group, index)).remote()


@pytest.mark.parametrize(
    ("bundles", "options"),
    [
        ([], {}),
        ([{}], {}),
        ([{"CPU": 0}], {}),
        ([{"CPU": -1}], {}),
        (["CPU"], {}),
        ({"CPU": 1}, {}),
        ([{"CPU": 1}], {"strategy": "EVERYWHERE"}),
        ([{"CPU": 1}], {"lifetime": "long"}),
        ([{"CPU": 1}], {"bundle_label_selector": [{}, {}]}),
        ([{"CPU": "many"}], {}),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(groups: Groups, bundles: Any, options: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        groups.make(bundles, **options)


@pytest.mark.only_engine("himalia", reason="Ray makes the group, and says nothing of the name")
def test_a_name_that_is_taken_is_refused_and_free_again_after_removal(groups: Groups) -> None:
    first = groups.ready([{"CPU": 1}], name="taken")
    with pytest.raises(ValueError, match="taken"):
        groups.make([{"CPU": 1}], name="taken")
    groups.util.remove_placement_group(first)
    groups.ready([{"CPU": 1}], name="taken")


@pytest.mark.only_engine("himalia", reason="arguments that Ray has, too")
@pytest.mark.parametrize("option", ["_soft_target_node_id", "topology_strategy"])
def test_arguments_that_are_not_supported_are_named(groups: Groups, option: str) -> None:
    with pytest.raises(ValueError, match=option):
        groups.make([{"CPU": 1}], **{option: {} if option == "topology_strategy" else "00" * 8})


@pytest.mark.only_engine("himalia", reason="Ray leaves the task pending, or ignores the labels")
def test_labels_are_asked_for_by_the_group_and_not_by_what_runs_in_it(ray: ModuleType, groups: Groups) -> None:
    group = groups.make([{"CPU": 1}])

    @ray.remote(label_selector={"zone": "a"})
    def f() -> None: ...

    with pytest.raises(ValueError, match="bundle_label_selector"):
        f.options(**groups.within(group)).remote()
    nowhere = groups.make([{"CPU": 1}], bundle_label_selector=[{"zone": "a"}])
    assert not nowhere.wait(0.2)


@pytest.mark.only_engine("himalia", reason="the fields of the state API are compared with Ray by tests/compat")
def test_the_state_api_tells_of_groups_and_why_one_waits(ray: ModuleType, groups: Groups, eventually: Any) -> None:
    from himalia.util.state import (
        get_placement_group,
        list_cluster_events,
        list_placement_groups,
        summarize_placement_groups,
    )

    group = groups.ready([{"CPU": 1}, {"CPU": 2}], name="told")
    row = get_placement_group(group.id.hex())
    assert row is not None
    assert (row.state, row.name, row.bundle_count, row.strategy) == ("CREATED", "told", 2, "PACK")
    assert [bundle["unit_resources"] for bundle in row.bundles or ()] == [{"CPU": 1.0}, {"CPU": 2.0}]
    large = groups.make([{"CPU": 99}])
    eventually(lambda: get_placement_group(large.id.hex()).reason)
    [waiting] = list_placement_groups(filters=[("placement_group_id", "=", large.id.hex())], detail=True)
    assert waiting.state == "PENDING"
    assert waiting.stats["scheduling_state"] == "NEVER"
    assert "99 CPU" in waiting.reason
    counts = summarize_placement_groups()["cluster"]["summary"]["PACK"]["state_counts"]
    assert (counts["CREATED"], counts["PENDING"]) == (1, 1)
    groups.util.remove_placement_group(group)
    events = [event.event_type for event in list_cluster_events(limit=1000)]
    assert {"GROUP_CREATED", "GROUP_REMOVED", "GROUP_INFEASIBLE"} <= set(events)
