"""A kernel as a front end sees it: cells go in, messages come out, each under the cell it names as its parent."""

from __future__ import annotations

import contextlib
import queue
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
PATIENCE = 60.0  # seconds for anything that must happen


class Cell:
    """One executed cell, with what has come for it so far."""

    def __init__(self, notebook: Notebook, message_id: str) -> None:
        self.notebook = notebook
        self.message_id = message_id

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Everything published with this cell as its parent."""
        return self.notebook.by_parent[self.message_id]

    @property
    def done(self) -> bool:
        """Whether it has ended, and its reply has come: front ends wait for both before they send the next cell."""
        states = [m["content"]["execution_state"] for m in self.messages if m["msg_type"] == "status"]
        return "idle" in states and self.notebook.has_reply(self.message_id)

    def stream(self, name: str = "stdout") -> str:
        """The text of a stream."""
        parts = [m["content"] for m in self.messages if m["msg_type"] == "stream"]
        return "".join(part["text"] for part in parts if part["name"] == name)

    @property
    def lines(self) -> list[str]:
        """What stands in stdout, without the marks of tasks."""
        return [re.sub(r"^\(.* pid=\d+\) ", "", line) for line in self.stream().splitlines()]

    @property
    def shown(self) -> list[dict[str, str]]:
        """Bundles of what was displayed, the result included."""
        kinds = ("display_data", "execute_result")
        return [m["content"]["data"] for m in self.messages if m["msg_type"] in kinds]

    @property
    def text(self) -> str:
        """The plain text of all that was displayed."""
        return "\n".join(bundle["text/plain"] for bundle in self.shown)

    @property
    def error(self) -> str:
        """The name of the exception it ended with, or nothing."""
        return next((str(m["content"]["ename"]) for m in self.messages if m["msg_type"] == "error"), "")

    @property
    def traceback(self) -> str:
        found = next((m["content"]["traceback"] for m in self.messages if m["msg_type"] == "error"), [])
        return _ANSI.sub("", "\n".join(found))

    def wait_for(self, what: Callable[[Cell], Any]) -> Cell:
        """Read messages until ``what(cell)`` holds."""
        self.notebook.read_until(lambda: what(self))
        return self


class Notebook:
    """A kernel and its front end."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client
        self.by_parent: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._replied: set[str] = set()

    def send(self, code: str) -> Cell:
        """Have a cell executed; do not wait."""
        return Cell(self, self.client.execute(code))

    def run(self, code: str) -> Cell:
        """Execute a cell and wait for its end, whatever it is."""
        return self.send(code).wait_for(lambda cell: cell.done)

    def value(self, code: str) -> str:
        """Execute a cell that must not fail; the text of its result."""
        cell = self.run(code)
        assert not cell.error, cell.traceback
        return cell.text

    def has_reply(self, message_id: str) -> bool:
        """Whether the reply to an execute request is there, or comes soon.

        A request that arrives while ipykernel 7.0 sends a reply can be left lying until the next one: the reply takes
        the notice of it (https://github.com/ipython/ipykernel/issues/1554; plain kernels of that release stop within
        some hundred cells). What waits for the reply, as front ends do, never meets that.
        """
        while message_id not in self._replied:
            try:
                reply = self.client.get_shell_msg(timeout=1.0)
            except queue.Empty:
                return False
            self._replied.add(reply["parent_header"].get("msg_id", ""))
        return True

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def read_until(self, done: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            remaining = deadline - time.monotonic()
            assert remaining > 0, f"it did not happen in {PATIENCE:.0f} s; messages: {self._summary()}"
            with contextlib.suppress(Exception):  # queue.Empty: nothing came in time
                message = self.client.get_iopub_msg(timeout=min(1.0, remaining))
                self.by_parent[message["parent_header"].get("msg_id", "")].append(message)

    def _summary(self) -> list[str]:
        return [
            f"{message['msg_type']}: {str(message['content'])[:300]}"
            for messages in self.by_parent.values()
            for message in messages
        ][-20:]


@contextlib.contextmanager
def notebook(folder: Path, python: str | None = None) -> Iterator[Notebook]:
    """A fresh kernel, of this Python or another; it and its cluster end with the context."""
    manager = KernelManager(transport="ipc", ip=str(folder / "kernel"))
    if python is not None:
        assert manager.kernel_spec is not None
        manager.kernel_spec.argv[0] = python
    manager.start_kernel(cwd=str(folder))
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        yield Notebook(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()
        client.context.destroy(0)
