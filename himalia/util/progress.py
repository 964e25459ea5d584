"""Progress of what takes long: bars under the cell that waits, or in the terminal.

Every `himalia.get`, `himalia.wait`, `map` and `as_completed` that blocks for more than two seconds shows one by itself;
`progress` shows that of work in the background, and `configure` says when, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from himalia.cluster.core import current
from himalia.cluster.core.generator import ObjectRefGenerator
from himalia.cluster.core.progress.watching import Group, Watcher, settings
from himalia.cluster.core.refs import ObjectRef as Ref

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from himalia import ObjectRef

__all__ = ["configure", "progress"]


def configure(*, enabled: bool | None = None, after: float | None = None) -> None:
    """Say whether and when bars appear by themselves, in this process.

    Parameters
    ----------
    enabled
        False: not at all. What asks for a bar (`progress`, ``map(..., progress=True)``) gets one all the same.
    after
        Seconds of waiting before a bar appears; 2 unless told otherwise.

    Raises
    ------
    ValueError
        ``after`` is negative.
    """
    if after is not None:
        if not after >= 0:
            raise ValueError(f"after must be a number of seconds, 0 or more; got {after!r}")
        settings.after = after
    if enabled is not None:
        settings.enabled = enabled


def progress(refs: ObjectRef | ObjectRefGenerator | Iterable[Any], *, description: str = "") -> None:
    """Show how far the tasks behind these references are, and return at once.

    The bar moves until all have ended; then it becomes one line. Where nobody looks (a script whose standard error is
    no terminal) nothing is shown.

    Parameters
    ----------
    refs
        References of tasks or calls of actors, or generators. They are not kept alive for longer than they take.
    description
        Stands in for the names of the functions.

    Raises
    ------
    TypeError
        Something else than references was given.
    """
    from himalia.cluster.core.progress.background import follow

    several = [refs] if isinstance(refs, Ref | ObjectRefGenerator) else refs
    found = [item._generator_ref if isinstance(item, ObjectRefGenerator) else item for item in several]
    for ref in found:
        if type(ref) is not Ref:
            raise TypeError(f"progress() takes ObjectRefs; got a {type(ref).__name__}")
    watch = _watcher()
    if watch.front is not None and found:
        follow(watch.core, found, watch.front, description)


def _watcher() -> Watcher:
    """What watches the waits of this process. In a worker nobody looks, unless somebody asks."""
    core = current.get_core()
    if core.watch is None:
        core.watch = Watcher(core, None)
    return core.watch


def together(*, show: bool | None = None, title: str = "", open_ended: bool = False) -> AbstractContextManager[Group]:
    """Several waits that show one bar; see `Watcher.together`."""
    if current.find_core() is None and not show:  # an engine that is not ours, or nothing that could wait yet
        return nullcontext(Group())
    return _watcher().together(show=show, title=title, open_ended=open_ended)
