"""How references inside values are seen on their way out and made on their way in.

`ObjectRef` and actor handles are pickled by their own ``__reduce__``, deep inside a pickler. What they report to is
kept for each thread: the list of the `serialize` that runs on it, and the list of the `deserialize`. Passing a context
through pickle is not possible, and a context manager costs more than pickling a small value does; so `values` sets and
restores the two lists itself, and only on the paths where references can occur.

The classes of references belong to `core`, which is above this package: it installs how a reference is rebuilt, and
what happens to one that is pickled while nobody collects.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "note_made",
    "note_ref",
    "rebuild_ref",
    "set_out_of_band_hook",
    "set_ref_factory",
    "state",
]


class _State(threading.local):
    """The collecting lists of one thread; None where nothing is collected."""

    refs_out: list[Any] | None = None
    refs_in: list[Any] | None = None


state: Final = _State()


def _no_factory(id_bytes: bytes, owner: Any, *cluster: str) -> Any:
    raise RuntimeError(
        f"an ObjectRef ({id_bytes.hex()}) was unpickled in a process that is not connected to a Himalia cluster; "
        "call himalia.init() first"
    )


def _ignore(ref: Any) -> None:
    """Do nothing: before `core` is loaded there are no references."""


_ref_factory: Callable[..., Any] = _no_factory
_out_of_band_hook: Callable[[Any], None] = _ignore


def set_ref_factory(factory: Callable[..., Any] | None) -> None:
    """Install what makes an `ObjectRef` of (id, owner's address[, cluster id]); None takes it away."""
    global _ref_factory
    _ref_factory = factory or _no_factory


def set_out_of_band_hook(hook: Callable[[Any], None] | None) -> None:
    """Install what is called with a reference that is pickled outside of `serialize`; None takes it away."""
    global _out_of_band_hook
    _out_of_band_hook = hook or _ignore


def note_ref(ref: Any) -> bool:
    """Report that a reference (or actor handle) is being pickled; its ``__reduce__`` calls this.

    False if it is pickled outside of `serialize`, so that nobody knows where it will be read.
    """
    collecting = state.refs_out
    if collecting is None:
        _out_of_band_hook(ref)
        return False
    collecting.append(ref)
    return True


def note_made(ref: Any) -> None:
    """Report that a reference (or actor handle) was made by unpickling."""
    collecting = state.refs_in
    if collecting is not None:
        collecting.append(ref)


def rebuild_ref(id_bytes: bytes, owner: Any, *cluster: str) -> Any:
    """Make the reference again in this process; what ``ObjectRef.__reduce__`` names.

    ``cluster``: the id of its cluster, for one that was pickled outside of `serialize`.
    """
    ref = _ref_factory(id_bytes, owner, *cluster)
    note_made(ref)
    return ref
