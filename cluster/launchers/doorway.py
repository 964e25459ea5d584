"""The door of a cluster's dashboard: a listening socket from the beginning, a process behind it when somebody knocks.

Strategy: the node host of the head binds the socket, so the URL is known before anything else is, and looks at it as it
looks at its other descriptors. The first connection has it fork the process that serves; that connection waits in the
kernel meanwhile. So a dashboard that nobody opens costs no start-up and no memory, one that crashed or was killed is
there again at the next look, and one that has been idle for long may end. Whoever asked for it (``include_dashboard``
is true) has it from the beginning, and again as soon as it ended.

Rejected: a process that starts with each cluster and waits (a hundred milliseconds of a core when a notebook's first
cell wants it, and its memory for ever), and a server inside the GCS (what draws must not slow what schedules).

`Rules` are without input and output: told what happens, they say when the socket is to be looked at.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import select
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from . import boot

__all__ = ["Door", "DoorError", "Keeper", "Rules", "is_loopback", "open_door", "warnings_of"]

FIRST_PORT: Final = 8265
"""Ray's, so that tunnels and bookmarks that people have go on working."""
_PORTS_TRIED: Final = 50
_BACKLOG: Final = 128
_ANYWHERE: Final = ("0.0.0.0", "::", "*", "")
_AFTER_WORKERS: Final = 0.2
"""Seconds that one asked for waits: the first workers are forked then, and whoever starts a cluster waits for these."""
_SHORT_LIFE: Final = 5.0
_LONGEST_PAUSE: Final = 30.0


class DoorError(Exception):
    """The dashboard that was asked for cannot be; the text is for the user."""


class Rules:
    """When the process behind the door is to be started. Times are seconds on one clock.

    Parameters
    ----------
    is_wanted
        It is to run without being looked at.
    now
        When the node began to serve.
    """

    def __init__(self, is_wanted: bool, now: float) -> None:
        self._is_wanted = is_wanted
        self._not_before = now + (_AFTER_WORKERS if is_wanted else 0.0)
        self._began = now
        self._pause = 0.5
        self.runs = False

    def is_watched(self, now: float) -> bool:
        """Whether a connection would start it now."""
        return not self.runs and now >= self._not_before

    def wait(self, now: float) -> float | None:
        """Seconds until `is_due` or `is_watched` may change by itself; None: only something that happens changes it."""
        if self.runs or (self._not_before <= now and not self._is_wanted):
            return None
        return max(0.0, self._not_before - now)

    def is_due(self, now: float) -> bool:
        """Whether to start it without a connection."""
        return self._is_wanted and self.is_watched(now)

    def started(self, now: float) -> None:
        """It was forked."""
        self.runs = True
        self._began = now

    def ended(self, now: float, in_order: bool) -> None:
        """It ended. One that fails as soon as it begins is given more and more time between."""
        self.runs = False
        if in_order:
            self._not_before = now
            return
        if now - self._began >= _SHORT_LIFE:
            self._pause = 0.5
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


class Keeper:
    """Watches the door for the node host, and has it start what is behind.

    Parameters
    ----------
    fork
        ``fork(role, main, keep)``: make a process that keeps these descriptors.
    """

    def __init__(
        self,
        door: Door,
        options: boot.NodeOptions,
        connection: boot.ConnectionInfo,
        fork: Callable[[str, Callable[[], None], tuple[int, ...]], None],
    ) -> None:
        self.fd = door.fd
        self._rules = Rules(options.include_dashboard is True, time.monotonic())
        self._fork = fork
        self._is_polled = False
        told = boot.DashboardBoot(
            fd=door.fd,
            url=door.url,
            token=door.token,
            connection=connection,
            certificate=options.dashboard_certificate,
            key=options.dashboard_key,
            idle_seconds=options.dashboard_idle_seconds if options.include_dashboard is None else 0.0,
            log_level=options.log_level,
        )
        self._main = partial(_run_dashboard, options.dashboard_module, told)

    def before_waiting(self, poll: select.poll, timeout: float | None) -> float | None:
        """Have the socket looked at, or not; how long the host may wait for it in milliseconds, given its own limit."""
        now = time.monotonic()
        watched = self._rules.is_watched(now)
        if watched and not self._is_polled:
            poll.register(self.fd, select.POLLIN)
        elif self._is_polled and not watched:
            poll.unregister(self.fd)
        self._is_polled = watched
        wait = self._rules.wait(now)
        if wait is None:
            return timeout
        return min(wait * 1000 + 1, timeout) if timeout is not None else wait * 1000 + 1

    def after_waiting(self, knocked: bool) -> None:
        """Start the process, if it is time."""
        now = time.monotonic()
        if (knocked and self._rules.is_watched(now)) or self._rules.is_due(now):
            self._fork("dashboard", self._main, (self.fd,))
            self._rules.started(now)

    def ended(self, in_order: bool) -> None:
        """The process was reaped."""
        self._rules.ended(time.monotonic(), in_order)


