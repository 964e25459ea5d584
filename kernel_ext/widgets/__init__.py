"""Pages of the dashboard under a cell, over the kernel's own connection: no server, no second port.

    from himalia.kernel_ext.widgets import page
    page("task_stream")

`page_loop` computes pages in a thread of its own, so the kernel is never held up and pages go on while a cell runs;
`channel` brings them to a widget that may be made, lost and made again at any time; `page_widget` is that widget.
"""

from __future__ import annotations

from .cluster_widget import cluster
from .page_widget import NoWidgetsError, page

__all__ = ["NoWidgetsError", "cluster", "page"]
