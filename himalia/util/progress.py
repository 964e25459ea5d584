"""A progress bar: tqdm's where it is installed, else lines on standard error; none where nobody looks."""

from __future__ import annotations

import importlib.util
import sys
import time
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress", "somebody_looks"]

#: Seconds between plain lines: often enough to see that it moves, seldom enough not to fill a log.
_LINE_PERIOD = 2.0


def somebody_looks() -> bool:
    """Whether there is a person to show progress to: a notebook, or a terminal."""
    return _in_notebook() or sys.stderr.isatty()


def _in_notebook() -> bool:
    # IPython is not imported to find out whether it runs: if it runs, it is imported.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class Progress:
    """Shows how many of ``total`` are done, as a context manager.

    Parameters
    ----------
    total
        How many there are.
    description
        What is being done.
    enabled
        None: when somebody looks.
    """

    def __init__(self, total: int, description: str, *, enabled: bool | None = None) -> None:
        self.total = total
        self.done = 0
        self._description = description
        self._enabled = somebody_looks() if enabled is None else enabled
        self._bar: Any = None
        self._last_line = self._begin = time.monotonic()

    def __enter__(self) -> Self:
        self._begin = time.monotonic()
        if self._enabled and importlib.util.find_spec("tqdm") is not None:
            self._bar = _make_tqdm(self.total, self._description)
        return self

    def update(self, count: int = 1) -> None:
        """Say that ``count`` more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._enabled and (self.done >= self.total or time.monotonic() - self._last_line > _LINE_PERIOD):
            self._last_line = time.monotonic()
            seconds = self._last_line - self._begin
            sys.stderr.write(f"{self._description}: {self.done} of {self.total} in {seconds:.1f} s\n")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _make_tqdm(total: int, description: str) -> Any:
    # tqdm.auto would warn where ipywidgets is missing, so choose here.
    if _in_notebook() and importlib.util.find_spec("ipywidgets") is not None:
        from tqdm.notebook import tqdm
    else:
        from tqdm.std import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # tqdm's thread that watches over slow bars would outlive this one

    return Bar(total=total, desc=description, leave=True)
