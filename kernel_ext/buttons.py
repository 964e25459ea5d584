"""Buttons in what is plain HTML: one invisible widget puts them into the page and tells which was pressed.

Its script runs as soon as the page has its model, without being shown anywhere; it looks for the places that cards keep
for buttons of this kernel (see cards.py) and fills them. Where there is no anywidget, or no page that a script of one
output may touch, the places stay empty.

anywidget is imported when the first card with a button is shown, by a thread of its own: it takes longer than a cell
that shows a reference should.
"""

from __future__ import annotations

import importlib.util
import threading
import uuid
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from html import escape
from itertools import count
from typing import Any

from .kernels import answer_beside_cells

__all__ = ["Buttons", "place_of_buttons"]


def place_of_buttons(token: str, actions: Iterable[str], label: str = "") -> str:
    """Where the page puts buttons, if it can; nothing to see by itself. ``label``: what they say, if not the action."""
    named = f' data-label="{escape(label)}"' if label else ""
    return f' <span data-himalia="{escape(token)}" data-actions="{escape(" ".join(actions))}"{named}></span>'


class Buttons:
    """The buttons of all cards of a kernel. ``pressed(token, action)`` is called for each that is pressed."""

    def __init__(self, pressed: Callable[[str, str], None]) -> None:
        self._pressed = pressed
        self._prefix = uuid.uuid4().hex
        self._next = count(1).__next__
        self._thread: threading.Thread | None = None
        self._widget: Any = None
        self._closed = False

    def token(self) -> str:
        """A name for another card."""
        return f"{self._prefix}-{self._next()}"

    def open(self) -> None:
        """Have the page show buttons; returns at once."""
        if self._thread is None and importlib.util.find_spec("anywidget") is not None:
            # In the cell's context: ipykernel 7.0 can not open a comm where it knows of no request.
            make = partial(copy_context().run, self._make)
            self._thread = threading.Thread(target=make, name="himalia-buttons", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Take the buttons away."""
        self._closed = True
        if self._thread is not None:
            self._thread.join()
        if self._widget is not None:
            self._widget.close()
            self._widget = None

    def _make(self) -> None:
        from importlib.resources import files

        import anywidget
        import traitlets

        class Switchboard(anywidget.AnyWidget):
            _esm = files(__package__).joinpath("buttons.js").read_text()
            prefix = traitlets.Unicode().tag(sync=True)

        self._widget = Switchboard(prefix=self._prefix)
        self._widget.on_msg(self._message)
        answer_beside_cells(self._widget.comm)

    def _message(self, widget: Any, content: Any, buffers: Any) -> None:
        """The page says something: a button was pressed, if it says so in our words."""
        if not isinstance(content, dict):
            return
        token, action = content.get("token"), content.get("action")
        if not self._closed and isinstance(token, str) and isinstance(action, str):
            self._pressed(token, action)
