"""The handle of a cell that runs as a task: its state, its results."""

from __future__ import annotations

import html
from typing import Any

from ..cluster.core import api
from ..cluster.core.refs import ObjectRef
from .html import card, text_card
from .reprs import describe_ref

__all__ = ["TaskCell"]


class TaskCell:
    """What ``%%task name`` binds to the name.

    Parameters
    ----------
    name
        Of the task.
    number
        The n of the cell's ``In [n]``.
    ref
        Of the value of its last expression.
    outs
        References by the name of the variable.

    Attributes
    ----------
    name, ref, outs
        As above.
    """

    def __init__(self, name: str, number: int, ref: ObjectRef, outs: dict[str, ObjectRef]) -> None:
        self.name = name
        self.number = number
        self.ref = ref
        self.outs = outs

    @property
    def state(self) -> str:
        """Whether it is pending, running, ready or failed."""
        return describe_ref(self.ref).state

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the value of the cell's last expression.

        Raises
        ------
        GetTimeoutError
            It was not ready in so many seconds.
        RayTaskError
            The cell raised: an instance of its exception's class too.
        """
        return api.get(self.ref, timeout=timeout)

    def values(self, timeout: float | None = None) -> dict[str, Any]:
        """Wait for the variables that the cell gives; their values by name."""
        return dict(zip(self.outs, api.get(list(self.outs.values()), timeout=timeout), strict=True))

    def cancel(self) -> None:
        """Stop it, if it has not ended."""
        api.cancel(self.ref)

    def __himalia_ref__(self) -> ObjectRef:
        """What goes along when another task cell uses this: that cell sees the result."""
        return self.ref

    def __reduce__(self) -> Any:
        return TaskCell, (self.name, self.number, self.ref, self.outs)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        shown = describe_ref(self.ref)
        title = f"Task {self.name}" if self.name else f"Task of cell [{self.number}]"
        rows = [("gives", ", ".join(self.outs))] if self.outs else []
        # The name and the cell stand in the title.
        rows += [(label, value) for label, value in shown.rows if label not in ("function", "cell")]
        return {
            "text/html": card(title, shown.state, shown.colour, [(k, html.escape(v)) for k, v in rows]),
            "text/plain": text_card(title, shown.state, rows),
        }

    def __repr__(self) -> str:
        return self._repr_mimebundle_()["text/plain"]
