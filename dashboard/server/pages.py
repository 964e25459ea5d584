"""The application's shell: one HTML file for the whole and for each page alone, and the files it needs.

Everything in it is relative to a ``<base>`` that is itself relative, so it works behind any prefix. What the client has
to know stands in ``<meta>`` elements, since no script may stand in the page itself.
"""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from tornado.web import HTTPError, StaticFileHandler

from .base import FORGERY_HEADER, Guarded

__all__ = ["STATIC", "LibraryHandler", "PageHandler", "StaticHandler"]

STATIC: Final = Path(__file__).resolve().parent.parent / "static"
_SHELL: Final = "index.html"
_LOGIN: Final = ("token", "ticket")
_FRAMES: Final = "'self' http://localhost:* http://127.0.0.1:* https://localhost:* https://127.0.0.1:*"
"""Who may show one page within its own: also a JupyterLab of this machine, whose port is another."""


class PageHandler(Guarded):
    """``/`` and ``/page/NAME``. A ``?token=`` becomes a cookie first."""

    takes_tickets: ClassVar[bool] = True

    def prepare(self) -> None:
        super().prepare()
        if self._finished or self.by_cookie:
            return
        rest = urlencode([pair for pair in self._query() if pair[0] not in _LOGIN])
        login = {name: self.get_query_argument(name) for name in _LOGIN if self.get_query_argument(name, "")}
        if login:
            self.redirect_to("login", **login, next=f"{self.request.path.lstrip('/')}{'?' if rest else ''}{rest}")

    def _query(self) -> list[tuple[str, str]]:
        return [
            (name, value.decode("utf-8", "replace"))
            for name, values in self.request.query_arguments.items()
            for value in values
        ]

    def get(self, page: str = "") -> None:
        if self.get_query_argument("embed", ""):
            self._set_policy(_FRAMES)
            self.clear_header("Cross-Origin-Resource-Policy")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.end(self._shell())

    def _shell(self) -> str:
        told = {
            "himalia-cluster": self.services.cluster_id,
            "himalia-request-header": FORGERY_HEADER,
            "himalia-request-value": self.forgery_value(),
        }
        head = "".join(f'<meta name="{name}" content="{escape(value)}">\n' for name, value in told.items())
        text = (STATIC / _SHELL).read_text(encoding="utf-8")
        return text.replace("{{ base }}", self.way_home).replace("<head>\n", f"<head>\n{head}", 1)


class LibraryHandler(Guarded, StaticFileHandler):
    """BokehJS, out of the installed Bokeh, which is not imported for that."""

    def initialize(self, services: Any) -> None:  # type: ignore[override]  # what our routes pass
        Guarded.initialize(self, services)
        found = find_spec("bokeh")
        if found is None or not found.submodule_search_locations:
            raise HTTPError(404, "Bokeh is not installed where the cluster runs: pip install 'himalia[dashboard]'")
        StaticFileHandler.initialize(self, f"{found.submodule_search_locations[0]}/server/static/js")

    def set_extra_headers(self, path: str) -> None:
        self.set_header("Cache-Control", "no-cache")


class StaticHandler(Guarded, StaticFileHandler):
    """Files of the client. tornado refuses paths that lead out of the folder."""

    def initialize(self, services: Any, path: str) -> None:  # type: ignore[override]  # as above
        Guarded.initialize(self, services)
        StaticFileHandler.initialize(self, path)

    def set_extra_headers(self, path: str) -> None:
        # They change with a release only, and an ETag tells.
        self.set_header("Cache-Control", "no-cache")
