"""A whole cluster in one thread: every machine, core and executor as they are, on one clock and one network.

    cluster = SimulatedCluster(seed)
    with cluster.running():
        cluster.start_gcs(); node = cluster.add_node({"CPU": 2})
        cluster.add_driver(node, program)
        cluster.run()

A `program` is what a user's script would be; it may block. `Trouble` is raised for whatever should not have happened,
with the seed; `story` then tells what the messages said about one task, object, lease, actor or process.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock

import greenlet

from ... import core as core_package
from ...core import current
from ...core.refs import Extra, drops, set_drop_hook
from ...core.runtime import CoreOptions
from ...protocol.common import Address, to_units
from ...protocol.gcs_messages import JobInfo, ReportJobEnd
from ...raylet.events import DriverGone, NodeConfig
from ...serialization import context
from .book import Book
from .checks import check_owner, check_rest
from .kernel import Kernel, VirtualTime
from .network import Network, SimulatedBus
from .process import Process, SimulatedReactor
from .servers import GcsServer, Node
from .story import Story

__all__ = ["Program", "SimulatedCluster", "Trouble", "active"]

Program = Callable[[Process], None]

_RUNS_KEPT: Final = 10  # simulations whose remains are collected at a time: looking at all objects takes its time
_runs = itertools.count()

_active: SimulatedCluster | None = None


def active() -> SimulatedCluster:
    """The simulation that runs: for tasks, which are handed nothing else."""
    assert _active is not None
    return _active


class Trouble(AssertionError):
    """Something happened in a simulation that must not."""


class SimulatedCluster:
    """See the top of the file.

    Parameters
    ----------
    seed
        Of all chance.
    slow
        Share of messages that take up to 30 ms; the others less than 1 ms.
    """

    def __init__(self, seed: int, *, slow: float = 0.05, record: bool = False) -> None:
        self.seed = seed
        self.kernel = Kernel(seed)
        self.book = Book()
        self.hub = greenlet.getcurrent()
        self.slow = slow
        self.network = Network(self.kernel, self._delay)
        self.story = Story(self.kernel)
        if record:
            self.network.watch = self.story.message
        self.gcs: GcsServer | None = None
        self.nodes: dict[bytes, Node] = {}
        self.processes: dict[bytes, Process] = {}
        self.holders: dict[int, tuple[Extra, Process]] = {}
        self.fork_failures = 0.0
        self.arena_bytes = 8 << 20
        self.programs: set[bytes] = set()  # drivers that have not ended theirs
        self.is_leaving = False
        self._watched: dict[bytes, Node] = {}
        self._pids = 1000
        self._failure: tuple[BaseException, str] | None = None
        self._gcs_address = Address(self._identity("gcs"), b"", "ipc://gcs")

    def _delay(self, is_local: bool) -> float:
        chance = self.kernel.random
        if chance.random() < self.slow:
            return chance.uniform(0.001, 0.03)
        return chance.uniform(0.00002, 0.0005) if is_local else chance.uniform(0.0001, 0.001)

    def _identity(self, kind: str) -> bytes:
        """Readable in a story: a letter, and a number that chance gave."""
        return b"\x01" + kind[0].encode() + self.kernel.random.randbytes(6)

    # -- the world around it ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def running(self) -> Iterator[SimulatedCluster]:
        """While the cluster exists, cores have its clock, sockets and threads in place of the real ones."""
        global _active
        clock = VirtualTime(self.kernel)
        base = core_package.__name__
        worker = base.replace(".core", ".worker")
        patches: list[Any] = [
            mock.patch(f"{base}.runtime.Bus", lambda identity, keys: SimulatedBus(self.network, identity)),
            mock.patch(f"{base}.runtime.Reactor", SimulatedReactor),
            mock.patch(f"{worker}.executor.signal"),
        ]
        # Whatever module of theirs looks at the clock by the name `time`.
        patches += [
            mock.patch.object(module, "time", clock)
            for name, module in sorted(sys.modules.items())
            if name.startswith((f"{base}.", f"{worker}.")) and getattr(module, "time", None) is time
        ]
        was_collecting = gc.isenabled()
        gc.disable()  # the moment of a collection would be chance that no seed determines
        if next(_runs) % _RUNS_KEPT == 0:
            gc.collect()  # else earlier simulations, which lie in cycles of 10 MB each, would be frozen for ever
        gc.freeze()  # and what was there before is not looked at again and again
        drops.clear()
        _active = self
        logger = logging.getLogger("himalia")
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)  # processes are killed here all the time
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            try:
                yield self
            finally:
                self._clear()
                _active = None
                logger.setLevel(level)
                gc.unfreeze()
                if was_collecting:
                    gc.enable()

    def _clear(self) -> None:
        for process in self.processes.values():
            process.bury()
        self.processes.clear()
        current.set_core(None)
        context.set_ref_factory(None)
        context.set_out_of_band_hook(None)
        set_drop_hook(None)
        self.holders.clear()
        drops.clear()

    # -- parts --------------------------------------------------------------------------------------------------------

    def start_gcs(self) -> None:
        """Start it, on a machine of its own."""
        self.gcs = GcsServer(self, self._gcs_address.worker_id, b"")

    def add_node(self, resources: dict[str, float], **config: Any) -> Node:
        """Start a node; it joins."""
        node_id = self._identity("node")
        settings: dict[str, Any] = {"arena_bytes": self.arena_bytes, **config}
        node = Node(
            self,
            NodeConfig(
                node_id=node_id,
                raylet=Address(node_id, node_id, f"ipc://{node_id.hex()}"),
                gcs=self._gcs_address,
                total=to_units(resources),
                **settings,
            ),
            is_head=not self.nodes,
        )
        self.nodes[node_id] = node
        return node

    def node_ended(self, node: Node) -> None:
        """Its host reaps everything that ran on it."""
        for process in list(self.processes.values()):
            if process.node_id == node.node_id:
                process.end(None, 9, last_words=0.0)

    def process(self, options: CoreOptions, main: Callable[[Process], int | None]) -> Process:
        """Make a process; `Process.start` lets it run."""
        self._pids += 1
        process = Process(self, options, self._pids, main)
        self.processes[process.identity] = process
        return process

    def add_driver(self, node: Node, program: Program) -> Process:
        """Start a driver on a node. Its program runs once; the process stays until all programs have ended."""
        identity = self._identity("driver")
        address = Address(identity, node.node_id, f"ipc://{identity.hex()}")

        def main(process: Process) -> int | None:
            core = process.core
            core.connect()
            program(process)
            self.programs.discard(identity)
            core.reactor.drive(lambda: self.is_leaving)
            core.gcs_call(ReportJobEnd(core.job_id))
            return 0

        options = CoreOptions(
            kind="driver",
            worker_id=identity,
            node_id=node.node_id,
            ipc=address.ipc,
            raylet=node.config.raylet,
            gcs=self._gcs_address,
            session_dir="",
            job=JobInfo(b"", address, 1, f"job-{identity.hex()}", "simulated", 0.0),
        )
        process = self.process(options, main)
        process.core._arena = node.arena()
        process.on_exit = lambda code, signal: self._driver_exited(process)
        self.programs.add(identity)
        process.start(self._delay(True))
        return process

    def watch_driver(self, node: Node, driver_id: bytes) -> None:
        """A raylet wants to know of a driver's end."""
        self._watched[driver_id] = node

    def _driver_exited(self, process: Process) -> None:
        node = self._watched.get(process.identity)
        if node is not None:
            self.kernel.after(self._delay(True), lambda: node.handle(DriverGone(process.identity)))

    def living(self, kind: str) -> list[Process]:
        return [p for p in self.processes.values() if p.is_alive and p.kind == kind]

    def names(self) -> dict[bytes, str]:
        """What a story calls everybody."""
        names = {self._gcs_address.worker_id: "GCS"}
        names.update({node_id: f"raylet {node_id.hex()}" for node_id in self.nodes})
        names.update({p.identity: f"{p.kind} {p.identity.hex()}" for p in self.processes.values()})
        return names

    # -- what processes share -----------------------------------------------------------------------------------------

    def route_drops(self) -> None:
        """Give each process the references that died in it."""
        while drops:
            extra = drops.popleft()
            if extra.owner is None:
                process = self.processes.get(extra.worker_id)
            else:
                process = self.holders[id(extra)][1]
            if process is not None and process.is_alive:
                process.drops.append(extra)
                process.want_step()

    def check_core(self, process: Process) -> None:
        """After each step of a process."""
        check_owner(process.core)

    def note(self, who: str, text: str) -> None:
        """A line of somebody's log."""
        self.story.line(who, text)

    def failed(self, error: BaseException, who: str) -> None:
        """A program, or what should never raise, did."""
        if self._failure is None:
            self._failure = (error, who)

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, limit: float = 300.0, *, settle: float = 4.0) -> None:
        """Until all programs have ended, and then until everything has come to rest; then look at what is left.

        Raises
        ------
        Trouble
            A program or a machine failed, or not everything ended within ``limit`` simulated seconds.
        """
        deadline = self.kernel.now + limit
        self.run_while(lambda: bool(self.programs), deadline)
        if self.programs:
            raise self._trouble(
                f"{len(self.programs)} programs still wait after {limit:g} s; not ended: {self._waiting()}"
            )
        self._settle(settle)
        self._guard(lambda: check_rest(self, job_ended=False))
        self.is_leaving = True
        for driver in self.living("driver"):
            driver.want_step()
        self.run_while(lambda: bool(self.living("driver")), self.kernel.now + 30.0)
        if self.living("driver"):
            raise self._trouble("drivers can not leave")
        self._settle(settle)
        self._guard(lambda: check_rest(self, job_ended=True))

    def _settle(self, seconds: float) -> None:
        for _ in range(2):
            self.run_while(lambda: True, self.kernel.now + seconds)
            gc.collect()
            self.route_drops()
        self.run_while(lambda: True, self.kernel.now + seconds)

    def _waiting(self) -> str:
        names = self.book.unended()
        return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")

    def run_while(self, condition: Callable[[], bool], deadline: float) -> None:
        """Let things happen."""
        self._guard(lambda: self._run_while(condition, deadline))

    def _run_while(self, condition: Callable[[], bool], deadline: float) -> None:
        while condition() and self.kernel.step(deadline):
            if self._failure is not None:
                error, who = self._failure
                raise self._trouble(f"{who}: {type(error).__name__}: {error}") from error

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Trouble:
            raise
        except Exception as error:  # whatever a machine raises is what we look for
            raise self._trouble(f"{type(error).__name__}: {error}") from error

    def _trouble(self, text: str) -> Trouble:
        return Trouble(f"seed {self.seed}, at {self.kernel.now:.6f}: {text}")
