"""What has a name in a notebook: the variables, ``Out``, and the locals of what still runs or has failed."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Final

from .holders import Kind, Root
from .release import LAST, outputs_of

__all__ = ["notebook_roots"]

#: Frames of these are the notebook's machinery, whose variables are nobody's.
_MACHINERY: Final = frozenset(
    {"IPython", "asyncio", "concurrent", "himalia", "ipykernel", "threading", "tornado", "traitlets", "zmq"}
)
_HISTORY: Final = ("In", "Out", "_ih", "_oh", "_dh", "_i", "_ii", "_iii")


def notebook_roots(shell: Any) -> list[Root]:
    """Everything that a user of this shell can name, in the order in which holders of one object are told."""
    namespace = shell.user_ns
    roots = [Root(Kind.VARIABLE, name, value) for name, value in list(namespace.items()) if _is_users(shell, name)]
    roots += [Root(Kind.OUT, name, value) for name, value in outputs_of(shell).items()]
    roots += _of_threads(namespace)
    roots += _of_coroutines()
    roots += _of_last_error(namespace)
    return roots


def _is_users(shell: Any, name: str) -> bool:
    """Whether a variable is the user's, not one of IPython's (``In``, ``_i``, ``_5`` for ``Out[5]``)."""
    if name in LAST or name in _HISTORY or (name.startswith("_") and name[1:].lstrip("i").isdigit()):
        return False
    return name not in shell.user_ns_hidden or shell.user_ns_hidden[name] is not shell.user_ns[name]


def _is_machinery(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__") or ""
    return module.partition(".")[0] in _MACHINERY


def _of_frames(frame: FrameType | None, where: str, namespace: Any, kind: Kind) -> Iterator[Root]:
    while frame is not None:
        if frame.f_locals is not namespace and not _is_machinery(frame) and frame.f_code.co_name != "<module>":
            for name, value in list(frame.f_locals.items()):
                yield Root(kind, f"`{name}` of `{frame.f_code.co_name}`{where}", value)
        frame = frame.f_back


def _of_threads(namespace: Any) -> list[Root]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    roots: list[Root] = []
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            where = f" in thread {names.get(ident, ident)}"
            roots += _of_frames(frame, where, namespace, Kind.LOCAL)
    return roots


def _of_coroutines() -> list[Root]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return []
    roots: list[Root] = []
    for task in asyncio.all_tasks(loop):
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is None or _is_machinery(frame) or frame.f_code.co_name.startswith("<"):
            continue
        for name, value in list(frame.f_locals.items()):
            roots.append(Root(Kind.LOCAL, f"`{name}` of coroutine `{frame.f_code.co_name}`", value))
    return roots


def _of_last_error(namespace: Any) -> list[Root]:
    traceback: TracebackType | None = getattr(sys, "last_traceback", None)
    roots: list[Root] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_locals is not namespace and not _is_machinery(frame):
            for name, value in list(frame.f_locals.items()):
                text = f"`{name}` of `{frame.f_code.co_name}` in the last traceback"
                roots.append(Root(Kind.TRACEBACK, text, value))
        traceback = traceback.tb_next
    return roots
