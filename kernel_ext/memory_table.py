"""The table of ``%memory`` under its cell: its buttons, and what becomes of it when one is pressed.

The table is plain HTML in a display that is replaced, with places that the page fills with buttons (see buttons.py): a
saved notebook has the last state without them. Pressing one does what ``%memory release`` does, and says so below.
"""

from __future__ import annotations

import gc
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .arguments import UsageProblem
from .buttons import place_of_buttons
from .html import GOOD, IDLE, quantity
from .kernels import KernelFront
from .memory import MemoryReport, ObjectLine, report_memory
from .memory_view import memory_bundle
from .release import release

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core
    from .cells import NotebookCell
    from .extension import Extension

__all__ = ["MemoryTable", "release_names"]

_TABLES: Final = 10
"""Tables whose buttons work: older ones tell of what was."""


class MemoryTable:
    """What one ``%memory`` shows."""

    def __init__(self, core: Core, extension: Extension, limit: int, smallest: int) -> None:
        self._core = core
        self._extension = extension
        self._limit = limit
        self._smallest = smallest
        self._tokens: dict[tuple[str, str], str] = {}  # by object and name
        self._place: NotebookCell | None = None
        self._display_id = ""

    def show(self) -> None:
        """Show it under the cell that runs, with buttons where the page can have them."""
        extension, shell = self._extension, self._extension.shell
        report = report_memory(self._core, shell)
        is_captured = hasattr(shell.display_pub, "outputs")
        if extension.cards is None or is_captured or not isinstance(extension.front, KernelFront):
            from IPython.display import display

            display(memory_bundle(report, self._limit, self._smallest), raw=True)  # type: ignore[no-untyped-call]
            return
        self._place = extension.cells.current()
        self._display_id = f"himalia-memory-{extension.cards.buttons.token()}"
        self._draw(report, update=False)
        if self._tokens:
            extension.cards.buttons.open()

    def _draw(self, report: MemoryReport, *, update: bool) -> None:
        cards, front = self._extension.cards, self._extension.front
        assert cards is not None
        assert isinstance(front, KernelFront)
        bundle = memory_bundle(report, self._limit, self._smallest, self._button)
        while len(cards.others) > _TABLES * self._limit:
            cards.others.pop(next(iter(cards.others)))
        front.display(self._place, bundle, {}, self._display_id, update=update)

    def _button(self, line: ObjectLine, name: str) -> str:
        cards = self._extension.cards
        assert cards is not None
        key = line.object_id, name
        if key not in self._tokens:
            self._tokens[key] = cards.buttons.token()
        token = self._tokens[key]
        cards.others[token] = partial(self._pressed, name)
        return place_of_buttons(token, ["forget"], f"release {name}")

    def _pressed(self, name: str) -> None:
        """In the thread that takes the page's messages."""
        if self._core.closed or self._core.fatal is not None:
            return
        try:
            text, _ = release_names(self._core, self._extension.shell, [name])
        except UsageProblem as problem:
            text = f"{str(problem)[:1].upper()}{str(problem)[1:]}."
        report = report_memory(self._core, self._extension.shell)
        report.notes.append(text)
        self._draw(report, update=True)


def release_names(core: Core, shell: Any, names: list[str]) -> tuple[str, str]:
    """Let go of what has these names; a sentence that says what that freed, and its colour.

    Raises
    ------
    UsageProblem
        There is nothing of such a name.
    """
    before = report_memory(core, shell)
    try:
        for name in names:
            release(shell, name)
    finally:
        gc.collect()  # what holds itself in a circle goes now, not some time
        core.drain_releases()
    return _what_became(names, before, report_memory(core, shell))


def _what_became(names: list[str], before: MemoryReport, after: MemoryReport) -> tuple[str, str]:
    left = {line.object_id: line for line in after.objects}
    freed = [line for line in before.objects if line.object_id not in left]
    text = f"Released {', '.join(names)}."
    if freed:
        titles = ", ".join(line.title for line in freed)
        text += f" {quantity(sum(line.size for line in freed))} freed: {titles}."
    still = [left[line.object_id] for line in before.objects if line.object_id in left and _named(line, names)]
    text += "".join(f" {line.title} ({quantity(line.size)}) is still kept by {'; '.join(line.kept)}." for line in still)
    if not freed and not still:
        text += " No object was kept alive by it."
    return text, GOOD if freed else IDLE


def _named(line: ObjectLine, names: list[str]) -> bool:
    return any(name in line.releases for name in names)
