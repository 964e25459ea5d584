"""What a raylet says of its processes and devices when it is asked."""

from __future__ import annotations

from typing import Any

from himalia.cluster.raylet.survey import gpu_rows, process_rows
from himalia.cluster.telemetry.gpu_sampler import GpuReading
from tests.raylet.node_on_paper import HERE, JOB, Node, actor_spec, cpus, lease_spec

OWNER = b"\x01owner!!"


def a_process(pid: int, **gpus: float) -> dict[str, Any]:
    shares = {int(name.removeprefix("gpu")): share for name, share in gpus.items()}
    return {"pid": pid, "worker_id": bytes([pid]), "function": f"f{pid}", "devices": {"GPU": shares} if shares else {}}


def test_workers_are_told_with_what_they_hold() -> None:
    node = Node(cpus(4, GPU=2))
    node.driver_comes(OWNER)
    half = lease_spec(cpus(1, GPU=0.5))
    node.leases(OWNER, 2, half)
    rows = [row for row in process_rows(node.machine) if row["state"] == "leased"]
    assert [row["devices"] for row in rows] == [{"GPU": {0: 0.5}}] * 2
    assert rows[0]["resources"] == cpus(1, GPU=0.5)
    assert {row["node_id"] for row in rows} == {HERE}
    assert {row["job_id"] for row in rows} == {JOB}


def test_drivers_actors_and_idle_workers_are_told_too() -> None:
    node = Node(cpus(4, GPU=2), prestart=2)
    node.start_workers()
    node.driver_comes(OWNER)
    node.start_actor(b"actor", actor_spec(cpus(0, GPU=2)))
    rows = {row["state"]: row for row in process_rows(node.machine)}
    assert set(rows) == {"driver", "actor", "idle"}
    assert rows["actor"]["devices"] == {"GPU": {0: 1.0, 1: 1.0}}
    assert rows["actor"]["actor_id"] == b"actor"
    assert rows["idle"]["resources"] == {}
    assert rows["driver"]["pid"] == 77


def test_a_worker_that_is_not_forked_yet_can_not_be_measured() -> None:
    node = Node(prestart=2)
    assert process_rows(node.machine) == []


def test_a_device_names_who_holds_it_and_who_uses_it() -> None:
    readings = [GpuReading(name="A", processes=[(1, 100), (99, 50)]), GpuReading(name="B")]
    processes = [a_process(1, gpu0=0.5), a_process(2, gpu0=0.25, gpu1=1.0), a_process(3)]
    first, second = gpu_rows(readings, processes)
    assert [(one["pid"], one["share"]) for one in first["holders"]] == [(1, 0.5), (2, 0.25)]
    assert [(one["pid"], one["share"]) for one in second["holders"]] == [(2, 1.0)]
    assert first["holders"][0]["function"] == "f1"
    assert first["processes"] == [
        {"worker_id": b"\x01", "pid": 1, "function": "f1", "memory": 100},
        {"pid": 99, "memory": 50},
    ]
    assert (first["index"], second["index"]) == (0, 1)


def test_a_node_without_devices_has_no_rows() -> None:
    assert gpu_rows([], [a_process(1)]) == []
