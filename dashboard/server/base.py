"""What every handler does first: say who may, and what a browser may do with the answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from tornado.web import HTTPError, RequestHandler

from .access import COOKIE_SECONDS, Access, token_of_header
from .asking import Asking

if TYPE_CHECKING:
    from .stream import Pages

__all__ = ["FORGERY_HEADER", "ApiHandler", "Guarded", "Missing", "MissingApi", "Services"]

FORGERY_HEADER: Final = "X-Himalia-Request"
"""Of a request that changes something: the value that our pages were given."""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors {frames}"
)
"""Bokeh sets styles from scripts. It makes functions only of callbacks that are text, which we do without."""
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Services(msgspec.Struct):
    """What handlers need of the process. ``pages()`` makes the hub when somebody wants one.

    ``viewers()``: how many look at a page.
    """

    access: Access
    asking: Asking
    pages: Callable[[], Pages]
    viewers: Callable[[], int]
    cluster_id: str
    session_dir: str
    is_encrypted: bool = False
    last_look: float = 0.0  # of the last request, on the monotonic clock


class Guarded(RequestHandler):
    """A handler behind the rules of `access`.

    ``is_public``: of the login page, which works without a token but not for a host we do not know. ``takes_tickets``:
    of what makes a cookie of one.
    """

    is_public: ClassVar[bool] = False
    takes_tickets: ClassVar[bool] = False
    services: Services

    def initialize(self, services: Services) -> None:
        self.services = services
        self.by_cookie = False

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")
        self._set_policy("'self'")

    def _set_policy(self, frames: str) -> None:
        self.set_header("Content-Security-Policy", _POLICY.format(frames=frames))

    # -- who -----------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self.services.last_look = time.monotonic()
        access, request = self.services.access, self.request
        proven = self._proves_token()
        if not proven and not access.knows_host(request.host):
            raise HTTPError(
                403,
                f"The host {request.host!r} is not known to this dashboard. Open the URL with the token that "
                "`himalia dashboard` prints, or name the host in HIMALIA_DASHBOARD_HOSTS.",
            )
        if not proven and not self.is_public:
            self.refuse()
        elif request.method not in _SAFE and self.by_cookie:
            self._check_forgery()

    def _proves_token(self) -> bool:
        access = self.services.access
        given = token_of_header(self.request.headers.get("Authorization", "")) or self.get_query_argument("token", "")
        if given and access.accepts_token(given):
            return True
        cookie = self.get_cookie(access.cookie_name, "") or ""
        self.by_cookie = bool(cookie) and access.accepts_cookie(cookie, time.time())
        return self.by_cookie or (
            self.takes_tickets and access.accepts_ticket(self.get_query_argument("ticket", ""), time.time())
        )

    def _check_forgery(self) -> None:
        headers, access = self.request.headers, self.services.access
        if access.is_from_elsewhere(
            headers.get("Origin", ""), headers.get("Sec-Fetch-Site", ""), self.request.host
        ) or not access.accepts_change(headers.get(FORGERY_HEADER, ""), self.get_cookie(access.cookie_name, "") or ""):
            raise HTTPError(403, "This request does not come from a page of this dashboard: reload the page.")

    def refuse(self) -> None:
        """Nobody we know: the login page, for a person."""
        target = f"{self.request.path.lstrip('/')}{f'?{self.request.query}' if self.request.query else ''}"
        self.redirect_to("login", next=target)

    def log_in(self) -> None:
        """Give the browser a cookie. Only for the login page, whose folder is the cookie's path."""
        access = self.services.access
        secure = self.services.is_encrypted or self.request.headers.get("X-Forwarded-Proto", "") == "https"
        self.set_cookie(
            access.cookie_name,
            access.make_cookie(time.time(), os.urandom(12).hex()),
            path="",
            max_age=COOKIE_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=secure,
        )

    def forgery_value(self) -> str:
        """For a page: what its requests need to change something. Empty for who has no cookie, and needs none."""
        cookie = self.get_cookie(self.services.access.cookie_name, "") or ""
        return self.services.access.forgery_value(cookie) if self.by_cookie else ""

    def end(self, answer: str | bytes | None = None) -> None:
        """Finish; who asked may be gone, which is nothing to wait for."""
        _ = self.finish(answer)

    # -- where ---------------------------------------------------------------------------------------------------------

    @property
    def way_home(self) -> str:
        """The way from this page to the dashboard's first: ``./`` or ``../``, whatever stands before it."""
        return "../" * (self.request.path.count("/") - 1) or "./"

    def redirect_to(self, place: str, **query: str) -> None:
        """Redirect within the dashboard, relatively, so that it works behind any prefix."""
        from urllib.parse import urlencode

        self.set_status(302)
        self.set_header("Location", f"{self.way_home}{place}{'?' if query else ''}{urlencode(query)}")
        self.end()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        text = error.log_message if isinstance(error, HTTPError) and error.log_message else self._reason
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.end(f"{status_code}: {text}\n")


class Missing(Guarded):
    """What there is not."""

    def prepare(self) -> None:
        super().prepare()
        if not self._finished:
            raise HTTPError(404, "There is no such page.")


class ApiHandler(Guarded):
    """One that answers programs: in JSON, also when it refuses."""

    def refuse(self) -> None:
        self.set_header("WWW-Authenticate", 'Bearer realm="himalia"')
        self.answer_error(
            401, "unauthorized", "Give the token as `Authorization: Bearer TOKEN`; `himalia dashboard` prints it."
        )

    def answer(self, value: Any) -> None:
        """Finish with a value as JSON."""
        self.set_header("Content-Type", "application/json")
        self.end(msgspec.json.encode(value))

    def answer_error(self, status: int, kind: str, text: str) -> None:
        """Finish with an error: ``kind`` for programs, ``text`` for people."""
        self.set_status(status)
        self.answer({"error": text, "kind": kind})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        error = kwargs.get("exc_info", (None, None, None))[1]
        text = error.log_message if isinstance(error, HTTPError) and error.log_message else self._reason
        self.answer_error(status_code, self._reason.lower().replace(" ", "_"), text or "")


class MissingApi(ApiHandler, Missing):
    """What the API does not have."""
