"""``%%explain``: why a cell takes as long as it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgspec
from IPython.core.magic import line_cell_magic, magics_class

from ..arguments import MagicParser, UsageProblem, count
from .base import Family, answers

if TYPE_CHECKING:
    from ...dashboard.explain.findings import Diagnosis
    from ..explain import CellRun

__all__ = ["ExplainMagics"]

_KEPT: Final = 50  # diagnoses


def _parser() -> MagicParser:
    parser = MagicParser("%explain")
    parser.add_argument("cell", nargs="?", type=count, metavar="N")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--flame", action="store_true")
    return parser


@magics_class
class ExplainMagics(Family):
    """``%%explain`` and ``%explain``."""

    parsers: ClassVar = {"explain": _parser}

    def __init__(self, extension: Any) -> None:
        super().__init__(extension)
        self._known: dict[tuple[bytes, int], Diagnosis] = {}

    @line_cell_magic
    @answers
    def explain(self, line: str, cell: str | None = None) -> Any:
        """Run this cell, measure it, and say why it took as long as it did, the costliest reason first.

        %%explain [--json FILE] [--flame]
            Run the code below and explain it: what each CPU did in each second, what of that was lost and why
            (serialization, stragglers, tiny tasks, data that moves or is spilled, dependencies, too few tasks, the
            notebook's own code, GPUs that are held and idle), with the numbers, the functions and lines, and what to
            do. It waits for all tasks of the cell. Measuring costs less than 3 %, and nothing when it is not used.
        %explain [N] [--json FILE]
            Explain In [N], or the last cell that submitted tasks, out of what the cluster remembers of it. Of a cell
            that did not run below %%explain less is known, which is said.

        --json FILE
            Write the diagnosis there too.
        --flame
            Show a flame graph, too: which functions took the CPU time of the tasks and of this process. By py-spy
            where it is installed and allowed to look, else by the processes themselves, which costs them some percent.
        """
        arguments = self.parse("explain", line)
        if cell is None:
            return self._explain_past(arguments)
        if arguments.cell is not None:
            raise UsageProblem("%%explain takes no number: %explain N, on one line, explains a cell that has run")
        return self._explain_cell(arguments, cell)

    def _explain_cell(self, arguments: argparse.Namespace, cell: str) -> Any:
        from ..explain import CellRun

        core = self.core()
        file = None if arguments.json is None else Path(arguments.json).expanduser()
        if file is not None and not file.parent.is_dir():
            raise UsageProblem(f"the diagnosis can not be written to {file}: there is no folder {file.parent}")
        if core.timing is not None:
            raise UsageProblem("%%explain is at work already: it can not explain a cell within another one")
        run = CellRun(core, self.shell, cell, self.cell_number(), flame=arguments.flame)
        try:
            value = run.run()
        except BaseException as error:
            self._only_the_cells_frames(error, run)
            raise
        self._finish(run, arguments)
        return value

    def _finish(self, run: CellRun, arguments: argparse.Namespace) -> None:
        from ...dashboard.explain.findings import diagnose

        diagnosis = diagnose(run.record())
        self._keep(diagnosis)
        self._show(diagnosis, arguments, run)

    def _explain_past(self, arguments: argparse.Namespace) -> None:
        from ...dashboard.explain.findings import diagnose
        from ..explain import past_cell
        from ..task_history import TaskHistory, cell_of, job_of

        if arguments.flame:
            raise UsageProblem("--flame is for a cell that runs: put %%explain --flame above it")
        core = self.core()
        number = arguments.cell
        if number is None:
            this = self.cell_number()
            ran = {cell_of(record) for record in TaskHistory(core).update() if job_of(record) == core.job_id}
            number = max((one for one in ran if one < this), default=0)
            if not number:
                raise UsageProblem("no cell of this notebook has submitted tasks: %%explain above a cell explains it")
        known = self._known.get((core.job_id, number))
        if known is None:
            known = diagnose(past_cell(core, number, ""))
        self._show(known, arguments)

    def _keep(self, diagnosis: Diagnosis) -> None:
        self._known[self.core().job_id, diagnosis.cell] = diagnosis
        if len(self._known) > _KEPT:
            del self._known[next(iter(self._known))]

    def _show(self, diagnosis: Diagnosis, arguments: argparse.Namespace, run: CellRun | None = None) -> None:
        from ..explain_view import explain_bundle

        notes: list[str] = []
        if arguments.json is not None:
            path = Path(arguments.json).expanduser()
            try:
                path.write_bytes(msgspec.json.format(msgspec.json.encode(diagnosis)))
            except OSError as error:
                raise UsageProblem(f"the diagnosis can not be written: {error}") from None
            notes.append(f"Written to {path}")
        if run is not None and run.problem:
            notes.append(run.problem)
        self.show(explain_bundle(diagnosis, notes, run.profile if run is not None else None))

    def _only_the_cells_frames(self, error: BaseException, run: CellRun) -> None:
        """Let IPython show an error without the frames of the magic that ran the cell."""
        found = error.__traceback__
        while found is not None and found.tb_frame.f_code.co_filename != run.filename:
            found = found.tb_next
        if found is None or isinstance(error, KeyboardInterrupt):
            return
        self.show_only(error, found)