def _run_dashboard(module: str, told: boot.DashboardBoot) -> None:
    importlib.import_module(module).run_dashboard(told)


class Door:
    """The socket, as a plain descriptor: children close what they inherit by number (see `wire`)."""

    def __init__(self, fd: int, url: str, token: str) -> None:
        self.fd = fd
        self.url = url
        self.token = token

    def close(self) -> None:
        """Refuse whoever comes."""
        with contextlib.suppress(OSError):
            os.close(self.fd)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    return host in ("localhost", "::1") or host.startswith("127.")


def warnings_of(connection: boot.ConnectionInfo) -> list[str]:
    """What whoever starts a cluster should know about its dashboard."""
    place = urlsplit(connection.dashboard_url)
    if not place.hostname or is_loopback(place.hostname) or place.scheme == "https":
        return []
    text = (
        f"the dashboard listens on {place.netloc} without TLS: who can read the network can read its token, and who "
        "has the token can cancel tasks and stop the cluster. Give dashboard_certificate and dashboard_key, or let it "
        "listen on 127.0.0.1 and use a tunnel"
    )
    return [text]


def open_door(options: boot.NodeOptions) -> Door | None:
    """Bind the socket that the options ask for; None where there is to be no dashboard, or where none can be.

    Raises
    ------
    DoorError
        It was asked for, or its place was, and it cannot be.
    """
    if options.include_dashboard is False:
        return None
    is_asked_for = options.include_dashboard is True or options.dashboard_port is not None
    try:
        _check_certificate(options)
        fd, port = _bind(options.dashboard_host, options.dashboard_port)
    except OSError as error:
        if is_asked_for or not is_loopback(options.dashboard_host):
            raise DoorError(f"the dashboard cannot listen on {_place(options)}: {error.strerror or error}") from error
        return None  # a sandbox without a network: the cluster needs none
    scheme = "https" if options.dashboard_certificate else "http"
    host = _shown(options.dashboard_host)
    return Door(fd, f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}", os.urandom(24).hex())


def _place(options: boot.NodeOptions) -> str:
    return options.dashboard_host + (f":{options.dashboard_port}" if options.dashboard_port is not None else "")


def _shown(host: str) -> str:
    from .local import machine_address

    return machine_address() if host in _ANYWHERE else host


def _check_certificate(options: boot.NodeOptions) -> None:
    """Tell a wrong file now, and not where nobody looks."""
    if not options.dashboard_certificate:
        if options.dashboard_key:
            raise DoorError("the dashboard was given a key without its certificate")
        return
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.dashboard_certificate, options.dashboard_key or None)
    except (OSError, ssl.SSLError) as error:
        raise DoorError(
            f"the dashboard's certificate {options.dashboard_certificate!r} with the key "
            f"{options.dashboard_key or options.dashboard_certificate!r} cannot be used: {error}"
        ) from error


def _bind(host: str, port: int | None) -> tuple[int, int]:
    """A listening socket and its port: the one asked for, else the first that is free."""
    ports = [port] if port is not None else [*range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED), 0]
    family, kind, protocol, _, address = socket.getaddrinfo(
        None if host in ("*", "") else host, ports[0], type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    for number in ports:
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((address[0], number, *address[2:]))
                listener.listen(_BACKLOG)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and number != ports[-1]:
                    continue
                raise
            listener.setblocking(False)
            bound: int = listener.getsockname()[1]
            undo.pop_all()
            return listener.detach(), bound
    raise AssertionError("the last port either works or raises")
