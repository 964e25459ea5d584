"""What a worker has to send, in the order it came to be: results, stream items, printed text."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..core.commands import Connect, Reply, Send
from ..protocol.common import Address
from ..protocol.core_messages import LogLines, Result, StreamItem, TaskResults
from ..protocol.ids import make_task_id
from .peers import Job

if TYPE_CHECKING:
    from ..core.runtime import Core

__all__ = ["Outgoing"]


class Outgoing:
    """Any thread adds (append is atomic); the leader collects."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.items: deque[tuple[bytes, Any, float]] = deque()
        self.text: deque[tuple[Any, int, str]] = deque()
        self.stolen: set[bytes] = set()  # peers whose `StealTasks` is to be answered
        self.blocked: set[bytes] = set()  # peers to be told that this worker waits
        self.streams: list[Any] = []
        self.default_root: Address | None = None

    def add(self, peer: bytes, result: Result, seconds: float) -> None:
        """A task ended after ``seconds`` (negative: it did not run)."""
        self.items.append((peer, result, seconds))

    def add_item(self, peer: bytes, item: StreamItem) -> None:
        """A generator yielded."""
        self.items.append((peer, item, 0.0))

    def finish_output(self, job: Job) -> None:
        """The task is over: what it printed without an end of line goes too."""
        for stream in self.streams:
            stream.finish(job)

    def collect(self) -> None:
        """Pack everything into messages. In the leader."""
        out = self.core.out
        if self.text:
            self._collect_text()
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

    def _collect_text(self) -> None:
        text, out, core = self.text, self.core.out, self.core
        last: tuple[Any, int] | None = None
        parts: list[str] = []

        def send() -> None:
            if last is None:
                return
            job, number = last
            peer: bytes = job.peer.worker_id
            root = job.loaded.root
            lines = LogLines(
                job.loaded.cell,
                job.loaded.name,
                core.pid,
                core.node_id,
                number,
                "".join(parts),
                job.loaded.method and core.actor_name,
                make_task_id(peer, job.task.counter),
            )
            if root is None or root.worker_id == peer:
                out.append(Reply(peer, lines))
            else:
                out.append(Connect(root))
                out.append(Send(root.worker_id, lines))

        while text:
            job, number, part = text.popleft()
            if last is None or last[0] is not job or last[1] != number:
                send()
                last, parts = (job, number), []
            parts.append(part)
        send()
