"""When what is shown is asked for again: every second while it changes, and seldom once nothing has for a minute."""

from __future__ import annotations

from typing import Final

__all__ = ["ASK_BUSY", "ASK_IDLE", "ASK_SECONDS", "QUIET", "Rhythm"]

ASK_BUSY: Final = 1.0
ASK_IDLE: Final = 5.0
QUIET: Final = 60.0
"""How often the GCS is asked what is in use: every second, and seldom when nothing has changed for a minute."""

ASK_SECONDS: Final = 2.0
"""To ask the GCS for the state of something that is shown: that must not hang where the GCS is gone."""


class Rhythm:
    """Of one thing that is asked about. Pure: told the time, in seconds."""

    def __init__(self, now: float) -> None:
        self._changed = self._next = now
        self._asked = False

    def is_due(self, now: float) -> bool:
        """Whether to ask now; if so, not again until there is an answer."""
        if self._asked or now < self._next:
            return False
        self._asked = True
        return True

    def answered(self, now: float, *, changed: bool) -> None:
        """It was told, or there will be no answer."""
        self._asked = False
        if changed:
            self._changed = now
        self._next = now + (ASK_BUSY if now - self._changed < QUIET else ASK_IDLE)

    def hurry(self) -> None:
        """Something was done about it: ask at the next opportunity."""
        self._next = 0.0
