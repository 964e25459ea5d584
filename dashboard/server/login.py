"""The login page: a form for the token, for who came without it; and the place where a token becomes a cookie."""

from __future__ import annotations

import logging
import time
from html import escape
from typing import ClassVar, Final
from urllib.parse import urlsplit

from .base import Guarded

__all__ = ["LoginHandler", "LogoutHandler"]

_log = logging.getLogger("himalia.dashboard")

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Himalia: log in</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1rem; }}
input, button {{ font: inherit; padding: .4rem .6rem; }} input {{ width: 20rem; max-width: 100%; }}
code {{ font-family: ui-monospace, monospace; }} .bad {{ font-weight: 600; }}
</style></head><body>
<h1>Himalia dashboard</h1>
{problem}
<form method="post" action="login"><input type="hidden" name="next" value="{next}">
<label for="token">Token</label><br>
<input id="token" name="token" type="password" autocomplete="current-password" autofocus required>
<button>Log in</button></form>
<p>In a terminal on the cluster's machine, <code>himalia dashboard</code> prints the URL with the token. In a notebook,
<code>%dashboard</code> does.</p>
</body></html>
"""


def is_inside(target: str) -> bool:
    """Whether a place to go on to is a page of ours: a relative path that does not lead out."""
    try:
        place = urlsplit(target)
    except ValueError:  # half an address in brackets
        return False
    return (
        not place.scheme
        and not place.netloc
        and not target.startswith(("/", "\\"))
        and "\\" not in target
        and ".." not in place.path.split("/")
        and target.isprintable()
    )


class LoginHandler(Guarded):
    """``GET login?token=…&next=…`` (or with a ticket) and the form."""

    is_public: ClassVar[bool] = True
    takes_tickets: ClassVar[bool] = True

    def get(self) -> None:
        access = self.services.access
        token, ticket = self.get_query_argument("token", ""), self.get_query_argument("ticket", "")
        if access.accepts_token(token) or access.accepts_ticket(ticket, time.time()):
            self._go_on()
        elif self.by_cookie:
            self.redirect_to(self._next())
        elif token:
            self._show("That is not the token of this cluster.")
        else:
            self._show("This link was good for ten minutes, which are over." if ticket else "")

    def post(self) -> None:
        # The token itself is what a forged request lacks.
        if self.services.access.accepts_token(self.get_body_argument("token", "").strip()):
            self._go_on()
        else:
            self._show("That is not the token of this cluster.")

    def _check_forgery(self) -> None:
        """Not for the form: it needs the token."""

    def _go_on(self) -> None:
        self.log_in()
        self.redirect_to(self._next())

    def _next(self) -> str:
        target = self.get_argument("next", "")
        return target if is_inside(target) else ""

    def _show(self, problem: str) -> None:
        if problem:
            _log.warning("a login from %s was refused", self.request.remote_ip)
        self.set_status(401)
        self.end(
            _PAGE.format(
                problem=f'<p class="bad" role="alert">{escape(problem)}</p>' if problem else "",
                next=escape(self._next()),
            )
        )


class LogoutHandler(Guarded):
    """``POST logout``: forget the cookie."""

    def post(self) -> None:
        self.clear_cookie(self.services.access.cookie_name, path="")
        self.redirect_to("login")
