"""Errors of the cluster itself: processes, resources, memory, time limits, serialization, runtime environments."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, ClassVar

from .error_base import HimaliaError, Origin

__all__ = [
    "ActorPlacementGroupRemoved",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "OufOfBandObjectRefSerializationException",
    "OutOfDiskError",
    "OutOfMemoryError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayDirectTransportError",
    "RaySystemError",
    "RpcError",
    "RuntimeEnvSetupError",
    "SerializationError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "UserCodeException",
    "WorkerCrashedError",
    "describe_exit",
    "format_bytes",
]


def format_bytes(count: float) -> str:
    """Write a number of bytes as people read it: ``1.5 GB``."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable: the last unit takes everything")


def describe_exit(exit_code: int | None, signal_number: int | None) -> str:
    """Say how a process ended: ``killed by SIGSEGV (11)``, ``exited with code 3``."""
    if signal_number:
        try:
            return f"killed by {signal.Signals(signal_number).name} ({signal_number})"
        except ValueError:
            return f"killed by signal {signal_number}"
    return "ended for an unknown reason" if exit_code is None else f"exited with code {exit_code}"


class CrossLanguageError(HimaliaError):
    """An error raised by a task of another language. Himalia runs Python only, so it raises none."""

    default_message: ClassVar[str] = "A task of another language failed."

    def __init__(self, ray_exception: Any = None, *, origin: Origin | None = None, hint: str | None = None) -> None:
        super().__init__("" if ray_exception is None else str(ray_exception), origin=origin, hint=hint)


