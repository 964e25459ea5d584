"""The main function of the dashboard's process: tornado on the socket it was given.

It has no state that anybody would miss: login is a signed cookie, and what it shows the GCS remembers. So it may be
killed at any time, and when nobody has looked for long it ends by itself; the node host starts it again at the next
look.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
import time
from typing import Any, Final

from tornado.httpserver import HTTPServer
from tornado.web import Application

from ...cluster.launchers.boot import DashboardBoot
from .access import Access
from .asking import Asking
from .base import Services
from .login import LoginHandler, LogoutHandler
from .pages import STATIC, PageHandler, StaticHandler

__all__ = ["make_application", "run_dashboard"]

_log = logging.getLogger("himalia.dashboard")

_IDLE: Final = 600.0
"""Seconds without a request, and without an open page, after which the process ends: Bokeh alone holds 100 MB."""
_LARGEST_BODY: Final = 1 << 20


def make_application(services: Services) -> Application:
    """All that can be asked for."""
    told: dict[str, Any] = {"services": services}
    return Application(
        [
            (r"/", PageHandler, told),
            (r"/page/([A-Za-z0-9_-]+)", PageHandler, told),
            (r"/login", LoginHandler, told),
            (r"/logout", LogoutHandler, told),
            (r"/static/(.*)", StaticHandler, {**told, "path": str(STATIC)}),
        ],
        log_function=_log_request,
    )


def _log_request(handler: Any) -> None:
    """Without the query, which may hold the token."""
    level = logging.WARNING if handler.get_status() >= 500 else logging.DEBUG
    _log.log(
        level,
        "%s %s %s: %d",
        handler.request.remote_ip,
        handler.request.method,
        handler.request.path,
        handler.get_status(),
    )


def run_dashboard(boot: DashboardBoot) -> None:
    """Serve until ended, or until nobody has looked for long."""
    logging.basicConfig(
        level=boot.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    asyncio.run(_serve(boot))


async def _serve(boot: DashboardBoot) -> None:
    listener = socket.socket(fileno=boot.fd)
    encryption = None
    if boot.certificate:
        encryption = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        encryption.load_cert_chain(boot.certificate, boot.key or None)
    access = Access(boot.token, boot.connection.cluster_id, listener.getsockname()[0], _allowed_hosts())
    services = Services(
        access=access,
        asking=Asking(boot.connection),
        cluster_id=boot.connection.cluster_id,
        session_dir=boot.connection.session_dir,
        is_encrypted=encryption is not None,
        last_look=time.monotonic(),
    )
    server = HTTPServer(make_application(services), ssl_options=encryption, max_body_size=_LARGEST_BODY)
    server.add_sockets([listener])
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        if boot.may_leave and time.monotonic() - services.last_look > _IDLE:
            over.set()
        else:
            loop.call_later(_IDLE / 10, look)

    look()
    try:
        await over.wait()
    finally:
        server.stop()
        services.asking.close()


def _allowed_hosts() -> list[str]:
    return [host.strip() for host in os.environ.get("HIMALIA_DASHBOARD_HOSTS", "").split(",") if host.strip()]
