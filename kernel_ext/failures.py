"""The latest failures of a kernel's tasks, with what it takes to run them again.

Strategy: the core tells of each failure before it lets go of the arguments. Of the last `KEPT` the pickled arguments
and the references among them are kept, unless they are large: an object store filled for the sake of a debugger would
be a poor exchange. What was kept goes when newer failures push it out, by ``%rdebug clear`` and with the extension.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core import failures
from ..cluster.core.records import Plan, Record
from ..cluster.core.refs import ERROR, ObjectRef
from ..cluster.protocol.error_task import RayTaskError
from ..cluster.protocol.frames import unpack_frames
from ..cluster.serialization.layout import parts_of
from ..cluster.serialization.values import deserialize_args
from .own_tasks import in_leader
from .post_mortem import PostMortem

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["FailedTask", "FailureLog", "NothingToWalk"]

KEPT: Final = 20
"""Failures: a person looks at the last few."""

ARGUMENT_BYTES: Final = 1 << 20
"""Of pickled arguments, for one failure."""

OBJECT_BYTES: Final = 64 << 20
"""Of objects in a store that the arguments refer to, for one failure."""


class NothingToWalk(ValueError):
    """There are no frames, or arguments, of this failure; the text says why."""


@dataclass(eq=False)
class FailedTask:
    """One failure.

    Attributes
    ----------
    key
        Owner's id and counter of the task.
    plan
        Function and options; None for one that is not among the latest.
    error
        As its references hold it.
    data, slots, holds
        Pickled arguments; where references go among them; these, and those inside the arguments.
    lost
        Why there are no arguments; empty if there are.
    """

    key: tuple[bytes, int]
    plan: Plan | None
    error: bytes | BaseException
    data: bytes
    slots: list[int | str]
    holds: list[ObjectRef]
    lost: str
    walk: PostMortem | None = None

    @property
    def name(self) -> str:
        """Of the function."""
        if self.plan is not None:
            return self.plan.name
        error = self.describe()
        return error.function_name if isinstance(error, RayTaskError) else "task"

    def describe(self) -> BaseException:
        """The error, ready to be shown."""
        return failures.load_error(self.error)

    def is_own(self) -> bool:
        """Whether it failed by itself, not because an argument's task did."""
        error = self.describe()
        return not isinstance(error, RayTaskError) or error.function_name == self.name

    def post_mortem(self) -> PostMortem:
        """Its frames, and those of the tasks that it waited for, as one stack.

        Raises
        ------
        NothingToWalk
            None were kept.
        """
        if self.walk is None:
            error = self.describe()
            frames = []
            part: BaseException = error
            while isinstance(part, RayTaskError):
                frames += [(part.function_name, frame) for frame in unpack_frames(part._info.frames)]
                part = part.cause
            if not frames:
                raise NothingToWalk(f"no frames of `{self.name}` were kept: {_why_none(error)}")
            self.walk = PostMortem(frames, str(error).partition("\n")[0])
        return self.walk

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What it was called with; references are references again.

        Raises
        ------
        NothingToWalk
            They were not kept.
        """
        if self.lost:
            raise NothingToWalk(f"`{self.name}` can not be run again: {self.lost}")
        if not self.data:
            return (), {}
        args, kwargs = deserialize_args(*parts_of(self.data))
        values = list(args)
        for slot, ref in zip(self.slots, self.holds, strict=False):
            if isinstance(slot, int):
                values[slot] = ref
            else:
                kwargs[slot] = ref
        return tuple(values), kwargs


def _why_none(error: BaseException) -> str:
    if not isinstance(error, RayTaskError):
        return f"it did not end by an exception of its own, but by {type(error).__name__}"
    return "many tasks had failed in the same way just before, or it failed before its code began"


class FailureLog:
    """The latest failures of a core; the newest is last."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.failed: deque[FailedTask] = deque()
        core.completion.failure_hooks.append(self._failed)

    def close(self) -> None:
        """Forget all, and hear of no more."""
        self.core.completion.failure_hooks.remove(self._failed)
        self.core.post(self._forget_all)

    def clear(self) -> None:
        """Forget all."""
        in_leader(self.core, self._forget_all)

    def find(self, ref: ObjectRef) -> FailedTask | None:
        """The failure that a reference holds."""
        known = next((task for task in self.failed if task.key == (ref._w, ref._n)), None)
        if known is not None or ref._state != ERROR:
            return known
        return FailedTask((ref._w, ref._n), None, ref._data, b"", [], [], "it is not among the latest failures")

    # -- in the leader ----------------------------------------------------------------------------------------------

    def _failed(self, record: Record, error: bytes | BaseException) -> None:
        if record.cancelled or record.create is not None or record.plan.cell is None:
            return
        ref = record.ref if record.ref is not None else record.refs[0] if record.refs else None
        if ref is None:
            return
        lost = _why_lost(record)
        task, holds = record.task, [] if lost else list(record.holds or ())
        slots = [dep.slot for dep in task.deps or ()]
        self.failed.append(
            FailedTask((ref._w, ref._n), record.plan, error, b"" if lost else task.args, slots, holds, lost)
        )
        for inner in holds[len(slots) :]:
            self.core.references.in_transit(inner, 1)  # so that unpickling the arguments finds it
        if len(self.failed) > KEPT:
            self._forget(self.failed.popleft())

    def _forget(self, task: FailedTask) -> None:
        for inner in task.holds[len(task.slots) :]:
            self.core.references.in_transit(inner, -1)
        task.holds, task.lost = [], "its arguments were let go"

    def _forget_all(self) -> None:
        while self.failed:
            self._forget(self.failed.popleft())


def _why_lost(record: Record) -> str:
    """Why the arguments of a task are not kept; empty if they are."""
    if record.plan.actor is not None:
        return "it is a call of an actor, whose state has gone on"
    if len(record.task.args) > ARGUMENT_BYTES:
        return f"its arguments take {len(record.task.args)} bytes, and {ARGUMENT_BYTES} are kept at most"
    size = sum(ref._x.size for ref in record.holds or () if ref._x is not None)
    if size > OBJECT_BYTES:
        return f"its arguments refer to objects of {size} bytes, and {OBJECT_BYTES} are kept at most"
    return ""