class TaskCancelledError(HimaliaError):
    """The task was cancelled, before it ran or while it ran."""

    default_hint: ClassVar[str] = "Submit the task again if its result is still wanted."

    def __init__(
        self,
        task_id: Any = None,
        error_message: str | None = None,
        *,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.task_id = task_id
        self.error_message = error_message
        name = "This task" if task_id is None else f"Task {task_id}"
        super().__init__(error_message or f"{name} or one that it came from was cancelled.", origin=origin, hint=hint)


class LocalRayletDiedError(HimaliaError):
    """The raylet of this node is gone, and with it the node's workers and object store."""

    default_message: ClassVar[str] = "The raylet of this node died; its workers and objects went with it."
    default_hint: ClassVar[str] = (
        "Call himalia.shutdown() and himalia.init() again; the session's logs say why it died."
    )


class WorkerCrashedError(HimaliaError):
    """The worker process died while it ran the task: by `os._exit`, a signal, a crash in native code.

    Attributes
    ----------
    exit_code, signal
        How the process ended, None where unknown.
    attempts
        How often the task was started.
    """

    default_hint: ClassVar[str] = (
        "Look for os._exit(), native code that crashes, or memory use. The worker's log has its last words; "
        "max_retries lets the task run again."
    )

    def __init__(
        self,
        message: str = "",
        *,
        exit_code: int | None = None,
        signal_number: int | None = None,
        attempts: int = 0,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.exit_code = exit_code
        self.signal = signal_number
        self.attempts = attempts
        if not message:
            task = f"`{origin.task_name}`" if origin and origin.task_name else "the task"
            tries = f" on attempt {attempts}" if attempts > 1 else ""
            message = f"The worker that ran {task} died{tries}: {describe_exit(exit_code, signal_number)}."
        super().__init__(message, origin=origin, hint=hint)


class RaySystemError(HimaliaError):
    """Something inside Himalia failed.

    Attributes
    ----------
    client_exc
        The exception or text that says what.
    traceback_str
        Its traceback, where there is one.
    """

    default_hint: ClassVar[str] = (
        "This is a fault of Himalia or of its surroundings: please report it with the session's logs."
    )

    def __init__(
        self,
        client_exc: Any = None,
        traceback_str: str | None = None,
        *,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.client_exc = client_exc
        self.traceback_str = traceback_str
        text = "Something inside Himalia failed." if client_exc is None else f"System error: {client_exc}"
        if traceback_str:
            text = f"{text}\n{traceback_str}"
        super().__init__(text, origin=origin, hint=hint)


class AuthenticationError(HimaliaError):
    """The cluster refused this process, or this process the cluster: the keys do not match."""

    default_message: ClassVar[str] = "The cluster refused this process: its key is not one of the cluster's."
    default_hint: ClassVar[str] = (
        "Use the connection file that the cluster's head wrote, and check that it is not an older one."
    )


class UserCodeException(HimaliaError):
    """User code failed where a library called it."""


class OutOfDiskError(HimaliaError):
    """The disk that objects spill to is full.

    Attributes
    ----------
    path
        The spill directory.
    requested, free
        Bytes asked for and bytes left there.
    """

    default_hint: ClassVar[str] = "Free space there, name another spill directory, or drop references to objects."

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "",
        requested: int = 0,
        free: int = 0,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.path = path
        self.requested = requested
        self.free = free
        if not message:
            message = (
                f"No room to spill {format_bytes(requested)} to {path or 'the spill directory'}: "
                f"{format_bytes(free)} are free."
            )
        super().__init__(message, origin=origin, hint=hint)


class OutOfMemoryError(HimaliaError):
    """The memory monitor ended the task's worker so that the machine did not run out of memory.

    Attributes
    ----------
    used, limit
        Bytes of memory used on the node, and the threshold, when it was ended.
    worker_used
        Bytes that the worker itself used.
    """

    default_hint: ClassVar[str] = (
        "Let fewer tasks run at once (num_cpus or memory in the task's options), use less memory in each, or retry."
    )

    def __init__(
        self,
        message: str = "",
        *,
        used: int = 0,
        limit: int = 0,
        worker_used: int = 0,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.used = used
        self.limit = limit
        self.worker_used = worker_used
        if not message:
            task = f"`{origin.task_name}`" if origin and origin.task_name else "the task"
            message = f"The worker of {task} was ended because its node ran out of memory"
            if limit:
                message += f": {format_bytes(used)} used, threshold {format_bytes(limit)}"
            if worker_used:
                message += f", {format_bytes(worker_used)} by this worker"
            message += "."
        super().__init__(message, origin=origin, hint=hint)


class NodeDiedError(HimaliaError):
    """The node that ran the task is gone."""

    default_message: ClassVar[str] = "The node that ran the task died."
    default_hint: ClassVar[str] = "max_retries lets the task run again on another node."


class RpcError(HimaliaError):
    """A request to another process of the cluster was not answered, or was refused.

    Attributes
    ----------
    rpc_code
        The number of the refusal, None for a connection that broke.
    """

    default_message: ClassVar[str] = "A request to another process of the cluster failed."

    def __init__(
        self,
        message: str = "",
        rpc_code: int | None = None,
        *,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.rpc_code = rpc_code
        super().__init__(message, origin=origin, hint=hint)


class GetTimeoutError(HimaliaError, TimeoutError):
    """`get` was given a timeout, and some objects were not ready by then.

    Attributes
    ----------
    timeout
        Seconds waited.
    pending
        Hexadecimal ids of the objects that were not ready.
    total
        How many objects were asked for.
    """

    default_message: ClassVar[str] = "The objects were not ready in time."
    default_hint: ClassVar[str] = "Wait longer, or use himalia.wait to take those that are ready."

    def __init__(
        self,
        message: str = "",
        *,
        timeout: float | None = None,
        pending: Sequence[str] = (),
        total: int = 0,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.timeout = timeout
        self.pending = tuple(pending)
        self.total = total
        if not message and timeout is not None:
            first = ", ".join(self.pending[:3]) + (", …" if len(self.pending) > 3 else "")
            message = f"{len(self.pending)} of {total or len(self.pending)} objects were not ready after {timeout:g} s"
            message += f": {first}." if first else "."
        super().__init__(message, origin=origin, hint=hint)


class PlasmaObjectNotAvailable(HimaliaError):
    """The object was not in this node's store within the time given."""

    default_message: ClassVar[str] = "The object is not in this node's object store."


class AsyncioActorExit(HimaliaError):
    """Raised inside an asyncio actor to end it; `exit_actor` does that."""

    default_message: ClassVar[str] = "This actor was asked to exit."


class RuntimeEnvSetupError(HimaliaError):
    """The runtime environment of a task, an actor or a job could not be set up."""

    default_hint: ClassVar[str] = "Correct the runtime_env, and see the session's runtime environment log."

    def __init__(
        self, error_message: str | None = None, *, origin: Origin | None = None, hint: str | None = None
    ) -> None:
        self.error_message = error_message
        detail = f": {error_message}" if error_message else "."
        super().__init__(f"The runtime environment could not be set up{detail}", origin=origin, hint=hint)


class TaskPlacementGroupRemoved(HimaliaError):
    """The placement group that the task was to run in was removed."""

    default_message: ClassVar[str] = "The placement group of this task was removed."
    default_hint: ClassVar[str] = "Keep the group until its tasks have ended."


class ActorPlacementGroupRemoved(HimaliaError):
    """The placement group that the actor lives in was removed."""

    default_message: ClassVar[str] = "The placement group of this actor was removed."
    default_hint: ClassVar[str] = "Keep the group for as long as its actors are used."


class PendingCallsLimitExceeded(HimaliaError):
    """The actor handle has `max_pending_calls` calls that are not finished, so this one was not submitted.

    Attributes
    ----------
    limit
        The actor's `max_pending_calls`.
    """

    default_hint: ClassVar[str] = "Wait for some of the calls (himalia.wait), or raise max_pending_calls."

    def __init__(
        self, message: str = "", *, limit: int = 0, origin: Origin | None = None, hint: str | None = None
    ) -> None:
        self.limit = limit
        if not message:
            many = f"{limit} calls" if limit else "as many calls as it allows"
            message = f"The actor has {many} pending (max_pending_calls); this call was not submitted."
        super().__init__(message, origin=origin, hint=hint)


class TaskUnschedulableError(HimaliaError):
    """No node can run the task: its resources, labels or strategy can not be met."""

    default_hint: ClassVar[str] = (
        "Ask for less, or add a node that has it; himalia.cluster_resources() shows what there is."
    )

    def __init__(self, error_message: str = "", *, origin: Origin | None = None, hint: str | None = None) -> None:
        self.error_message = error_message
        super().__init__(f"The task can not be scheduled: {error_message}", origin=origin, hint=hint)


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator task that ran again yielded another number of values than the first time."""

    default_hint: ClassVar[str] = "A generator that may be retried has to yield the same values each time."


class OufOfBandObjectRefSerializationException(HimaliaError):
    """An `ObjectRef` was pickled outside of tasks, actors and `put`, where nothing counts the reference."""

    default_message: ClassVar[str] = "An ObjectRef was pickled outside of Himalia, where nobody counts the reference."
    default_hint: ClassVar[str] = (
        "Pass it as an argument, in a result or in himalia.put, or keep the original reference alive."
    )


class RayChannelError(RaySystemError):
    """A channel of a compiled graph failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel of a compiled graph was not ready in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has as many results pending as it can hold."""


class RayDirectTransportError(RaySystemError):
    """A direct transfer between two devices failed."""


class SerializationError(HimaliaError, TypeError):
    """A function, an argument or a result can not be pickled. Himalia's own; it is a `TypeError` as with Ray.

    Attributes
    ----------
    path
        The member that can not be pickled, as an expression: ``args[0].connection.lock``.
    type_name
        The type of that member.
    """

    default_hint: ClassVar[str] = (
        "Make it inside the task instead of passing it, leave it out with __getstate__, or keep it in an actor. "
        "himalia.util.inspect_serializability(x) shows more."
    )

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "",
        type_name: str = "",
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.path = path
        self.type_name = type_name
        super().__init__(message or f"{path} ({type_name}) can not be pickled.", origin=origin, hint=hint)


class UnserializableException(HimaliaError):
    """Stands for an exception that could not travel: it could not be pickled there, or not unpickled here.

    Attributes
    ----------
    original_stack_trace
        The traceback of the original.
    type_name, text
        Its type and its ``str()``.
    reason
        Why it could not travel; names the member that can not be pickled.
    """

    def __init__(
        self,
        original_stack_trace: str = "",
        *,
        type_name: str = "",
        text: str = "",
        reason: str = "",
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.original_stack_trace = original_stack_trace
        self.type_name = type_name
        self.text = text
        self.reason = reason
        message = f"{type_name}: {text}" if type_name else "An exception could not be carried over."
        if reason:
            message += f"\n  This stands for the exception itself, which could not be carried over: {reason}"
        if original_stack_trace and not type_name:
            message += f"\n{original_stack_trace}"
        super().__init__(message, origin=origin, hint=hint)
