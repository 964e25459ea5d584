"""The errors that a core itself raises or gives to references: worker death, cancellation, freed objects, …

They are made where the machines ask for them, as pickled bytes, since an error may have to travel on to a task.
"""

from __future__ import annotations

from ..protocol.common import Death, DeathKind
from ..protocol.errors import (
    ActorDiedError,
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
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ..protocol.ids import make_task_id
from ..serialization.error_values import deserialize_error, serialize_error
from .actor_calls import ActorClient
from .records import Record
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


def describe(record: Record) -> str:
    """A task in words: its function, id and cell."""
    task_id = make_task_id(owner_of(record), record.task.counter).hex()
    cell = record.plan.cell
    where = f", cell [{cell.execution}]" if cell is not None and cell.execution else ""
    return f"`{record.plan.name}` (task {task_id}{where})"


def owner_of(record: Record) -> bytes:
    """Worker id of the record's owner."""
    ref = record.ref if record.ref is not None else (record.refs[0] if record.refs else None)
    return ref._w if ref is not None else b""


def worker_death(record: Record, death: Death) -> bytes:
    """The worker of a task died, and its retries are used up."""
    what = f"The worker running {describe(record)} died: {death.detail or death.kind.name.lower()}"
    if death.kind == DeathKind.OUT_OF_MEMORY:
        return pickle_error(OutOfMemoryError(what))
    if death.kind == DeathKind.NODE_DIED:
        return pickle_error(NodeDiedError(what))
    return pickle_error(
        WorkerCrashedError(
            what, exit_code=death.exit_code, signal_number=death.signal, attempts=record.task.attempt + 1
        )
    )


def cancelled(record: Record) -> bytes:
    """The task was cancelled."""
    return pickle_error(
        TaskCancelledError(
            make_task_id(owner_of(record), record.task.counter).hex(), f"{describe(record)} was cancelled."
        )
    )


def unschedulable(record: Record, text: str) -> bytes:
    """No node can ever run the task."""
    return pickle_error(TaskUnschedulableError(f"{describe(record)}: {text}"))


def actor_death(client: ActorClient, record: Record | None = None) -> bytes:
    """A call of an actor that is dead; with the constructor's error if that is why."""
    death = client.death
    if client.error:
        cause = deserialize_error(client.error)
        if isinstance(cause, RayTaskError):
            return pickle_error(ActorDiedError(cause, actor_id=client.actor_id.hex(), class_name=client.name))
    if death is not None and death.kind == DeathKind.UNSCHEDULABLE:
        return pickle_error(ActorUnschedulableError(death.detail))
    detail = death.detail if death is not None and death.detail else "it is dead"
    return pickle_error(
        ActorDiedError(
            detail,
            actor_id=client.actor_id.hex(),
            class_name=client.name,
            exit_code=death.exit_code if death is not None else None,
            signal_number=death.signal if death is not None else None,
            restarts=client.restarts,
        )
    )


def actor_unavailable(client: ActorClient, record: Record) -> bytes:
    """The call was in flight when the actor's process went away; the actor restarts."""
    return pickle_error(
        ActorUnavailableError(
            f"the actor's process died during {describe(record)}; it restarts. The call may have run",
            client.actor_id.hex(),
        )
    )


def object_error(kind: str, ref: ObjectRef) -> bytes:
    """Errors of objects by kind: freed, lost, owner_died, session_over, or the one that the reference holds."""
    if kind == "freed":
        return pickle_error(ObjectFreedError(ref.hex()))
    if kind == "owner_died":
        return pickle_error(OwnerDiedError(ref.hex()))
    if kind == "lost":
        return pickle_error(ObjectLostError(ref.hex()))
    if kind == "session_over":
        return pickle_error(old_reference(ref))
    if isinstance(ref._data, BaseException):
        return pickle_error(ref._data)
    return bytes(ref._data or b"")


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
