"""Keep a model current: ask the cluster, and hand what it answers to the model.

Strategy: asking and decoding (`read`) may run in any thread; the model changes only in `apply`, which belongs to the
thread that draws, and takes a few milliseconds at most since answers are bounded. Nodes are sampled with the same
questions, once a second, and only while somebody looks: nothing is recorded for a viewer who is not there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from ..cluster.protocol.gcs_messages import ListState
from ..cluster.telemetry.events import Batch
from ..cluster.telemetry.feed import INTERVAL, TaskFeed
from .model import Model
from .recording import Player, Recording

__all__ = ["ModelFeed", "Read"]

_READ_BYTES: Final = 1 << 18  # 10,000 tasks: three milliseconds of a notebook's loop
_SAMPLE: Final = 1.0  # seconds between samples of the nodes, and between rates


class Read(msgspec.Struct):
    """What one question brought: to be applied in the model's thread."""

    batches: list[Batch]
    blobs: list[bytes]
    nodes: list[dict[str, Any]] | None
    at: float
    is_behind: bool


class ModelFeed:
    """A model and where it gets its news from.

    Parameters
    ----------
    ask
        Brings a message to the GCS and its answer back: `Core.gcs_call`, or `GcsClient.call`. It is called by one
        thread at a time.
    model
        None: a new one.
    clock, wall
        Seconds on a clock that only goes forward, and since the epoch.
    recording
        Where all that is read is kept besides; None: nowhere.
    """

    def __init__(
        self,
        ask: Callable[[Any], Any],
        model: Model | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        recording: Recording | None = None,
    ) -> None:
        self.model = model if model is not None else Model()
        self.tasks = TaskFeed(ask, limit=_READ_BYTES)
        self._ask = ask
        self._clock = clock
        self._wall = wall
        self.recording = recording
        self._player = Player(self.model)
        self._next_sample = float("-inf")

    def read(self) -> Read:
        """Ask what is new.

        Raises
        ------
        ConnectionError
            The cluster is gone.
        """
        batches = self.tasks.read()
        nodes = None
        now = self._clock()
        if now >= self._next_sample and not self.tasks.is_behind:
            self._next_sample = now + _SAMPLE
            nodes = self._ask(ListState("nodes"))
        return Read(batches, self.tasks.blobs, nodes, self._wall(), self.tasks.is_behind)

    def apply(self, read: Read) -> None:
        """Have the model take it in."""
        player = self._player
        for batch, blob in zip(read.batches, read.blobs, strict=True):
            made = player.play(batch, read.at)
            if self.recording is not None:
                self.recording.add(player, blob, len(batch.counters), made)
        for worker_id in self.tasks.dead:
            player.end_process(worker_id)
            if self.recording is not None:
                self.recording.add_end(player, worker_id)
        self.model.lose(self.tasks.missed + self.tasks.unsent)
        if read.nodes is not None:
            self.model.sample(read.nodes, read.at)
            player.tick(read.at)

    def catch_up(self) -> Model:
        """Read and apply all there is now; the model."""
        while True:
            read = self.read()
            self.apply(read)
            if not read.is_behind:
                return self.model

    async def follow(self, interval: float = INTERVAL) -> AsyncIterator[Model]:
        """The model after each question, for ever. It changes in the loop; asking and decoding run in a thread.

        Parameters
        ----------
        interval
            Seconds between questions. One that is behind does not wait.
        """
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="himalia-feed") as thread:
            while True:
                read = await loop.run_in_executor(thread, self.read)
                self.apply(read)
                yield self.model
                await asyncio.sleep(0 if read.is_behind else interval)
