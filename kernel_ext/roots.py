"""What has a name in a notebook: the variables, ``Out``, and the locals of what still runs or has failed."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Any, Final

from ..cluster.core.holders import Kind, Root, is_machinery, thread_roots
from .release import LAST, outputs_of

__all__ = ["notebook_roots"]

_HISTORY: Final = ("In", "Out", "_ih", "_oh", "_dh", "_i", "_ii", "_iii")


def notebook_roots(shell: Any) -> list[Root]:
    """Everything that a user of this shell can name, in the order in which holders of one object are told."""
    namespace = shell.user_ns
    roots = [Root(Kind.VARIABLE, name, value) for name, value in list(namespace.items()) if _is_users(shell, name)]
    roots += [Root(Kind.OUT, name, value) for name, value in outputs_of(shell).items()]
    roots += thread_roots(namespace)
    roots += _of_coroutines()
    roots += _of_last_error(namespace)
    return roots


def _is_users(shell: Any, name: str) -> bool:
    """Whether a variable is the user's, not one of IPython's (``In``, ``_i``, ``_5`` for ``Out[5]``)."""
    if name in LAST or name in _HISTORY or (name.startswith("_") and name[1:].lstrip("i").isdigit()):
        return False
    return name not in shell.user_ns_hidden or shell.user_ns_hidden[name] is not shell.user_ns[name]


def _of_coroutines() -> list[Root]:
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return []
    roots: list[Root] = []
    for task in asyncio.all_tasks(loop):
        frame = getattr(task.get_coro(), "cr_frame", None)
        if frame is None or is_machinery(frame) or frame.f_code.co_name.startswith("<"):
            continue
        for name, value in list(frame.f_locals.items()):
            roots.append(Root(Kind.LOCAL, f"`{name}` of coroutine `{frame.f_code.co_name}`", value))
    return roots


def _of_last_error(namespace: Any) -> list[Root]:
    traceback: TracebackType | None = getattr(sys, "last_traceback", None)
    roots: list[Root] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_locals is not namespace and not is_machinery(frame):
            for name, value in list(frame.f_locals.items()):
                text = f"`{name}` of `{frame.f_code.co_name}` in the last traceback"
                roots.append(Root(Kind.TRACEBACK, text, value))
        traceback = traceback.tb_next
    return roots
