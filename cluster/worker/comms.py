"""Widgets that a task makes are live in the notebook: their comms reach the driver, which opens them in its kernel.

Strategy: ipywidgets asks the package `comm` for the end of a widget's connection, which is made to be replaced; ours
puts what is said on it among the output of the task, in order with what it prints and displays. The driver opens the
comm in its kernel (kernel_ext/task_widgets.py), so the front end has a model as of any widget, and sends back what the
user does.

What comes back is handled by a thread of its own, in the name of the task: the thread that runs the task is busy, and
the one that leads the core must not run what users write. When the task ends, its widgets keep their last state in the
notebook, and nobody listens any more; those of an actor's methods are part of its state and live as long as it does.

A program has no place for widgets, and one that gets no room (`telemetry/comm_machine.py`) is shown as text.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

from ..core.tasks import cell_var, task_var
from ..core.widget_state import join_state, split_state
from ..protocol.comm_messages import CommData
from ..telemetry.comm_machine import CommFlow

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..protocol.common import Cell
    from .output import Output
    from .peers import Job

__all__ = ["TaskComms"]

Message = dict[str, Any]
_THREAD = "himalia-widgets"
_WIDGETS = "jupyter.widget"  # the target of their comms


class TaskComms:
    """The comms of all widgets that tasks of this worker have made."""

    def __init__(self, output: Output, clean: Callable[[Any], Any]) -> None:
        self._output = output
        self._clean = clean
        self._lock = output.lock  # so a cancel never interrupts a widget half way, see output.py
        self._flows: dict[Cell, CommFlow] = {}
        self.live: dict[str, _Live] = {}
        self._said: queue.SimpleQueue[tuple[str, Message]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._base: Any = None

    def adapt(self, module: Any) -> None:
        """Have the package `comm` make ours."""
        self._base = module.base_comm.BaseComm
        own = module.create_comm
        kind = _comm_class(self)

        def create_comm(*args: Any, **options: Any) -> Any:
            job = self._output.source()
            cell = job.loaded.cell if job is not None else None
            is_widget = options.get("target_name") == _WIDGETS
            if cell is None or not cell.message_id or not is_widget or self._output.is_forked:
                return own(*args, **options)
            return kind(job, *args, **options)

        module.create_comm = create_comm
        self._output.core.handlers[CommData] = self._on_message
        self._output.core.tick_hooks.append(self._tick)
        self._output.at_end.append(self._task_ended)
        logging.getLogger("traitlets").addHandler(_Failures())

    def has_room(self, count: int) -> bool:
        """Whether the task that the calling thread works for may make so many more widgets that are live."""
        job = self._output.source()
        cell = job.loaded.cell if job is not None else None
        if self._base is None or cell is None or not cell.message_id or self._output.is_forked:
            return False
        with self._lock:
            return (self._flows.get(cell) or CommFlow()).has_room(count)

    @property
    def base(self) -> Any:
        """The class of comms that is extended."""
        return self._base

    # -- what widgets say, in any thread ------------------------------------------------------------------------------

    def publish(
        self, job: Job, comm_id: str, kind: str, data: Message, metadata: Message, buffers: list[bytes], target: str
    ) -> bool:
        """Pass on what is said on a comm; whether the comm is live."""
        with self._lock:
            is_live = self._publish(job, comm_id, kind, data, metadata, buffers, target)
        self._output.raise_if_interrupted()
        return is_live

    def _publish(
        self, job: Job, comm_id: str, kind: str, data: Message, metadata: Message, buffers: list[bytes], target: str
    ) -> bool:
        now = time.monotonic()
        if kind == "comm_open":
            return self._open(job, comm_id, data, metadata, buffers, target, now)
        live = self.live.get(comm_id)
        if live is None:
            return False
        if data.get("method") == "echo_update":
            return True  # the driver has told the front end already what it had said
        if kind == "comm_close":
            self._flush(live, comm_id, now)
            self._send(live, comm_id, "close", {}, {}, [], [])
            self._forget(comm_id)
        elif data.get("method") == "update" and isinstance(data.get("state"), dict):
            live.flow.update(comm_id, join_state(data["state"], data.get("buffer_paths") or [], buffers))
            if comm_id in live.flow.due(now):
                self._flush(live, comm_id, now)
        else:
            self._flush(live, comm_id, now)
            cleaned = self._clean(data)
            if live.flow.say(comm_id, len(str(cleaned)) + sum(map(len, buffers)), now):
                self._send(live, comm_id, "custom", cleaned, metadata, [], buffers)
        return True

    def _open(
        self, job: Job, comm_id: str, data: Message, metadata: Message, buffers: list[bytes], target: str, now: float
    ) -> bool:
        cell = job.loaded.cell
        assert cell is not None
        flow = self._flows.setdefault(cell, CommFlow())
        state = self._clean(data.get("state") or {})
        if not flow.open(comm_id, len(str(state)) + sum(map(len, buffers)), now):
            return False
        live = self.live[comm_id] = _Live(job, flow)
        self._send(live, comm_id, "open", state, metadata, data.get("buffer_paths") or [], buffers, target)
        return True

    def _flush(self, live: _Live, comm_id: str, now: float) -> None:
        changed = live.flow.take(comm_id, now)
        if changed:
            state, paths, buffers = split_state(changed)
            state = self._clean(state)
            live.flow.spent(len(str(state)) + sum(map(len, buffers)), now)
            self._send(live, comm_id, "update", state, {}, paths, buffers)

    def _send(
        self,
        live: _Live,
        comm_id: str,
        kind: str,
        data: Message,
        metadata: Message,
        paths: list[Any],
        buffers: list[bytes],
        target: str = "",
    ) -> None:
        omitted = live.flow.omitted.pop(comm_id, 0)
        self._output.send_comm(live.job, comm_id, kind, data, metadata, paths, buffers, target, omitted)

    def _tick(self, now: float) -> None:
        if not any(flow.restless for flow in list(self._flows.values())):  # at once: tasks add to them meanwhile
            return
        clock = time.monotonic()
        with self._lock:
            for flow in self._flows.values():
                for comm_id in flow.due(clock):
                    self._flush(self.live[comm_id], comm_id, clock)

    # -- the end ------------------------------------------------------------------------------------------------------

    def _task_ended(self, job: Job) -> None:
        """Its widgets stay as they are now. Those of an actor's method go on."""
        if not self.live or job.loaded.method:
            return
        now = time.monotonic()
        with self._lock:
            for comm_id in [comm_id for comm_id, live in self.live.items() if live.job is job]:
                live = self.live[comm_id]
                self._flush(live, comm_id, now)
                self._send(live, comm_id, "end", {}, {}, [], [])
                self._forget(comm_id)

    def _forget(self, comm_id: str) -> None:
        live = self.live.pop(comm_id)
        live.flow.close(comm_id)
        cell = live.job.loaded.cell
        if cell is not None and not any(other.flow is live.flow for other in self.live.values()):
            self._flows.pop(cell, None)
        widgets = sys.modules.get("ipywidgets.widgets.widget")
        if widgets is not None:
            widgets._instances.pop(comm_id, None)  # which would keep it, and what it refers to, for ever

    # -- what the front end says --------------------------------------------------------------------------------------

    def _on_message(self, peer: bytes, message: CommData) -> None:
        """In the leader."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._handle_all, name=_THREAD, daemon=True)
            self._thread.start()
        content = {"data": message.data, "comm_id": message.comm_id}
        kind = "comm_close" if message.kind == "close" else "comm_msg"
        header = {"msg_type": kind}
        said = {"header": header, "content": content, "buffers": message.buffers, "metadata": message.metadata}
        self._said.put((message.comm_id, said))

    def _handle_all(self) -> None:
        while True:
            comm_id, message = self._said.get()
            live = self.live.get(comm_id)
            comm = live.comm if live is not None else None
            if live is None or comm is None:
                continue  # its task ended meanwhile
            task_var.set(live.job)
            cell_var.set(live.job.loaded.cell)
            try:
                is_close = message["header"]["msg_type"] == "comm_close"
                (comm.handle_close if is_close else comm.handle_msg)(message)
            except Exception:  # noqa: BLE001 it is the user's code, and this thread serves other widgets, too
                traceback.print_exc()
            finally:
                task_var.set(None)


class _Failures(logging.Handler):
    """ipywidgets catches what handlers of widgets raise, and without a shell tells only a logger that nobody hears."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, unless somebody hears."""
        if record.exc_info and threading.current_thread().name == _THREAD and not logging.getLogger().handlers:
            traceback.print_exception(*record.exc_info)


class _Live:
    """One comm that the driver knows."""

    __slots__ = ("comm", "flow", "job")

    def __init__(self, job: Job, flow: CommFlow) -> None:
        self.job = job
        self.flow = flow
        self.comm: Any = None


def _comm_class(comms: TaskComms) -> type:
    """A comm of the package `comm`, which is imported by now, whose messages go to the driver."""

    class TaskComm(comms.base):  # type: ignore[misc, name-defined]  # it was just imported
        def __init__(self, job: Job, *args: Any, **options: Any) -> None:
            self.job = job
            self.is_live = False
            super().__init__(*args, **options)
            live = comms.live.get(self.comm_id)
            if live is not None:
                live.comm = self

        def publish_msg(
            self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **keys: Any
        ) -> None:
            parts = [memoryview(buffer).cast("B").tobytes() for buffer in buffers or []]
            said = data or {}, metadata or {}, parts, str(keys.get("target_name") or "")
            self.is_live = comms.publish(self.job, self.comm_id, msg_type, *said)

    return TaskComm
