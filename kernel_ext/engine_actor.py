"""An engine of ``%%every``: an actor with a namespace in which cells run one after the other.

Cells run in a thread of their own, so that a cancel reaches them (see actor_host.py) and another thread can answer what
variables there are while one runs.
"""

from __future__ import annotations

import contextlib
import io
import os
import time
from types import FunctionType
from typing import Any, Final

import msgspec

from ..cluster.core import current
from ..cluster.protocol.traceback_text import remote_traceback
from .cell_body import CellBody, execute

__all__ = ["GROUP", "Engine", "EngineReport"]

GROUP: Final = "questions"
"""Concurrency group of what is answered while a cell runs."""

_TEXT_LIMIT: Final = 100_000  # characters of output, and of a value's text, that come back from one engine
_OWN_NAMES: Final = ("engine_id", "engine_count")


class EngineReport(msgspec.Struct):
    """What came of a cell on one engine.

    Attributes
    ----------
    out, err
        What it printed, if that was to be gathered.
    text, html
        The value of its last expression as text, and as HTML if it can show itself so; empty for none.
    error, trace
        ``Type: text`` of what it raised, and the traceback.
    missing
        The name that it had not, for a `NameError`.
    """

    engine: int
    seconds: float = 0.0
    out: str = ""
    err: str = ""
    text: str = ""
    html: str = ""
    error: str = ""
    trace: str = ""
    missing: str = ""


class Engine:
    """The actor.

    Parameters
    ----------
    number
        Which one it is: the code knows it as ``engine_id``.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.space: dict[str, Any] = {"engine_id": number}
        core = current.find_core()
        if core is not None:
            core.actor_name = f"engine {number}"  # what stands before the lines that it prints

    def run(self, body: CellBody, count: int, gather: bool, quiet: bool) -> EngineReport:
        """Run a cell; what it raises is part of the report. ``count``: how many engines there are by now."""
        report = EngineReport(self.number)
        self.space["engine_count"] = count
        out, err = io.StringIO(), io.StringIO()
        begin = time.perf_counter()
        with contextlib.ExitStack() as stack:
            if gather:
                stack.enter_context(contextlib.redirect_stdout(out))
                stack.enter_context(contextlib.redirect_stderr(err))
            try:
                value = execute(body, self.space)
                if value is not None and not quiet:
                    report.text = repr(value)[:_TEXT_LIMIT]
                    report.html = _html_of(value)
            except Exception as error:  # noqa: BLE001 - whatever the cell raised; the other engines' reports count too
                report.error = f"{type(error).__name__}: {error}"
                report.trace = remote_traceback(error)
                report.missing = getattr(error, "name", None) or "" if isinstance(error, NameError) else ""
        report.seconds = time.perf_counter() - begin
        report.out, report.err = out.getvalue()[-_TEXT_LIMIT:], err.getvalue()[-_TEXT_LIMIT:]
        return report

    def push(
        self, modules: dict[str, str], shared: tuple[FunctionType, dict[str, Any]] | None, /, **given: Any
    ) -> None:
        """Set variables, as `capture` packs them. Functions see the engine's other variables from now on."""
        import importlib

        if shared is not None:
            anchor, values = shared
            theirs = anchor.__globals__
            # What functions of the notebook use came along in their globals.
            self.space.update({name: value for name, value in theirs.items() if not name.startswith("__")})
            self.space.update(values)
            for name, value in self.space.items():
                if isinstance(value, FunctionType) and value.__globals__ is theirs:
                    self.space[name] = _in_space(value, self.space)
        self.space.update(given)
        self.space.update({name: importlib.import_module(module) for name, module in modules.items()})

    def pull(self, names: list[str]) -> list[Any]:
        """Values of variables.

        Raises
        ------
        NameError
            There is none of this name.
        """
        for name in names:
            if name not in self.space:
                raise NameError(f"engine {self.number} has no variable {name!r}", name=name)
        return [self.space[name] for name in names]

    def names(self) -> tuple[int, list[str]]:
        """The process, and what variables cells have set."""
        hidden = (*_OWN_NAMES, "__builtins__", "__name__")
        return os.getpid(), [name for name in list(self.space) if name not in hidden]


def _html_of(value: Any) -> str:
    show = getattr(value, "_repr_html_", None)
    if show is None or isinstance(value, type):
        return ""
    try:
        html = show()
    except Exception:  # noqa: BLE001 - the text is there
        return ""
    return html if isinstance(html, str) and len(html) <= _TEXT_LIMIT else ""


def _in_space(function: FunctionType, space: dict[str, Any]) -> FunctionType:
    """The same function with other globals."""
    made = FunctionType(function.__code__, space, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__dict__.update(function.__dict__)
    made.__qualname__, made.__module__, made.__doc__ = function.__qualname__, function.__module__, function.__doc__
    made.__annotations__ = function.__annotations__
    return made
