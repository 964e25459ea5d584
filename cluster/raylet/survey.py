"""Answers what the GCS asks a node for somebody who looks: how the machine and the node's processes are.

Strategy: the raylet's loop says which processes there are and what they hold, a thread measures, and the loop answers.
A sample is remembered for a second and answers all questions about it; while nobody asks, nothing is measured, and
there is no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..protocol.common import RESOURCE_UNIT
from ..protocol.ids import make_task_id
from ..protocol.node_messages import NodeAnswer, NodeQuestion
from ..protocol.raylet_messages import StoreStats
from ..telemetry.run_notes import FunctionMemory, Notes, Running, merge_memory
from .machine import RayletMachine
from .memory_monitor import MemoryState
from .process_files import ProcessFiles
from .waiting_rows import waiting_row

if TYPE_CHECKING:
    from ..telemetry.gpu_sampler import GpuReading, GpuSource
    from ..telemetry.system_sampler import Sampler

__all__ = ["Survey", "gpu_rows", "process_rows"]

_REMEMBERED: Final = 0.9
"""Seconds: a little less than the GCS remembers answers, so that it never gets an old one anew."""

_TITLE: Final = "himalia:"
_WORKER: Final = _TITLE + "worker"
_LONG: Final = {"dashboa": "dashboard"}  # the kernel keeps fifteen letters of a name


def process_rows(machine: RayletMachine) -> list[dict[str, Any]]:
    """The workers and drivers of a node, with what they hold, before anything is measured."""
    rows: list[dict[str, Any]] = []
    for worker in machine.pool.workers.values():
        held = worker.allocation
        rows.append(
            {
                "worker_id": worker.worker_id,
                "pid": worker.pid,
                "kind": "worker",
                "state": "blocked" if worker.blocked else worker.state,
                "job_id": worker.job_id,
                "actor_id": worker.actor_id,
                "resources": dict(held.resources) if held is not None else {},
                # Of each device the share that is held, since several may hold parts of one.
                "devices": {
                    name: {number: units / RESOURCE_UNIT for number, units in shares}
                    for name, shares in (held.instances if held is not None else {}).items()
                },
            }
        )
    for driver_id, driver in machine.drivers.items():
        rows.append(
            {"worker_id": driver_id, "pid": driver.pid, "kind": "driver", "state": "driver", "job_id": driver.job_id}
        )
    return [{"node_id": machine.config.node_id, **row} for row in rows if row["pid"]]


def gpu_rows(readings: list[GpuReading], processes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each device: what was read, whose share is how large, and which processes use it.

    Parameters
    ----------
    processes
        Rows of a sample.
    """
    rows = []
    by_pid = {row["pid"]: row for row in processes}
    for number, reading in enumerate(readings):
        shares = [(row, row.get("devices", {}).get("GPU", {}).get(number)) for row in processes]
        holders = [{**_who(row), "share": share} for row, share in shares if share]
        first = holders[0]["pid"] if holders else 0
        users = [
            {**_who(by_pid.get(pid, {})), "pid": pid, "memory": used}
            for pid, used in ((pid or first, used) for pid, used in reading.processes)
        ]
        rows.append({"index": number, **msgspec.structs.asdict(reading), "processes": users, "holders": holders})
    return rows


def _who(row: dict[str, Any]) -> dict[str, Any]:
    names = ("worker_id", "pid", "kind", "job_id", "actor_id", "function", "cell", "task_id")
    return {name: row[name] for name in names if name in row}


def running_fields(running: Running | None) -> dict[str, Any]:
    """What a worker runs, as fields of its row."""
    if running is None:
        return {"function": "", "cell": 0, "task_id": b"", "task_started": 0.0, "task_count": 0}
    return {
        "function": running.name,
        "cell": running.cell,
        "task_id": make_task_id(running.owner, running.counter),
        "task_started": running.since,
        "task_count": running.count,
    }


def servers_of(host_pid: int) -> dict[str, int]:
    """The node host and those of its children that are no workers, by the names that it gave them."""
    found = {"host": host_pid}
    with contextlib.suppress(OSError):  # the host ends, and we with it
        for pid in Path(f"/proc/{host_pid}/task/{host_pid}/children").read_text().split():
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if name.startswith(_TITLE) and name != _WORKER:
                    kind = name.removeprefix(_TITLE)
                    found[_LONG.get(kind, kind)] = int(pid)
    return found


