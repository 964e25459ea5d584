"""An OpenAPI 3.1 document out of declarations of endpoints. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from .declarations import Endpoint, Text

__all__ = ["Problem", "document"]

_REFERENCE: Final = "#/components/schemas/{name}"


class Problem(msgspec.Struct):
    """Why something was not done: ``kind`` for programs, ``error`` for people."""

    error: str
    kind: str


def document(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """The document.

    Parameters
    ----------
    endpoints
        What it describes.
    version
        Of the release.
    """
    listed = list(endpoints)
    types: list[Any] = [Problem]
    for endpoint in listed:
        types += [one for one in (endpoint.answer, endpoint.body) if one is not None and one is not Text]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = {_key(one): schema for one, schema in zip(types, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in listed:
        paths.setdefault(endpoint.path, {})[endpoint.method] = _operation(endpoint, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Himalia",
            "version": version,
            "description": "The state of a cluster, and what can be done about it. docs/dashboard.md explains it.",
        },
        # Relative to this document, so right behind any prefix.
        "servers": [{"url": "."}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`himalia dashboard` prints it."}
            },
        },
    }


def _key(one: Any) -> str:
    return repr(one)


def _operation(endpoint: Endpoint, by_type: dict[str, Any]) -> dict[str, Any]:
    content = (
        {endpoint.kind: {"schema": {"type": "string"}}}
        if endpoint.answer is Text
        else {"application/json": {"schema": by_type[_key(endpoint.answer)]}}
    )
    found: dict[str, Any] = {
        "summary": endpoint.about,
        "operationId": re.sub(r"\W+", "_", f"{endpoint.method}{endpoint.path}").strip("_"),
        "tags": [endpoint.tag],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint)],
        "responses": {
            "200": {"description": "Done.", "content": content},
            "default": {
                "description": "Not done: bad request, not there, refused, or the cluster does not answer.",
                "content": {"application/json": {"schema": by_type[_key(Problem)]}},
            },
        },
    }
    if endpoint.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": by_type[_key(endpoint.body)]}},
        }
    return found


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    if endpoint.query is None:
        return []
    schema = msgspec.json.schema(endpoint.query)
    about = inspect.getdoc(endpoint.query) or ""
    (properties,) = [part["properties"] for part in schema["$defs"].values()]
    return [
        {"name": name, "in": "query", "required": False, "schema": part, "description": about}
        for name, part in properties.items()
    ]
