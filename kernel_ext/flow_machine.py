"""What of the output of one cell's tasks is shown, and in which words.

- Equal lines in a row from one function are counted, whichever process they come from: the first few are shown at once,
  the others as one line with their number. While they go on, that line comes at longer and longer distances.
- Text is shown while the cell's allowance lasts. After that its end is kept, and shown when there is room again or
  when the tasks have fallen silent; before it stands how many lines were left out, and where they are.

Nothing waits for what may come: a line is shown in the moment it arrives, or it is not shown at all.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from ..cluster.telemetry.allowance_machine import Allowance

__all__ = ["BURST", "RATE", "RESERVE", "Flow", "Shown"]

REPEATS: Final = 3
"""So many equal lines are shown before they are counted: three can be meant (a banner, dots), more are noise."""
TAIL: Final = 4_096  # characters of the end that are kept
QUIET: Final = 0.4  # seconds without output after which what is kept is shown

BURST: Final = 80_000
"""Characters of one cell that are shown at once. A notebook's file takes half as much again for the same text."""
RATE: Final = 400.0
"""Characters a second after that: a line now and then, as long as a computation takes."""
RESERVE: Final = 16_000

_FIRST_SUMMARY: Final = 0.4  # seconds after which equal lines are summed up; then twice as long each time
_LAST_SUMMARY: Final = 20.0


class Shown(msgspec.Struct, frozen=True):
    """Text to write to stream 1 (stdout) or 2 (stderr)."""

    stream: int
    text: str


class _Run(msgspec.Struct):
    """Equal lines in a row of one function."""

    line: str
    seen: int = 0
    waiting: int = 0  # of these, not shown or counted yet
    pids: set[int] = set()
    due: float = 0.0
    every: float = _FIRST_SUMMARY


class Flow:
    """Output of one cell.

    Parameters
    ----------
    allowance
        What may be shown.
    where
        Ends the sentence that tells of lines left out: where they are.
    """

    def __init__(self, allowance: Allowance, where: str) -> None:
        self._allowance = allowance
        self._where = where
        self._runs: dict[tuple[str, int], _Run] = {}
        self._held: deque[tuple[int, str, int]] = deque()  # stream, text, lines
        self._held_size = 0
        self._omitted = 0
        self._last = 0.0

    @property
    def restless(self) -> bool:
        """Whether `tick` would have something to do, now or later."""
        return bool(self._held) or self._omitted > 0 or any(run.waiting for run in self._runs.values())

    def add(self, name: str, pid: int, stream: int, text: str, count: int, omitted: int, now: float) -> list[Shown]:
        """Lines of a task called ``name`` have come; ``count``: one line, so often; ``omitted``: left out before."""
        out: list[Shown] = []
        self._last = now
        run = self._runs.get((name, stream))
        if omitted:
            if run is not None:
                self._sum_up(run, name, stream, out, now)
            self._omitted += omitted
            if not self._held:
                self._tell_omitted(out, now)
        for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n"):
            if run is None or run.line != line:
                if run is not None:
                    self._sum_up(run, name, stream, out, now)
                run = self._runs[name, stream] = _Run(line, pids=set(), due=now + _FIRST_SUMMARY)
            run.pids.add(pid)
            fresh = min(count, max(0, REPEATS - run.seen))
            run.seen += count
            run.waiting += count - fresh
            for _ in range(fresh):
                self._pass(stream, f"({name} pid={pid}) {line}\n", 1, out, now)
        return out

    def note(self, text: str, stream: int, now: float) -> list[Shown]:
        """Text that stands for itself, such as what takes a display's place."""
        out: list[Shown] = []
        self._last = now
        self._pass(stream, text, text.count("\n"), out, now)
        return out

    def tick(self, now: float) -> list[Shown]:
        """Some time has passed."""
        out: list[Shown] = []
        quiet = now - self._last >= QUIET
        for (name, stream), run in self._runs.items():
            if run.waiting and (quiet or now >= run.due):
                run.every = min(_LAST_SUMMARY, 2 * run.every)
                run.due = now + run.every
                self._sum_up(run, name, stream, out, now)
        self._let_go(out, now, at_end=quiet)
        return out

    def close(self, now: float) -> list[Shown]:
        """Nothing more will come."""
        out: list[Shown] = []
        for (name, stream), run in self._runs.items():
            self._sum_up(run, name, stream, out, now)
        self._allowance.reserve += 2 * TAIL
        self._let_go(out, now, at_end=True)
        return out

    # -- inside -------------------------------------------------------------------------------------------------------

    def _sum_up(self, run: _Run, name: str, stream: int, out: list[Shown], now: float) -> None:
        """Say how often the line came since it was shown or counted last."""
        if not run.waiting:
            return
        who = f"pid={next(iter(run.pids))}" if len(run.pids) == 1 else f"{len(run.pids)} processes"
        times = "once more" if run.waiting == 1 else f"{run.waiting:,} more times"
        waiting, run.waiting = run.waiting, 0
        self._pass(stream, f"({name} {who}) {run.line}  [{times}]\n", waiting, out, now)

    def _pass(self, stream: int, text: str, lines: int, out: list[Shown], now: float) -> None:
        if not self._held and not self._omitted and self._allowance.take(len(text), now):
            out.append(Shown(stream, text))
            return
        if len(text) > TAIL:
            text = text[:TAIL] + "…\n"
        self._held.append((stream, text, lines))
        self._held_size += len(text)
        while self._held_size > TAIL and len(self._held) > 1:
            _, oldest, its_lines = self._held.popleft()
            self._held_size -= len(oldest)
            self._omitted += its_lines

    def _tell_omitted(self, out: list[Shown], now: float) -> None:
        text = self._gap()
        if self._omitted and self._allowance.take(len(text), now):
            self._omitted = 0
            out.append(Shown(1, text))

    def _let_go(self, out: list[Shown], now: float, *, at_end: bool) -> None:
        """Show what is kept, if there is room."""
        if not self._held and not self._omitted:
            return
        cost = self._held_size + (len(self._gap()) if self._omitted else 0)
        take = self._allowance.take_end if at_end else self._allowance.take
        if not take(cost, now):
            return
        if self._omitted:
            out.append(Shown(1, self._gap()))
        out.extend(Shown(stream, text) for stream, text, _ in self._held)
        self._held.clear()
        self._held_size = self._omitted = 0

    def _gap(self) -> str:
        lines = "1 line" if self._omitted == 1 else f"{self._omitted:,} lines"
        return f"… {lines} left out: {self._where}\n"
