"""The errors that a core itself raises or gives to references: worker death, cancellation, freed objects, …

They are made where the machines ask for them, as pickled bytes, since an error may have to travel on to a task.
"""

from __future__ import annotations

from ..protocol.common import Death, DeathKind
from ..protocol.error_base import Origin
from ..protocol.errors import (
    ActorDiedError,
    ActorPlacementGroupRemoved,
    ActorUnavailableError,
    ActorUnschedulableError,
    NodeDiedError,
    ObjectFreedError,
    ObjectLostError,
    OutOfMemoryError,
    OwnerDiedError,
    RaySystemError,
    RayTaskError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ..protocol.ids import make_task_id
from ..protocol.raylet_messages import LeaseRefused
from ..serialization.error_values import deserialize_error, serialize_error
from .actor_calls import ActorClient
from .records import LeasedWorker, Record
from .refs import ObjectRef

__all__ = [
    "actor_death",
    "actor_unavailable",
    "cancelled",
    "load_error",
    "object_error",
    "old_reference",
    "pickle_error",
    "session_over",
    "unschedulable",
    "worker_death",
]


def pickle_error(error: BaseException) -> bytes:
    """An exception as the bytes of a failed object."""
    return serialize_error(error).data


def load_error(data: bytes | BaseException) -> BaseException:
    """The exception of a failed object, ready to be raised."""
    error = data if isinstance(data, BaseException) else deserialize_error(data)
    if isinstance(error, RayTaskError):
        return error.as_instanceof_cause()
    return error


def origin_of(record: Record, worker: LeasedWorker | None = None, client: ActorClient | None = None) -> Origin:
    """Which task of which cell an error is about, and where that ran if it did."""
    address = worker.address if worker is not None else (client.last_address if client is not None else None)
    pid = worker.pid if worker is not None else (client.death.pid if client is not None and client.death else 0)
    return Origin(
        task_name=record.plan.name,
        task_id=make_task_id(owner_of(record), record.task.counter).hex(),
        cell=record.plan.cell,
        worker_id=address.worker_id.hex() if address is not None else "",
        pid=pid,
        node_id=address.node_id.hex() if address is not None else "",
    )


def owner_of(record: Record) -> bytes:
    """Worker id of the record's owner."""
    ref = record.ref if record.ref is not None else (record.refs[0] if record.refs else None)
    return ref._w if ref is not None else b""


def worker_death(record: Record, death: Death, worker: LeasedWorker) -> bytes:
    """The worker of a task died, and its retries are used up."""
    what = f"The worker running `{record.plan.name}` died: {death.detail or death.kind.name.lower()}"
    origin = origin_of(record, worker)
    if death.kind == DeathKind.OUT_OF_MEMORY:
        return pickle_error(OutOfMemoryError(what, origin=origin))
    if death.kind == DeathKind.GROUP_REMOVED:
        return pickle_error(TaskPlacementGroupRemoved(f"`{record.plan.name}` ended: {death.detail}", origin=origin))
    if death.kind == DeathKind.NODE_DIED:
        return pickle_error(NodeDiedError(what, origin=origin))
    return pickle_error(
        WorkerCrashedError(
            what, exit_code=death.exit_code, signal_number=death.signal, attempts=record.task.attempt + 1, origin=origin
        )
    )


def cancelled(record: Record) -> bytes:
    """The task was cancelled."""
    origin = origin_of(record, record.worker if isinstance(record.worker, LeasedWorker) else None)
    return pickle_error(TaskCancelledError(origin.task_id, f"`{record.plan.name}` was cancelled.", origin=origin))


def unschedulable(record: Record, refusal: LeaseRefused) -> bytes:
    """No node can ever run the task."""
    kind = TaskPlacementGroupRemoved if refusal.group_removed else TaskUnschedulableError
    return pickle_error(kind(refusal.text, origin=origin_of(record)))


def actor_death(client: ActorClient, record: Record | None = None) -> bytes:
    """A call of an actor that is dead; with the constructor's error if that is why."""
    death = client.death
    origin = origin_of(record, client=client) if record is not None else None
    if client.error:
        cause = deserialize_error(client.error)
        if isinstance(cause, RayTaskError):
            died = ActorDiedError(cause, actor_id=client.actor_id.hex(), class_name=client.name, origin=origin)
            return pickle_error(died)
    if death is not None and death.kind == DeathKind.UNSCHEDULABLE:
        return pickle_error(ActorUnschedulableError(death.detail, origin=origin))
    if death is not None and death.kind == DeathKind.GROUP_REMOVED and client.last_address is None:
        return pickle_error(ActorPlacementGroupRemoved(f"{client.name} never lived: {death.detail}", origin=origin))
    detail = death.detail if death is not None and death.detail else "it is dead"
    return pickle_error(
        ActorDiedError(
            detail,
            actor_id=client.actor_id.hex(),
            class_name=client.name,
            exit_code=death.exit_code if death is not None else None,
            signal_number=death.signal if death is not None else None,
            restarts=client.restarts,
            origin=origin,
        )
    )


def actor_unavailable(client: ActorClient, record: Record) -> bytes:
    """The call was in flight when the actor's process went away; the actor restarts."""
    return pickle_error(
        ActorUnavailableError(
            f"the actor's process died during `{record.plan.name}`; it restarts",
            client.actor_id.hex(),
            origin=origin_of(record, client=client),
        )
    )


def object_error(kind: str, ref: ObjectRef) -> bytes:
    """Errors of objects by kind: freed, lost, owner_died, session_over, or the one that the reference holds."""
    if kind == "freed":
        return pickle_error(ObjectFreedError(ref.hex(), origin=maker_of(ref)))
    if kind == "owner_died":
        owner = ref._x.owner if ref._x is not None else None
        node_id = owner.node_id.hex() if owner is not None else ""
        return pickle_error(OwnerDiedError(ref.hex(), origin=Origin(worker_id=ref._w.hex(), node_id=node_id)))
    if kind == "lost":
        return pickle_error(ObjectLostError(ref.hex(), origin=maker_of(ref)))
    if kind == "session_over":
        return pickle_error(old_reference(ref))
    if isinstance(ref._data, BaseException):
        return pickle_error(ref._data)
    return bytes(ref._data or b"")


def maker_of(ref: ObjectRef) -> Origin | None:
    """The task that made an object, as far as it is known here."""
    record = ref._x.lineage if ref._x is not None else None
    if isinstance(record, Record):
        return origin_of(record)
    return Origin(task_id=make_task_id(ref._w, ref._n).hex()) if ref._i else None  # else it was put


def session_over(text: str) -> RaySystemError:
    """What is pending or asked for when a session ends, or has ended."""
    return RaySystemError(text, hint="Begin a new session: himalia.shutdown(), then himalia.init(), and submit again.")


def old_reference(ref: ObjectRef) -> ObjectLostError:
    """What a reference of an earlier session of this process says."""
    return ObjectLostError(
        ref.hex(),
        message=f"{ref!r} belongs to a session of this process that is over; its value went with it",
        hint="Make the object again in this session.",
    )
