"""``%%task``: the code of a cell as a task."""

from __future__ import annotations

import argparse
from typing import Any, ClassVar

from IPython.core.magic import cell_magic, magics_class

from ...cluster.core import api, current
from ...cluster.core.refs import ObjectRef
from ...cluster.core.remote_function import RemoteFunction
from ..arguments import MagicParser, UsageProblem, byte_count, count, positive, quantities, variable, variables
from ..cell_body import CellBody, NotGiven, run_body
from ..cell_code import Captured, CellCode, capture, wanted_names
from ..html import IDLE
from ..task_cell import TaskCell
from .base import Family, answers, user_variables

__all__ = ["TaskMagics"]


def _parser() -> MagicParser:
    parser = MagicParser("%%task")
    parser.add_argument("name", nargs="?", type=variable, metavar="NAME")
    parser.add_argument("--cpus", type=positive, metavar="N")
    parser.add_argument("--gpus", type=positive, metavar="N")
    parser.add_argument("--memory", type=byte_count, metavar="BYTES")
    parser.add_argument("--resources", type=quantities, metavar="NAME=N,…")
    parser.add_argument("--retries", type=count, metavar="N")
    parser.add_argument("--in", dest="into", type=variables, metavar="A,B", completer=user_variables)
    parser.add_argument("--out", type=variables, metavar="C,D", completer=user_variables)
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--engine", metavar="NAME")
    return parser


@magics_class
class TaskMagics(Family):
    """``%%task``."""

    parsers: ClassVar = {"task": _parser}

    @cell_magic
    @answers
    def task(self, line: str, cell: str) -> Any:
        """Run this cell as a task, on any worker of the cluster, while the notebook goes on.

        %%task [NAME] [--wait] [--in A,B] [--out C,D] [--cpus N] [--gpus N] [--memory BYTES] [--resources NAME=N,…]
               [--retries N] [--engine NAME]

        The variables that the code reads go along, and those that it assigns (functions and classes that it defines
        among them) become references in the notebook: himalia.get gives their values, and another %%task that reads
        them sees the values. NAME is bound to the task itself: NAME.state, NAME.result() for the value of the last
        expression, NAME.outs, NAME.cancel(). Names that begin with _, loop variables and imports do not come back.

        --wait
            Wait for the end: variables get their values, and the value of the last expression is shown.
        --in A,B
            Take along these variables only, also ones that the code does not seem to read. --in "" takes none.
        --out C,D
            Bring back these variables only, also ones that the code does not seem to assign.
        --cpus N, --gpus N, --memory BYTES, --resources NAME=N,…
            What the task needs: 1 CPU unless said otherwise. A size can be written as 500MB or 2GiB.
        --retries N
            How often it is tried again if its worker dies: 3 unless said otherwise.
        --engine NAME
            Refuse to run on another engine than this, such as himalia.

        Values of more than 10 MB are put into the object store, once, which is said. What the task changes inside a
        variable (a list that it appends to) stays there: name it with --out. Arrays that went along are read-only.
        """
        arguments = self.parse("task", line)
        code = CellCode(self.shell, "task", cell, self.cell_number())
        self.engine()
        _check_engine(arguments.engine)
        outs = list(code.names.gives) if arguments.out is None else list(dict.fromkeys(arguments.out))
        if arguments.name in outs:
            raise UsageProblem(f"the cell assigns {arguments.name!r} itself: give the task another name")
        space = self.variables
        wanted = wanted_names(code.names, space, self.hidden_variables, arguments.into)
        captured = capture(wanted, space, "%%task")
        if captured.stored:
            self.say(captured.note(), IDLE)
        handle = _submit(arguments, code, captured, outs)
        if arguments.name is not None:
            space[arguments.name] = handle
        if arguments.wait:
            return self._finish(handle, code.quiet)
        space.update(handle.outs)
        if arguments.name is None:
            return handle
        self.show(handle._repr_mimebundle_())
        return None

    def _finish(self, handle: TaskCell, quiet: bool) -> Any:
        """Wait, bind the variables to their values; returns what the cell shows."""
        value, *values = api.get([handle.ref, *handle.outs.values()])
        for name, given in zip(handle.outs, values, strict=True):
            if isinstance(given, NotGiven):
                self.say(f"`{name}` did not come back: {given.reason}.", IDLE)
            else:
                self.variables[name] = given
        return None if quiet else value


def _submit(arguments: argparse.Namespace, code: CellCode, captured: Captured, outs: list[str]) -> TaskCell:
    body = CellBody(
        code.source,
        code.filename,
        code.flags,
        tuple(outs),
        arguments.out is not None,
        captured.modules,
        "display" in code.names.reads,
    )
    options = {
        "name": arguments.name or f"cell [{code.number}]",
        "num_returns": 1 + len(outs),
        "num_cpus": arguments.cpus,
        "num_gpus": arguments.gpus,
        "memory": arguments.memory,
        "resources": arguments.resources,
        "max_retries": arguments.retries,
    }
    given = {name: value for name, value in options.items() if value is not None}
    made = RemoteFunction(run_body, given).remote(body, captured.shared, **captured.given)
    refs: list[ObjectRef] = made if outs else [made]
    return TaskCell(arguments.name or "", code.number, refs[0], dict(zip(outs, refs[1:], strict=True)))


def _check_engine(wanted: str | None) -> None:
    if wanted is None:
        return
    core = current.find_core()
    here = "himalia" if core is not None else type(current.get_engine()).__name__
    if wanted.lower() != here.lower():
        raise UsageProblem(
            f"this notebook works with the engine {here!r}, not {wanted!r}: %cluster connect {wanted}://… changes it"
        )
