"""Tracebacks as text, of the user's frames alone."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from traceback import FrameSummary, StackSummary, TracebackException
from types import TracebackType
from typing import Final

from .places import name_cells

__all__ = ["is_internal", "last_user_frame", "remote_traceback"]

_HEAD: Final = "Traceback (most recent call last):\n"

# This file is <root of himalia.cluster>/protocol/traceback_text.py.
_ENGINE: Final = __file__.rpartition("/")[0].rpartition("/")[0] + "/"

_STANDARD: Final = os.__file__.rpartition("/")[0] + "/"


def _internal(frame: FrameSummary, folders: tuple[str, ...]) -> bool:
    return frame.filename.startswith(folders)


def _folders() -> tuple[str, ...]:
    found = [_ENGINE]
    for name in ("himalia", "himalia.kernel_ext", "cloudpickle"):
        package = sys.modules.get(name)
        found += [f"{path}/" for path in package.__path__] if package is not None else []
    return tuple(found)


def is_internal(filename: str) -> bool:
    """Whether a frame with this file is Himalia's own, or of what runs functions for it."""
    return filename.startswith(_folders())


@lru_cache(4_096)
def _is_user(filename: str) -> bool:
    """Whether a file is neither ours nor of a library."""
    if filename.startswith(("<frozen ", _STANDARD)) or is_internal(filename):
        return False
    return "/site-packages/" not in filename and "/dist-packages/" not in filename


def last_user_frame(traceback: TracebackType | None) -> tuple[str, int, str]:
    """Where the user's own code was: file, line and function of the innermost frame that is not of a library.

    Without one, the innermost that is not ours; empty if there is none either.
    """
    user = other = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if _is_user(code.co_filename):
            user = code, traceback.tb_lineno
        elif user is None and not is_internal(code.co_filename):
            other = code, traceback.tb_lineno
        traceback = traceback.tb_next
    found = user or other
    return ("", 0, "") if found is None else (found[0].co_filename, found[1], found[0].co_qualname)


def _strip(summary: TracebackException, exc: BaseException | None, folders: tuple[str, ...]) -> None:
    """Take away the executor's frames at the outer end; and the engine's at the inner end, for its own errors."""
    frames = list(summary.stack)
    start, stop = 0, len(frames)
    while start < stop and _internal(frames[start], folders):
        start += 1
    if _ours(exc):
        while stop > start and _internal(frames[stop - 1], folders):
            stop -= 1
    if start < stop:
        summary.stack = StackSummary.from_list(frames[start:stop])
    elif _ours(exc):  # its text says it all; any other error without user code is a fault to be found by its frames
        summary.stack = StackSummary()
        if summary.__cause__ is not None and all(_internal(frame, folders) for frame in summary.__cause__.stack):
            summary.__cause__ = summary.__context__ = None


def _ours(exc: BaseException | None) -> bool:
    return exc is not None and type(exc).__module__ == "himalia.exceptions"


def _strip_chain(summary: TracebackException, exc: BaseException, folders: tuple[str, ...]) -> None:
    seen: set[int] = set()
    pending: list[tuple[TracebackException | None, BaseException | None]] = [(summary, exc)]
    while pending:
        part, raised = pending.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        _strip(part, raised, folders)
        pending.append((part.__cause__, raised.__cause__ if raised else None))
        pending.append((part.__context__, raised.__context__ if raised else None))
        members = raised.exceptions if isinstance(raised, BaseExceptionGroup) else ()
        pending.extend(zip(part.exceptions or (), members, strict=False))


def remote_traceback(exc: BaseException, *, stack_only: bool = False) -> str:
    """Format the traceback of `exc` with its chain, without Himalia's own frames around the user's.

    Parameters
    ----------
    exc
        An exception just caught.
    stack_only
        Leave out the last lines (type and text) and the chain: for an error that is shown next to its cause.
    """
    folders = _folders()
    summary = TracebackException.from_exception(exc)
    _strip_chain(summary, exc, folders)
    if stack_only:
        return name_cells(_HEAD + "".join(summary.stack.format()))
    # Without frames there is no use in the line that announces them.
    return name_cells("".join(summary.format()).replace(f"{_HEAD}himalia.", "himalia."))
