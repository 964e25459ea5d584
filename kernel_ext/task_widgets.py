"""Widgets that tasks made, in the front end: this kernel's end of the comms whose other end is in a worker.

Strategy: what a worker says on a comm is said again by this kernel, as if the widget were its own, under the cell that
submitted the task; so a front end has a model of it and can show it, link it, and save its state. What the front end
says is echoed at once, as ipywidgets does, and sent on to the worker. The state is kept here too: a page that is loaded
again asks for it, and the widgets outlive their tasks. When a task ends, or its process dies, they keep the last state;
what can be disabled is, and what the user changes nevertheless is set back.

Changes in place are sent some times a second at most (`telemetry/comm_machine.py`), for all tasks of a cell together.

Rejected: widgets of this kernel's ipywidgets as proxies: they know only classes that are registered here, and would
validate, default and observe a second time. And the front end's own frames to the worker: a second port.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core import current
from ..cluster.core.commands import Connect, Send
from ..cluster.core.widget_state import join_state, split_state
from ..cluster.protocol.comm_messages import CommData
from ..cluster.telemetry.comm_machine import CommFlow
from ..cluster.worker.import_hooks import ImportHooks
from .kernels import comm_manager

if TYPE_CHECKING:
    from ..cluster.protocol.common import Address
    from .cells import NotebookCell
    from .kernels import KernelFront

__all__ = ["VIEW", "Relay", "TaskWidgets"]

VIEW: Final = "application/vnd.jupyter.widget-view+json"

_WIDGETS: Final = "ipywidgets.widgets.widget"

_BURST: Final = 60e6
_MODELS: Final = 3_000
"""Bytes and widgets of a cell: of several workers together, each of which has a third of it for itself."""

_KEPT: Final = 10_000
_KEPT_BYTES: Final = 100_000_000
"""Of widgets whose tasks have ended, a kernel keeps so many with their states; the oldest are forgotten beyond that. A
page that shows them goes on to do so, until it is loaded again."""


class Relay:
    """This kernel's end of the comm of one widget. For `ipywidgets` it is one of the widgets that a kernel has."""

    def __init__(self, widgets: TaskWidgets, message: CommData, flow: CommFlow, place: NotebookCell | None) -> None:
        self.comm_id = self.model_id = message.comm_id
        self.target_name = message.target
        self.state = join_state(message.data, message.paths, message.buffers)
        self.metadata = message.metadata
        self.place = place
        self.flow = flow
        self.worker: Address | None = message.worker
        self.is_over = False  # nobody listens at the other end
        self._widgets = widgets

    # -- as the kernel's comm manager knows it ------------------------------------------------------------------------

    def handle_msg(self, message: dict[str, Any]) -> None:
        """The front end says something. In the thread of the kernel that serves it."""
        self._widgets.heard(self, message)

    def handle_close(self, message: dict[str, Any]) -> None:
        """The front end has let go of the widget."""
        self._widgets.closed(self)

    # -- as ipywidgets knows widgets: for a page that is loaded again, and who embeds them ----------------

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """The last state."""
        return dict(self.state)

    def close(self, deleting: bool = False) -> None:
        """Take the widget away."""
        self._widgets.close_widget(self)

    @property
    def _model_name(self) -> str:
        return str(self.state.get("_model_name", ""))

    @property
    def _model_module(self) -> str:
        return str(self.state.get("_model_module", ""))

    @property
    def _model_module_version(self) -> str:
        return str(self.state.get("_model_module_version", ""))

    def _get_embed_state(self, drop_defaults: bool = False) -> dict[str, Any]:
        from base64 import standard_b64encode

        state, paths, buffers = split_state(self.state)
        embedded: dict[str, Any] = {
            "model_name": self._model_name,
            "model_module": self._model_module,
            "model_module_version": self._model_module_version,
            "state": state,
        }
        if buffers:
            embedded["buffers"] = [
                {"encoding": "base64", "path": path, "data": standard_b64encode(data).decode("ascii")}
                for path, data in zip(paths, buffers, strict=True)
            ]
        return embedded


