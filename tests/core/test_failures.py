"""Every error tells which task of which cell it is about, and where that ran."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.core import failures
from himalia.cluster.core.actor_calls import ActorClient
from himalia.cluster.core.records import LeasedWorker, Plan, Record
from himalia.cluster.core.refs import Extra, ObjectRef
from himalia.cluster.protocol.common import Address, Cell, Death, DeathKind
from himalia.cluster.protocol.core_messages import Task, Template
from himalia.cluster.protocol.error_base import Origin
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.lease_messages import LeaseRefused
from himalia.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    NodeDiedError,
    ObjectFreedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from tests.core.owner import OTHER, OWNER

WORKER = Address(b"\x01worker!", b"node1234")
TASK_ID = make_task_id(OWNER, 7).hex()


def record() -> Record:
    plan = Plan(Template(1, "simulate", b""), "simulate", None, cell=Cell(b"\0\0\0\1", 12, "message"))
    return Record(Task(7, 1, b""), plan, ObjectRef(OWNER, 7), None, 0, None)


def worker() -> LeasedWorker:
    scheduling: Any = None
    return LeasedWorker(WORKER.worker_id, WORKER, 1, scheduling, {}, {}, set(), set(), pid=4711)


def of_task(error: BaseException) -> Origin:
    origin = error.origin  # type: ignore[attr-defined]
    assert isinstance(origin, Origin)
    assert (origin.task_name, origin.task_id) == ("simulate", TASK_ID)
    assert origin.cell is not None
    assert origin.cell.execution == 12
    assert "cell In [12]" in str(error)
    return origin


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (DeathKind.CRASHED, WorkerCrashedError),
        (DeathKind.OUT_OF_MEMORY, OutOfMemoryError),
        (DeathKind.NODE_DIED, NodeDiedError),
    ],
)
def test_the_death_of_a_worker_tells_which_one_on_which_node(kind: DeathKind, expected: type[Exception]) -> None:
    error = failures.load_error(failures.worker_death(record(), Death(kind, "It went."), worker()))
    assert type(error) is expected
    origin = of_task(error)
    assert (origin.worker_id, origin.pid, origin.node_id) == (WORKER.worker_id.hex(), 4711, WORKER.node_id.hex())
    assert str(error).count(TASK_ID) == 1


def test_a_cancelled_task_is_told() -> None:
    error = failures.load_error(failures.cancelled(record()))
    assert isinstance(error, TaskCancelledError)
    of_task(error)
    running = record()
    running.worker = worker()
    assert of_task(failures.load_error(failures.cancelled(running))).worker_id == WORKER.worker_id.hex()


def test_a_task_that_no_node_can_run_is_told() -> None:
    error = failures.load_error(failures.unschedulable(record(), LeaseRefused(1, "it asks for 3 GPU", fatal=True)))
    assert isinstance(error, TaskUnschedulableError)
    assert "3 GPU" in str(error)
    of_task(error)


def test_a_call_of_an_actor_that_died_tells_where_that_was() -> None:
    client = ActorClient(b"a" * 16, "Simulation", last_address=WORKER, death=Death(DeathKind.CRASHED, "boom", pid=4711))
    for error, expected in (
        (failures.actor_death(client, record()), ActorDiedError),
        (failures.actor_unavailable(client, record()), ActorUnavailableError),
    ):
        loaded = failures.load_error(error)
        assert type(loaded) is expected
        origin = of_task(loaded)
        assert (origin.worker_id, origin.pid, origin.node_id) == (WORKER.worker_id.hex(), 4711, WORKER.node_id.hex())


def test_an_actor_that_no_node_can_hold_is_told() -> None:
    client = ActorClient(b"a" * 16, "Simulation", death=Death(DeathKind.UNSCHEDULABLE, "no such node"))
    error = failures.load_error(failures.actor_death(client, record()))
    assert isinstance(error, ActorUnschedulableError)
    assert of_task(error).worker_id == ""


def test_a_lost_object_tells_the_task_that_made_it() -> None:
    made = ObjectRef(OWNER, 7, 1)
    made._x = Extra(OWNER, 7, 1, lineage=record())
    for kind, expected in (("lost", ObjectLostError), ("freed", ObjectFreedError)):
        error = failures.load_error(failures.object_error(kind, made))
        assert type(error) is expected
        of_task(error)


def test_an_object_whose_owner_died_tells_the_owner() -> None:
    ref = ObjectRef(OTHER, 7, 0)
    ref._x = Extra(OTHER, 7, 0, owner=Address(OTHER, b"node1234"))
    error = failures.load_error(failures.object_error("owner_died", ref))
    assert isinstance(error, OwnerDiedError)
    assert error.origin == Origin(worker_id=OTHER.hex(), node_id=b"node1234".hex())


def test_an_object_that_was_put_has_no_task() -> None:
    error = failures.load_error(failures.object_error("lost", ObjectRef(OWNER, 7, 0)))
    assert isinstance(error, ObjectLostError)
    assert error.origin is None
