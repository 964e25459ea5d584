"""The REST API: a handler for all endpoints, and the document that describes them."""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any, Final

import msgspec
from tornado.web import HTTPError

from himalia.util.state import GcsRefusedError, StackError, StateApiError

from ..actions import ActionRefusedError
from .base import ApiHandler, Services
from .declarations import Endpoint, Question, Text
from .endpoints import ENDPOINTS
from .openapi import document

__all__ = ["OpenApiHandler", "RestHandler", "routes"]

_log = logging.getLogger("himalia.dashboard")

PREFIX: Final = "/api/v1"


class RestHandler(ApiHandler):
    """One address."""

    def initialize(self, services: Services, methods: dict[str, Endpoint] | None = None) -> None:
        super().initialize(services)
        self._methods = methods or {}

    async def get(self, **path: str) -> None:
        await self._answer("get", path)

    async def post(self, **path: str) -> None:
        await self._answer("post", path)

    async def _answer(self, method: str, path: dict[str, str]) -> None:
        endpoint = self._methods.get(method)
        if endpoint is None:
            self.set_header("Allow", ", ".join(self._methods).upper())
            self.answer_error(405, "method_not_allowed", f"{self.request.path} knows {', '.join(self._methods)} only")
            return
        try:
            query, body = self._query(endpoint), self._body(endpoint)
            answer = await self.services.asking.ask(lambda asked: endpoint.work(Question(asked, path, query, body)))
        except HTTPError:
            raise  # tornado's, of bytes that are no text: `write_error` tells it
        except Exception as error:  # noqa: BLE001 whatever it is, the caller is told
            self._refuse_with(error)
            return
        if isinstance(answer, Text):
            self.set_header("Content-Type", answer.kind)
            self.end(answer.text)
        else:
            self.set_header("Content-Type", "application/json")
            self.end(msgspec.json.encode(answer))

    def _query(self, endpoint: Endpoint) -> Any:
        given = {name: values for name, values in self.request.query_arguments.items() if name != "token"}
        if endpoint.query is None:
            if given:
                raise ValueError(f"{self.request.path} has no {', '.join(given)}")
            return None
        fields = {field.name: field for field in msgspec.structs.fields(endpoint.query)}
        read: dict[str, Any] = {}
        for name in given:
            if name not in fields:
                raise ValueError(f"{self.request.path} has no {name!r}, but {', '.join(fields)}")
            texts = self.get_query_arguments(name)
            read[name] = texts if fields[name].type == list[str] else texts[-1]
        return msgspec.convert(read, endpoint.query, strict=False)

    def _body(self, endpoint: Endpoint) -> Any:
        if endpoint.body is None:
            return None
        kind = self.request.headers.get("Content-Type", "").partition(";")[0]
        if kind != "application/json":
            raise ValueError(f"the body is to be application/json, not {kind or 'untyped'}")
        return msgspec.json.decode(self.request.body, type=endpoint.body)

    def _refuse_with(self, error: Exception) -> None:
        match error:
            case ActionRefusedError() | StackError():
                status, kind = 409, "refused"
            case GcsRefusedError():
                status, kind = 404 if error.kind == "not_found" else 409, error.kind
            case ConnectionError() | StateApiError():
                status, kind = 503, "unreachable"
            case LookupError():
                status, kind = 404, "not_found"
            case ValueError():
                status, kind = 400, "bad_request"
            case _:
                _log.error("%s %s failed", self.request.method, self.request.path, exc_info=error)
                status, kind = 500, "failed"
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        self.answer_error(status, kind, text if status != 500 else f"{type(error).__name__}: {text}")


class OpenApiHandler(ApiHandler):
    """``/api/v1/openapi.json``."""

    def get(self) -> None:
        self.set_header("Content-Type", "application/json")
        self.end(_document())


@cache
def _document() -> bytes:
    from importlib.metadata import version

    return msgspec.json.encode(document(ENDPOINTS, version("himalia")))


def routes(services: Services) -> list[tuple[str, type[ApiHandler], dict[str, Any]]]:
    """A route for each address."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    found: list[tuple[str, type[ApiHandler], dict[str, Any]]] = [
        (f"{PREFIX}/openapi.json", OpenApiHandler, {"services": services})
    ]
    # What has no name in it comes first: /logs/text is no file that is called text.
    for path in sorted(by_path, key=lambda path: "{" in path):
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path)
        found.append((f"{PREFIX}{pattern}", RestHandler, {"services": services, "methods": by_path[path]}))
    return found
