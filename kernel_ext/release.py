"""Letting go of what a notebook keeps: entries of ``Out``, variables, the last traceback.

IPython keeps the value of each cell's last line under up to ten names: ``Out[5]``, ``_5``, ``_``, ``__`` or ``___``,
the same ones in its list of hidden variables (which ``%reset out`` does not empty), the last three in its display hook,
and the record of the last execution. All must go for the value to go.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from .arguments import UsageProblem

__all__ = ["LAST", "outputs_of", "release"]

LAST: Final = ("_", "__", "___")
_OUT: Final = re.compile(r"(?:Out\[|_)(\d+)\]?")
_NUMBERED: Final = re.compile(r"_(\d+)")


def outputs_of(shell: Any) -> dict[str, Any]:
    """What IPython keeps of the cells' last lines, by ``Out[n]``; what has lost its number by ``_``."""
    found = {f"Out[{number}]": value for number, value in list(shell.user_ns.get("_oh", {}).items())}
    places = (shell.user_ns, shell.user_ns_hidden)
    for place in places:
        for name, value in list(place.items()):
            if numbered := _NUMBERED.fullmatch(name):
                found.setdefault(f"Out[{numbered[1]}]", value)
    kept = {id(value) for value in found.values()}
    for place in (*places, vars(shell.displayhook)):
        for name in LAST:
            if name in place and not isinstance(place[name], str) and id(place[name]) not in kept:
                found.setdefault(name, place[name])
    return found


def release(shell: Any, name: str) -> None:
    """Let go of ``Out[5]``, ``Out`` (all of it), ``traceback``, or a variable.

    Raises
    ------
    UsageProblem
        There is nothing of that name.
    """
    outputs = outputs_of(shell)
    numbered = _OUT.fullmatch(name)
    if numbered is not None or name in LAST:
        name = f"Out[{numbered[1]}]" if numbered is not None else name
        if name not in outputs:
            raise UsageProblem(f"there is no {name}; kept are: {', '.join(outputs) or 'none'}")
        _forget(shell, outputs[name])
    elif name == "Out":
        for value in outputs.values():
            _forget(shell, value)
    elif name == "traceback":
        _release_traceback(shell)
    else:
        _release_variable(shell, name)


def _forget(shell: Any, value: Any) -> None:
    """Take a value away from everything that IPython keeps it in by itself."""
    outputs = shell.user_ns.get("_oh", {})
    for number in [number for number, kept in outputs.items() if kept is value]:
        del outputs[number]
    for place in (shell.user_ns, shell.user_ns_hidden):
        for name in [name for name, kept in place.items() if kept is value]:
            if name in LAST:
                place[name] = ""
            elif _NUMBERED.fullmatch(name):
                del place[name]
    for name in LAST:
        if getattr(shell.displayhook, name, None) is value:
            setattr(shell.displayhook, name, "")
    last = getattr(shell, "last_execution_result", None)
    if last is not None and last.result is value:
        last.result = None


def _release_traceback(shell: Any) -> None:
    for name in ("last_traceback", "last_value", "last_type", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    shell.InteractiveTB.tb = None
    last = getattr(shell, "last_execution_result", None)
    if last is not None:
        last.error_in_exec = None


def _release_variable(shell: Any, name: str) -> None:
    if not name.isidentifier():
        raise UsageProblem(f"{name!r} is no name: write Out[5], Out, traceback, or a variable's name")
    if name not in shell.user_ns or shell.user_ns_hidden.get(name) is shell.user_ns[name]:
        raise UsageProblem(f"there is no variable {name!r}")
    del shell.user_ns[name]
