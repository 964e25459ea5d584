"""What the parts of a core share, so that each part can be read and checked by itself.

A `Core` is one object whose methods stand in several files by subject. A part derives from the parts that it builds on,
and all from `CoreBase`, which has no code: it says which attributes `Core.__init__` makes before any part runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ..protocol.common import Address, Cell, Death, NodeInfo
    from ..protocol.raylet_messages import CoreWelcome
    from ..serialization.reloading import Code
    from ..transport.bus import Bus
    from .actor_calls import ActorCalls, ActorClient
    from .completion import Completion
    from .progress.watching import Watcher
    from .reactor import Reactor
    from .records import Record
    from .references import References
    from .runtime import CoreOptions
    from .script_output import OutputSink
    from .submission import Submission
    from .timing import CoreTiming
    from .unseen import Unseen

__all__ = ["CoreBase"]

if TYPE_CHECKING:
    Handler = Callable[[bytes, Any], None]
    """Takes the id of the peer and its message."""


class CoreBase:
    """Attributes of every core. `Core` gives them their values."""

    options: CoreOptions
    worker_id: bytes
    node_id: bytes
    raylet_id: bytes
    gcs_id: bytes
    job_id: bytes
    cluster_id: str
    namespace: str
    address: Address
    pid: int
    bus: Bus
    reactor: Reactor
    references: References
    completion: Completion
    submission: Submission
    actor_calls: ActorCalls

    next_counter: Callable[[], int]
    inbox: deque[Any]  # records and actions that threads left for the leader
    out: list[Any]  # commands of the machines, carried out by the leader
    handlers: dict[type, Handler]  # for messages of other cores
    answer_handlers: dict[type, Handler]  # for messages of raylets and the GCS
    _decoders: dict[bytes, Callable[[bytes], Any]]  # for peers that are not cores
    tick_hooks: list[Callable[[float], None]]
    nodes: dict[bytes, NodeInfo]
    welcome: CoreWelcome | None
    fatal: BaseException | None  # why this process can do nothing any more
    closed: bool

    log_sink: OutputSink | None
    death_hooks: list[Callable[[bytes], None]]
    cell_provider: Callable[[], Cell | None] | None
    cell_cancelled: Callable[[Cell], None] | None  # who provides cells gives this one another name from now on
    before_flush: Callable[[], None] | None  # a worker's results join the messages here
    blocking: Callable[[], AbstractContextManager[Any]]  # entered while a user thread waits
    watch: Watcher | None  # shows how far it is what a user thread waits for
    close_hooks: list[Callable[[], None]]  # called when the session ends, while it can still be used
    unseen: Unseen | None  # looks after failures that nobody asks for
    executor: Any
    accelerators: dict[str, list[int]]
    actor_id: bytes
    actor_name: str
    actor_restarts: int
    job_runtime_env: str
    code: Code  # the edited modules that tasks are to run with; replaced, never changed
    timing: CoreTiming | None  # while a cell is explained

    if TYPE_CHECKING:  # what a part needs of one that builds on it

        def post(self, action: Callable[[], Any]) -> None:
            """Have the leader run `action`, in order with submissions."""

        def current_cell(self) -> Cell | None:
            """The cell on whose behalf this thread works."""

        def warn(self, text: str) -> None:
            """Tell the user something that is not an error yet."""

        def _begin_again(self, record: Record) -> None:
            """Submit a task anew whose value was lost."""

        def process_died(self, worker_id: bytes, death: Death) -> None:
            """A worker or driver is no more."""

        def _actor_out_of_scope(self, client: ActorClient) -> None:
            """The last handle of an actor of ours is gone."""
