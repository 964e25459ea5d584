"""What an address of the REST API is, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from .asking import Asked

__all__ = ["Endpoint", "Question", "Text"]


class Question(msgspec.Struct):
    """What a handler passes on: who answers, and what the path, the query and the body said."""

    asked: Asked
    path: dict[str, str]
    query: Any
    body: Any


class Text(msgspec.Struct):
    """An answer that is not JSON."""

    text: str
    kind: str = "text/plain; charset=utf-8"


class Endpoint(msgspec.Struct, frozen=True):
    """One address of the API.

    ``path`` is below ``/api/v1``, with names in braces. ``answer`` is the type of its JSON, `Text` for something else.
    ``query`` and ``body`` are the types of what is passed, or None.
    """

    method: Literal["get", "post"]
    path: str
    about: str
    answer: Any
    work: Callable[[Question], Any]
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    tag: str = "state"
    kind: str = "text/plain"  # of an answer that is not JSON
