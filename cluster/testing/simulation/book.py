"""What really happened to each task: written by the tasks themselves, read by the checks.

Tasks of a simulation run in the process of the test, so they can say here that they run, which no machine could know:
how often each began, in which process, and whether what its submitter got is what it returned.
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

__all__ = ["Book", "Entry", "value_of"]


def value_of(key: str, *inputs: Any) -> int:
    """What the task of this key returns for these inputs: whoever gets another's result finds out."""
    return zlib.crc32(repr((key, inputs)).encode())


@dataclasses.dataclass(slots=True)
class Entry:
    """One task or call."""

    key: str
    max_retries: int
    kills_before: int
    starts: list[tuple[float, bytes]] = dataclasses.field(default_factory=list)
    outcome: str = ""
    is_follower: bool = False
    is_cancelled: bool = False


class Book:
    """All tasks of a simulation, by the names that the programs gave them."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.kills = 0  # of workers and nodes, by faults
        self._closed: list[str] = []
        self._cancelled: list[str] = []
        self.lost_pages = False  # a node died, so that nobody knows which tasks its workers had begun

    def submitted(self, key: str, max_retries: int, *, is_follower: bool = False) -> None:
        """A retried parent submits its children again: they are the same tasks then, tried more often."""
        known = self.entries.get(key)
        if known is None:
            entry = self.entries[key] = Entry(key, max_retries, self.kills, is_follower=is_follower)
            if any(key.startswith(prefix) for prefix in self._closed):
                entry.outcome = "dropped"
            entry.is_cancelled = any(key.startswith(prefix) for prefix in self._cancelled)
        elif known.max_retries >= 0 and max_retries >= 0:
            known.max_retries += 1 + max_retries
        else:
            known.max_retries = -1

    def started(self, key: str, now: float, worker: bytes) -> int:
        """A task begins; how often it had begun before.

        Raises
        ------
        AssertionError
            It was to be tried less often.
        """
        entry = self.entries[key]
        entry.starts.append((now, worker))
        if entry.max_retries >= 0:
            assert len(entry.starts) <= 1 + entry.max_retries, (
                f"{key} began {len(entry.starts)} times, with max_retries={entry.max_retries}"
            )
        return len(entry.starts) - 1

    def ended(self, key: str, outcome: str) -> None:
        """Its submitter has the outcome: "value", or the name of an error."""
        entry = self.entries[key]
        assert not entry.outcome, f"{key} ended twice: {entry.outcome}, {outcome}"
        entry.outcome = outcome

    def close(self, prefix: str) -> None:
        """What these tasks came to is nobody's business any more."""
        self._closed.append(prefix)
        for entry in self.entries.values():
            if entry.key.startswith(prefix) and not entry.outcome:
                entry.outcome = "dropped"

    def cancel(self, prefix: str) -> None:
        """These tasks are not wanted any more, nor those that they submit."""
        self._cancelled.append(prefix)
        for entry in self.entries.values():
            if entry.key.startswith(prefix):
                entry.is_cancelled = True

    def unended(self) -> list[str]:
        return [entry.key for entry in self.entries.values() if not entry.outcome]
