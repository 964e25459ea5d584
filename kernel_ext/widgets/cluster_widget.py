"""The cluster as a widget: its overview, and how many CPUs it has.

What is chosen takes effect when the kernel hears of it: at once, or after the cell that runs where the kernel's release
and the front end know no subshells.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from ...cluster.core import current
from ...cluster.protocol.common import RESOURCE_UNIT, SetCapacity
from ...cluster.protocol.gcs_messages import ListState
from ..kernels import answer_beside_cells
from .page_widget import page

if TYPE_CHECKING:
    from ...cluster.core.runtime import Core

__all__ = ["cluster"]

_IDLE: Final = 10.0  # seconds, as `%cluster adapt` has


def cluster() -> Any:
    """Nodes and what is in use, with a slider for the number of CPUs and a switch for letting it follow the work.

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    NoWidgetsError
        ipywidgets or anywidget is not installed.
    himalia.exceptions.RaySystemError
        There is no cluster: ``himalia.init()`` or ``%cluster start`` first.
    """
    core = current.get_core()
    overview = page("overview")
    import ipywidgets

    nodes = [node for node in core.gcs_call(ListState("nodes")) if node["alive"]]
    if len(nodes) != 1:
        note = ipywidgets.Label(f"{len(nodes)} nodes: such a cluster grows by starting nodes (himalia start --address)")
        return ipywidgets.VBox([note, overview])
    return ipywidgets.VBox([_Capacity(core, nodes[0]).row, overview])


class _Capacity:
    """The number of CPUs of the only node."""

    def __init__(self, core: Core, node: dict[str, Any]) -> None:
        import ipywidgets

        self._core = core
        cpus = node["total"].get("CPU", 0) // RESOURCE_UNIT
        most = node["most"].get("CPU", 0) // RESOURCE_UNIT
        widest = max(4 * (os.cpu_count() or 1), cpus, most)
        self.cpus = ipywidgets.IntSlider(
            value=most or cpus, min=1, max=widest, description="CPUs", continuous_update=False
        )
        self.adaptive = ipywidgets.Checkbox(value=bool(most), description="only while work waits", indent=False)
        self.row = ipywidgets.HBox([self.cpus, self.adaptive])
        for widget in (self.cpus, self.adaptive):
            answer_beside_cells(widget.comm)
            widget.observe(self._changed, "value")

    def _changed(self, change: Any) -> None:
        if self.adaptive.value and self.cpus.value > 1:
            self._core.raylet_send(SetCapacity(RESOURCE_UNIT, self.cpus.value * RESOURCE_UNIT, _IDLE))
        else:
            self._core.raylet_send(SetCapacity(self.cpus.value * RESOURCE_UNIT))
