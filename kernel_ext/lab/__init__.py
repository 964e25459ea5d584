"""The JupyterLab extension: its front end in TypeScript (`src`), and the part that runs in the Jupyter server.

The server's part lists, starts, stops and scales the clusters of this user on this machine (`clusters.py`), and passes
on a cluster's dashboard under the server's own address (`proxy.py`), so that a panel needs no second port and works
behind JupyterHub. ``pip install himalia`` enables it, by a file in ``etc/jupyter/jupyter_server_config.d``.

Which notebook works with which cluster is what the clusters themselves know: the process id of each driver. Rejected:
asking the kernel by a comm or a silent execution, since it does not answer while a cell runs, which is when one looks.
"""

from __future__ import annotations

import os
from typing import Any

__all__: list[str] = []


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where the Jupyter server finds the extension."""
    return [{"module": "himalia.kernel_ext.lab"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the addresses below ``himalia/``, and tell the kernels that they are there."""
    from .clusters import Clusters
    from .handlers import handlers

    base_url: str = server.web_app.settings["base_url"]
    server.web_app.add_handlers(".*$", handlers(base_url, Clusters()))
    os.environ["HIMALIA_JUPYTER_PREFIX"] = base_url  # which a kernel inherits, and uses for its links behind a Hub
