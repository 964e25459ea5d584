"""What the side bar is told about a cluster."""

from __future__ import annotations

from typing import Any

from himalia.cluster.launchers.boot import ConnectionInfo
from himalia.cluster.protocol.common import RESOURCE_UNIT, Address
from himalia.kernel_ext.lab.listing import Driver, Tasks, Use, describe, match_kernels, unanswered

HERE = b"n" * 8
ELSEWHERE = b"m" * 8
LABEL = "name-label"

CONNECTION = ConnectionInfo(
    cluster_id="00ff00ff00ff00ff",
    node_id=HERE,
    gcs=Address(b"g" * 8, HERE),
    raylet=Address(HERE, HERE),
    session_dir="/nowhere",
    dashboard_url="http://127.0.0.1:1",
)


def job(pid: int, program: str, node: bytes = HERE, ended: float | None = None) -> dict[str, Any]:
    return {"pid": pid, "entrypoint": program, "driver": [b"d" * 8, node], "ended": ended}


def node(joined: float, cpus: int, *, alive: bool = True, most: int = 0, name: str = "") -> dict[str, Any]:
    return {
        "alive": alive,
        "joined": joined,
        "labels": {LABEL: name} if name else {},
        "total": {"CPU": cpus * RESOURCE_UNIT},
        "most": {"CPU": most * RESOURCE_UNIT} if most else {},
    }


def answers(nodes: list[Any], jobs: list[Any], total: float, free: float) -> dict[str, Any]:
    resources = {"total": {"CPU": int(total * RESOURCE_UNIT)}, "available": {"CPU": int(free * RESOURCE_UNIT)}}
    return {"nodes": nodes, "jobs": jobs, "resources": resources, "stats": {}}


def test_a_cluster_is_told_with_its_name_what_is_used_and_who_uses_it() -> None:
    asked = answers(
        [node(20.0, 4), node(10.0, 4, name="two machines"), node(1.0, 9, alive=False)],
        [job(7, "ipykernel"), job(8, "script.py"), job(9, "gone.py", ended=3.0)],
        total=8,
        free=5.5,
    )
    entry = describe(CONNECTION, asked, {7: "kernel-7"}, Tasks(2, 3, 1.5), name_label=LABEL, owner=7, server=99)
    assert (entry.id, entry.name, entry.started, entry.nodes) == ("00ff00ff00ff00ff", "two machines", 10.0, 2)
    assert entry.cpus == Use(2.5, 8.0, 0.0)
    assert entry.gpus == Use()
    assert entry.drivers == [Driver(7, "ipykernel", "kernel-7"), Driver(8, "script.py")]
    assert entry.tasks == Tasks(2, 3, 1.5)
    assert (entry.owner, entry.ends_with_server, entry.has_dashboard, entry.problem) == (7, False, True, "")


def test_what_it_grows_to_is_told_where_it_is_more_than_it_has() -> None:
    asked = answers([node(1.0, 1, most=6)], [], total=1, free=0)
    assert describe(CONNECTION, asked, {}, Tasks(), name_label=LABEL).cpus == Use(1.0, 1.0, 6.0)


def test_one_that_the_server_started_ends_with_it() -> None:
    entry = describe(CONNECTION, answers([node(1.0, 1)], [], 1, 1), {}, Tasks(), name_label=LABEL, owner=99, server=99)
    assert (entry.owner, entry.ends_with_server) == (0, True)


def test_a_driver_on_another_machine_is_no_kernel_of_ours_though_its_process_id_is_the_same() -> None:
    asked = answers([node(1.0, 1)], [job(7, "elsewhere", ELSEWHERE)], 1, 1)
    entry = describe(CONNECTION, asked, {7: "kernel-7"}, Tasks(), name_label=LABEL)
    assert entry.drivers == [Driver(7, "elsewhere", "")]


def test_one_that_does_not_answer_is_there_with_the_reason() -> None:
    entry = unanswered(CONNECTION, "it hangs")
    assert (entry.id, entry.problem, entry.has_dashboard) == ("00ff00ff00ff00ff", "it hangs", False)


def test_a_kernel_that_another_program_started_is_found_by_its_ancestors() -> None:
    parents = {12: [11, 10, 1], 30: [29, 1]}
    assert match_kernels([12, 30], {10: "wrapped"}, lambda pid: parents[pid]) == {12: "wrapped"}


def test_a_process_that_a_kernel_started_is_not_that_kernel_where_that_is_connected_itself() -> None:
    def ancestors(pid: int) -> list[int]:
        assert pid == 12, "the kernel itself is known by its own process id"
        return [10, 1]

    assert match_kernels([12, 10], {10: "kernel"}, ancestors) == {10: "kernel"}
