"""What a worker knows of an owner that sends it tasks, and of their templates. Data only."""

from __future__ import annotations

from typing import Any

import msgspec

from ..protocol.common import Address, Cell
from ..protocol.core_messages import Task, Template

__all__ = ["Job", "Loaded", "Peer"]


class Peer(msgspec.Struct, eq=False):
    """An owner."""

    worker_id: bytes
    address: Address | None = None
    templates: dict[int, Loaded] = {}
    recent: dict[int, bytes | None] = {}  # results of its last tasks, for tasks that follow them; None: failed
    consumed: dict[int, int] = {}  # items taken of streaming tasks
    lease_id: int = 0


class Loaded(msgspec.Struct, eq=False):
    """A template with its function, unpickled when it first runs."""

    template: Template
    name: str
    function: Any = None
    num_returns: int = 1
    cell: Cell | None = None
    root: Address | None = None  # the driver, when the owner is not one itself
    max_calls: int = 0
    calls: int = 0
    method: str = ""
    group: str = ""
    backpressure: int = 0
    is_coroutine: bool = False
    is_generator: bool = False
    owner: bytes = b""  # worker id of who sends these tasks
    channel: Any = None  # of its output, once it has some


class Job(msgspec.Struct, eq=False):
    """A task on its way through this worker."""

    peer: Peer
    task: Task
    loaded: Loaded
    cancelled: bool = False
    running: Any = None  # asyncio task or thread that runs it
    started: float = 0.0  # on `time.perf_counter`; 0: it has not begun
    error: str = ""  # what it raised, for telemetry
    voice: Any = None  # of its output, once it has some

    def driver(self) -> Address | None:
        """Whom to tell what a user should see; None: the owner, who is the driver itself and connected to us."""
        root = self.loaded.root
        if self.loaded.method == "__init__":
            return root or self.peer.address  # an owner connects when it has heard that the actor is there
        return None if root is None or root.worker_id == self.peer.worker_id else root