class Survey:
    """What one node tells.

    Parameters
    ----------
    host_pid
        The node host, parent of all processes of the node.
    folders
        Folders whose file systems matter: where logs and spilled objects go.
    """

    def __init__(
        self,
        machine: RayletMachine,
        files: ProcessFiles,
        *,
        store: Callable[[], StoreStats],
        memory: Callable[[], MemoryState],
        send: Callable[[NodeAnswer], None],
        host_pid: int,
        folders: list[str],
    ) -> None:
        self._machine = machine
        self._files = files
        self._store = store
        self._memory = memory
        self._send = send
        self._host_pid = host_pid
        self._loop = asyncio.get_running_loop()
        self._folders = folders
        self._samplers: tuple[Sampler, GpuSource] | None = None  # imported and made for the first who looks
        self._gpus: list[dict[str, Any]] = []
        self._sampling: asyncio.Future[None] | None = None
        self._waiting: list[NodeQuestion] = []
        self._until = float("-inf")  # so long the sample is remembered
        self._node: dict[str, Any] = {}
        self._processes: list[dict[str, Any]] = []
        self._memory_of_dead: dict[str, FunctionMemory] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._answers: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "gpu_stats": lambda: self._gpus,
            "node_stats": lambda: [self._node],
            "worker_stats": lambda: self._processes,
        }

    def ask(self, question: NodeQuestion) -> None:
        """The GCS wants to know."""
        if question.what == "function_memory":
            self._reply(question, self._function_memory())
        elif question.what == "pending":
            self._reply(question, [waiting_row(self._machine, self._loop.time())])
        elif question.what in self._answers:
            self._waiting.append(question)
            if self._loop.time() < self._until:
                self._answer()
            elif self._sampling is None:
                self._begin()

    def worker_ended(self, worker_id: bytes) -> Notes | None:
        """Keep what a worker noted that is no more; its notes."""
        notes = self._files.notes(worker_id)
        if notes is not None:
            merge_memory(self._memory_of_dead, notes.memory)
        return notes

    # -- sampling -----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        processes = process_rows(self._machine)
        node_id = self._machine.config.node_id
        store, memory = self._store(), self._memory()
        node: dict[str, Any] = {
            "node_id": node_id,
            "cpus": os.cpu_count() or 1,
            "limit_name": memory.name,
            "limit_total": memory.limit,
            "limit_used": memory.used,
            "store_capacity": store.capacity,
            "store_used": store.used,
            "store_objects": store.count,
            "spilled": store.spilled,
            "restored": store.restored,
            "workers": sum(row["kind"] == "worker" for row in processes),
            "busy_workers": sum(row["state"] in ("leased", "actor") for row in processes),
        }
        self._sampling = self._loop.run_in_executor(None, self._measure, node, processes)
        self._sampling.add_done_callback(self._measured)

    def _measure(self, node: dict[str, Any], processes: list[dict[str, Any]]) -> None:
        """In a thread: the rows of a sample."""
        if self._samplers is None:
            from ..telemetry.gpu_sampler import open_gpus
            from ..telemetry.system_sampler import Sampler

            self._samplers = Sampler(self._folders), open_gpus()
        sampler, source = self._samplers
        node_id, known = node["node_id"], {row["pid"] for row in processes}
        processes += [
            {"node_id": node_id, "worker_id": b"", "pid": pid, "kind": kind, "state": kind, "job_id": b""}
            for kind, pid in servers_of(self._host_pid).items()
            if pid not in known
        ]
        machine, measured = sampler.sample(row["pid"] for row in processes)
        found = []
        for row in processes:
            numbers = measured.get(row["pid"])
            if numbers is None:
                continue  # it ended meanwhile
            notes = self._files.notes(row["worker_id"]) if row["kind"] == "worker" else None
            running = notes.running if notes is not None and row["state"] != "idle" else None
            found.append({**row, **numbers, **running_fields(running)})
        self._node, self._processes = {**node, **machine}, found
        gpus = gpu_rows(source.read(), found)
        self._gpus = [{"node_id": node_id, "at": machine["at"], **gpu} for gpu in gpus]

    def _measured(self, done: asyncio.Future[None]) -> None:
        self._sampling = None
        if done.cancelled():
            return
        done.result()  # an error of ours belongs into the log
        self._until = self._loop.time() + _REMEMBERED
        self._answer()

    def _answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        for question in waiting:
            self._reply(question, self._answers[question.what]())

    def _reply(self, question: NodeQuestion, rows: list[dict[str, Any]]) -> None:
        self._send(NodeAnswer(question.what, question.round, msgspec.Raw(self._encode(rows))))

    def _function_memory(self) -> list[dict[str, Any]]:
        known: dict[str, FunctionMemory] = {}
        merge_memory(known, list(self._memory_of_dead.values()))
        for worker_id in self._machine.pool.workers:
            notes = self._files.notes(worker_id)
            if notes is not None:
                merge_memory(known, notes.memory)
        node_id = self._machine.config.node_id
        return [{"node_id": node_id, **msgspec.structs.asdict(one)} for one in known.values()]
