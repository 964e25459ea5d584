"""What nodes tell of themselves when somebody looks."""

from __future__ import annotations

import time
from typing import Any

import pytest

import himalia
from himalia.cluster.telemetry.gpu_sampler import RECORDING
from himalia.util import state
from tests.integration.conftest import Gate, Nodes
from tests.support.clusters import eventually
from tests.support.source_tree import ROOT

MB = 1 << 20


@pytest.fixture
def gate(one_node: Nodes) -> Any:
    return one_node.hv.remote(num_cpus=0)(Gate).remote()


def hold(gate: Any, size: int) -> int:
    """Have so much memory while the gate is shut."""
    held = b"x" * size
    himalia.get(gate.wait.remote())
    return len(held)


def test_every_node_tells_how_it_is(two_nodes: Nodes) -> None:
    rows = {row.node_id: row for row in state.list_node_stats(detail=True)}
    assert set(rows) == {two_nodes.head.node_id, two_nodes.other.node_id}
    for row in rows.values():
        assert 0.0 <= row.cpu_percent <= 100.0
        assert len(row.cpu_percents or []) == row.cpus
        assert 0 < row.memory_used < row.memory_total
        assert row.store_capacity > 0
        assert time.time() - row.at < 30


def test_a_worker_shows_what_it_runs_and_what_that_takes(one_node: Nodes, gate: Any) -> None:
    ref = one_node.hv.remote(hold).options(name="holding").remote(gate, 100 * MB)

    def row() -> Any:
        found = [row for row in state.list_worker_stats(detail=True) if row.function == "holding"]
        return found[0] if found else None

    eventually(lambda: row() is not None and row().rss > 100 * MB, "a worker that holds 100 MB")
    seen = row()
    assert seen.task_id == ref.task_id().hex()
    assert seen.process == "worker"
    eventually(lambda: (row().uss or 0) > 100 * MB, "its private memory, which is read in turns")
    assert seen.resources == {"CPU": 1.0}
    one_node.hv.get(gate.open.remote())
    assert one_node.hv.get(ref) == 100 * MB
    eventually(lambda: row() is None, "a worker that runs nothing")
    processes = {row.process for row in state.list_worker_stats()}
    assert {"worker", "driver", "raylet", "gcs", "host"} <= processes


def test_memory_is_known_by_function_also_when_its_worker_is_gone(one_node: Nodes, gate: Any) -> None:
    ref = one_node.hv.remote(max_calls=1)(hold).options(name="large").remote(gate, 120 * MB)

    def peak() -> int:
        return max((row.peak for row in state.list_function_memory(filters=[("function", "=", "large")])), default=0)

    eventually(lambda: peak() > 120 * MB, "a peak")
    one_node.hv.get(gate.open.remote())
    one_node.hv.get(ref)
    dead = [("worker_type", "=", "WORKER"), ("is_alive", "=", False)]
    eventually(lambda: state.list_workers(filters=dead), "the end of its worker")
    assert peak() > 120 * MB


def test_a_gpu_shows_who_holds_which_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RECORDING, str(ROOT / "tests" / "support" / "gpus.json"))
    himalia.init(num_cpus=2, num_gpus=2)
    try:
        gate = himalia.remote(num_cpus=0)(Gate).remote()
        work = himalia.remote(num_cpus=0)(hold)
        refs = [
            work.options(name="half", num_gpus=0.5).remote(gate, 10),
            work.options(name="whole", num_gpus=1).remote(gate, 10),
        ]

        def held() -> dict[str, tuple[int, float]]:
            rows = state.list_gpu_stats()
            return {one["function"]: (row.index, one["share"]) for row in rows for one in row.held_by}

        eventually(lambda: held() == {"half": (0, 0.5), "whole": (1, 1.0)}, "tasks that hold GPUs")
        first, _ = state.list_gpu_stats(detail=True)
        assert first.name == "NVIDIA H100 80GB HBM3"
        assert first.utilization is not None
        assert [process["function"] for process in first.processes or []] == ["half"]
        himalia.get([gate.open.remote(), *refs])
    finally:
        himalia.shutdown()


def test_a_node_without_gpus_has_none_and_no_error(one_node: Nodes) -> None:
    rows = state.list_gpu_stats()
    assert len(rows) == one_node.hv.cluster_resources().get("GPU", 0)