class TaskWidgets:
    """All widgets of tasks in one kernel. The core's leader brings what workers say, the kernel what front ends say."""

    def __init__(self, front: KernelFront) -> None:
        self._front = front
        self._lock = threading.RLock()
        self._relays: OrderedDict[str, Relay] = OrderedDict()
        self._ended: OrderedDict[Relay, int] = OrderedDict()  # with the bytes of their states
        self._ended_bytes = 0
        self._flows: dict[str, CommFlow] = {}  # by message id of the cell
        self._hooks: ImportHooks | None = None  # waits for ipywidgets, if this kernel has not imported it yet

    def show(self, message: CommData, place: NotebookCell | None) -> str:
        """A worker says something on a comm. What the user has to be told about it: empty, mostly."""
        now = time.monotonic()
        with self._lock:
            if message.kind == "open":
                self._open(message, place, now)
                return ""
            relay = self._relays.get(message.comm_id)
            if relay is None or relay.is_over:
                return ""
            if message.kind == "update":
                changed = join_state(message.data, message.paths, message.buffers)
                relay.state.update(changed)
                relay.flow.update(relay.comm_id, changed)
                self._send_due(now)
            elif message.kind == "end":
                self._end(relay, now)
            elif message.kind == "close":
                self.close_widget(relay)
            else:
                self._say(relay, message, now)
            return f"{message.omitted} messages of a widget were left out\n" if message.omitted else ""

    def knows(self, model_id: str) -> bool:
        """Whether the front end has a model of this widget."""
        return model_id in self._relays

    def tick(self) -> None:
        """Half a second has passed."""
        if self.restless:
            with self._lock:
                self._send_due(time.monotonic())

    @property
    def restless(self) -> bool:
        """Whether a state waits to be sent."""
        return any(flow.restless for flow in list(self._flows.values()))  # at once: they change in other threads

    def process_died(self, worker_id: bytes) -> None:
        """Its widgets stay as they are now."""
        self._end_all(lambda relay: relay.worker is not None and relay.worker.worker_id == worker_id)

    def end_all(self) -> None:
        """The cluster is gone."""
        self._end_all(lambda relay: True)
        if self._hooks is not None:
            self._hooks.remove()
            self._hooks = None

    def _end_all(self, is_meant: Any) -> None:
        with self._lock:
            now = time.monotonic()
            for relay in list(self._relays.values()):
                if not relay.is_over and is_meant(relay):
                    self._end(relay, now)

    # -- what workers say ---------------------------------------------------------------------------------------------

    def _open(self, message: CommData, place: NotebookCell | None, now: float) -> None:
        cell = message.cell.message_id if message.cell is not None else ""
        flow = self._flows.setdefault(cell, CommFlow(_BURST, most=_MODELS))
        size = _size(message.data, message.paths, message.buffers)
        manager = comm_manager()
        if manager is None or not flow.open(message.comm_id, size, now):
            return
        relay = self._relays[message.comm_id] = Relay(self, message, flow, place)
        manager.register_comm(relay)
        if self._hooks is None:
            self._hooks = ImportHooks({_WIDGETS: self._ipywidgets_is_there})
            self._hooks.install()
        self._tell_ipywidgets(relay)
        data = {"state": message.data, "buffer_paths": message.paths}
        self._publish(relay, "comm_open", data, message.buffers, metadata=message.metadata, target_name=message.target)

    def _send_due(self, now: float) -> None:
        for flow in self._flows.values():
            for comm_id in flow.due(now):
                self._send(self._relays[comm_id], flow.take(comm_id, now), now)

    def _send(self, relay: Relay, changed: dict[str, Any], now: float) -> None:
        if not changed:
            return
        state, paths, buffers = split_state(changed)
        relay.flow.spent(_size(state, paths, buffers), now)
        self._publish(relay, "comm_msg", {"method": "update", "state": state, "buffer_paths": paths}, buffers)

    def _say(self, relay: Relay, message: CommData, now: float) -> None:
        self._send(relay, relay.flow.take(relay.comm_id, now), now)  # in order with what it has become
        if relay.flow.say(relay.comm_id, _size(message.data, [], message.buffers), now):
            self._publish(relay, "comm_msg", message.data, message.buffers, metadata=message.metadata)

    def _end(self, relay: Relay, now: float) -> None:
        """Nobody listens at the other end any more."""
        changed = relay.flow.take(relay.comm_id, now)
        if relay.state.get("disabled") is False:
            relay.state["disabled"] = changed["disabled"] = True
        self._send(relay, changed, now)
        relay.is_over = True
        relay.flow.close(relay.comm_id)
        cells = [cell for cell, flow in self._flows.items() if flow is relay.flow]
        if not any(other.flow is relay.flow and not other.is_over for other in self._relays.values()):
            for cell in cells:
                del self._flows[cell]
        size = _size(*split_state(relay.state))
        self._ended[relay] = size
        self._ended_bytes += size
        while len(self._ended) > _KEPT or self._ended_bytes > _KEPT_BYTES:
            self._forget(next(iter(self._ended)))

    def close_widget(self, relay: Relay) -> None:
        """Take a widget away, in the front end too."""
        with self._lock:
            if relay.comm_id in self._relays:
                self._publish(relay, "comm_close", {}, [])
                self._forget(relay)

    def _forget(self, relay: Relay) -> None:
        self._relays.pop(relay.comm_id, None)
        self._ended_bytes -= self._ended.pop(relay, 0)
        relay.flow.close(relay.comm_id)
        relay.is_over = True
        manager = comm_manager()
        if manager is not None:
            manager.comms.pop(relay.comm_id, None)
        widgets = sys.modules.get(_WIDGETS)
        if widgets is not None:
            widgets._instances.pop(relay.comm_id, None)

    @staticmethod
    def _tell_ipywidgets(relay: Relay) -> None:
        """Let it tell of this widget to a page that is loaded again. Without it, each comm is asked itself."""
        widgets = sys.modules.get(_WIDGETS)
        if widgets is not None and hasattr(widgets, "_instances"):  # it may just be imported
            widgets._instances[relay.comm_id] = relay

    def _ipywidgets_is_there(self, module: Any) -> None:
        """This kernel has just imported it."""
        with self._lock:
            for relay in self._relays.values():
                module._instances[relay.comm_id] = relay

    def _publish(self, relay: Relay, kind: str, data: dict[str, Any], buffers: list[bytes], **keys: Any) -> None:
        metadata = keys.pop("metadata", {})
        content = {"data": data, "comm_id": relay.comm_id, **keys}
        self._front.say_on_comm(relay.place, kind, content, metadata, buffers)

    # -- what front ends say ------------------------------------------------------------------------------------------

    def heard(self, relay: Relay, message: dict[str, Any]) -> None:
        """A front end says something to a widget."""
        data: dict[str, Any] = message["content"]["data"]
        method, buffers = data.get("method"), [bytes(buffer) for buffer in message.get("buffers") or []]
        with self._lock:
            if method == "request_state":
                self._answer(relay, message, "update", *split_state(relay.state))
                return
            if method == "update":
                state = data.get("state") or {}
                if relay.is_over:
                    mine = {key: relay.state[key] for key in state if key in relay.state}
                    self._answer(relay, message, "echo_update", *split_state(mine))
                    return
                paths = data.get("buffer_paths") or []
                self._answer(relay, message, "echo_update", state, paths, buffers)
                changed = join_state(state, paths, buffers)
                relay.state.update(changed)
        if not relay.is_over:
            self._tell_worker(relay, "msg", data, buffers)

    def _answer(
        self, relay: Relay, message: dict[str, Any], method: str, state: Any, paths: Any, buffers: list[bytes]
    ) -> None:
        """Tell all front ends a state, as the answer to one of them, which waits for it."""
        content = {"data": {"method": method, "state": state, "buffer_paths": paths}, "comm_id": relay.comm_id}
        self._front.say_on_comm(None, "comm_msg", content, {}, buffers, parent=message)

    def closed(self, relay: Relay) -> None:
        """A front end has let go of a widget."""
        with self._lock:
            if relay.comm_id not in self._relays:
                return
            was_over = relay.is_over
            self._forget(relay)
        if not was_over:
            self._tell_worker(relay, "close", {}, [])

    @staticmethod
    def _tell_worker(relay: Relay, kind: str, data: dict[str, Any], buffers: list[bytes]) -> None:
        core, worker = current.find_core(), relay.worker
        if core is None or core.fatal is not None or worker is None:
            return
        message = CommData(None, "", core.pid, core.node_id, relay.comm_id, kind, data, buffers=buffers)
        core.post(lambda: core.out.extend([Connect(worker), Send(worker.worker_id, message)]))


def _size(state: dict[str, Any], paths: Any, buffers: list[bytes]) -> int:
    return len(str(state)) + sum(map(len, buffers))
