"""Who may: the rules of login, cookie, host, origin and forged requests. Pure: texts in, a verdict out.

Strategy, clause by clause:

- *Token.* Whoever can read the connection file has it. It is compared in constant time, and comes as ``Authorization:
  token …`` or ``Bearer …``, or once as ``?token=``, which is exchanged for a cookie at once so that it does not stay in
  the address bar, in the history or in a ``Referer``.
- *Ticket.* A link that stands in a notebook has one in place of the token: signed, and good for ten minutes.
- *Cookie.* Its value is signed with the token and does not contain it: who steals it has it until it ends, and it
  survives a restart of this process, since nothing is remembered. Its name has the cluster in it, because browsers do
  not tell ports of one host apart. It has no path: the browser takes the folder of the login page, so that behind a
  prefix it is sent below this prefix only, which we need not know.
- *Host.* A page of a stranger that had its own name point to 127.0.0.1 (DNS rebinding) sends that name. It is
  refused, unless the request proves the token: behind a proxy of Jupyter the name is the proxy's, which we can not
  know, and a stranger's page has neither the token nor a cookie for its name.
- *Origin.* A websocket is not bound by the same-origin rule, so its ``Origin`` has to be the ``Host`` it asked, or one
  that was allowed by name. Who proves the token by a header is no page of a stranger: pages can not set one.
- *Forged requests.* What changes something needs a header with a value that belongs to the cookie and only our own
  pages know, and is refused if its ``Origin`` or ``Sec-Fetch-Site`` says that it comes from elsewhere.

Rejected: tornado's signed cookies and its XSRF form field (a secret that dies with the process, and a cookie more), and
passwords (there is no place for a user to set one; the token can be passed on by hand).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

__all__ = ["COOKIE_SECONDS", "Access", "is_same_token", "make_ticket", "token_of_header"]

COOKIE_SECONDS: Final = 30 * 24 * 3600
TICKET_SECONDS: Final = 600


def is_same_token(given: str, token: str) -> bool:
    """Compare, in a time that does not depend on where they differ."""
    return bool(token) and hmac.compare_digest(given.encode(), token.encode())


def token_of_header(authorization: str) -> str:
    """The token in an ``Authorization`` header; empty if there is none."""
    scheme, _, value = authorization.strip().partition(" ")
    return value.strip() if scheme.lower() in ("token", "bearer") else ""


def sign(token: str, purpose: str, text: str) -> str:
    """What only who has the token can make of a text. A signature for one purpose is of no use for another."""
    return hmac.new(token.encode(), f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def make_ticket(token: str, now: float) -> str:
    """What logs in for some minutes after ``now``: for a link that is kept, and passed on, for longer than that."""
    end = str(int(now) + TICKET_SECONDS)
    return f"{end}.{sign(token, 'ticket', end)}"


class Access:
    """The rules for one cluster.

    Parameters
    ----------
    token
        Of the dashboard.
    name
        Tells its cookie from those of other clusters on this host.
    bound
        The address it listens on.
    hosts
        Further names it is reached by (``host`` or ``host:port``), which its pages may also come from.
    """

    def __init__(self, token: str, name: str, bound: str, hosts: Collection[str] = ()) -> None:
        self._token = token
        self._bound = bound.strip("[]").lower()
        self._hosts = {host.lower() for host in hosts}
        self.cookie_name = f"himalia-{name}"

    # -- token and cookie ---------------------------------------------------------------------------------------------

    def accepts_token(self, given: str) -> bool:
        """Whether this is the token."""
        return is_same_token(given, self._token)

    def accepts_ticket(self, ticket: str, now: float) -> bool:
        """Whether `make_ticket` made this, not too long ago."""
        end, _, mac = ticket.partition(".")
        is_ours = end.isascii() and end.isdigit() and is_same_token(mac, self._sign("ticket", end))
        return is_ours and now < int(end)

    def make_cookie(self, now: float, nonce: str) -> str:
        """A value for the cookie.

        Parameters
        ----------
        now
            Seconds since the epoch.
        nonce
            Text of random letters and digits.
        """
        stem = f"{int(now) + COOKIE_SECONDS}.{nonce}"
        return f"{stem}.{self._sign('cookie', stem)}"

    def accepts_cookie(self, value: str, now: float) -> bool:
        """Whether we made this, and not too long ago."""
        stem, _, mac = value.rpartition(".")
        end, _, nonce = stem.partition(".")
        if not (end.isascii() and end.isdigit() and nonce):
            return False
        return is_same_token(mac, self._sign("cookie", stem)) and now < int(end)

    def forgery_value(self, cookie: str) -> str:
        """What a page sends along with this cookie to change something."""
        return self._sign("change", cookie)

    def accepts_change(self, given: str, cookie: str) -> bool:
        """Whether the header of a request that changes something is that of its cookie."""
        return is_same_token(given, self.forgery_value(cookie))

    def _sign(self, purpose: str, text: str) -> str:
        return sign(self._token, purpose, text)

    # -- where it comes from, and goes to -----------------------------------------------------------------------------

    def knows_host(self, host: str) -> bool:
        """Whether a ``Host`` header names this dashboard, rather than whatever a stranger's name points to."""
        host = host.strip().lower()
        name = _name_of(host)
        if not name:
            return False
        if host in self._hosts or name in self._hosts or name in ("localhost", self._bound):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # An address is no name that somebody could have pointed here.
        return address.is_loopback or not _is_loopback(self._bound)

    def knows_origin(self, origin: str, host: str) -> bool:
        """Whether an ``Origin`` is this dashboard itself, as the browser sees it, or one that was allowed."""
        try:
            place = urlsplit(origin.strip().lower())
        except ValueError:  # half an address in brackets
            return False
        if place.scheme not in ("http", "https") or not place.netloc:
            return False
        return place.netloc in (host.strip().lower(), *self._hosts) or _name_of(place.netloc) in self._hosts

    def is_from_elsewhere(self, origin: str, site: str, host: str) -> bool:
        """Whether headers of the browser say that a page of somebody else sent this. No header says nothing."""
        if origin:
            return not self.knows_origin(origin, host)
        return site.strip().lower() in ("cross-site", "same-site")


def _name_of(host: str) -> str:
    """``host:port`` or ``[address]:port`` without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
