"""The state API and the timeline: what ran, what runs, where."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NEEDS_STATE_API = True


@pytest.fixture
def state(ray: ModuleType, engine: Any) -> ModuleType:
    return engine.submodule("util.state")


def named(prefix: str) -> str:
    import uuid

    return f"{prefix}_{uuid.uuid4().hex[:8]}"


def tasks_named(state: ModuleType, name: str, **more: Any) -> list[Any]:
    return state.list_tasks(filters=[("name", "=", name)], **more)


def test_finished_tasks_are_listed(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("finished")

    @ray.remote
    def f() -> None: ...

    refs = [f.options(name=name).remote() for _ in range(3)]
    ray.get(refs)
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["FINISHED"] * 3)
    # What the worker and what the owner know of a task arrive separately.
    eventually(lambda: {task.func_or_class_name.split(".")[-1] for task in tasks_named(state, name)} == {"f"})
    found = tasks_named(state, name)
    assert {task.task_id for task in found} == {ref.task_id().hex() for ref in refs}
    assert {task.type for task in found} == {"NORMAL_TASK"}
    assert {task.job_id for task in found} == {ray.get_runtime_context().get_job_id()}


@pytest.mark.parametrize("kind", ["plain", "threaded", "async"])
def test_calls_that_run_are_listed_in_every_kind_of_actor(
    kind: str, ray: ModuleType, state: ModuleType, signal: Any, eventually: Any
) -> None:
    gate, name = signal(), named(kind)

    @ray.remote
    class Plain:
        def call(self) -> None:
            ray.get(gate.wait.remote())

    @ray.remote
    class Async:
        async def call(self) -> None:
            await gate.wait.remote()

    options = {"plain": {}, "threaded": {"max_concurrency": 2}, "async": {"max_concurrency": 2}}[kind]
    actor = (Async if kind == "async" else Plain).options(**options).remote()
    refs = [actor.call.options(name=name).remote() for _ in range(2)]
    eventually(lambda: "RUNNING" in {task.state for task in tasks_named(state, name)})
    gate.send.remote()
    ray.get(refs)
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["FINISHED"] * 2)


def test_tasks_are_not_recorded_where_their_options_say_so(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    silent, told = named("silent"), named("told")

    @ray.remote
    def f() -> None: ...

    @ray.remote(enable_task_events=False)
    class Silent:
        def call(self) -> None: ...

    actor = Silent.remote()
    ray.get([f.options(name=silent, enable_task_events=False).remote(), actor.call.options(name=silent).remote()])
    ray.get([f.options(name=told).remote(), actor.call.options(name=told, enable_task_events=True).remote()])
    eventually(lambda: [task.state for task in tasks_named(state, told)] == ["FINISHED"] * 2)
    assert tasks_named(state, silent) == []


def test_running_tasks_are_listed(ray: ModuleType, state: ModuleType, signal: Any, eventually: Any) -> None:
    gate, name = signal(), named("running")

    @ray.remote
    def f() -> None:
        ray.get(gate.wait.remote())

    ref = f.options(name=name).remote()
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["RUNNING"])
    gate.send.remote()
    ray.get(ref)
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["FINISHED"])


def test_tasks_that_wait_for_arguments_are_listed(
    ray: ModuleType, state: ModuleType, signal: Any, eventually: Any
) -> None:
    gate, name = signal(), named("waiting")

    @ray.remote
    def f(x: Any) -> None: ...

    ref = f.options(name=name).remote(gate.wait.remote())
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["PENDING_ARGS_AVAIL"])
    gate.send.remote()
    ray.get(ref)


def test_failed_tasks_are_listed_with_their_error(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("failed")

    @ray.remote
    def f() -> None:
        raise ValueError("told to the state API")

    with pytest.raises(ValueError):
        ray.get(f.options(name=name).remote())
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["FAILED"])
    (task,) = tasks_named(state, name, detail=True)
    assert task.error_type == "TASK_EXECUTION_EXCEPTION"
    assert "told to the state API" in task.error_message


def test_calls_of_actors_are_listed_as_tasks(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("call")

    @ray.remote
    class Thing:
        def f(self) -> None: ...

    thing = Thing.remote()
    ray.get(thing.f.options(name=name).remote())
    eventually(lambda: [task.state for task in tasks_named(state, name)] == ["FINISHED"])
    (task,) = tasks_named(state, name)
    assert task.type == "ACTOR_TASK"
    assert task.actor_id == thing._actor_id.hex()


def test_children_name_their_parent(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("child")

    @ray.remote
    def child() -> None: ...

    @ray.remote
    def parent() -> str:
        ray.get(child.options(name=name).remote())
        return str(ray.get_runtime_context().get_task_id())

    parent_id = ray.get(parent.remote())
    eventually(lambda: [task.parent_task_id for task in tasks_named(state, name)] == [parent_id])


def test_one_task_can_be_asked_for(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    @ray.remote
    def f() -> None: ...

    ref = f.remote()
    ray.get(ref)
    task = eventually(lambda: state.get_task(ref.task_id().hex()))
    assert task.task_id == ref.task_id().hex()


def test_filters_compare_for_equality_and_inequality(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("filtered")

    @ray.remote
    def f(fail: bool) -> None:
        if fail:
            raise ValueError

    refs = [f.options(name=name).remote(fail) for fail in (False, False, True)]
    ray.wait(refs, num_returns=3)
    eventually(lambda: len(tasks_named(state, name)) == 3)
    eventually(
        lambda: len(state.list_tasks(filters=[("name", "=", name), ("state", "!=", "FINISHED")])) == 1,
    )
    eventually(lambda: len(state.list_tasks(filters=[("name", "=", name), ("state", "=", "FINISHED")])) == 2)


def test_the_number_of_results_can_be_limited(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("limited")

    @ray.remote
    def f() -> None: ...

    ray.get([f.options(name=name).remote() for _ in range(5)])
    eventually(lambda: len(tasks_named(state, name)) == 5)
    assert len(tasks_named(state, name, limit=2, raise_on_missing_output=False)) == 2


def test_a_filter_must_be_well_formed(ray: ModuleType, state: ModuleType) -> None:
    with pytest.raises(ValueError):
        state.list_tasks(filters=[("name", "~", "x")])


def test_tasks_are_summarised_by_function(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    @ray.remote
    def summarised_function() -> None: ...

    ray.get([summarised_function.remote() for _ in range(4)])

    def finished() -> Any:
        groups = state.summarize_tasks()["cluster"]["summary"]
        mine = [group for name, group in groups.items() if name.endswith("summarised_function")]
        return mine and mine[0]["state_counts"].get("FINISHED") == 4

    eventually(finished)


def test_actors_are_listed_with_name_and_state(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    name = named("listed")

    @ray.remote
    class Listed:
        def pid(self) -> int:
            import os

            return os.getpid()

    actor = Listed.options(name=name).remote()
    pid = ray.get(actor.pid.remote())
    (found,) = state.list_actors(filters=[("name", "=", name)])
    assert found.state == "ALIVE"
    assert found.class_name.split(".")[-1] == "Listed"
    assert found.actor_id == actor._actor_id.hex()
    assert found.pid == pid
    assert state.get_actor(found.actor_id).name == name
    ray.kill(actor)
    eventually(lambda: state.list_actors(filters=[("name", "=", name)])[0].state == "DEAD")


def test_actors_that_cannot_be_placed_are_listed_as_pending(
    ray: ModuleType, state: ModuleType, eventually: Any
) -> None:
    name = named("pending")

    @ray.remote(resources={"no_such_resource": 1})
    class Never:
        pass

    actor = Never.options(name=name).remote()
    eventually(lambda: [a.state for a in state.list_actors(filters=[("name", "=", name)])] == ["PENDING_CREATION"])
    ray.kill(actor)


def test_objects_are_listed(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    ref = ray.put(b"x" * 1_000_000)

    def found() -> Any:
        return [o for o in state.list_objects(limit=10_000) if o.object_id == ref.hex()]

    listed = eventually(found)
    assert any(o.object_size >= 1_000_000 for o in listed)


def test_the_node_is_listed(ray: ModuleType, state: ModuleType) -> None:
    (node,) = state.list_nodes()
    assert node.node_id == ray.nodes()[0]["NodeID"]
    assert node.state == "ALIVE"
    assert node.is_head_node is True
    assert node.resources_total["CPU"] == 4


def test_workers_are_listed(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    @ray.remote
    def look() -> Any:
        import os

        return ray.get_runtime_context().get_worker_id(), os.getpid()

    worker_id, pid = ray.get(look.remote())

    def found() -> Any:
        return [w for w in state.list_workers(limit=10_000) if w.worker_id == worker_id]

    (worker,) = eventually(found)
    assert worker.is_alive is True
    assert worker.worker_type == "WORKER"
    assert worker.pid == pid


def test_the_driver_is_listed_with_its_process(ray: ModuleType, state: ModuleType) -> None:
    worker_id = ray.get_runtime_context().get_worker_id()
    (driver,) = [w for w in state.list_workers(limit=10_000) if w.worker_id == worker_id]
    assert driver.worker_type == "DRIVER"
    assert driver.pid == os.getpid()


def test_actors_are_summarised_by_class(ray: ModuleType, state: ModuleType, eventually: Any) -> None:
    @ray.remote(num_cpus=0)
    class SummarisedActor:
        def ping(self) -> None: ...

    actors = [SummarisedActor.remote() for _ in range(2)]
    ray.get([actor.ping.remote() for actor in actors])

    def alive() -> Any:
        groups = state.summarize_actors()["cluster"]["summary"]
        mine = [group for name, group in groups.items() if name.endswith("SummarisedActor")]
        return mine and mine[0]["state_counts"].get("ALIVE") == 2

    eventually(alive)


def test_the_timeline_has_the_tasks_in_chrome_trace_format(ray: ModuleType, eventually: Any) -> None:
    @ray.remote
    def traced_function() -> None:
        import time

        time.sleep(0.01)

    ray.get([traced_function.remote() for _ in range(3)])

    def traced() -> Any:
        found = [
            event
            for event in ray.timeline()
            if event["ph"] == "X" and event["cat"].split("::")[-1].endswith("traced_function")
        ]
        return found if len(found) >= 3 else None

    for event in eventually(traced):
        assert event["dur"] >= 9_000  # microseconds
        assert event["ts"] > 0
        assert {"pid", "tid", "name"} <= event.keys()


def test_the_timeline_can_be_written_to_a_file(ray: ModuleType, tmp_path: Path, eventually: Any) -> None:
    @ray.remote
    def f() -> None: ...

    ray.get(f.remote())
    eventually(ray.timeline)
    path = tmp_path / "timeline.json"
    ray.timeline(filename=str(path))
    events = json.loads(path.read_text())
    assert isinstance(events, list)
    assert events


def test_small_objects_and_who_holds_them_are_listed(
    ray: ModuleType, state: ModuleType, signal: Any, eventually: Any
) -> None:
    gate, name = signal(), named("small")

    @ray.remote
    def make() -> int:
        return 7

    @ray.remote
    def wait(*values: int) -> None:
        ray.get(gate.wait.remote())

    def kinds(ref: Any) -> set[str]:
        return {found.reference_type for found in state.list_objects(limit=10_000) if found.object_id == ref.hex()}

    put, made = ray.put(5), make.options(name=name).remote()
    ray.get(made)
    eventually(lambda: kinds(put) == {"LOCAL_REFERENCE"})
    eventually(lambda: "LOCAL_REFERENCE" in kinds(made))
    running = wait.remote(put, made)
    eventually(lambda: "USED_BY_PENDING_TASK" in kinds(put))
    outer = ray.put([put])
    gate.send.remote()
    ray.get(running)
    eventually(lambda: "CAPTURED_IN_OBJECT" in kinds(put))
    del outer
