"""What differs between kernels: the one place that knows ipykernel's releases, and IPython without a kernel.

- A cell's number: `_input_number`.
- A cell's request: ``kernel.get_parent()``, in all releases from 6.29 on. In 6.29 it is one for the whole process,
  since 7.0 one for each context; both tell the right one where a cell begins to run.
- Text for a cell that may be over: ``sys.stdout`` collects text by parent header and sends it every 0.2 s or when its
  cell ends. Writing into it with the header of *our* cell set for the moment of the write keeps the order with what the
  cell itself prints, in every release: 6.29 and 7.0 take the header from a context variable and else follow the thread
  to the cell that started it, since 7.1 a thread without one writes under the latest cell. The variable is private
  where there is no `set_thread_parent` yet; a stream that knows neither gets a message of its own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from ..cluster.core.script_output import write_text
from .cells import NotebookCell

__all__ = ["KernelFront", "TerminalFront", "answer_beside_cells", "comm_manager", "front_of"]

_NAMES: Final = {1: "stdout", 2: "stderr"}


class TerminalFront:
    """IPython in a terminal."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell

    def number(self) -> int:
        """The n of ``In [n]`` of the cell that runs."""
        return _input_number(self.shell, False)

    def cell(self, begins: bool) -> NotebookCell | None:
        """The input that is being executed, or is about to be (``begins``), by its number."""
        return NotebookCell("", _input_number(self.shell, begins), {})

    def write(self, cell: NotebookCell | None, number: int, text: str) -> None:
        """Show text on stream 1 (stdout) or 2 (stderr)."""
        write_text(number, text)


class KernelFront:
    """An ipykernel: text goes under its cell."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.kernel = shell.kernel
        self._streams = {number: _kernel_stream(name) for number, name in _NAMES.items()}
        self._sender = next((stream.pub_thread for stream in self._streams.values() if stream is not None), None)
        self._lock = threading.Lock()
        self._behind = 0  # what waits for the thread that sends, and must not be overtaken

    def number(self) -> int:
        """The n of ``In [n]`` of the cell that runs."""
        return _input_number(self.shell, False)

    def cell(self, begins: bool) -> NotebookCell | None:
        """What the kernel works on, or is about to (``begins``): an execute request, or a message to a widget."""
        parent = self.kernel.get_parent("shell") or {}
        header = parent.get("header") or {}
        if not header.get("msg_id"):
            return None
        return NotebookCell(header["msg_id"], _input_number(self.shell, begins), header)

    def write(self, cell: NotebookCell | None, number: int, text: str) -> None:
        """Show text on stream 1 (stdout) or 2 (stderr) under a cell; under the latest one if it is unknown."""
        if self._behind:
            self._in_sender(lambda: self._write(cell, number, text))
        else:
            self._write(cell, number, text)

    def _write(self, cell: NotebookCell | None, number: int, text: str) -> None:
        stream = self._streams[number]
        if cell is None:
            (stream or sys.stdout).write(text)
            return
        if stream is None:
            name = _NAMES[number]
            self._publish(cell, "stream", {"name": name, "text": text}, f"stream.{name}".encode())
            return
        if hasattr(stream, "set_thread_parent"):
            token = stream.set_thread_parent({"header": cell.header})
            try:
                stream.write(text)
            finally:
                stream.reset_thread_parent(token)
            return
        token = stream._parent_header.set(cell.header)
        try:
            stream.write(text)
        finally:
            stream._parent_header.reset(token)

    def display(
        self,
        cell: NotebookCell | None,
        data: dict[str, Any],
        metadata: dict[str, Any],
        display_id: str,
        *,
        update: bool,
    ) -> None:
        """Show something rich under a cell, or in place of what was shown with the same display id."""
        kind = "update_display_data" if update else "display_data"
        content = {"data": data, "metadata": metadata, "transient": {"display_id": display_id}}
        place = cell or self.cell(begins=False)
        if self._sender is None:
            self._publish(place, kind, content, b"display_data")
        else:
            self._in_sender(lambda: self._flush_and_publish(place, kind, content))

    def say_on_comm(
        self,
        cell: NotebookCell | None,
        kind: str,
        content: dict[str, Any],
        metadata: dict[str, Any],
        buffers: list[bytes],
        *,
        parent: dict[str, Any] | None = None,
    ) -> None:
        """Say something on a comm, under a cell, or as an answer to the message ``parent``."""
        place = cell or self.cell(begins=False)
        headers = parent or ({"header": place.header} if place is not None else {})
        topic = f"comm-{content['comm_id']}".encode()

        def send() -> None:
            session, socket = self.kernel.session, self.kernel.iopub_socket
            session.send(socket, kind, content, metadata=metadata, parent=headers, ident=topic, buffers=buffers)

        if self._sender is None:
            send()
        else:
            self._in_sender(send)

    def _flush_and_publish(self, cell: NotebookCell | None, kind: str, content: dict[str, Any]) -> None:
        """In the thread that sends, where this takes effect in order: first what was written before."""
        for stream in self._streams.values():
            if stream is not None:
                stream._flush()
        self._publish(cell, kind, content, b"display_data")

    def _in_sender(self, act: Callable[[], None]) -> None:
        """Have the thread that sends do something, in order. (`flush` would wait for it.)"""
        assert self._sender is not None

        def run() -> None:
            try:
                act()
            finally:
                with self._lock:
                    self._behind -= 1

        with self._lock:
            self._behind += 1
        self._sender.schedule(run)

    def _publish(self, cell: NotebookCell | None, kind: str, content: dict[str, Any], topic: bytes) -> None:
        """Send a message of our own, at once."""
        parent = {"header": cell.header} if cell is not None else {}
        self.kernel.session.send(self.kernel.iopub_socket, kind, content, parent=parent, ident=topic)


def answer_beside_cells(comm: Any) -> None:
    """Have what the page sends on this comm handled while a cell runs, if the kernel and the page can do that.

    JupyterLab sends what it says on comms to a subshell. The newest releases of ipykernel send it on to the shell that
    published on the comm last: for what a cell made, that is the one which is busy with cells.
    """
    if hasattr(comm, "_reply_subshell_id"):
        del comm._reply_subshell_id


def comm_manager() -> Any:
    """Who knows the comms of this kernel; None without a kernel."""
    if "comm" not in sys.modules:
        return None
    import comm

    return comm.get_comm_manager()


def _input_number(shell: Any, begins: bool) -> int:
    """The n of ``In [n]``. ``shell.execution_count`` tells it too late or too early, by IPython's release: its history
    grows between the beginning of a cell and its execution in all of them, and begins with an empty entry."""
    return len(shell.history_manager.input_hist_parsed) - (0 if begins else 1)


def _kernel_stream(name: str) -> Any:
    """The kernel's stream of this name, if it is in place (``%%capture`` puts another there) and knows parents."""
    stream = getattr(sys, name)
    knows = hasattr(stream, "_parent_header") or hasattr(stream, "set_thread_parent")
    return stream if knows and hasattr(stream, "pub_thread") else None


def front_of(shell: Any) -> KernelFront | TerminalFront:
    """How to reach the user of this shell."""
    return KernelFront(shell) if getattr(shell, "kernel", None) is not None else TerminalFront(shell)
