"""What references and actor handles show of themselves in a notebook: their state at the moment they are shown.

Registered with IPython's formatters, so that the engine needs no IPython. A saved notebook keeps what was shown; in a
list of references each is one line of text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from ..cluster.core import current, failures
from ..cluster.core.actor_class import ActorHandle
from ..cluster.core.records import LeasedWorker, Record
from ..cluster.core.refs import BUFFERS, ERROR, FREED, INLINE, PENDING, STORE, ObjectRef
from ..cluster.core.upgrade import redefinition
from .html import BAD, BUSY, GOOD, IDLE, card, quantity, text_card

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["describe_actor", "describe_ref", "install_formatters", "remove_formatters"]

_SHOWN_DIGITS = 8  # of an id: enough to tell those of one notebook apart

_ASK_SECONDS = 2.0  # to ask the GCS for an actor's state: showing a handle must not hang where it is gone


@dataclass
class Shown:
    """A description: one state, its colour, named values."""

    title: str
    state: str
    colour: str
    rows: list[tuple[str, str]] = field(default_factory=list)

    def bundle(self) -> dict[str, str]:
        """HTML and its plain-text twin."""
        rows = [(name, escape(value)) for name, value in self.rows]
        return {
            "text/html": card(self.title, self.state, self.colour, rows),
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
    if extra is not None and extra.owner is not None and core is not None and extra.owner.worker_id != core.worker_id:
        shown.rows.append(("owner", f"process {extra.owner.worker_id.hex()}"))
    return shown


def _describe_pending(shown: Shown, ref: ObjectRef) -> None:
    record = ref._data
    shown.state, shown.colour = "pending", BUSY
    if type(record) is not Record:
        return
    plan, worker = record.plan, record.worker
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
        "this node" if core is not None and node == core.node_id else f"node {node.hex()[:_SHOWN_DIGITS]}"
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
    row = _ask_for_actor(core, handle._id)
    client = core.actor_calls.clients.get(handle._id)
    if row is None:
        # Not told to the GCS yet (its arguments are not ready), or forgotten there.
        return Shown(title, "pending" if client is None or client.state != "DEAD" else "dead", BUSY)
    state = row["state"]
    colours = {"ALIVE": GOOD, "DEAD": BAD}
    shown = Shown(title, state.lower().replace("_", " "), colours.get(state, BUSY))
    if row["name"]:
        shown.rows.append(("name", row["name"]))
    if row["node_id"]:
        here = row["node_id"] == core.node_id
        shown.rows.append(("where", "this node" if here else f"node {row['node_id'].hex()[:_SHOWN_DIGITS]}"))
    if redefinition(handle) is not None:
        shown.rows.append(("class", "defined anew since: .upgrade() moves the actor there"))
    if client is not None and client.pending > 0:
        shown.rows.append(("calls under way", str(client.pending)))
    if row["restarts"]:
        shown.rows.append(("restarts", str(row["restarts"])))
    if row["death"] and state != "ALIVE":
        shown.rows.append(("reason", row["death"]["detail"]))
    return shown


def _ask_for_actor(core: Core, actor_id: bytes) -> dict[str, Any] | None:
    from ..cluster.protocol.gcs_messages import ListState

    try:
        rows = core.gcs_call(ListState("actors", 10_000), timeout=_ASK_SECONDS)
    except Exception:  # noqa: BLE001 - whatever ails the cluster, a handle can be shown
        return None
    return next((row for row in rows if row["actor_id"] == actor_id), None)


# -- IPython -----------------------------------------------------------------------------------------------------------


def _ref_bundle(ref: ObjectRef, include: Any = None, exclude: Any = None) -> dict[str, str]:
    return describe_ref(ref).bundle()


def _actor_bundle(handle: ActorHandle, include: Any = None, exclude: Any = None) -> dict[str, str]:
    return describe_actor(handle).bundle()


def _ref_line(ref: ObjectRef, printer: Any, cycle: bool) -> None:
    shown = describe_ref(ref)
    alone = len(printer.stack) <= 1  # else it stands within a list or the like
    printer.text(shown.bundle()["text/plain"] if alone else shown.line())


def install_formatters(shell: Any) -> None:
    """Show references and handles with their state from now on."""
    formatter = shell.display_formatter
    formatter.mimebundle_formatter.for_type(ObjectRef, _ref_bundle)
    formatter.mimebundle_formatter.for_type(ActorHandle, _actor_bundle)
    formatter.formatters["text/plain"].for_type(ObjectRef, _ref_line)


def remove_formatters(shell: Any) -> None:
    """Undo `install_formatters`."""
    formatter = shell.display_formatter
    for kind in (ObjectRef, ActorHandle):
        formatter.mimebundle_formatter.pop(kind, None)
    formatter.formatters["text/plain"].pop(ObjectRef, None)
