"""Answers questions about where the processes of a node are: which there are, and what py-spy sees of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..protocol.stack_messages import ListProcesses, NodeProcess, Processes, StackQuestion, StackStop

if TYPE_CHECKING:
    from .machine import RayletMachine
    from .spying import Spies

__all__ = ["STACK_QUESTIONS", "StackDesk"]

STACK_QUESTIONS = StackQuestion | StackStop | ListProcesses


class StackDesk:
    """The processes of one node."""

    def __init__(
        self,
        machine: RayletMachine,
        node_id: bytes,
        session_dir: str,
        host_pid: int,
        reply: Callable[[bytes, Any], None],
    ) -> None:
        self._machine = machine
        self._node_id = node_id
        self._session_dir = session_dir
        self._host_pid = host_pid
        self._reply = reply
        self._spies: Spies | None = None  # once somebody asks: few look, and a node that starts need not wait for it

    def ask(self, peer: bytes, message: STACK_QUESTIONS) -> None:
        """Answer, or begin to."""
        if isinstance(message, ListProcesses):
            self._reply(peer, Processes(message.request, self._processes()))
            return
        if self._spies is None:
            from .spying import Spies

            self._spies = Spies(self._session_dir, self._pid_of, self._reply)
        if isinstance(message, StackStop):
            self._spies.stop(peer, message)
        else:
            self._spies.ask(peer, message)

    def close(self) -> None:
        """End what is under way."""
        if self._spies is not None:
            self._spies.close()

    def _processes(self) -> list[NodeProcess]:
        drivers, workers = self._machine.drivers.items(), self._machine.pool.workers.values()
        found = [NodeProcess(worker_id, driver.pid, True, driver.address) for worker_id, driver in drivers]
        found += [NodeProcess(one.worker_id, one.pid, False, one.address) for one in workers if one.pid]
        return found

    def _pid_of(self, process: bytes) -> int | None:
        """Of a worker or driver of this node by its id, of its raylet, or of a server by its role."""
        if process == self._node_id:
            return os.getpid()
        if process in self._machine.drivers:
            return self._machine.drivers[process].pid
        worker = self._machine.pool.workers.get(process)
        if worker is not None:
            return worker.pid or None
        from .spying import server_pid

        return server_pid(process, self._host_pid)
