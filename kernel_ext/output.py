"""What tasks print and show, under the cell that submitted them.

Strategy: it comes from whichever thread drives the core's sockets, and is appended to its cell at once, never
republished. What of a flood is shown is the business of each cell's `Flow`. Two things change in place, by their
display id: what is drawn over (`BarPanel`), and what a task updates itself; of these only the latest state matters,
so a notebook hears of it a few times a second.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core.script_output import mark_of, plain_text
from ..cluster.protocol.comm_messages import CommData
from ..cluster.protocol.core_messages import DisplayData, LogLines, UnseenErrors
from ..cluster.telemetry.allowance_machine import Allowance
from .cells import KEPT
from .flow_machine import BURST, RATE, RESERVE, Flow, Shown
from .html import quantity
from .panels import BarPanel
from .task_widgets import VIEW, TaskWidgets

if TYPE_CHECKING:
    from ..cluster.protocol.common import Cell
    from ..cluster.protocol.core_messages import TaskOutput, TaskScreen
    from .cells import CellTable, NotebookCell
    from .kernels import KernelFront

__all__ = ["OutputRouter", "size_of"]

_UPDATE_EVERY: Final = 0.15  # seconds between two states of what changes in place
_RICH: Final = (20e6, 100e3, 0.0)
"""Allowance of a cell for displays in bytes: some hundred figures. They stay in the notebook's file."""


class _CellOutput:
    """The output of one cell."""

    def __init__(self, cell: Cell | None) -> None:
        where = f"%logs {cell.execution}" if cell is not None and cell.execution else "%logs"
        self.flow = Flow(Allowance(BURST, RATE, RESERVE), where)
        self.rich = Allowance(*_RICH)
        self.place: NotebookCell | None = None
        self.panel: BarPanel | None = None
        self.has_more_below = False  # something was shown below the panel
        self.updated: dict[str, float] = {}  # when, by display id
        self.waiting: dict[str, DisplayData] = {}  # updates that came too soon


class OutputRouter:
    """An `OutputSink` for notebooks."""

    def __init__(self, front: KernelFront, cells: CellTable) -> None:
        self.front = front
        self.cells = cells
        self._by_message: OrderedDict[str, _CellOutput] = OrderedDict()
        self._restless: set[_CellOutput] = set()
        self._panels = 0
        self.widgets = TaskWidgets(front)

    def show(self, message: TaskOutput) -> None:
        """Output has come."""
        cell = message.cell
        output = self._of(cell)
        if output.place is None and cell is not None and cell.message_id:
            output.place = self.cells.find(cell.message_id)  # and kept: the table forgets cells that ran long ago
        now = time.monotonic()
        if isinstance(message, LogLines):
            name = message.actor or message.task
            shown = output.flow.add(
                name, message.pid, message.stream, message.text, message.count, message.omitted, now
            )
            self._write(output, shown)
        elif isinstance(message, DisplayData):
            self._display(output, message, now)
        elif isinstance(message, CommData):
            told = self.widgets.show(message, output.place)
            if told:
                self._write(output, output.flow.note(f"{mark_of(message)}{told}", 2, now))
        elif isinstance(message, UnseenErrors):
            self._write(output, output.flow.note(message.describe(), 2, now))
        else:
            self._draw(output, message, now)
        if self._has_more(output):
            self._restless.add(output)

    def tick(self, now: float) -> None:
        """Half a second has passed: show what was held back, and is due."""
        self.widgets.tick()
        for output in list(self._restless):
            self._write(output, output.flow.tick(now))
            self._catch_up(output, now)
            if not self._has_more(output):
                self._restless.discard(output)

    def close(self) -> None:
        """Nothing more will come: show the ends of everything."""
        now = time.monotonic()
        self.widgets.end_all()
        for output in self._restless:
            self._write(output, output.flow.close(now))
            self._catch_up(output, now)
        self._restless.clear()

    def _of(self, cell: Cell | None) -> _CellOutput:
        key = cell.message_id if cell is not None else ""
        output = self._by_message.get(key)
        if output is None:
            output = self._by_message[key] = _CellOutput(cell)
            if len(self._by_message) > KEPT:
                self._by_message.popitem(last=False)
        else:
            self._by_message.move_to_end(key)
        return output

    @staticmethod
    def _has_more(output: _CellOutput) -> bool:
        panel = output.panel
        return output.flow.restless or bool(output.waiting) or (panel is not None and panel.is_stale)

    def _write(self, output: _CellOutput, shown: list[Shown]) -> None:
        """Append text; what goes to one stream in a row is written at once."""
        if not shown:
            return
        output.has_more_below = True
        stream, parts = shown[0].stream, [shown[0].text]
        for item in shown[1:]:
            if item.stream != stream:
                self.front.write(output.place, stream, "".join(parts))
                stream, parts = item.stream, []
            parts.append(item.text)
        self.front.write(output.place, stream, "".join(parts))

    # -- what changes in place ----------------------------------------------------------------------------------------

    def _display(self, output: _CellOutput, message: DisplayData, now: float) -> None:
        if message.update:
            output.waiting[message.display_id] = message
            if now - output.updated.get(message.display_id, 0.0) >= _UPDATE_EVERY:
                self._send_update(output, message.display_id, now)
            return
        view = message.data.get(VIEW)
        if isinstance(view, dict) and not self.widgets.knows(str(view.get("model_id"))):
            del message.data[VIEW]  # one of too many: its text is shown
        size = size_of(message.data)
        if not output.rich.take(size, now):
            text = plain_text(message).partition("\n")[0][:80]
            words = f"{mark_of(message)}a display of {quantity(size)} was left out: {text}\n"
            self._write(output, output.flow.note(words, 1, now))
            return
        output.updated[message.display_id] = now
        output.has_more_below = True
        self._publish(output, message.data, message.metadata, message.display_id, update=False)

    def _send_update(self, output: _CellOutput, display_id: str, now: float) -> None:
        message = output.waiting.pop(display_id)
        output.updated[display_id] = now
        self._publish(output, message.data, message.metadata, display_id, update=True)

    def _draw(self, output: _CellOutput, screen: TaskScreen, now: float) -> None:
        panel = output.panel
        if panel is None or (panel.is_over and output.has_more_below and not panel.has(screen)):
            if screen.is_over and not screen.rows:
                return
            if panel is not None and panel.is_stale:
                self._send_panel(output, panel, now)
            self._panels += 1
            panel = output.panel = BarPanel(f"himalia-bars-{screen.task_id.hex()}-{self._panels}")
            output.has_more_below = False
        panel.put(screen)
        if panel.sent is None or now - panel.sent >= _UPDATE_EVERY:
            self._send_panel(output, panel, now)

    def _send_panel(self, output: _CellOutput, panel: BarPanel, now: float) -> None:
        is_new = panel.sent is None
        panel.sent, panel.is_stale = now, False
        self._publish(output, panel.bundle(), {}, panel.display_id, update=not is_new)

    def _catch_up(self, output: _CellOutput, now: float) -> None:
        for display_id in list(output.waiting):
            self._send_update(output, display_id, now)
        if output.panel is not None and output.panel.is_stale:
            self._send_panel(output, output.panel, now)

    def _publish(
        self, output: _CellOutput, data: dict[str, Any], metadata: dict[str, Any], display_id: str, *, update: bool
    ) -> None:
        self.front.display(output.place, data, metadata, display_id, update=update)


def size_of(data: dict[str, Any]) -> int:
    """Characters of a MIME bundle."""
    return sum(len(value) if isinstance(value, str) else len(str(value)) for value in data.values())
