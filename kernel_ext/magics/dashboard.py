"""``%dashboard``: the way from a cell to the dashboard."""

from __future__ import annotations

import argparse
import os
import time
from html import escape
from typing import ClassVar, Final
from urllib.parse import urlsplit

from IPython.core.magic import line_magic, magics_class

from ...cluster.core import session
from ..arguments import MagicParser, UsageProblem
from ..html import GOOD, box
from .base import Family, answers

__all__ = ["DashboardMagics", "dashboard_place"]

_BEHIND_HUB: Final = "{JUPYTERHUB_SERVICE_PREFIX}proxy/{port}"
"""Where jupyter-server-proxy serves a port of the machine of a hub's kernel."""


def _parser() -> MagicParser:
    parser = MagicParser("%dashboard")
    parser.add_argument("page", nargs="?", type=_page, metavar="PAGE")
    return parser


def _page(text: str) -> str:
    if not text.replace("-", "").replace("_", "").isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a page")
    return text


def dashboard_place(url: str) -> str:
    """Where the browser that shows this notebook reaches a dashboard, without a slash at the end.

    Parameters
    ----------
    url
        Where it listens.
    """
    template = os.environ.get("HIMALIA_DASHBOARD_LINK", "")
    if not template and "JUPYTERHUB_SERVICE_PREFIX" in os.environ:
        template = _BEHIND_HUB
    if not template:
        return url
    place = urlsplit(url)
    names = {**os.environ, "scheme": place.scheme, "host": place.hostname or "", "port": str(place.port)}
    try:
        return template.format_map(names).rstrip("/")
    except (KeyError, ValueError, IndexError) as error:
        raise UsageProblem(f"HIMALIA_DASHBOARD_LINK={template!r} can not be filled in: {error}") from None


@magics_class
class DashboardMagics(Family):
    """``%dashboard``."""

    parsers: ClassVar = {"dashboard": _parser}

    @line_magic
    @answers
    def dashboard(self, line: str) -> None:
        """Show the way to the dashboard of this notebook's cluster.

        %dashboard [PAGE]
            A link to it, or to one page of it alone. It logs in for ten minutes after it was made, so a notebook that
            is passed on does not pass the cluster on; `himalia dashboard` in a terminal makes another.
        """
        from ...dashboard.server.access import make_ticket

        page = self.parse("dashboard", line).page or ""
        self.core()
        live = session.current_session()
        assert live is not None
        connection = live.connection
        if not connection.dashboard_url:
            raise UsageProblem("this cluster was started without a dashboard (include_dashboard=False)")
        place = f"{dashboard_place(connection.dashboard_url)}/{f'page/{page}' if page else ''}"
        ticket = make_ticket(connection.dashboard_token, time.time())
        title = f"Dashboard: {page}" if page else "Dashboard"
        link = f'<a href="{escape(f"{place}?ticket={ticket}")}" target="_blank" rel="noopener">{escape(place)}</a>'
        self.show(
            {
                "text/html": box(f"<b>{escape(title)}</b>&ensp;{link}", GOOD),
                "text/plain": f"{title}: {place}?ticket={ticket}",
            }
        )
