"""``%%every`` and ``%every``: the same code on every engine, and what engines and notebook exchange."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from html import escape
from typing import Any, ClassVar, Final, NamedTuple

from IPython.core.magic import line_cell_magic, magics_class

from ...cluster.core import api
from ...cluster.core.refs import ObjectRef
from ...cluster.protocol.errors import RayError
from ..arguments import MagicParser, UsageProblem, variables
from ..cell_body import CellBody
from ..cell_code import CellCode, capture
from ..engine_actor import GROUP, EngineReport
from ..engines import EnginePool, Slot, choose, ranges
from ..html import BAD, GOOD, IDLE
from ..tables import Table, report
from .base import Family, answers, user_variables

__all__ = ["EveryMagics", "tell_of_removed"]

_GRACE: Final = 2.0  # seconds that an engine has to stop when the cell is interrupted


def _parser() -> MagicParser:
    parser = MagicParser("%%every")
    parser.add_argument("--targets", metavar="WHICH", completer=lambda shell: ["all", "nodes"])
    parser.add_argument("--group-outputs", choices=("engine", "type"))
    parser.add_argument("--push", type=variables, metavar="A,B", completer=user_variables)
    parser.add_argument("--pull", type=variables, metavar="C,D")
    parser.add_argument("--stop", action="store_true")
    return parser


class _Part(NamedTuple):
    """A piece of output, and the engines that gave it."""

    numbers: list[int]
    text: str
    html: str

    def as_html(self) -> str:
        shown = self.html or f'<pre style="margin:0;font-size:12px">{escape(self.text)}</pre>'
        return f'<div style="opacity:.65;font-size:12px">{escape(_title(self.numbers))}</div><div>{shown}</div>'

    def as_text(self) -> str:
        return f"{_title(self.numbers)}:{chr(10) if chr(10) in self.text else ' '}{self.text}"


class EveryError(Exception):
    """A cell failed on some engines. Shown with their tracebacks, and not that of the magic."""

    def __init__(self, reports: list[EngineReport], count: int) -> None:
        failed = ranges(each.engine for each in reports)
        super().__init__(f"the cell failed on {len(reports)} of {count} engines ({failed})")
        self.reports = reports

    def _render_traceback_(self) -> list[str]:
        parts = [f"{_title(numbers)}: {trace.rstrip()}" for trace, numbers in _alike(self.reports, "trace")]
        return ["\n\n".join([*parts, f"EveryError: {self}"])]


@magics_class
class EveryMagics(Family):
    """``%%every``."""

    parsers: ClassVar = {"every": _parser}

    @line_cell_magic
    @answers
    def every(self, line: str, cell: str | None = None) -> Any:
        """Run this cell on every engine: one process for each CPU of the cluster, which keeps its variables.

        %%every [--targets WHICH] [--group-outputs engine|type] [--push A,B] [--pull C,D]
            The engines run the cell at the same time, each in its own namespace, which later %%every cells find as it
            was left. The cell does not see the notebook's variables, except those that were pushed. It has engine_id
            (0, 1, …) and engine_count. When the cluster has fewer CPUs, as many engines end.
        %every [--push A,B] [--pull C,D] [--targets WHICH]
            Give variables of the notebook to the engines, or get theirs: x = %every --pull x is the list of the
            engines' values (a dictionary of such lists, for several names). Without options: what engines there are.
        %every --stop
            End the engines. %cluster stop does so too.

        --targets WHICH
            all, nodes (one engine of each node), or their numbers: 0,2,4-6 or :4.
        --group-outputs engine|type
            Show what engines print when all have ended, by engine, or output first and then values. Else lines appear
            as they are printed, marked with the engine.
        """
        arguments = self.parse("every", line)
        code = CellCode(self.shell, "every", cell, self.cell_number()) if cell is not None else None
        _check(arguments, code)
        if arguments.stop:
            self._stop()
            return None
        slots = choose(arguments.targets or "all", self._engines())
        if arguments.push is not None:
            self._push(arguments.push, slots)
        if code is not None:
            self._run(code, slots, arguments.group_outputs)
        if arguments.pull is not None:
            return self._pull(arguments.pull, slots)
        if code is None and arguments.push is None:
            self._status(slots)
        return None

    def ended(self) -> None:
        """The extension is unloaded: nobody can reach the engines any more."""
        pool, self.extension.engines = self.extension.engines, None
        if pool is not None and pool.core.fatal is None and not pool.core.closed:
            pool.stop()

    def _engines(self) -> list[Slot]:
        core = self.core()
        pool = self.extension.engines
        if pool is None or pool.core is not core:
            pool = self.extension.engines = EnginePool(core)
        renewed, removed = pool.ensure()
        tell_of_removed(self, removed)
        if renewed:
            had = "had died: its variables are" if len(renewed) == 1 else "had died: their variables are"
            self.say(f"{_title(renewed)} {had} lost, and new ones took their place.", BAD)
        return pool.slots

    def _stop(self) -> None:
        pool, self.extension.engines = self.extension.engines, None
        count = pool.stop() if pool is not None and pool.core is self.core() else 0
        self.say(f"Ended {count} engines." if count else "There were no engines to end.", IDLE)

    # -- cells ------------------------------------------------------------------------------------------------------

    def _run(self, code: CellCode, slots: list[Slot], grouped: str | None) -> None:
        body = CellBody(code.source, code.filename, code.flags, shows="display" in code.names.reads)
        count = len(self.extension.engines.slots) if self.extension.engines is not None else len(slots)
        calls = [(slot, slot.actor.run.remote(body, count, grouped is not None, code.quiet)) for slot in slots]
        refs = [ref for _, ref in calls]
        try:
            api.wait(refs, num_returns=len(refs))
        except KeyboardInterrupt:
            self._interrupt(calls)
            raise
        reports = [_report_of(slot, ref) for slot, ref in calls]
        self._show_reports(reports, grouped)
        failed = [each for each in reports if each.error]
        self._hint(failed)
        if failed:
            raise EveryError(failed, len(reports))

    def _interrupt(self, calls: list[tuple[Slot, ObjectRef]]) -> None:
        """Stop the engines; those that do not listen are ended, since the next cell would wait for them."""
        for _, ref in calls:
            api.cancel(ref)
        _, rest = api.wait([ref for _, ref in calls], num_returns=len(calls), timeout=_GRACE)
        stuck = [slot for slot, ref in calls if ref in rest]
        for slot in stuck:
            api.kill(slot.actor)
        if stuck:
            self.say(f"{_title(slot.number for slot in stuck)} did not stop, and was ended with its variables.", BAD)

    def _show_reports(self, reports: list[EngineReport], grouped: str | None) -> None:
        parts: list[_Part] = []
        if grouped == "engine":
            for each in reports:
                said = "\n".join(part.rstrip("\n") for part in (each.out, each.err, each.text) if part)
                parts += [_Part([each.engine], said, each.html)] if said else []
        else:
            for kind in ("out", "err", "text"):
                for text, numbers in _alike(reports, kind):
                    html = next((each.html for each in reports if each.engine in numbers), "") if kind == "text" else ""
                    parts.append(_Part(numbers, text.rstrip("\n"), html))
        if parts:
            html = "".join(part.as_html() for part in parts)
            grid = f'<div style="display:grid;grid-template-columns:max-content auto;column-gap:16px">{html}</div>'
            self.show({"text/html": grid, "text/plain": "\n".join(part.as_text() for part in parts)})

    def _hint(self, failed: Iterable[EngineReport]) -> None:
        """A name that the engines have not, but the notebook has."""
        names = dict.fromkeys(each.missing for each in failed if each.missing in self.variables)
        if names:
            listed = ",".join(names)
            self.say(f"The notebook has {listed}, the engines do not: %%every --push {listed} gives it to them.", IDLE)

    # -- variables --------------------------------------------------------------------------------------------------

    def _push(self, names: list[str], slots: list[Slot]) -> None:
        space = self.variables
        absent = [name for name in names if name not in space]
        if absent:
            raise UsageProblem(f"--push names {absent[0]!r}, which the notebook has not")
        found = capture(names, space, "%%every --push")
        api.get([slot.actor.push.remote(found.modules, found.shared, **found.given) for slot in slots])

    def _pull(self, names: list[str], slots: list[Slot]) -> Any:
        rows = []
        for slot in slots:
            try:
                rows.append(api.get(slot.actor.pull.remote(names)))
            except NameError as error:
                raise UsageProblem(str(error.args[0])) from None
        if len(names) == 1:
            return [row[0] for row in rows]
        return {name: [row[index] for row in rows] for index, name in enumerate(names)}

    def _status(self, slots: list[Slot]) -> None:
        told = api.get([slot.actor.names.options(concurrency_group=GROUP).remote() for slot in slots])
        table = Table(("engine", "worker", "node", "variables"), numbers=frozenset({"engine", "worker"}))
        for slot, (pid, names) in zip(slots, told, strict=True):
            table.rows.append([str(slot.number), str(pid), slot.node[:8], ", ".join(names)])
        nodes = len({slot.node for slot in slots})
        on = "this machine" if nodes == 1 else f"{nodes} nodes"
        self.show(report("Engines", f"{len(slots)} on {on}", GOOD, [table]))


def tell_of_removed(magics: Family, removed: list[int]) -> None:
    """Say which engines had to go, if any."""
    if removed:
        lost = "its variables" if len(removed) == 1 else "their variables"
        verb = "was" if len(removed) == 1 else "were"
        magics.say(f"The cluster has fewer CPUs now: {_title(removed)} {verb} ended, with {lost}.", BAD)


def _check(arguments: argparse.Namespace, code: CellCode | None) -> None:
    others = (code, arguments.targets, arguments.push, arguments.pull, arguments.group_outputs)
    if arguments.stop and any(each is not None for each in others):
        raise UsageProblem("--stop stands alone: %every --stop")
    if code is None and arguments.group_outputs is not None:
        raise UsageProblem("--group-outputs is about what a cell prints: it goes with %%every")


def _report_of(slot: Slot, ref: ObjectRef) -> EngineReport:
    try:
        found: EngineReport = api.get(ref)
    except RayError as error:  # the engine died, or its report did not arrive
        why = str(error).partition("\n")[0]
        trace = f"{why}\nIts variables are lost. The next %%every puts a new engine in its place."
        return EngineReport(slot.number, error=type(error).__name__, trace=trace)
    return found


def _alike(reports: Iterable[EngineReport], kind: str) -> list[tuple[str, list[int]]]:
    """Texts of one kind with the engines that gave them, which all say the same as often as not."""
    groups: dict[str, list[int]] = {}
    for each in reports:
        text: str = getattr(each, kind)
        if text:
            groups.setdefault(text, []).append(each.engine)
    return list(groups.items())


def _title(numbers: Iterable[int]) -> str:
    listed = list(numbers)
    return f"engine{'' if len(listed) == 1 else 's'} {ranges(listed)}"
