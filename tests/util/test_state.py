"""The state API's rows and filters; what it lists of a running cluster is tested in `tests/api/test_state.py`."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.protocol.common import Address, Death, DeathKind, NodeInfo
from himalia.cluster.protocol.core_messages import HeldObject, ObjectsHeld, ReferenceKind
from himalia.cluster.protocol.gcs_messages import ListState, ReportProcessDeath, TaskEvents
from himalia.cluster.protocol.ids import make_object_id
from himalia.cluster.protocol.raylet_messages import StoreStats
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Source as TaskSource
from himalia.cluster.telemetry.events import TaskKind, TaskState
from himalia.util.state import ActorState as ActorRow
from himalia.util.state import _api
from himalia.util.state._filters import make_filter
from himalia.util.state._schemas import NodeState
from himalia.util.state._source import ROWS, Source
from tests.gcs.cluster_on_paper import OnPaper, an_id


def node_row(**more: Any) -> NodeState:
    fields: dict[str, Any] = {
        "node_id": "ab",
        "node_ip": "host",
        "is_head_node": True,
        "state": "ALIVE",
        "state_message": "",
        "node_name": "Name",
        "resources_total": {"CPU": 2.0},
        "labels": {},
        "object_store_bytes": 100,
    }
    return NodeState(**{**fields, **more})


@pytest.mark.parametrize(
    ("key", "predicate", "value", "accepted"),
    [
        ("state", "=", "ALIVE", True),
        ("state", "=", "alive", True),
        ("state", "!=", "ALIVE", False),
        ("node_name", "=", "other", False),
        ("is_head_node", "=", True, True),
        ("is_head_node", "=", "true", True),
        ("is_head_node", "=", "False", False),
        ("object_store_bytes", "=", "100", True),
        ("object_store_bytes", "=", 100, True),
        ("object_store_bytes", "=", "many", False),
        ("end_time_ms", "=", "none", True),
        ("end_time_ms", "!=", "5", True),
    ],
)
def test_filters_compare_what_people_write_with_what_is(key: str, predicate: str, value: Any, accepted: bool) -> None:
    assert make_filter([(key, predicate, value)], NodeState)(node_row()) is accepted


def test_all_filters_must_hold() -> None:
    accepts = make_filter([("state", "=", "ALIVE"), ("node_id", "=", "cd")], NodeState)
    assert not accepts(node_row())


@pytest.mark.parametrize("bad", [("no_such", "=", 1), ("state", "<", 1), ("state", "=")])
def test_a_filter_that_makes_no_sense_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError):
        make_filter([bad], NodeState)


def test_rows_are_objects_and_dictionaries() -> None:
    row = node_row()
    assert row["state"] == row.state == row.get("state") == "ALIVE"
    assert row.get("nothing", 5) == 5
    assert "state" in row
    assert dict(row)["node_id"] == "ab"
    assert row.asdict() == dict(row.items())
    with pytest.raises(KeyError, match="no field 'nothing'"):
        row["nothing"]


class OnPaperCaller:
    """Answers from a machine on paper."""

    def __init__(self, paper: OnPaper) -> None:
        self.paper = paper

    def call(self, message: ListState, timeout: float = 0.0) -> Any:
        return self.paper.ask(an_id("t", 1), message)


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


@pytest.fixture
def source(paper: OnPaper, monkeypatch: pytest.MonkeyPatch) -> Source:
    made = Source(OnPaperCaller(paper), None, 1.0)  # type: ignore[arg-type]

    class Opened:
        def __enter__(self) -> Source:
            return made

        def __exit__(self, *error: object) -> None: ...

    monkeypatch.setattr(_api, "open_source", lambda address, timeout: Opened())
    return made


def test_every_list_works_on_a_cluster_with_everything(paper: OnPaper, source: Source) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    crashed, alive = driver.create(), driver.create()
    home = node.start(crashed)
    node.start(alive)
    node.process_died(home.worker_id)
    other = paper.node(2)
    other.process_died(other.peer)
    for what in ("actors", "jobs", "nodes", "tasks", "workers"):
        assert isinstance(ROWS[what][1](source), list)
    rows = {row["actor_id"]: row for row in ROWS["actors"][1](source)}
    assert rows[crashed.hex()]["death_cause"]["kind"] == "CRASHED"
    assert [row["state"] for row in ROWS["nodes"][1](source)] == ["ALIVE", "DEAD"]


def test_detail_columns_are_empty_unless_asked_for(paper: OnPaper, source: Source) -> None:
    driver = paper.driver(1, paper.node(1))
    driver.create()
    (row,) = _api.list_actors()
    assert row.num_restarts is None
    (row,) = _api.list_actors(detail=True)
    assert row.num_restarts == 0
    assert "num_restarts" not in ActorRow.base_columns()


def test_limits_cut_and_must_be_positive(paper: OnPaper, source: Source) -> None:
    driver = paper.driver(1, paper.node(1))
    for _ in range(3):
        driver.create()
    assert len(_api.list_actors(limit=2)) == 2
    with pytest.raises(ValueError, match="at least 1"):
        _api.list_actors(limit=0)


def test_tasks_have_rays_names_for_kinds_states_and_errors(paper: OnPaper, source: Source) -> None:
    driver = paper.driver(1, paper.node(1))
    worker = TaskEventBuffer(an_id("w", 1), b"", 7)
    f = TaskSource("f", driver.peer)
    method = TaskSource("A.g", driver.peer, driver.job_id, TaskKind.ACTOR_METHOD, b"a" * 16)
    worker.add((1, 0, f, TaskState.FINISHED, 1.0, 2.0, None))
    worker.add((2, 0, method, TaskState.FAILED, 1.0, 2.0, "ValueError: no"))
    worker.add((3, 0, f, TaskState.CANCELLED, 1.0, 2.0, None))
    owner = TaskEventBuffer(driver.peer, b"", 7, is_owner=True)
    owner.add((4, 0, f, TaskState.PENDING_ARGS, 1.0, 1.0, None))
    owner.add((5, 0, f, TaskState.FAILED, 1.0, 2.0, "WorkerCrashedError: gone"))
    for buffer in (worker, owner):
        message = buffer.flush(0.0)
        assert isinstance(message, TaskEvents)
        paper.say(driver.peer, message)
    rows = {int(row.task_id[16:], 16): row for row in _api.list_tasks(detail=True)}
    assert [rows[n].state for n in range(1, 6)] == ["FINISHED", "FAILED", "CANCELLED", "PENDING_ARGS_AVAIL", "FAILED"]
    assert rows[2].error_type == "TASK_EXECUTION_EXCEPTION"
    assert rows[3].error_type == "TASK_CANCELLED"
    assert rows[5].error_type == "WORKER_DIED"
    assert rows[2].type == "ACTOR_TASK"
    assert rows[1].job_id == driver.job_id.hex(), "found by its owner, as the worker did not know"
    assert rows[1].duration_ms == 1000.0
    summary = _api.summarize_tasks()["cluster"]
    assert summary["summary"]["f"]["state_counts"]["FINISHED"] == 1
    assert (summary["total_tasks"], summary["total_actor_tasks"]) == (4, 1)
    one = _api.get_task(rows[1].task_id)
    assert one is not None
    assert one.name == "f"  # type: ignore[union-attr]


def test_objects_are_those_of_processes_and_stores(
    paper: OnPaper, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = paper.driver(1, paper.node(1))
    info = NodeInfo(b"n", Address(b"r"), "host", 1, {}, {}, 0)
    put, small, orphan = (make_object_id(driver.peer, n, index) for n, index in ((1, 0), (2, 1), (3, 1)))
    stats = StoreStats(1, 1, 0, 0, 0, 2, [(put, 1_000_000, "sealed", 1, driver.peer), (orphan, 5, "spilled", 0, b"")])
    held = [
        HeldObject(put, 1_000_000, "NIL", [ReferenceKind.PINNED_IN_MEMORY], [b"n"], "put", None, "cell.py:3 in f"),
        HeldObject(small, 3, "FINISHED", [ReferenceKind.LOCAL_REFERENCE]),
    ]
    worker = TaskEventBuffer(an_id("w", 1), b"", 7)
    worker.add((2, 0, TaskSource("maker", driver.peer), TaskState.FINISHED, 1.0, 2.0, None))
    message = worker.flush(0.0)
    assert message is not None
    paper.say(driver.peer, message)
    monkeypatch.setattr(Source, "stores", lambda self: iter([(info, stats)]))
    monkeypatch.setattr(Source, "holdings", lambda self: [ObjectsHeld(1, driver.peer, b"n", 9, held, 2)])
    rows = _api.list_objects(detail=True)
    assert [(row.origin, row.type, row.pid, row.reference_type, row.stored, row.task_status) for row in rows] == [
        ("PUT", "DRIVER", 9, "PINNED_IN_MEMORY", "SEALED", "NIL"),
        ("RETURN", "DRIVER", 0, "UNKNOWN_STATUS", "SPILLED", "FINISHED"),
        ("RETURN", "DRIVER", 9, "LOCAL_REFERENCE", "", "FINISHED"),
    ]
    assert (rows[0].call_site, rows[2].function) == ("cell.py:3 in f", "maker")
    assert {row.owner_id for row in rows} == {driver.peer.hex()}
    summary = _api.summarize_objects()["cluster"]
    assert (summary["total_objects"], summary["total_size_mb"]) == (3, pytest.approx(1.000008))
    assert summary["summary"]["maker"]["ref_type_counts"] == {"LOCAL_REFERENCE": 1}
    assert len(_api.get_objects(put.hex())) == 1


def test_a_node_that_does_not_answer_is_an_error_unless_it_may_be_missing(paper: OnPaper, source: Source) -> None:
    paper.node(1)
    source.missing.append("node 01 is missing")
    with pytest.raises(_api.StateApiError, match="raise_on_missing_output=False"):
        _api.list_nodes()
    assert len(_api.list_nodes(raise_on_missing_output=False)) == 1


def test_what_died_says_why(paper: OnPaper, source: Source) -> None:
    node = paper.node(1)
    paper.driver(1, node)
    paper.say(
        node.peer,
        ReportProcessDeath(an_id("d", 1), Death(DeathKind.KILLED, "by a signal", pid=5), is_driver=True),
    )
    (worker,) = _api.list_workers(detail=True)
    assert (worker.is_alive, worker.worker_type, worker.exit_type) == (False, "DRIVER", "KILLED")
    (job,) = _api.list_jobs()
    assert (job.status, job.error_type, job.message) == ("FAILED", "KILLED", "by a signal")


def test_asking_for_one_that_is_not_there_gives_none(paper: OnPaper, source: Source) -> None:
    paper.node(1)
    assert _api.get_actor("ff") is _api.get_node("ff") is _api.get_job("ff") is _api.get_worker("ff") is None
    assert _api.get_task("ff") is None
