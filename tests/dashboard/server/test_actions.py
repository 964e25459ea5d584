"""What can be done from the dashboard: it first says what it would hit, and then hits that and nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import pytest

import himalia
from himalia.cluster.launchers.boot import ConnectionInfo, NodeOptions
from himalia.cluster.launchers.local import start_head, start_node
from himalia.util.placement_group import placement_group
from himalia.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.support.clusters import eventually

from .conftest import Answer, Client

ACTIONS = "/api/v1/actions"


def act(member: Client, name: str, **arguments: Any) -> Answer:
    return member.post(f"{ACTIONS}/{name}", arguments)


def rows_of(member: Client, kind: str, **fields: str) -> list[dict[str, Any]]:
    query = "".join(f"&filter={name}={value}" for name, value in fields.items())
    answer = member.get(f"/api/v1/{kind}?limit=1000{query}")
    assert answer.status == 200, answer.text
    rows: list[dict[str, Any]] = answer.json["rows"]
    return rows


@himalia.remote
def sleeps_long() -> None:
    time.sleep(60)


def test_a_task_is_cancelled_with_what_it_submitted_and_no_other(member: Client) -> None:
    @himalia.remote
    def parent_of_two() -> Any:
        @himalia.remote
        def child_that_sleeps() -> None:
            time.sleep(60)

        return himalia.get([child_that_sleeps.options(num_cpus=0.1).remote() for _ in range(2)])

    wanted = parent_of_two.options(num_cpus=0.1).remote()
    other = sleeps_long.options(num_cpus=0.1).remote()

    def dry() -> Any:
        found = rows_of(member, "tasks", name="parent_of_two", state="RUNNING")
        return found and act(member, "cancel_task", task_id=found[0]["task_id"], dry_run=True).json

    said = eventually(lambda: (answer := dry()) and len(answer["hits"]) == 3 and answer, "task and children")
    assert said["done"] is False
    assert "parent_of_two (RUNNING" in said["text"]
    assert "2 tasks (2 × child_that_sleeps) that it submitted" in said["text"]
    assert rows_of(member, "tasks", name="parent_of_two", state="RUNNING"), "to ask does nothing"
    done = act(member, "cancel_task", task_id=said["hits"][0]).json
    assert done["done"] is True
    with pytest.raises(himalia.exceptions.TaskCancelledError):
        himalia.get(wanted, timeout=20)
    eventually(lambda: not rows_of(member, "tasks", name="child_that_sleeps", state="RUNNING"), "no child runs")
    assert himalia.wait([other], timeout=0) == ([], [other])
    himalia.cancel(other)
    eventually(
        lambda: act(member, "cancel_task", task_id=said["hits"][0], dry_run=True).status == 409, "that it has ended"
    )


def test_a_task_that_waits_is_cancelled_before_it_runs(member: Client) -> None:
    running = [sleeps_long.remote() for _ in range(2)]
    waiting = sleeps_long.options(name="never_runs").remote()
    rows = eventually(lambda: rows_of(member, "tasks", name="never_runs"), "that it is known")
    assert act(member, "cancel_task", task_id=rows[0]["task_id"]).json["done"]
    with pytest.raises(himalia.exceptions.TaskCancelledError):
        himalia.get(waiting, timeout=20)
    for ref in running:
        himalia.cancel(ref)


def test_an_actor_is_ended(member: Client) -> None:
    @himalia.remote(num_cpus=0)
    class Ended:
        def ping(self) -> int:
            return 1

    actor, other = Ended.options(name="to-end").remote(), Ended.remote()
    himalia.get([actor.ping.remote(), other.ping.remote()])
    (row,) = [row for row in rows_of(member, "actors", state="ALIVE") if row["name"] == "to-end"]
    said = act(member, "kill_actor", actor_id=row["actor_id"], dry_run=True).json
    assert "'to-end'" in said["text"]
    assert himalia.get(actor.ping.remote()) == 1
    assert act(member, "kill_actor", actor_id=row["actor_id"]).json["done"]
    with pytest.raises(himalia.exceptions.ActorDiedError):
        himalia.get(actor.ping.remote(), timeout=20)
    assert himalia.get(other.ping.remote()) == 1
    assert act(member, "kill_actor", actor_id=row["actor_id"]).status == 409


def test_a_node_is_given_other_cpus(member: Client) -> None:
    assert "instead of 2" in act(member, "scale", cpus=3, dry_run=True).json["text"]
    assert himalia.cluster_resources()["CPU"] == 2
    assert act(member, "scale", cpus=3).json["done"]
    eventually(lambda: himalia.cluster_resources()["CPU"] == 3, "three CPUs")
    assert act(member, "scale", cpus=2).json["done"]
    eventually(lambda: himalia.cluster_resources()["CPU"] == 2, "two CPUs")
    assert act(member, "scale", cpus=0).status == 409


def test_a_placement_group_is_removed_with_its_actors_and_only_once(member: Client) -> None:
    @himalia.remote(num_cpus=0.1)
    class InGroup:
        def ping(self) -> int:
            return 1

    group = placement_group([{"CPU": 0.1}], name="to-be-removed")
    actor = InGroup.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group)).remote()
    assert himalia.get(actor.ping.remote(), timeout=60) == 1
    said = act(member, "remove_group", group_id=group.id.hex(), dry_run=True).json
    assert (said["done"], said["hits"]) == (False, [group.id.hex(), actor._actor_id.hex()])
    assert "'to-be-removed' (CREATED, 1 bundles)" in said["text"]
    assert "1 actors are ended (InGroup)" in said["text"]
    assert himalia.get(actor.ping.remote(), timeout=60) == 1  # to ask does nothing
    assert act(member, "remove_group", group_id=group.id.hex()).json["done"]
    with pytest.raises(himalia.exceptions.RayActorError):
        himalia.get(actor.ping.remote(), timeout=60)
    assert act(member, "remove_group", group_id=group.id.hex()).status == 409
    assert act(member, "remove_group", group_id="00ff").status == 404


def test_a_job_is_ended_and_its_process_told_why(member: Client, cluster: ConnectionInfo) -> None:
    script = textwrap.dedent(
        """
        import himalia, sys, time
        himalia.init(sys.argv[1], log_to_driver=False)

        @himalia.remote(num_cpus=0)
        class OfTheJob:
            def ping(self):
                return 1

        @himalia.remote
        def of_the_job():
            time.sleep(60)

        actor = OfTheJob.remote()
        himalia.get(actor.ping.remote())
        print("ready", flush=True)
        try:
            himalia.get([of_the_job.remote() for _ in range(5)])
        except Exception as error:
            print(error, flush=True)
        himalia.shutdown()
        himalia.init(sys.argv[1], log_to_driver=False)
        print("again", himalia.get(himalia.remote(lambda: 7).remote()), flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, cluster.session_dir], stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        (job,) = [
            row for row in rows_of(member, "jobs", status="RUNNING") if row["driver_info"]["pid"] == str(driver.pid)
        ]
        said = eventually(
            lambda: (
                (found := act(member, "stop_job", job_id=job["job_id"], dry_run=True).json)
                and "5 × of_the_job" in found["text"]
                and found
            ),
            "that its tasks are known",
        )
        assert "1 actors (OfTheJob)" in said["text"]
        assert f"pid {driver.pid}" in said["text"]
        assert act(member, "stop_job", job_id=job["job_id"]).json["done"]
        rest, _ = driver.communicate(timeout=50)
        assert "it was stopped from the dashboard" in rest
        assert "again 7" in rest
    eventually(
        lambda: not [row for row in rows_of(member, "actors", state="ALIVE") if row["class_name"] == "OfTheJob"],
        "its actor's end",
    )
    assert act(member, "stop_job", job_id=job["job_id"]).status == 409
    assert himalia.get(himalia.remote(lambda: 8).remote(), timeout=30) == 8, "another job goes on"


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("cancel_task", {"task_id": "00" * 16}, 404),
        ("cancel_task", {"task_id": "../../etc"}, 404),
        ("cancel_task", {}, 400),
        ("cancel_task", {"task_id": 5}, 400),
        ("kill_actor", {"actor_id": "ff" * 16}, 404),
        ("drain_node", {"node_id": "ff" * 8}, 404),
        ("stop_job", {"job_id": "ffff"}, 404),
        ("stop_job", {"job_id": ""}, 404),
        ("dance", {}, 404),
    ],
)
def test_what_is_not_there_is_not_hit(member: Client, name: str, arguments: dict[str, Any], status: int) -> None:
    assert act(member, name, **arguments).status == status


