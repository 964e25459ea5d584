"""What references and actor handles show of themselves: their state at one moment, as HTML and as text.

Registered with IPython's formatters, so that the engine needs no IPython. In a notebook it is kept up to date (see
cards.py); in a terminal, and in a list of references, where each is one line of text, it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from ..cluster.core import current, failures
from ..cluster.core.actor_class import ActorHandle
from ..cluster.core.placement_groups import PlacementGroup
from ..cluster.core.records import LeasedWorker, Record
from ..cluster.core.refs import BUFFERS, ERROR, FREED, INLINE, PENDING, STORE, ObjectRef
from ..cluster.core.session import ClientContext
from ..cluster.core.upgrade import redefinition
from .asking import ASK_SECONDS
from .html import BAD, BUSY, GOOD, IDLE, card, quantity, text_card

if TYPE_CHECKING:
    from ..cluster.core.actor_calls import ActorClient
    from ..cluster.core.runtime import Core
    from .cards import LiveCards

__all__ = [
    "SHOWN_DIGITS",
    "Shown",
    "actor_shown",
    "ask_for_actor",
    "describe_actor",
    "describe_ref",
    "install_formatters",
    "remove_formatters",
]

SHOWN_DIGITS = 8  # of an id: enough to tell those of one notebook apart


@dataclass
class Shown:
    """A description: one state, its colour, named values."""

    title: str
    state: str
    colour: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)  # HTML that stands before the values of some rows
    changes: bool = False  # it may be another one soon
    actions: tuple[str, ...] = ()  # what a user can do about it
    is_pending: bool = False  # a task that has not ended, …
    submitted: float = 0.0  # … and since when, by the clock on the wall; 0: not known

    def bundle(self, beside: str = "") -> dict[str, str]:
        """HTML and its plain-text twin; ``beside`` is HTML that follows the state."""
        rows = [(name, self.pictures.get(name, "") + escape(value)) for name, value in self.rows]
        return {
            "text/html": card(self.title, self.state, self.colour, rows, beside),
            "text/plain": text_card(self.title, self.state, self.rows),
        }

    def line(self) -> str:
        """All that fits a list."""
        return f"<{self.title}: {self.state}>"


def describe_ref(ref: ObjectRef) -> Shown:
    """State, size, place and maker of an object, as far as this process knows."""
    several = f".{ref._i}" if ref._i > 1 else ""
    shown = Shown(f"ObjectRef {ref._n}{several}", "", IDLE)
    core = current.find_core()
    state, data, extra = ref._state, ref._data, ref._x
    if state == PENDING:
        _describe_pending(shown, ref)
    elif state == INLINE:
        shown.state, shown.colour = "ready", GOOD
        shown.rows.append(("size", quantity(len(data))))
        shown.rows.append(("where", "in this process"))
    elif state == BUFFERS:
        stream, buffers = data
        shown.state, shown.colour = "ready", GOOD
        shown.rows.append(("size", quantity(len(stream) + sum(map(len, buffers)))))
        shown.rows.append(("where", "in this process"))
    elif state == STORE:
        shown.state, shown.colour = "ready", GOOD
        if extra is not None:
            shown.rows.append(("size", quantity(extra.size)))
            shown.rows.append(("where", _stores(extra.nodes, core)))
            if isinstance(extra.lineage, Record):
                shown.rows.append(("made by", extra.lineage.plan.name))
    elif state == ERROR:
        shown.colour = BAD
        _describe_error(shown, data)
    elif state == FREED:
        shown.state = "freed"
    if ref._i == 0 and state != FREED:
        shown.rows.append(("made by", "put"))
    if state in (INLINE, BUFFERS, STORE) and core is not None and ref._w == core.worker_id:
        shown.actions = ("release",)
    shown.changes = state in (PENDING, STORE)
    if extra is not None and extra.owner is not None and core is not None and extra.owner.worker_id != core.worker_id:
        shown.rows.append(("owner", f"process {extra.owner.worker_id.hex()}"))
    return shown


def _describe_pending(shown: Shown, ref: ObjectRef) -> None:
    record = ref._data
    shown.state, shown.colour = "pending", BUSY
    shown.actions, shown.is_pending = ("cancel",), True
    if type(record) is not Record:
        return
    plan, worker = record.plan, record.worker
    shown.submitted = record.submitted
    if record.cancelled:
        shown.state = "being cancelled"
    elif record.waiting:
        shown.state = f"pending: waits for {record.waiting} argument{'s' if record.waiting > 1 else ''}"
    elif worker is None:
        shown.state = (
            "pending: the actor is not ready for it" if plan.actor is not None else "pending: waits for a worker"
        )
    elif type(worker) is LeasedWorker:
        first = next(iter(worker.inflight), None)
        shown.state = "running" if first == record.task.counter else "pending: next on a worker"
        shown.rows.append(("where", f"worker pid {worker.pid}"))
    else:
        shown.state = "at the actor"
    shown.rows.append(("function", plan.name))
    if plan.cell is not None and plan.cell.execution:
        shown.rows.append(("cell", f"[{plan.cell.execution}]"))


def _describe_error(shown: Shown, data: Any) -> None:
    try:
        error = failures.load_error(data)
    except Exception as problem:  # noqa: BLE001 - the exception's own class may fail to unpickle, in any way
        shown.state = "failed"
        shown.rows.append(("error", f"it can not be shown: {type(problem).__name__}"))
        return
    cause = getattr(error, "cause", None)
    shown.state = f"failed: {type(cause if isinstance(cause, BaseException) else error).__name__}"
    text = str(cause if isinstance(cause, BaseException) else error).strip()
    if text:
        shown.rows.append(("error", text.splitlines()[0][:200]))
    name = getattr(error, "function_name", None)
    if name:
        shown.rows.append(("function", str(name)))


def _stores(nodes: list[bytes], core: Core | None) -> str:
    names = [
        "this node" if core is not None and node == core.node_id else f"node {node.hex()[:SHOWN_DIGITS]}"
        for node in nodes
    ]
    return f"object store of {', '.join(names)}" if names else "object store"


def describe_actor(handle: ActorHandle) -> Shown:
    """State, name and place of an actor, as the cluster knows it."""
    title = f"Actor {handle._class_name}"
    core = current.find_core()
    if core is None:
        return Shown(title, "unknown: this process is not connected to a cluster", IDLE)
    if core.fatal is not None:
        return Shown(title, "gone: the cluster ended", BAD)
    return actor_shown(handle, core, ask_for_actor(core, handle._id), core.actor_calls.clients.get(handle._id))


def actor_shown(handle: ActorHandle, core: Core, row: dict[str, Any] | None, client: ActorClient | None) -> Shown:
    """An actor as the GCS knew it when asked, and as this process has been told since."""
    title = f"Actor {handle._class_name}"
    if row is None and (client is None or client.state == "PENDING"):
        # Not told to the GCS yet (its arguments are not ready), or forgotten there.
        return Shown(title, "pending", BUSY, changes=True, actions=("kill",))
    told = client is not None and client.state != "PENDING"
    row = row or {"name": "", "state": "", "node_id": b"", "restarts": 0, "death": None}
    state, node_id, restarts = row["state"], row["node_id"], row["restarts"]
    reason = row["death"]["detail"] if row["death"] else ""
    if told:
        assert client is not None
        state, restarts = client.state, client.restarts
        node_id = client.address.node_id if client.address is not None else b""
        reason = client.death.detail if client.death is not None else ""
    shown = Shown(title, state.lower().replace("_", " "), {"ALIVE": GOOD, "DEAD": BAD}.get(state, BUSY))
    shown.changes = state != "DEAD"
    shown.actions = ("kill",) if state != "DEAD" else ()
    if row["name"]:
        shown.rows.append(("name", row["name"]))
    if node_id:
        here = node_id == core.node_id
        shown.rows.append(("where", "this node" if here else f"node {node_id.hex()[:SHOWN_DIGITS]}"))
    if redefinition(handle) is not None:
        shown.rows.append(("class", "defined anew since: .upgrade() moves the actor there"))
    if client is not None and client.pending > 0:
        shown.rows.append(("calls under way", str(client.pending)))
    if restarts:
        shown.rows.append(("restarts", str(restarts)))
    if reason and state != "ALIVE":
        shown.rows.append(("reason", reason))
    return shown


def ask_for_actor(core: Core, actor_id: bytes) -> dict[str, Any] | None:
    """What the GCS knows of an actor; None if that is nothing, or it does not answer."""
    from ..cluster.protocol.gcs_messages import ListState

    try:
        rows = core.gcs_call(ListState("actors", 10_000), timeout=ASK_SECONDS)
    except Exception:  # noqa: BLE001 - whatever ails the cluster, a handle can be shown
        return None
    return next((row for row in rows if row["actor_id"] == actor_id), None)


# -- IPython -----------------------------------------------------------------------------------------------------------


def _ref_bundle(ref: ObjectRef, include: Any = None, exclude: Any = None) -> dict[str, str]:
    return describe_ref(ref).bundle()


def _actor_bundle(handle: ActorHandle, include: Any = None, exclude: Any = None) -> dict[str, str]:
    return describe_actor(handle).bundle()


def _group_bundle(group: PlacementGroup, include: Any = None, exclude: Any = None) -> dict[str, str]:
    from .group_card import describe_group

    return describe_group(group).bundle()


def _context_bundle(context: ClientContext, include: Any = None, exclude: Any = None) -> dict[str, str] | None:
    core = current.find_core()
    if core is None or core.fatal is not None:
        return None  # its cluster has ended, or is not ours: its plain repr is all there is to show
    from .status import cluster_bundle

    return cluster_bundle(core)


def _ref_line(ref: ObjectRef, printer: Any, cycle: bool) -> None:
    shown = describe_ref(ref)
    alone = len(printer.stack) <= 1  # else it stands within a list or the like
    printer.text(shown.bundle()["text/plain"] if alone else shown.line())


def _cards_of(cards: Callable[[], LiveCards | None]) -> LiveCards:
    found = cards()
    if found is None:
        raise NotImplementedError  # not here: IPython goes on to the bundles below
    return found


def install_formatters(shell: Any, cards: Callable[[], LiveCards | None]) -> None:
    """Show references and handles with their state from now on, kept up to date where there are ``cards``."""
    formatter = shell.display_formatter
    live = formatter.ipython_display_formatter
    live.for_type(ObjectRef, lambda ref: _cards_of(cards).show_ref(ref))
    live.for_type(ActorHandle, lambda handle: _cards_of(cards).show_actor(handle))
    live.for_type(PlacementGroup, lambda group: _cards_of(cards).show_group(group))
    live.for_type(ClientContext, lambda context: _cards_of(cards).show_cluster())
    formatter.mimebundle_formatter.for_type(ObjectRef, _ref_bundle)
    formatter.mimebundle_formatter.for_type(ActorHandle, _actor_bundle)
    formatter.mimebundle_formatter.for_type(PlacementGroup, _group_bundle)
    formatter.mimebundle_formatter.for_type(ClientContext, _context_bundle)
    formatter.formatters["text/plain"].for_type(ObjectRef, _ref_line)


def remove_formatters(shell: Any) -> None:
    """Undo `install_formatters`."""
    formatter = shell.display_formatter
    for kind in (ObjectRef, ActorHandle, PlacementGroup, ClientContext):
        formatter.mimebundle_formatter.pop(kind, None)
        formatter.ipython_display_formatter.pop(kind, None)
    formatter.formatters["text/plain"].pop(ObjectRef, None)
