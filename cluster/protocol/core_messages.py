"""The channel between two cores (driver or worker): tasks, results, objects, references, log lines.

Strategy: what is the same for many tasks (function, options, cell) is a `Template`, sent once to each worker and then
named by a number; a task itself is a counter, a template number and its pickled arguments. A message carries as many
tasks or results as there are. Everything is addressed by the owner's counter, since a channel's peer id names the
owner.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .comm_messages import CommData
from .common import Address, CancelCell, Cell, Resources
from .control_messages import CancelOwned, ControlDone, EndJob
from .debug_messages import BreakpointLine, BreakpointText
from .held_messages import (
    DescribeObjects,
    DescribeTask,
    ExplainObject,
    HeldObject,
    ObjectExplained,
    ObjectsHeld,
    ReferenceKind,
    TaskDescribed,
)
from .metric_messages import DescribeMetrics, MetricsHeld
from .stack_messages import FilesNamed, NameFiles, StackAnswer, StackQuestion, StackStop

__all__ = [
    "ARG_ERROR",
    "ARG_INLINE",
    "ARG_LOCAL",
    "ARG_REMOTE",
    "ARG_STORE",
    "R_CANCELLED",
    "R_ERROR",
    "R_EXITING",
    "R_INLINE",
    "R_MANY",
    "R_RETURNED",
    "R_STREAM_END",
    "Ack",
    "AddBorrowers",
    "CancelObjects",
    "CancelTasks",
    "CoreMessage",
    "Dep",
    "DescribeObjects",
    "DisplayData",
    "GetObjects",
    "HandoverDone",
    "HeldObject",
    "LogLines",
    "ObjectState",
    "ObjectStates",
    "ObjectsHeld",
    "PushTasks",
    "RefInfo",
    "ReferenceKind",
    "RemoveBorrowers",
    "ReportLost",
    "Result",
    "ReturnValue",
    "SenderDied",
    "SenderSettled",
    "StealTasks",
    "StreamConsumed",
    "StreamItem",
    "Task",
    "TaskOutput",
    "TaskResults",
    "TaskScreen",
    "Template",
    "UnseenErrors",
]

ARG_INLINE: Final = 0  # `data` is the value's pickle stream
ARG_STORE: Final = 1  # the value lies in an object store: `nodes`, and `offset`, `size` on the worker's own node
ARG_LOCAL: Final = 2  # a result of an earlier task of this owner in the same worker's queue
ARG_REMOTE: Final = 3  # the worker asks the owner (`owner`) itself
ARG_ERROR: Final = 4  # `data` is a pickled error: the task is not run, it fails with it

R_INLINE: Final = 0  # one return; `data` is its pickle stream
R_MANY: Final = 1  # returns listed in `returns`
R_ERROR: Final = 2  # raised; `data` is the pickled RayTaskError
R_RETURNED: Final = 3  # never started: stolen back, its worker blocked, or its local argument was gone
R_CANCELLED: Final = 4  # cancelled before or while it ran
R_STREAM_END: Final = 5  # a generator is exhausted; `data` empty
R_EXITING: Final = 6  # never started since the worker leaves (max_calls, exit_actor)


class RefInfo(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A reference found inside a value: the object and who owns it."""

    object_id: bytes
    owner: Address


class Template(msgspec.Struct, array_like=True, frozen=True):
    """What many tasks share. ``payload`` is the pickled function, given the first time a worker sees ``function``.

    ``actor_id`` is empty for tasks; for a call of an actor ``function`` is empty and ``name`` is the method's name.
    ``num_returns`` is -1 for a streaming generator. ``options`` holds rarely used options (concurrency_group,
    retry exceptions, max_calls, backpressure, runtime env) by name.
    """

    index: int
    name: str
    function: bytes
    payload: bytes | None = None
    actor_id: bytes = b""
    num_returns: int = 1
    cell: Cell | None = None
    resources: Resources = {}
    options: dict[str, object] = {}


class Dep(msgspec.Struct, array_like=True, gc=False):
    """A top-level reference among the arguments: replaces argument ``slot`` (position, or keyword name)."""

    slot: int | str
    object_id: bytes
    kind: int
    data: bytes = b""
    owner: Address | None = None
    nodes: list[bytes] = []
    offset: int = -1
    size: int = 0
    flags: int = 0


