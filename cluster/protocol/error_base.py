"""What every error of Himalia has: a message, where it happened, what to do next, and survival of pickling."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec

from .common import Cell
from .exception_state import reduce_exception, set_state

__all__ = ["HimaliaError", "Origin", "RayError"]


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The task, cell, process and node that an error is about. Ids are hexadecimal; what is unknown is left empty."""

    task_name: str = ""
    task_id: str = ""
    actor_id: str = ""
    actor_name: str = ""
    cell: Cell | None = None
    worker_id: str = ""
    pid: int = 0
    node_id: str = ""
    node_ip: str = ""

    def __str__(self) -> str:
        parts = []
        if self.task_name or self.task_id:
            name = f"task `{self.task_name}`" if self.task_name else "task"
            parts.append(f"{name} (id {self.task_id})" if self.task_id else name)
        if self.actor_name or self.actor_id:
            name = f"actor `{self.actor_name}`" if self.actor_name else "actor"
            parts.append(f"{name} (id {self.actor_id})" if self.actor_id else name)
        if self.cell is not None and self.cell.execution:
            parts.append(f"cell In [{self.cell.execution}]")
        if self.worker_id or self.pid:
            names = [self.worker_id] if self.worker_id else []
            names += [f"pid {self.pid}"] if self.pid else []
            parts.append(f"worker {', '.join(names)}")
        if self.node_ip or self.node_id:
            parts.append(f"node {self.node_ip or self.node_id}")
        return ", ".join(parts)


class HimaliaError(Exception):
    """Base of every error that Himalia itself raises. `RayError` is the same class.

    Parameters
    ----------
    message
        What happened, with which values; the class's own sentence if left out.
    origin
        The task, cell, worker and node that it is about.
    hint
        What to do next; the class's own advice if left out.

    Attributes
    ----------
    message, origin, hint
        As given. ``str()`` shows all three.
    """

    default_message: ClassVar[str] = "Himalia could not do what was asked."
    default_hint: ClassVar[str] = ""

    message: str
    origin: Origin | None
    hint: str

    def __init__(self, message: str = "", *, origin: Origin | None = None, hint: str | None = None) -> None:
        message = message or self.default_message
        # Not super(): classes that also derive from a built-in have its constructor next, which takes other arguments.
        BaseException.__init__(self, message)
        self.message = message
        self.origin = origin
        self.hint = self.default_hint if hint is None else hint

    def __str__(self) -> str:
        lines = [self.message]
        where = str(self.origin) if self.origin is not None else ""
        if where:
            lines.append(f"  Where: {where}")
        if self.hint:
            lines.append(f"  What to do: {self.hint}")
        return "\n".join(lines)

    def with_origin(self, origin: Origin) -> Self:
        """Say where it happened, unless that is known already; returns the error itself."""
        if self.origin is None:
            self.origin = origin
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Without the function that sets the state, which pickle knows and `copy` does not; that is __setstate__ here.
        return reduce_exception(self)[:3]

    def __setstate__(self, state: Any) -> None:
        set_state(self, state)


RayError = HimaliaError
