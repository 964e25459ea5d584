"""Why a task waits, in words, for each state that it may be in."""

from __future__ import annotations

import time
from typing import Any

import pytest

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Row, TaskState, decode_batch
from himalia.cluster.telemetry.events import Source as Function
from himalia.cluster.telemetry.records import TaskTable
from himalia.cluster.telemetry.waiting import WaitingTasks
from himalia.util.state._pending import explain_task, pending

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
F = Function("train", OWNER, b"\0\0\0\1", cell=Cell(b"job", 3))
G = Function("evaluate", OWNER, b"\0\0\0\1")
TASK = make_task_id(OWNER, 1)


def placed(**more: Any) -> dict[str, Any]:
    """What the GCS tells of a demand."""
    return {
        "kind": "tasks",
        "actor_ids": [],
        "group_id": b"",
        "owner": OWNER,
        "name": "train",
        "cell": 3,
        "job_id": b"job",
        "resources": {"CPU": 10_000},
        "strategy": "DEFAULT",
        "labels": {},
        "wanted": 4,
        "queued": 9,
        "waited": 2.0,
        "node_id": NODE,
        "verdict": "too small",
        "reason": "It waits for 1 CPU.",
        "nodes": [{"node_id": NODE, "host": "here", "verdict": "busy", "reason": "it has free 0 CPU"}],
        **more,
    }


class Asked:
    """A source with canned answers."""

    def __init__(self, *rows: Row, waiting: Any = None, links: Any = (), worker: bool = False) -> None:
        self.table = TaskTable()
        blobs: list[bytes] = []
        self.answers: dict[str, Any] = {"pending": {"pending": [], "missing": []}, "actors": [], "placement_groups": []}
        self.answers["worker_stats"] = {"nodes": [], "missing": []}
        self.missing: list[str] = []
        events = TaskEventBuffer(WORKER if worker else OWNER, NODE, 7, is_owner=not worker)
        for row in rows:
            events.add(row)
        for link in links:
            events.link(*link)
        events.waiting = waiting
        message = events.flush(0.0)
        if message is not None:
            self.table.add(decode_batch(message.blob))
            blobs.append(message.blob)
        self.telemetry = WaitingTasks()
        self.telemetry.take(blobs)

    def records(self) -> TaskTable:
        return self.table

    def waiting(self) -> WaitingTasks:
        return self.telemetry

    def ask(self, what: str) -> Any:
        return self.answers[what]

    def why(self, task_id: bytes = TASK) -> str:
        return explain_task(self, task_id)  # type: ignore[arg-type]

    def rows(self) -> list[Any]:
        return pending(self)  # type: ignore[arg-type]


def a_row(state: TaskState, extra: str | None = None) -> Row:
    return (1, 0, F, state, time.time() - 5.0, time.time() - 4.0, extra)


def test_a_task_without_a_worker_has_the_reason_of_its_demand() -> None:
    asked = Asked(a_row(TaskState.PENDING_NODE))
    asked.answers["pending"]["pending"] = [placed()]
    assert asked.why() == "train waits since 2.0 s. It waits for 1 CPU."


def test_with_several_nodes_each_is_told() -> None:
    asked = Asked(a_row(TaskState.PENDING_NODE))
    nodes = [{"node_id": NODE, "host": host, "verdict": "busy", "reason": "it is full"} for host in ("a", "b")]
    asked.answers["pending"]["pending"] = [placed(nodes=nodes)]
    assert asked.why().splitlines()[1:] == [f"  node {NODE.hex()} ({host}): it is full" for host in ("a", "b")]


def test_a_task_in_the_queue_of_an_owner_that_asks_for_no_more_workers() -> None:
    assert "waits for the next of the workers" in Asked(a_row(TaskState.PENDING_NODE)).why()


def test_a_task_without_arguments_names_who_makes_them() -> None:
    waiting = [(F, TaskState.PENDING_ARGS, 1), (G, TaskState.PENDING_NODE, 1)]
    asked = Asked(a_row(TaskState.PENDING_ARGS), waiting=waiting, links=[(G, F)])
    assert asked.why() == "train: It waits for its arguments: results of evaluate (1 waiting for a worker)."


def test_a_task_behind_another_names_that() -> None:
    asked = Asked(a_row(TaskState.SUBMITTED_TO_WORKER, WORKER.hex()))
    assert "about to begin" in asked.why()
    busy = {"worker_id": WORKER, "pid": 7, "function": "slow", "task_started": time.time() - 30.0}
    asked.answers["worker_stats"]["nodes"] = [[busy]]
    assert "behind slow, which runs since 30.0 s" in asked.why()


@pytest.mark.parametrize(
    ("state", "text"),
    [(TaskState.RUNNING, "runs since"), (TaskState.FINISHED, "FINISHED"), (TaskState.FAILED, "FAILED: ValueError: no")],
)
def test_a_task_that_does_not_wait_says_so(state: TaskState, text: str) -> None:
    end = 0.0 if state is TaskState.RUNNING else time.time()
    error = "ValueError: no" if state is TaskState.FAILED else None
    asked = Asked((1, 0, F, state, time.time() - 5.0, end, error), worker=True)
    assert text in asked.why()


def test_an_actor_is_told_by_its_state_and_its_death() -> None:
    asked = Asked()
    actor = {"actor_id": TASK, "class_name": "Server", "state": "DEAD", "death": {"detail": "it was killed"}}
    asked.answers["actors"] = [actor]
    assert asked.why() == "Actor Server is DEAD: it was killed"
    asked.answers["pending"]["pending"] = [placed(kind="actor", actor_ids=[TASK], name="Server")]
    assert asked.why().startswith("Server waits since")


def test_what_is_not_recorded_is_told_as_that() -> None:
    assert "No task, actor or placement group of this id" in Asked().why()


def test_of_a_task_that_is_too_new_the_demand_of_its_owner_is_told() -> None:
    asked = Asked()
    asked.answers["pending"]["pending"] = [placed()]
    assert asked.why().splitlines()[1:] == ["train waits since 2.0 s. It waits for 1 CPU."]
    assert "No task, actor or placement group of this id" in asked.why(make_task_id(b"\x01another", 1))


def test_tasks_are_counted_as_their_owner_does() -> None:
    waiting = [(F, TaskState.PENDING_NODE, 70), (G, TaskState.PENDING_NODE, 30), (G, TaskState.PENDING_ARGS, 5)]
    asked = Asked(waiting=waiting)
    asked.answers["pending"]["pending"] = [placed()]
    one, other = asked.rows()
    assert (one.name, one.tasks, one.verdict, one.cell) == ("train, evaluate", 100, "TOO_SMALL", 3)
    assert (other.name, other.tasks, other.verdict) == ("evaluate", 5, "ARGUMENTS")


def test_of_several_demands_each_has_the_tasks_of_its_function() -> None:
    asked = Asked(waiting=[(F, TaskState.PENDING_NODE, 70), (G, TaskState.PENDING_NODE, 30)])
    asked.answers["pending"]["pending"] = [placed(), placed(name="evaluate"), placed(name="unknown")]
    assert {row.name: row.tasks for row in asked.rows()} == {"train": 70, "evaluate": 30, "unknown": 9}


def test_nodes_that_did_not_answer_are_named() -> None:
    asked = Asked()
    asked.answers["pending"]["missing"] = [NODE]
    asked.rows()
    assert NODE.hex() in asked.missing[0]
