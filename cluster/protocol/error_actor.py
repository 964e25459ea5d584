"""Errors of actors: they died, can not be reached, exist already or are not found."""

from __future__ import annotations

from typing import Any, ClassVar

from .error_base import HimaliaError, Origin
from .error_system import describe_exit
from .error_task import RayTaskError

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "RayActorError",
]


class RayActorError(HimaliaError):
    """The call failed because of its actor: that one died, or can not be reached.

    Attributes
    ----------
    actor_id
        Hexadecimal id of the actor.
    error_msg
        What happened to it.
    actor_init_failed
        Whether its constructor raised.
    preempted
        Whether its node was taken away.
    """

    default_message: ClassVar[str] = "The actor failed before it finished this call."

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = "",
        actor_init_failed: bool = False,
        preempted: bool = False,
        *,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.actor_id = actor_id
        self.actor_init_failed = actor_init_failed
        self.preempted = preempted
        super().__init__(error_msg, origin=origin, hint=hint)

    @property
    def error_msg(self) -> str:
        """What happened to the actor."""
        return self.message


class ActorDiedError(RayActorError):
    """The actor is dead and will not come back.

    Parameters
    ----------
    cause
        The error of its constructor, or a sentence that says why it died.

    Attributes
    ----------
    reason
        Why it died, one sentence.
    class_name, actor_name
        The actor's class, and its name if it has one.
    exit_code, signal
        How its process ended, None where unknown.
    restarts, max_restarts
        How often it was restarted, and how often it might have been.
    """

    default_hint: ClassVar[str] = (
        "Create the actor again. max_restarts restarts it by itself, max_task_retries retries its calls."
    )

    def __init__(
        self,
        cause: RayTaskError | str | None = None,
        *,
        actor_id: str | None = None,
        class_name: str = "",
        actor_name: str = "",
        exit_code: int | None = None,
        signal_number: int | None = None,
        restarts: int = 0,
        max_restarts: int = 0,
        preempted: bool = False,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        failed = isinstance(cause, RayTaskError)
        self.cause = cause if failed else None
        self.class_name = class_name
        self.actor_name = actor_name
        self.exit_code = exit_code
        self.signal = signal_number
        self.restarts = restarts
        self.max_restarts = max_restarts
        if actor_id is None and isinstance(cause, RayTaskError):
            actor_id = cause.actor_id
        if isinstance(cause, RayTaskError):
            self.reason = f"its constructor raised {cause.root_text}"
        else:
            self.reason = (cause or "").strip().rstrip(".")
            if exit_code is not None or signal_number:
                ended = f"its process was {describe_exit(exit_code, signal_number)}"
                ended = ended.replace("was exited", "exited")
                self.reason = f"{self.reason}; {ended}" if self.reason else ended
        name = f"`{actor_name or class_name}` " if actor_name or class_name else ""
        message = f"The actor {name}died: {self.reason or 'for an unknown reason'}."
        if actor_id:
            message += f" Its id is {actor_id}"
            message += f", of class {class_name}." if class_name and actor_name else "."
        if max_restarts:
            allowed = "any number of" if max_restarts < 0 else str(max_restarts)
            message += f" It was restarted {restarts} times; {allowed} were allowed."
        if isinstance(cause, RayTaskError):
            message += f"\n{cause}"
        if failed and hint is None:
            hint = "Correct the constructor, or the arguments given to it, and create the actor again."
        super().__init__(actor_id, message, failed, preempted, origin=origin, hint=hint)

    @classmethod
    def from_task_error(cls, task_error: RayTaskError) -> ActorDiedError:
        """Say that an actor died because its constructor raised `task_error`."""
        return cls(task_error)


class ActorUnavailableError(RayActorError):
    """The actor can not be reached at the moment; the call may or may not have run."""

    default_hint: ClassVar[str] = "Try again: the actor may be restarting. max_task_retries does that by itself."

    def __init__(
        self,
        error_message: str = "",
        actor_id: bytes | str | None = None,
        *,
        origin: Origin | None = None,
        hint: str | None = None,
    ) -> None:
        self.error_message = error_message
        hexadecimal = actor_id.hex() if isinstance(actor_id, bytes) else actor_id
        why = f": {error_message.rstrip('.')}" if error_message else ""
        message = f"The actor {hexadecimal or ''} can not be reached{why}. The call may or may not have run."
        super().__init__(hexadecimal, message.replace("  ", " "), origin=origin, hint=hint)


class ActorUnschedulableError(HimaliaError):
    """No node can hold the actor: its resources, labels or strategy can not be met."""

    default_hint: ClassVar[str] = (
        "Ask for less, or add a node that has it; himalia.cluster_resources() shows what there is."
    )

    def __init__(self, error_message: str = "", *, origin: Origin | None = None, hint: str | None = None) -> None:
        self.error_message = error_message
        super().__init__(f"The actor can not be scheduled: {error_message}", origin=origin, hint=hint)


class ActorAlreadyExistsError(ValueError, HimaliaError):
    """An actor of that name lives in the namespace already."""

    default_hint: ClassVar[str] = "Use another name, get_if_exists=True, or himalia.get_actor(name)."

    def __init__(self, error_message: str = "", *, origin: Origin | None = None, hint: str | None = None) -> None:
        self.error_message = error_message
        HimaliaError.__init__(self, error_message, origin=origin, hint=_own(hint, self))

    def __str__(self) -> str:
        return HimaliaError.__str__(self)


class ActorHandleNotFoundError(ValueError, HimaliaError):
    """The actor is not known to this cluster: its handle is from another one, or from before a shutdown."""

    default_hint: ClassVar[str] = "Create the actor in this cluster, or look it up by name with himalia.get_actor."

    def __init__(self, error_message: str = "", *, origin: Origin | None = None, hint: str | None = None) -> None:
        self.error_message = error_message
        HimaliaError.__init__(self, error_message, origin=origin, hint=_own(hint, self))

    def __str__(self) -> str:
        return HimaliaError.__str__(self)


def _own(hint: str | None, error: Any) -> str:
    """Pick the class's advice where none is given."""
    return str(error.default_hint) if hint is None else hint
