"""What a worker has to send, in the order it came to be: results, stream items, printed text."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..core.commands import Connect, Reply, Send
from ..protocol.core_messages import Result, StreamItem, TaskResults
from ..protocol.gcs_messages import AskProcess

if TYPE_CHECKING:
    from ..core.runtime import Core
    from ..protocol.common import Address
    from .output import Output

__all__ = ["Outgoing"]


class Outgoing:
    """Any thread adds (append is atomic); the leader collects."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.items: deque[tuple[bytes, Any, float]] = deque()
        self.stolen: set[bytes] = set()  # peers whose `StealTasks` is to be answered
        self.blocked: set[bytes] = set()  # peers to be told that this worker waits
        self.output: Output | None = None
        self.gone: set[bytes] = set()  # drivers that died: an actor may outlive its own, and so does what is kept
        self._met: set[bytes] = set()  # drivers that were sent something

    def add(self, peer: bytes, result: Result, seconds: float) -> None:
        """A task ended after ``seconds`` (negative: it did not run)."""
        self.items.append((peer, result, seconds))

    def add_item(self, peer: bytes, item: StreamItem) -> None:
        """A generator yielded."""
        self.items.append((peer, item, 0.0))

    def collect(self) -> None:
        """Pack everything into messages. In the leader."""
        out = self.core.out
        if self.output is not None:
            self._collect_output(self.output)
        items = self.items
        if items:
            batches: dict[bytes, TaskResults] = {}
            while items:
                peer, item, seconds = items.popleft()
                if type(item) is StreamItem:
                    batch = batches.pop(peer, None)
                    if batch is not None:
                        out.append(Reply(peer, batch))
                    out.append(Reply(peer, item))
                    continue
                batch = batches.get(peer)
                if batch is None:
                    batch = batches[peer] = TaskResults([])
                batch.results.append(item)
                if seconds >= 0.0:
                    batch.busy = seconds if batch.busy < 0.0 else batch.busy + seconds
            for peer, batch in batches.items():
                self._flag(peer, batch)
                out.append(Reply(peer, batch))
        if self.stolen or self.blocked:
            for peer in self.stolen | self.blocked:
                batch = TaskResults([])
                self._flag(peer, batch)
                out.append(Reply(peer, batch))

    def _flag(self, peer: bytes, batch: TaskResults) -> None:
        if peer in self.stolen:
            self.stolen.discard(peer)
            batch.stolen = True
        if peer in self.blocked:
            self.blocked.discard(peer)
            batch.blocked = True

    def _collect_output(self, output: Output) -> None:
        for channel, message in output.collect():
            self.tell(channel.owner, channel.driver, message)

    def tell(self, owner: bytes, driver: Address | None, message: Any) -> None:
        """Send what a task has to say to its driver: the owner, unless that is given. In the leader."""
        out = self.core.out
        if driver is None:
            out.append(Reply(owner, message))
        elif driver.worker_id not in self.gone:
            if driver.worker_id not in self._met:
                self._met.add(driver.worker_id)
                out.append(Send(self.core.gcs_id, AskProcess(driver.worker_id)))  # it may have died before we began
            out.append(Connect(driver))
            out.append(Send(driver.worker_id, message))
        elif self.output is not None:
            self.output.leave_behind(message)
