"""What pages ask the Jupyter server below ``himalia/``: the list of clusters, and what may be done to them.

Each is behind the server's own login, and what changes something behind its check against forged requests
(`JupyterHandler.check_xsrf_cookie`, which runs before any method that is not GET or HEAD).
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import web

from ...cluster.launchers.boot import NodeOptions
from ...cluster.launchers.local import NodeStartError
from ..status import NAME_LABEL
from .clusters import Clusters, ScaleError, UnknownClusterError
from .proxy import AssetHandler, ProxyHandler, ProxySocket

__all__ = ["RESOURCE", "handlers"]

RESOURCE: Final = "himalia"
"""What an authorizer of the server is asked about."""

_ID: Final = r"[0-9a-f]{16}"
_LONGEST_NAME: Final = 64


class StartRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A cluster to start; None and empty: as ``himalia start --head`` has it."""

    cpus: float | None = None
    gpus: float | None = None
    object_store_memory: int | None = None
    name: str = ""
    keep: bool = False

    def __post_init__(self) -> None:
        for field in ("cpus", "gpus", "object_store_memory"):
            value = getattr(self, field)
            if value is not None and value < (field == "cpus"):
                raise ValueError(f"{field} can not be {value:g}")
        if len(self.name) > _LONGEST_NAME:
            raise ValueError(f"a name has {_LONGEST_NAME} letters at most, not {len(self.name)}")

    def options(self) -> NodeOptions:
        """As a node is told."""
        return NodeOptions(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            object_store_memory=self.object_store_memory,
            labels={NAME_LABEL: self.name} if self.name else {},
        )


class _Handler(APIHandler):
    auth_resource = RESOURCE

    def initialize(self, clusters: Clusters) -> None:
        self.clusters = clusters

    async def reply(self, value: Any) -> None:
        """Finish with a value as JSON."""
        await self.finish(msgspec.json.encode(value))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Like the base, without a line of log for each: these are answers to a person."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        message = self._reason
        if isinstance(error, web.HTTPError) and error.log_message:
            message = error.log_message % error.args
        self.set_header("Content-Type", "application/json")
        _ = self.finish(json.dumps({"message": message}))


class ClustersHandler(_Handler):
    """``himalia/api/clusters``: all of them, and a new one."""

    _track_activity = False  # pages ask all the time: a Hub may still end a server that nobody uses

    @web.authenticated
    @authorized
    async def get(self) -> None:
        await self.reply(await self.clusters.entries(self._kernels()))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        try:
            asked = msgspec.json.decode(self.request.body or b"{}", type=StartRequest)
        except msgspec.DecodeError as error:
            raise web.HTTPError(400, f"This is no description of a cluster: {error}") from error
        try:
            cluster_id = await self.clusters.start(asked.options(), keep=asked.keep)
        except (NodeStartError, OSError, ValueError) as error:
            raise web.HTTPError(500, f"The cluster did not start: {error}") from error
        self.set_status(201)
        await self.reply({"id": cluster_id})

    def _kernels(self) -> dict[int, str]:
        """Kernels that this server started on this machine, by process id."""
        found: dict[int, str] = {}
        for kernel_id in self.kernel_manager.list_kernel_ids():
            provisioner = getattr(self.kernel_manager.get_kernel(kernel_id), "provisioner", None)
            pid = getattr(provisioner, "pid", None)
            if isinstance(pid, int):
                found[pid] = kernel_id
        return found


class ClusterHandler(_Handler):
    """``himalia/api/clusters/ID``: the end of one."""

    @web.authenticated
    @authorized
    async def delete(self, cluster_id: str) -> None:
        try:
            stopped = await self.clusters.stop(cluster_id)
        except UnknownClusterError as error:
            raise web.HTTPError(404, str(error)) from error
        await self.reply({"nodes": stopped})


class ScaleRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Another number of CPUs."""

    cpus: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class ScaleHandler(_Handler):
    """``himalia/api/clusters/ID/scale``."""

    @web.authenticated
    @authorized
    async def post(self, cluster_id: str) -> None:
        try:
            cpus = msgspec.json.decode(self.request.body, type=ScaleRequest).cpus
            await self.clusters.scale(cluster_id, cpus)
        except msgspec.DecodeError as error:
            raise web.HTTPError(400, f"This is no number of CPUs: {error}") from error
        except UnknownClusterError as error:
            raise web.HTTPError(404, str(error)) from error
        except ScaleError as error:
            raise web.HTTPError(409, str(error)) from error
        await self.reply({"cpus": cpus})


class PagesHandler(_Handler):
    """``himalia/api/pages``: which pages a dashboard has."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        from ...dashboard.pages import menu  # not before somebody looks

        await self.reply(menu())


def handlers(base_url: str, clusters: Clusters) -> list[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    """The addresses, for a server with this prefix."""

    def place(pattern: str) -> str:
        return url_path_join(base_url, RESOURCE, pattern)

    return [
        (place(r"api/clusters"), ClustersHandler, {"clusters": clusters}),
        (place(rf"api/clusters/({_ID})"), ClusterHandler, {"clusters": clusters}),
        (place(rf"api/clusters/({_ID})/scale"), ScaleHandler, {"clusters": clusters}),
        (place(r"api/pages"), PagesHandler, {"clusters": clusters}),
        (place(rf"({_ID})/(api/v1/stream)"), ProxySocket, {}),
        (place(rf"({_ID})/(static/[\w.-]+)"), AssetHandler, {}),
        (place(rf"({_ID})/(.*)"), ProxyHandler, {}),
    ]
