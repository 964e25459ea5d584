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
from .base import Missing, MissingApi, Services
from .login import LoginHandler, LogoutHandler
from .pages import STATIC, LibraryHandler, PageHandler, StaticHandler
from .rest import routes
from .scrape import MetricsHandler
from .stream import Pages, StreamHandler

__all__ = ["make_application", "run_dashboard"]

_log = logging.getLogger("himalia.dashboard")

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
            (r"/static/(bokeh\.min\.js)", LibraryHandler, told),
            (r"/api/v1/stream", StreamHandler, told),
            (r"/metrics", MetricsHandler, told),
            *routes(services),
            (r"/api/.*", MissingApi, told),
            (r"/static/(.*)", StaticHandler, {**told, "path": str(STATIC)}),
        ],
        default_handler_class=Missing,
        default_handler_args=told,
        log_function=_log_request,
        websocket_ping_interval=30,  # a browser that is gone without a word looks no more
        websocket_max_message_size=1 << 16,
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
    process = Process(boot)
    process.start()
    try:
        await process.over.wait()
    finally:
        await process.close()


class Process:
    """What lives as long as the process. ``over`` is set when it may end."""

    def __init__(self, boot: DashboardBoot) -> None:
        self._boot = boot
        self._listener = socket.socket(fileno=boot.fd)
        self._pages: Pages | None = None
        self._server: HTTPServer | None = None
        self.over = asyncio.Event()
        self.services = Services(
            access=Access(boot.token, boot.connection.cluster_id, self._listener.getsockname()[0], _allowed_hosts()),
            asking=Asking(boot.connection),
            pages=self._open_pages,
            viewers=lambda: self._pages.hub.viewers if self._pages is not None else 0,
            cluster_id=boot.connection.cluster_id,
            session_dir=boot.connection.session_dir,
            is_encrypted=bool(boot.certificate),
            last_look=time.monotonic(),
        )

    def _open_pages(self) -> Pages:
        if self._pages is None:
            self._pages = Pages(self._boot.connection)
        return self._pages

    def start(self) -> None:
        """Serve."""
        boot = self._boot
        encryption = None
        if boot.certificate:
            encryption = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            encryption.load_cert_chain(boot.certificate, boot.key or None)
        self._server = HTTPServer(
            make_application(self.services),
            ssl_options=encryption,
            max_body_size=_LARGEST_BODY,
            body_timeout=30,
            idle_connection_timeout=300,
        )
        self._server.add_sockets([self._listener])
        if boot.idle_seconds:
            self._look()

    def _look(self) -> None:
        if self.services.viewers():
            self.services.last_look = time.monotonic()
        idle = self._boot.idle_seconds
        if time.monotonic() - self.services.last_look > idle:
            self.over.set()
        else:
            asyncio.get_running_loop().call_later(idle / 10, self._look)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.stop()
        if self._pages is not None:
            await self._pages.close()
        self.services.asking.close()


def _allowed_hosts() -> list[str]:
    return [host.strip() for host in os.environ.get("HIMALIA_DASHBOARD_HOSTS", "").split(",") if host.strip()]
