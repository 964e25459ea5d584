"""The state of a widget and the binary parts in it, apart on the wire and together where it is kept. Pure.

As ipywidgets has it: a state is JSON, and what is binary in it (of any depth) travels beside it with its path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["Path", "join_state", "split_state"]

Path = list[str | int]
_BINARY = bytes | bytearray | memoryview


def join_state(state: dict[str, Any], paths: Sequence[Sequence[str | int]], buffers: Sequence[Any]) -> dict[str, Any]:
    """A state with its binary parts put into their places; the one that is given stays as it is.

    Raises
    ------
    ValueError
        A path leads nowhere.
    """
    state = _copied(state) if paths else dict(state)
    for path, buffer in zip(paths, buffers, strict=False):
        place: Any = state
        try:
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = bytes(buffer)
        except (LookupError, TypeError) as error:
            raise ValueError(f"a widget's state has nothing at {list(path)!r}") from error
    return state


def _copied(value: Any) -> Any:
    """The same, with containers of its own."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def split_state(state: dict[str, Any]) -> tuple[dict[str, Any], list[Path], list[bytes]]:
    """A state without its binary parts, their places, and them."""
    paths: list[Path] = []
    buffers: list[bytes] = []
    return _without(state, [], paths, buffers), paths, buffers


def _without(value: Any, path: Path, paths: list[Path], buffers: list[bytes]) -> Any:
    if isinstance(value, dict):
        kept: dict[Any, Any] = {}
        for key, item in value.items():
            if isinstance(item, _BINARY):
                paths.append([*path, key])
                buffers.append(bytes(item))
            else:
                kept[key] = _without(item, [*path, key], paths, buffers)
        return kept
    if isinstance(value, list | tuple):
        items: list[Any] = []
        for index, item in enumerate(value):
            if isinstance(item, _BINARY):
                paths.append([*path, index])
                buffers.append(bytes(item))
                items.append(None)
            else:
                items.append(_without(item, [*path, index], paths, buffers))
        return items
    return value
