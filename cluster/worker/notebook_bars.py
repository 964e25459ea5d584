"""Bars of `tqdm.notebook` in tasks: bars of its own under the cell, live as other widgets of tasks are.

Strategy: tqdm's own class does it, since widgets of tasks work. A bar has eleven widgets with its styles and layouts,
and a worker makes a bounded number of them for a cell (`telemetry/comm_machine.py`), so a bar that has no room
is drawn as text, as tqdm's bars in a terminal; so is every bar of a program, which has no place for widgets. That is
decided for each bar when it is made. A bar that does not stay (``leave=False``) takes its widgets along when it closes.

Rejected: text for all bars (it is what a notebook's user did not ask for), and one widget of our own for all bars of a
cell (a second implementation of what tqdm does, which differs in every option).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

__all__ = ["WIDGETS_OF_A_BAR", "adapt_tqdm"]

WIDGETS_OF_A_BAR: Final = 12
"""Comms that one bar opens: a box, two texts and the progress, a layout each, their styles; and one to spare."""


def adapt_tqdm(module: Any, has_room: Callable[[int], bool]) -> None:
    """Have `tqdm.notebook` draw widgets where the running task may make some, and text elsewhere.

    Parameters
    ----------
    module
        `tqdm.notebook`, which was just imported.
    has_room
        Whether the running task may make so many more widgets that are live.
    """
    from tqdm.std import tqdm as text_bar

    widget_bar = module.tqdm_notebook

    class TaskBar(widget_bar):  # type: ignore[misc, valid-type]  # of a package without types
        """A widget or a line of text."""

        def __init__(self, *args: Any, **options: Any) -> None:
            can_draw = module.IProgress is not None
            self._kind = widget_bar if can_draw and has_room(WIDGETS_OF_A_BAR) else text_bar
            if self._kind is text_bar and not options.pop("display", True):
                options["disable"] = True
            self._kind.__init__(self, *args, **options)

        def status_printer(self, *args: Any, **options: Any) -> Any:
            return self._kind.status_printer(*args, **options)

        def display(self, *args: Any, **options: Any) -> Any:
            return self._kind.display(self, *args, **options)

        def clear(self, *args: Any, **options: Any) -> None:
            self._kind.clear(self, *args, **options)

        def update(self, n: float | None = 1) -> Any:
            return self._kind.update(self, n)

        def reset(self, total: float | None = None) -> None:
            self._kind.reset(self, total)

        def __iter__(self) -> Iterator[Any]:
            yield from self._kind.__iter__(self)

        def close(self) -> None:
            self._kind.close(self)
            container = getattr(self, "container", None)
            if container is not None and not self.leave and getattr(container, "comm", None) is None:
                for part in container.children:
                    for widget in (getattr(part, "style", None), part.layout, part):
                        if widget is not None:
                            widget.close()
                container.layout.close()

        @property
        def colour(self) -> Any:
            return widget_bar.colour.fget(self) if self._kind is widget_bar else self.__dict__.get("colour")

        @colour.setter
        def colour(self, value: Any) -> None:
            if self._kind is widget_bar:
                widget_bar.colour.fset(self, value)
            else:
                self.__dict__["colour"] = value

    def trange(*args: Any, **options: Any) -> TaskBar:
        return TaskBar(range(*args), **options)

    module.tqdm = module.tqdm_notebook = TaskBar
    module.trange = module.tnrange = trange