def test_the_head_is_not_drained(member: Client) -> None:
    (node,) = rows_of(member, "nodes")
    answer = act(member, "drain_node", node_id=node["node_id"])
    assert answer.status == 409
    assert "head node" in answer.json["error"]


def test_actions_are_not_taken_from_a_form(member: Client) -> None:
    answer = member.post(f"{ACTIONS}/scale", '{"cpus": 1}', Content_Type="text/plain")
    assert answer.status == 400
    assert "application/json" in answer.json["error"]


def test_a_cookie_alone_changes_nothing(browser: Client) -> None:
    assert act(browser, "scale", cpus=1).status == 403
    assert himalia.cluster_resources()["CPU"] == 2


def test_what_can_be_done_is_listed(member: Client) -> None:
    listed = member.get(ACTIONS).json
    assert {action["name"] for action in listed} == {
        "cancel_task",
        "kill_actor",
        "drain_node",
        "scale",
        "stop_job",
        "remove_group",
    }


@pytest.fixture
def two_nodes() -> Iterator[tuple[Client, str]]:
    """A cluster of two, and the id of the one that is not the head."""
    head = start_head(NodeOptions(num_cpus=1, tcp_host="127.0.0.1", dashboard_port=0))
    try:
        other = start_node(head.connection, NodeOptions(num_cpus=1))
        try:
            yield Client(head.connection).member(), other.connection.node_id.hex()
        finally:
            other.stop()
    finally:
        head.stop()


def test_a_node_leaves_when_asked(two_nodes: tuple[Client, str]) -> None:
    member, node_id = two_nodes
    said = act(member, "drain_node", node_id=node_id, dry_run=True).json
    assert "takes no new tasks" in said["text"]
    assert act(member, "drain_node", node_id=node_id).json["done"]
    eventually(lambda: rows_of(member, "nodes", node_id=node_id)[0]["state"] == "DEAD", "that it left", 20)