class Task(msgspec.Struct, array_like=True, gc=False):
    """One task or actor call: counter at its owner, its template's index, pickled ``(args, kwargs)`` (empty: none).

    ``attempt`` counts retries; ``refs`` are references inside the arguments (borrowed, not resolved);
    ``seq`` orders the calls of one caller to one actor.
    """

    counter: int
    template: int
    args: bytes = b""
    deps: list[Dep] | None = None
    refs: list[RefInfo] | None = None
    seq: int = 0
    attempt: int = 0


class PushTasks(msgspec.Struct, array_like=True, tag=1):
    """Owner to worker: run these, in this order.

    ``accelerators``: instance numbers that the lease holds, e.g. GPU → [0].
    """

    tasks: list[Task]
    templates: list[Template] = []
    lease_id: int = 0
    owner: Address | None = None
    accelerators: dict[str, list[int]] | None = None


class ReturnValue(msgspec.Struct, array_like=True, gc=False):
    """One return of several, or one that is not a plain inline value.

    ``size`` > 0 and empty ``data``: in ``node``'s store. ``flags`` bit 0: the value is a pickled error. ``refs``:
    references inside it, for which the owner is registered already.
    """

    data: bytes = b""
    node: bytes = b""
    offset: int = -1
    size: int = 0
    flags: int = 0
    refs: list[RefInfo] | None = None


class Result(msgspec.Struct, array_like=True, gc=False):
    """How one task ended. ``borrows``: references of its arguments that the worker still holds."""

    counter: int
    kind: int
    data: bytes = b""
    returns: list[ReturnValue] | None = None
    borrows: list[bytes] | None = None
    attempt: int = 0


class TaskResults(msgspec.Struct, array_like=True, tag=2):
    """Worker to owner. ``busy`` is the seconds the worker spent executing these.

    ``stolen``: this answers `StealTasks`. ``blocked``: the worker's task waits in `get`, so it takes no more for now.
    """

    results: list[Result]
    busy: float = -1.0
    stolen: bool = False
    blocked: bool = False


class CancelTasks(msgspec.Struct, array_like=True, tag=3):
    """Owner to worker. ``force`` is asked of the raylet, not here."""

    counters: list[int]
    recursive: bool = True


class StealTasks(msgspec.Struct, array_like=True, tag=4):
    """Owner to worker: return up to ``count`` tasks that have not started, newest first.

    Answered with `R_RETURNED`.
    """

    count: int


class StreamItem(msgspec.Struct, array_like=True, tag=5):
    """Worker to owner: item ``index`` (from 1) of the streaming generator ``counter``."""

    counter: int
    index: int
    value: ReturnValue
    attempt: int = 0


class StreamConsumed(msgspec.Struct, array_like=True, tag=6):
    """Owner to worker: the consumer has taken ``consumed`` items (backpressure)."""

    counter: int
    consumed: int


class GetObjects(msgspec.Struct, array_like=True, tag=7):
    """Borrower to owner: tell the state of these as soon as each is ready (once each)."""

    object_ids: list[bytes]


class ObjectState(msgspec.Struct, array_like=True, gc=False):
    """A ready object: inline ``data``, or ``nodes`` whose stores hold it.

    ``status``: 0 ready, 1 freed or unknown, 2 lost.
    """

    object_id: bytes
    status: int = 0
    data: bytes = b""
    nodes: list[bytes] = []
    size: int = 0
    flags: int = 0


class ObjectStates(msgspec.Struct, array_like=True, tag=8):
    """Owner to borrower, the answer to `GetObjects`."""

    states: list[ObjectState]


class AddBorrowers(msgspec.Struct, array_like=True, tag=9):
    """To the owner: ``borrower`` now holds these. Answered with `Ack` when ``ack`` is not 0."""

    object_ids: list[bytes]
    borrower: Address
    ack: int = 0


class RemoveBorrowers(msgspec.Struct, array_like=True, tag=10):
    """To the owner: the sending process dropped its last reference to these.

    With another ``borrower``: what the sending process told of that one is taken back.
    """

    object_ids: list[bytes]
    borrower: bytes = b""


class Ack(msgspec.Struct, array_like=True, tag=11):
    """Answer to a message that carried this ``ack`` number."""

    ack: int


