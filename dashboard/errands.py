"""Questions whose answers take seconds, as a CPU profile does: nobody waits for them.

Strategy: the first time that such a question is asked, a thread begins to work on it, and the answer is that it is
under way; whoever asks later gets what was found. Pages ask once a second anyhow, so a page shows the answer when it is
there, and twenty viewers of one view cause one piece of work. What nobody asks for any more is forgotten.

Rejected: waiting in the thread that asks for all pages, which would stand still meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Final

__all__ = ["UNDER_WAY", "Errands"]

Row = dict[str, Any]

UNDER_WAY: Final = "under_way"
"""Key of the only row of an answer that is not there yet: seconds since it was begun."""

_FORGOTTEN: Final = 60.0  # seconds without being asked for
_MOST: Final = 4  # at a time: a profile is not free for those it looks at


class _Errand:
    def __init__(self, work: Callable[[], list[Row]], begun: float) -> None:
        self.begun = self.asked = begun
        self.rows: list[Row] | None = None
        self.error: Exception | None = None
        self._work = work

    def run(self) -> None:
        try:
            self.rows = self._work()
        except Exception as error:  # noqa: BLE001 it is told to whoever asks
            self.error = error


class Errands:
    """Answers that take seconds, by name. Used by one thread at a time.

    Parameters
    ----------
    clock
        Seconds, going forward only.
    begin
        Has a function run beside this.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        begin: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        self._clock = clock
        self._begin = begin if begin is not None else _in_a_thread
        self._errands: dict[str, _Errand] = {}

    def ask(self, name: str, work: Callable[[], list[Row]]) -> list[Row]:
        """What was found, or a row that says for how long it has been under way.

        Raises
        ------
        Exception
            What ``work`` raised.
        RuntimeError
            Too much of this kind is under way.
        """
        now = self._clock()
        self._errands = {key: one for key, one in self._errands.items() if now - one.asked < _FORGOTTEN}
        errand = self._errands.get(name)
        if errand is None:
            busy = sum(1 for one in self._errands.values() if one.rows is None and one.error is None)
            if busy >= _MOST:
                raise RuntimeError(
                    f"{busy} profiles or stack dumps are being taken already: try again when they are done"
                )
            errand = self._errands[name] = _Errand(work, now)
            self._begin(errand.run)
        errand.asked = now
        if errand.error is not None:
            raise errand.error.with_traceback(None)
        return errand.rows if errand.rows is not None else [{UNDER_WAY: now - errand.begun}]


def _in_a_thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, name="himalia-errand", daemon=True).start()
