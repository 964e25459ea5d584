"""What owners say of their tasks that have not begun: out of the same batches as everything else, but far cheaper.

Strategy: only owners' batches are decoded, and of these the newest counts of each owner; no record is made for any
task. So a page that shows what waits costs some milliseconds a look, however many tasks have run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from .events import Batch, Source, TaskState, decode_batch

__all__ = ["WaitingTasks"]


class _Head(msgspec.Struct, array_like=True):
    """How a `Batch` begins; the rest of it is skipped."""

    format: int
    is_owner: bool


_decode_head: Final = msgspec.msgpack.Decoder(_Head).decode


class WaitingTasks:
    """What waits at each owner.

    Attributes
    ----------
    counts
        By owner: how many tasks of which source wait in which state, as it counted them last.
    oldest
        By owner and name: when the oldest task that waits for its arguments was submitted, as far as it was seen.
    makers
        By name of a function: those whose results its tasks were seen to wait for.
    """

    def __init__(self) -> None:
        self.counts: dict[bytes, list[tuple[Source, TaskState, int]]] = {}
        self.oldest: dict[tuple[bytes, str], float] = {}
        self.makers: dict[str, set[str]] = {}
        self._dead: set[bytes] = set()

    def take(self, blobs: Iterable[bytes], dead: Iterable[bytes] = ()) -> None:
        """Take in batches, as they were encoded, the oldest first, and processes that have ended by then."""
        for batch in _owners_batches(blobs):
            self._add(batch)
        self._dead.update(dead)
        for worker_id in [owner for owner in self.counts if owner in self._dead]:
            del self.counts[worker_id]
            self._keep_oldest(worker_id, set())

    def _keep_oldest(self, owner: bytes, names: set[str]) -> None:
        """Of this owner, only tasks with these names wait for arguments."""
        for key in [key for key in self.oldest if key[0] == owner and key[1] not in names]:
            del self.oldest[key]

    def _add(self, batch: Batch) -> None:
        sources = batch.sources
        for made, used in batch.links:
            self.makers.setdefault(sources[used].name, set()).add(sources[made].name)
        if batch.waiting is not None:
            self.counts[batch.worker_id] = [
                (sources[of], TaskState(state), count) for of, state, count in batch.waiting
            ]
            waits = {sources[of].name for of, state, _ in batch.waiting if state == TaskState.PENDING_ARGS}
            self._keep_oldest(batch.worker_id, waits)
        for _, _, of, state, begin, _ in batch.rows():
            if state == TaskState.PENDING_ARGS:
                key = (batch.worker_id, sources[of].name)
                self.oldest[key] = min(begin, self.oldest.get(key, begin))

    def by_state(self, name: str) -> dict[TaskState, int]:
        """How many tasks of a function wait in which state, at all owners."""
        found: dict[TaskState, int] = {}
        for counted in self.counts.values():
            for source, state, count in counted:
                if source.name == name:
                    found[state] = found.get(state, 0) + count
        return found


def _owners_batches(blobs: Iterable[bytes]) -> Iterator[Batch]:
    for blob in blobs:
        try:
            if _decode_head(blob).is_owner:
                yield decode_batch(blob)
        except msgspec.DecodeError:
            continue  # a damaged batch does not hide the others
