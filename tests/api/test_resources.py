"""Logical resources, GPUs, nodes, and what a task can ask about itself."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import pytest


def another_node_id(ray: ModuleType) -> str:
    """A well-formed id of a node that does not exist."""
    known = str(ray.nodes()[0]["NodeID"])
    return "".join(f"{15 - int(digit, 16):x}" for digit in known)


def test_cluster_resources_are_those_given_to_init(ray: ModuleType) -> None:
    resources = ray.cluster_resources()
    assert resources["CPU"] == 4
    assert resources["GPU"] == 4
    assert resources["slot"] == 2
    assert resources["object_store_memory"] > 0
    assert resources["memory"] > 0


def test_available_resources_shrink_while_tasks_run_and_grow_again(
    ray: ModuleType, signal: Any, eventually: Any
) -> None:
    gate = signal()

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def hold() -> None:
        import asyncio

        # Block without a `get`, which might lend resources away.
        asyncio.run(_wait())

    async def _wait() -> None:
        await gate.wait.remote()

    eventually(lambda: ray.available_resources().get("slot") == 2)
    ref = hold.remote()
    eventually(lambda: ray.available_resources().get("slot") == 1)
    gate.send.remote()
    ray.get(ref)
    eventually(lambda: ray.available_resources().get("slot") == 2)


def test_nodes_describe_this_machine(ray: ModuleType) -> None:
    (node,) = ray.nodes()
    assert node["Alive"] is True
    assert node["Resources"]["CPU"] == 4
    assert bytes.fromhex(node["NodeID"])
    assert node["NodeManagerAddress"]


def test_custom_resources_limit_how_many_tasks_run(ray: ModuleType, counter: Any) -> None:
    running = counter()

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def work() -> Any:
        import time

        now = ray.get(running.add.remote())
        time.sleep(0.02)
        ray.get(running.add.remote(-1))
        return now

    assert max(ray.get([work.remote() for _ in range(6)])) <= 2


def test_fractions_share_a_resource(ray: ModuleType, counter: Any) -> None:
    arrivals = counter()

    @ray.remote(num_cpus=0, resources={"slot": 0.5})
    def meet() -> bool:
        import time

        ray.get(arrivals.add.remote())
        while ray.get(arrivals.get.remote()) < 4:
            time.sleep(0.01)
        return True

    # Four halves fit into two at the same time.
    assert ray.get([meet.remote() for _ in range(4)]) == [True] * 4


def test_a_task_that_needs_more_than_is_free_waits(ray: ModuleType, signal: Any, eventually: Any) -> None:
    gate = signal()

    @ray.remote(num_cpus=0, resources={"slot": 2})
    class Holder:
        def ping(self) -> None: ...

    @ray.remote(num_cpus=0, resources={"slot": 1})
    def work() -> str:
        return "ran"

    holder = Holder.remote()
    ray.get(holder.ping.remote())
    ref = work.remote()
    assert ray.wait([ref], timeout=0.3) == ([], [ref])
    ray.kill(holder)
    assert ray.get(ref) == "ran"
    del gate


def test_a_request_that_no_node_can_meet_stays_pending(ray: ModuleType) -> None:
    @ray.remote(resources={"no_such_resource": 1})
    def never() -> None: ...

    ref = never.remote()
    assert ray.wait([ref], timeout=0.5) == ([], [ref])
    ray.cancel(ref)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(ref)


def test_an_actor_that_no_node_can_place_can_be_killed(ray: ModuleType) -> None:
    @ray.remote(resources={"no_such_resource": 1})
    class Never:
        def ping(self) -> None: ...

    never = Never.remote()
    ref = never.ping.remote()
    assert ray.wait([ref], timeout=0.5) == ([], [ref])
    ray.kill(never)
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(ref)


def test_a_task_bound_to_a_node_that_is_not_there_is_unschedulable(ray: ModuleType, engine: Any) -> None:
    strategies = engine.submodule("util.scheduling_strategies")
    elsewhere = strategies.NodeAffinitySchedulingStrategy(node_id=another_node_id(ray), soft=False)

    @ray.remote(scheduling_strategy=elsewhere)
    def f() -> None: ...

    with pytest.raises(ray.exceptions.TaskUnschedulableError):
        ray.get(f.remote())


def test_an_actor_bound_to_a_node_that_is_not_there_is_unschedulable(ray: ModuleType, engine: Any) -> None:
    strategies = engine.submodule("util.scheduling_strategies")
    elsewhere = strategies.NodeAffinitySchedulingStrategy(node_id=another_node_id(ray), soft=False)

    @ray.remote(scheduling_strategy=elsewhere)
    class Thing:
        def ping(self) -> None: ...

    with pytest.raises(ray.exceptions.ActorUnschedulableError):
        ray.get(Thing.remote().ping.remote())


def test_a_node_has_its_id_as_a_label(ray: ModuleType) -> None:
    (node,) = ray.nodes()
    assert node["Labels"]["ray.io/node-id"] == node["NodeID"]

    @ray.remote(label_selector={"ray.io/node-id": node["NodeID"]})
    def where() -> Any:
        context = ray.get_runtime_context()
        return context.get_node_id(), context.get_node_labels()

    assert ray.get(where.remote()) == (node["NodeID"], node["Labels"])
    assert ray.get_runtime_context().get_node_labels() == node["Labels"]


def test_a_task_can_be_bound_to_a_node(ray: ModuleType, engine: Any) -> None:
    strategies = engine.submodule("util.scheduling_strategies")
    node_id = ray.nodes()[0]["NodeID"]

    @ray.remote
    def where() -> str:
        return ray.get_runtime_context().get_node_id()

    bound = strategies.NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)
    assert ray.get(where.options(scheduling_strategy=bound).remote()) == node_id
    wish = strategies.NodeAffinitySchedulingStrategy(node_id=another_node_id(ray), soft=True)
    assert ray.get(where.options(scheduling_strategy=wish).remote()) == node_id


def test_a_gpu_task_sees_its_gpu_only(ray: ModuleType) -> None:
    @ray.remote(num_gpus=1)
    def look() -> Any:
        return ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"]

    ids, visible = ray.get(look.remote())
    assert len(ids) == 1
    assert str(ids[0]) in {"0", "1", "2", "3"}
    assert visible == str(ids[0])


def test_a_task_can_have_several_gpus(ray: ModuleType) -> None:
    @ray.remote(num_gpus=3)
    def look() -> Any:
        return ray.get_gpu_ids(), os.environ["CUDA_VISIBLE_DEVICES"]

    ids, visible = ray.get(look.remote())
    assert len(set(ids)) == 3
    assert sorted(visible.split(",")) == sorted(str(i) for i in ids)


def test_gpus_are_not_shared_between_whole_requests(ray: ModuleType) -> None:
    @ray.remote(num_gpus=1, num_cpus=0)
    class Holder:
        def ids(self) -> Any:
            return ray.get_gpu_ids()

    holders = [Holder.remote() for _ in range(4)]
    assert sorted(str(ids[0]) for ids in ray.get([holder.ids.remote() for holder in holders])) == ["0", "1", "2", "3"]


def test_fractions_of_gpus_are_packed(ray: ModuleType) -> None:
    @ray.remote(num_gpus=0.5, num_cpus=0)
    class Half:
        def ids(self) -> Any:
            return ray.get_gpu_ids()

    halves = [Half.remote() for _ in range(2)]
    first, second = ray.get([half.ids.remote() for half in halves])
    assert first == second
    assert len(first) == 1


def test_a_task_without_gpus_has_no_gpu_ids(ray: ModuleType) -> None:
    @ray.remote
    def look() -> Any:
        return ray.get_gpu_ids()

    assert ray.get(look.remote()) == []


def test_a_worker_that_had_gpus_is_not_used_again(ray: ModuleType) -> None:
    @ray.remote(num_gpus=1)
    def with_gpu() -> int:
        return os.getpid()

    @ray.remote
    def without() -> Any:
        return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")

    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    used = ray.get([with_gpu.remote() for _ in range(3)])
    assert len(set(used)) == 3
    for pid, visible in ray.get([without.remote() for _ in range(4)]):
        assert pid not in used
        assert visible == before


@pytest.mark.only_engine("himalia", reason="Ray does not promise which worker runs a task")
def test_a_worker_that_is_kept_sees_gpus_only_while_it_has_them(stopped_ray: ModuleType) -> None:
    stopped_ray.init("local", num_cpus=1, num_gpus=4, include_dashboard=False)

    @stopped_ray.remote(num_gpus=2, max_calls=0)
    def with_gpus() -> Any:
        return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")

    @stopped_ray.remote
    def without() -> Any:
        return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")

    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    for _ in range(2):
        pid, visible = stopped_ray.get(with_gpus.remote())
        assert visible is not None
        assert len(visible.split(",")) == 2
        assert stopped_ray.get(without.remote()) == (pid, before)


def test_accelerator_ids_tell_the_gpus_too(ray: ModuleType) -> None:
    @ray.remote(num_gpus=1)
    def look() -> Any:
        return ray.get_runtime_context().get_accelerator_ids()["GPU"], ray.get_gpu_ids()

    accelerators, gpus = ray.get(look.remote())
    assert accelerators == [str(gpus[0])]


def test_the_runtime_context_of_the_driver(ray: ModuleType) -> None:
    context = ray.get_runtime_context()
    assert context.get_job_id()
    assert context.get_node_id() == ray.nodes()[0]["NodeID"]
    assert context.get_actor_id() is None
    assert context.get_task_id() is None
    assert context.get_worker_id()
    assert context.namespace


def test_the_runtime_context_of_a_task(ray: ModuleType) -> None:
    @ray.remote
    def look() -> Any:
        context = ray.get_runtime_context()
        return {
            "job": context.get_job_id(),
            "node": context.get_node_id(),
            "task": context.get_task_id(),
            "worker": context.get_worker_id(),
            "actor": context.get_actor_id(),
            "function": context.get_task_function_name(),
            "namespace": context.namespace,
        }

    first, second = ray.get(look.remote()), ray.get(look.remote())
    here = ray.get_runtime_context()
    assert first["job"] == here.get_job_id()
    assert first["node"] == here.get_node_id()
    assert first["worker"] != here.get_worker_id()
    assert first["namespace"] == here.namespace
    assert first["actor"] is None
    assert first["task"] != second["task"]
    assert first["function"].endswith(".look")
    renamed = ray.get(look.options(name="renamed").remote())
    assert renamed["function"] == first["function"]


def test_the_task_id_of_a_reference_is_that_of_its_task(ray: ModuleType) -> None:
    @ray.remote
    def look() -> Any:
        return ray.get_runtime_context().get_task_id()

    ref = look.remote()
    assert ray.get(ref) == ref.task_id().hex()


def test_the_runtime_context_of_an_actor(ray: ModuleType) -> None:
    @ray.remote
    class Thing:
        def look(self) -> Any:
            context = ray.get_runtime_context()
            return context.get_actor_id(), context.get_actor_name(), context.get_task_id()

    thing = Thing.options(name="named-for-context").remote()
    actor_id, name, task_id = ray.get(thing.look.remote())
    assert actor_id == thing._actor_id.hex()
    assert name == "named-for-context"
    assert task_id


def test_an_actor_knows_its_assigned_resources(ray: ModuleType) -> None:
    @ray.remote(num_cpus=0.5, resources={"slot": 1})
    class Thing:
        def assigned(self) -> Any:
            return ray.get_runtime_context().get_assigned_resources()

    assert ray.get(Thing.remote().assigned.remote()) == {"CPU": 0.5, "slot": 1.0}


def test_an_actor_takes_no_cpu_to_run_by_default(ray: ModuleType) -> None:
    @ray.remote
    class Idle:
        def ping(self) -> str:
            return "pong"

    # More actors than CPUs, all alive at once.
    actors = [Idle.remote() for _ in range(6)]
    assert ray.get([actor.ping.remote() for actor in actors]) == ["pong"] * 6


@pytest.mark.only_engine("himalia", reason="Ray says that there it reserves nothing")
def test_object_store_memory_can_be_asked_for(ray: ModuleType, eventually: Any) -> None:
    whole = ray.cluster_resources()["object_store_memory"]

    @ray.remote(num_cpus=0, object_store_memory=150 * 1024 * 1024)
    class Holder:
        def assigned(self) -> Any:
            return ray.get_runtime_context().get_assigned_resources()

    holder = Holder.remote()
    held = ray.get(holder.assigned.remote())["object_store_memory"]
    assert held == 150 * 1024 * 1024
    eventually(lambda: ray.available_resources().get("object_store_memory", 0) == whole - held)
    waiting = Holder.remote()
    ref = waiting.assigned.remote()
    assert ray.wait([ref], timeout=0.3) == ([], [ref])  # of 200 MiB, the first has left less than it needs
    ray.kill(holder)
    assert ray.get(ref)["object_store_memory"] == held
