"""``%dashboard``: pages of the dashboard under a cell, and the way to the whole."""

from __future__ import annotations

import argparse
import os
import time
from html import escape
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from IPython.core.magic import line_magic, magics_class

from ...cluster.core import session
from ..arguments import MagicParser, UsageProblem
from ..html import GOOD, IDLE, box
from ..kernels import KernelFront
from .base import Family, answers

__all__ = ["DashboardMagics", "dashboard_place"]

CLUSTER: Final = "cluster"
"""The overview with controls: a widget, but no page of its own."""

_OWN: Final = "own"
"""Of ``--job`` without an id: this notebook's."""

_CLOSED: Final = (
    "this cluster was started without a dashboard (include_dashboard=False), or it listens on the head's own machine"
)

_BY_OUR_SERVER: Final = "{HIMALIA_JUPYTER_PREFIX}himalia/{cluster}"
"""Where our part of a hub's Jupyter server (`kernel_ext.lab`) passes a dashboard on; it has set the variable."""

_BY_PORT: Final = "{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}"
"""Where jupyter-server-proxy serves a port of the machine of a hub's kernel."""


def _parser() -> MagicParser:
    parser = MagicParser("%dashboard")
    parser.add_argument("page", nargs="?", type=_page, metavar="PAGE")
    parser.add_argument("--link", action="store_true")
    parser.add_argument("--export", metavar="FILE")
    parser.add_argument("--job", nargs="?", const=_OWN, default="", metavar="ID")
    return parser


def _page(text: str) -> str:
    from ...dashboard.pages import PAGES  # not while the extension is loaded

    if text not in PAGES and text != CLUSTER:
        raise argparse.ArgumentTypeError(f"{text!r} is no page: there are {', '.join(PAGES)} and {CLUSTER}")
    return text


def dashboard_place(url: str, cluster: str) -> tuple[str, bool]:
    """Where the browser that shows this notebook reaches a dashboard, and whether it has to log in there.

    Parameters
    ----------
    url
        Where it listens.
    cluster
        Id of its cluster.

    Returns
    -------
    tuple
        The place without a slash at the end; False for the login if the notebook's own server sees to it.
    """
    template, logs_in = os.environ.get("HIMALIA_DASHBOARD_LINK", ""), True
    if not template and "JUPYTERHUB_SERVICE_PREFIX" in os.environ:
        template, logs_in = (_BY_OUR_SERVER, False) if "HIMALIA_JUPYTER_PREFIX" in os.environ else (_BY_PORT, True)
    if not template:
        return url, True
    place = urlsplit(url)
    names = {
        **os.environ,
        "scheme": place.scheme,
        "host": place.hostname or "",
        "port": str(place.port),
        "cluster": cluster,
    }
    try:
        return template.format_map(names).rstrip("/"), logs_in
    except (KeyError, ValueError, IndexError) as error:
        raise UsageProblem(f"HIMALIA_DASHBOARD_LINK={template!r} can not be filled in: {error}") from None


@magics_class
class DashboardMagics(Family):
    """``%dashboard``."""

    parsers: ClassVar = {"dashboard": _parser}

    @line_magic
    @answers
    def dashboard(self, line: str) -> None:
        """Show the dashboard of this notebook's cluster, or one page of it, live under the cell.

        %dashboard [PAGE]
            A widget over the kernel's own connection, and above it a link to the same in the browser. PAGE is one of
            the dashboard's menu (overview, task_stream, ...), or `cluster`: the overview with a slider for the CPUs.
        %dashboard [PAGE] --link
            Only the link. It logs in for ten minutes after it was made, so a notebook that is passed on does not pass
            the cluster on; `himalia dashboard` in a terminal makes another.
        %dashboard --export FILE [--job [ID]]
            Write what is recorded of the run as one HTML file: every page, with a slider through time. It opens in any
            browser, without a cluster. With --job it has only what this notebook did, or the job of that ID.
        """
        chosen = self.parse("dashboard", line)
        page = chosen.page or ""
        self.core()
        if chosen.export:
            self._export(Path(chosen.export), chosen.job)
            return
        if chosen.job:
            raise UsageProblem("--job chooses what --export writes: give both")
        linked = self._show_link("overview" if page == CLUSTER else page)
        if not linked and chosen.link:
            raise UsageProblem(_CLOSED)
        if chosen.link or self._show_widget(page):
            return
        if not linked:
            raise UsageProblem(f"{_CLOSED}, and widgets can not be shown here")

    def _export(self, file: Path, job: str) -> None:
        from ...dashboard.report import save_report

        live = session.current_session()
        assert live is not None
        try:
            own = live.core.job_id.hex() if job == _OWN else job
            size = save_report(live.connection, file, own)
        except LookupError as error:
            raise UsageProblem(str(error)) from error
        except OSError as error:
            raise UsageProblem(f"{file} can not be written: {error}") from error
        self.say(f"Wrote {file} ({size / 1e6:.1f} MB): open it in a browser, it needs nothing else.", GOOD)

    def _show_link(self, page: str) -> bool:
        """Show the way to a page, or the whole; whether there is one."""
        from ...dashboard.server.access import make_ticket

        live = session.current_session()
        assert live is not None
        connection = live.connection
        if not connection.dashboard_url:
            return False
        base, logs_in = dashboard_place(connection.dashboard_url, connection.cluster_id)
        place = f"{base}/{f'page/{page}' if page else ''}"
        ticket = f"?ticket={make_ticket(connection.dashboard_token, time.time())}" if logs_in else ""
        title = f"Dashboard: {page}" if page else "Dashboard"
        link = f'<a href="{escape(place + ticket)}" target="_blank" rel="noopener">{escape(place)}</a>'
        self.show(
            {
                "text/html": box(f"<b>{escape(title)}</b>&ensp;{link}", GOOD),
                "text/plain": f"{title}: {place}{ticket}",
            }
        )
        return True

    def _show_widget(self, page: str) -> bool:
        """Show a page as a widget, where there are widgets."""
        if not isinstance(self.extension.front, KernelFront):
            return False
        from IPython.display import display

        from ..widgets import NoWidgetsError, cluster
        from ..widgets import page as page_widget

        try:
            widget = cluster() if page == CLUSTER else page_widget(page or "overview")
        except NoWidgetsError as error:
            self.say(str(error), IDLE)
            return False
        display(widget)  # type: ignore[no-untyped-call]
        return True
