"""What a kernel shows of the cluster that an earlier one left running: what was kept, and what that prints.

Strategy: a task that goes on prints for the driver that began it, which is dead; its worker's log has all of it. So
what it has printed is read there, and what it prints from now on too, twice a second, until it is done. What it
displays lies beside the log once its worker knows that the driver is dead (`telemetry/left_displays.py`). Rejected:
telling the workers of the new driver. Those of nested tasks would have to be found too, also ones that start later.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from ..cluster.core import current
from ..cluster.protocol.log_messages import LogSelection
from ..cluster.telemetry.left_displays import LIMIT, LeftReader
from .kept import SHOWN, ends_of_jobs, output_bundle, output_title, results_bundle
from .kernels import KernelFront
from .log_follow import FollowView
from .output import size_of
from .task_widgets import VIEW

if TYPE_CHECKING:
    from himalia.util.keeping import KeptResult
    from himalia.util.state._log_search import Follower

    from .extension import Extension

__all__ = ["KeptView"]

_EARLIER: Final = 2.0
"""Seconds before a kernel's end from which on output is shown again: what was under way then was seen by nobody."""

_LOOK: Final = 0.5  # seconds between looks for more
_PATIENCE: Final = 3.0  # seconds that the end of a session waits for the last look


@dataclass
class _Followed:
    """The output of one cell, some of whose tasks run."""

    view: FollowView
    follower: Follower
    names: set[str]  # of the results that are not there


class KeptView:
    """What is shown under one cell, until all that was kept is done."""

    def __init__(self, extension: Extension) -> None:
        self._core = current.get_core()
        self._front = extension.front
        self._place = extension.cells.current()
        self._display_id = f"himalia-kept-{uuid4().hex}"
        self._is_shown = False
        self._ended: dict[bytes, float] = {}
        self._running: set[str] = set()  # names of what is not there yet
        self._left = LeftReader(f"{self._core.options.session_dir}/logs")
        self._since_of: dict[tuple[bytes, str], float] = {}  # of cells: from when on what they display is shown here
        self._displays: set[str] = set()
        self._room = LIMIT  # bytes of displays that are still shown
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self) -> None:
        """Show what there is, and follow what goes on."""
        from himalia.util.keeping import kept

        results: list[KeptResult] = kept()
        self._ended = ends_of_jobs(self._core)
        self._show_results(results)
        cells: dict[tuple[bytes, str], list[KeptResult]] = {}
        for result in results:
            if result.job in self._ended:
                cells.setdefault((result.job, result.message), []).append(result)
        self._since_of = {key: self._since(group[0]) for key, group in cells.items()}
        running = []
        for group in cells.values():
            if any(result.state == "running" for result in group):
                running.append(group)
            elif (bundle := output_bundle(group[0], self._since(group[0]))) is not None:
                self._show(bundle, f"{self._display_id}-{group[0].message}")
        self._show_left()
        if running:
            self._follow(running)

    def close(self) -> None:
        """Show no more."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _since(self, result: KeptResult) -> float:
        return self._ended[result.job] - _EARLIER

    def _show_left(self) -> None:
        """Show what tasks have displayed since their kernel was gone: figures, tables, tracebacks."""
        for left in self._left.news():
            message = left.data
            data = {kind: value for kind, value in message.data.items() if kind != VIEW}
            since = self._since_of.get((message.cell.job_id, message.cell.message_id)) if message.cell else None
            if since is None or left.at < since or not data.keys() - {"text/plain"}:
                continue  # of no kept result, shown to that kernel, or text, which stands among the lines
            self._room -= size_of(data)
            if self._room >= 0 and isinstance(self._front, KernelFront):
                known = message.display_id in self._displays
                self._front.display(
                    self._place, data, message.metadata, message.display_id, update=message.update and known
                )
                self._displays.add(message.display_id)

    def _show_results(self, results: list[KeptResult]) -> None:
        self._show(results_bundle(results, self._ended), self._display_id, update=self._is_shown)
        self._is_shown = True

    def _show(self, bundle: dict[str, str], display_id: str, *, update: bool = False) -> None:
        if isinstance(self._front, KernelFront):
            self._front.display(self._place, bundle, {}, display_id, update=update)
        elif not update:
            self._front.write(self._place, 1, f"{bundle['text/plain']}\n")

    # -- what goes on: in a thread of its own -------------------------------------------------------------------------

    def _follow(self, groups: list[list[KeptResult]]) -> None:
        for result in [result for group in groups for result in group if result.state == "running"]:
            self._running.add(result.name)
            self._core.when_ready(result.ref, partial(self._running.discard, result.name))
        self._thread = threading.Thread(target=self._run, args=(groups,), name="himalia-kept", daemon=True)
        self._core.close_hooks.append(self.close)
        self._thread.start()

    def _run(self, groups: list[list[KeptResult]]) -> None:
        from himalia.util.state._logs import LogReader

        with LogReader(self._core.options.session_dir) as reader:
            followed = [self._followed(reader, group) for group in groups]
            groups.clear()  # with their references
            while followed:
                is_last = self._stop.is_set()
                followed = [one for one in followed if not self._look(one, is_last=is_last)]
                self._show_left()
                if followed:
                    self._stop.wait(_LOOK)
        if not self._core.closed and not self._stop.is_set():
            from himalia.util.keeping import kept

            self._show_results(kept())

    def _followed(self, reader: Any, group: list[KeptResult]) -> _Followed:
        from himalia.util.state._log_search import Follower, make_search

        first = group[0]
        search = make_search(
            LogSelection(message=first.message),
            job=first.job.hex(),
            cell=first.cell,
            since=self._since(first),
            tail=SHOWN,
            limit=SHOWN,
        )
        view = FollowView(output_title(first), SHOWN, self._front, self._place, "until it is done")
        return _Followed(view, Follower(reader, search), {result.name for result in group})

    def _look(self, one: _Followed, *, is_last: bool) -> bool:
        """Show what is new; whether that was all."""
        was_done = is_last or not one.names & self._running  # before the look: what was printed until then is seen
        is_new = one.view.add([one.follower.next_page()])
        is_over = was_done and not (one.view.is_behind and not is_last)
        if is_new or is_over:
            one.view.show(is_over=is_over)
        return is_over