class LogLines(msgspec.Struct, array_like=True, tag=12):
    """Worker to driver: lines that a task printed. ``stream`` is 1 (stdout) or 2 (stderr).

    ``count`` > 1: ``text`` is one line that came so many times. ``omitted``: lines before it that were left out, and
    are in the worker's log.
    """

    cell: Cell | None
    task: str
    pid: int
    node_id: bytes
    stream: int
    text: str
    actor: str = ""
    task_id: bytes = b""
    count: int = 1
    omitted: int = 0


class TaskScreen(msgspec.Struct, array_like=True, tag=80):
    """Worker to driver: all that stands now on the lines that a task draws over, such as progress bars.

    ``part`` tells several screens of a task apart; ``is_over``: this is what stays.
    """

    cell: Cell | None
    task: str
    pid: int
    node_id: bytes
    rows: list[str]
    actor: str = ""
    task_id: bytes = b""
    part: int = 0
    stream: int = 2
    is_over: bool = False


class DisplayData(msgspec.Struct, array_like=True, tag=81):
    """Worker to driver: a task displayed something: ``data`` by MIME type, as in Jupyter's message of that name.

    ``update``: it takes the place of what was displayed with this ``display_id``.
    """

    cell: Cell | None
    task: str
    pid: int
    node_id: bytes
    data: dict[str, Any]
    metadata: dict[str, Any] = {}
    actor: str = ""
    task_id: bytes = b""
    display_id: str = ""
    update: bool = False


class UnseenErrors(msgspec.Struct, array_like=True, tag=82):
    """Worker to driver: tasks that the worker submitted failed, and nobody has asked for their results.

    ``text`` tells the first of its ``kind`` in full; it is empty for others, which are alike. ``last``: exception and
    message in one line. ``actor``: they are actors of this class that could not be made, and that nobody has called.
    """

    cell: Cell | None
    task: str
    pid: int
    node_id: bytes
    kind: str
    last: str
    text: str
    count: int = 1
    actor: str = ""

    def describe(self) -> str:
        """What the user reads."""
        if self.text:
            what = "asked for the result of a task that failed"
            if self.actor:
                what = "called an actor that could not be made"
            return f"Nobody has {what}.\n{self.text.rstrip()}\n"
        times = "once more" if self.count == 1 else f"{self.count:,} more times"
        if self.actor:
            return f"The constructor of `{self.actor}` failed {times} in this way (the first: {self.last})\n"
        return f"Task `{self.task}` failed {times} in this way (the first: {self.last})\n"


TaskOutput = LogLines | TaskScreen | DisplayData | CommData | UnseenErrors


class ReportLost(msgspec.Struct, array_like=True, tag=13):
    """Borrower to owner: no node has this object any more (rebuild it, then answer with `ObjectStates`)."""

    object_ids: list[bytes]


class CancelObjects(msgspec.Struct, array_like=True, tag=14):
    """Borrower to owner: cancel the tasks that make these."""

    object_ids: list[bytes]
    force: bool = False
    recursive: bool = True


class HandoverDone(msgspec.Struct, array_like=True, tag=31):
    """Receiver to owner: what ``sender`` announced for us with `AddBorrowers` is here, and held if ``kept``."""

    object_ids: list[bytes]
    sender: bytes
    kept: bool = True


class SenderDied(msgspec.Struct, array_like=True, tag=32):
    """Owner to receiver: ``sender`` died and had announced something for you; is it still to come?"""

    sender: bytes
    owner: Address


class SenderSettled(msgspec.Struct, array_like=True, tag=33):
    """Receiver to owner: all there will ever be of ``sender`` is here, and said."""

    sender: bytes


CoreMessage = (
    CancelCell
    | CancelObjects
    | PushTasks
    | TaskResults
    | CancelTasks
    | StealTasks
    | StreamItem
    | StreamConsumed
    | GetObjects
    | ObjectStates
    | AddBorrowers
    | RemoveBorrowers
    | Ack
    | DisplayData
    | CommData
    | LogLines
    | TaskScreen
    | UnseenErrors
    | ReportLost
    | HandoverDone
    | SenderDied
    | SenderSettled
    | DescribeObjects
    | ObjectsHeld
    | DescribeTask
    | ExplainObject
    | ObjectExplained
    | TaskDescribed
    | BreakpointText
    | BreakpointLine
    | StackQuestion
    | StackStop
    | StackAnswer
    | NameFiles
    | FilesNamed
    | CancelOwned
    | EndJob
    | ControlDone
    | DescribeMetrics
    | MetricsHeld
)
