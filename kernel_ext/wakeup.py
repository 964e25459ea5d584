"""An interrupt that reaches a cell which awaits.

Python runs a signal's handler in the main thread when that executes its next instruction. A kernel whose cell awaits
sleeps in its event loop, and nothing tells the loop: ipykernel's handler, which cancels the cell, runs when the loop
wakes for another reason (https://github.com/ipython/ipykernel/issues/881). So every signal wakes the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from typing import Any

__all__ = ["SignalWakeup", "loop_of"]


class SignalWakeup:
    """Wakes an event loop of the main thread at every signal, from `install` to `remove`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pair: tuple[socket.socket, socket.socket] | None = None

    def install(self) -> None:
        """Begin, unless something else is told of signals already: then the loop has what it needs."""
        if threading.current_thread() is not threading.main_thread():
            return
        receiver, sender = socket.socketpair()
        receiver.setblocking(False)
        sender.setblocking(False)
        previous = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        if previous != -1:
            signal.set_wakeup_fd(previous)
            receiver.close()
            sender.close()
            return
        self._pair = receiver, sender
        self._loop.add_reader(receiver, _drain, receiver)

    def remove(self) -> None:
        """Undo `install`."""
        if self._pair is None:
            return
        receiver, sender = self._pair
        current = signal.set_wakeup_fd(-1)
        if current not in (-1, sender.fileno()):
            signal.set_wakeup_fd(current)  # somebody has put their own in place since
        self._loop.remove_reader(receiver)
        receiver.close()
        sender.close()
        self._pair = None


def _drain(receiver: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        receiver.recv(4096)


def loop_of(shell: Any) -> asyncio.AbstractEventLoop | None:
    """The event loop in which a kernel executes cells; None in a terminal."""
    tornado_loop = getattr(getattr(shell, "kernel", None), "io_loop", None)
    loop = getattr(tornado_loop, "asyncio_loop", None)
    return loop if isinstance(loop, asyncio.AbstractEventLoop) else None
