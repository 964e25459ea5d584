"""A raylet's machine without anything around it: events in, commands out, time as the test says."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address, NodeInfo
from himalia.cluster.protocol.gcs_messages import ActorSpec, GcsReply, NodeUpdate, ResourceView, Welcome
from himalia.cluster.protocol.raylet_messages import (
    CoreHello,
    LeaseGranted,
    LeaseSpec,
    RayletMessage,
    ReturnLeases,
    SetDemand,
    StartActor,
)
from himalia.cluster.raylet.events import (
    Command,
    Event,
    FromGcs,
    NodeConfig,
    Received,
    Reply,
    StartWorker,
    TellGcs,
    Tick,
    WorkerExited,
    WorkerForked,
)
from himalia.cluster.raylet.machine import RayletMachine

UNIT = 10_000
HERE = b"\x01nodehre"
THERE = b"\x01nodethr"
GCS = b"\x01thegcs!"
JOB = b"job1"
OTHER_JOB = b"job2"
ONE_CPU = {"CPU": UNIT}

T = TypeVar("T")


def cpus(count: float, **more: float) -> dict[str, int]:
    return {name: round(units * UNIT) for name, units in {"CPU": count, **more}.items() if units}


def lease_spec(resources: dict[str, int] | None = None, job_id: bytes = JOB, **more: Any) -> LeaseSpec:
    return LeaseSpec(ONE_CPU if resources is None else resources, job_id, **more)


def actor_spec(resources: dict[str, int] | None = None, **more: Any) -> ActorSpec:
    owner = Address(b"\x01owner!!", HERE, "ipc:///owner")
    return ActorSpec(b"hash", "Class", JOB, owner, resources=resources or {}, **more)


def node_info(node_id: bytes = THERE, total: dict[str, int] | None = None, **more: Any) -> NodeInfo:
    fields: dict[str, Any] = {"labels": {}, "object_store_bytes": 0, **more}
    return NodeInfo(node_id, Address(node_id, node_id, tcp="tcp://there"), "host", 1, total or cpus(4), **fields)


class Node:
    """The machine, and what the processes around it would do when told to be good."""

    def __init__(self, total: dict[str, int] | None = None, **config: Any) -> None:
        numbers = itertools.count(1)
        settings: dict[str, Any] = {"prestart": 0, "reserve": 0, "starting_limit": 4, **config}
        self.config = NodeConfig(
            node_id=HERE,
            raylet=Address(HERE, HERE, "ipc:///raylet"),
            gcs=Address(GCS, HERE, "ipc:///gcs"),
            total=cpus(2) if total is None else total,
            **settings,
        )
        self.machine = RayletMachine(self.config, lambda size: (2 * next(numbers) + 1).to_bytes(size, "big"))
        self.now = 100.0
        self.commands: list[Command] = self.machine.start(self.now)
        self.pids = itertools.count(1000)
        self.tokens: dict[bytes, bytes] = {}

    # -- feeding -----------------------------------------------------------------------------------------------------

    def feed(self, event: Event) -> list[Command]:
        """One event; its commands are returned and also kept in ``commands``."""
        commands = self.machine.handle(event, self.now)
        self.machine.check_invariants()
        self.commands += commands
        return commands

    def receive(self, peer: bytes, message: RayletMessage) -> list[Command]:
        return self.feed(Received(peer, message))

    def from_gcs(self, message: GcsReply) -> list[Command]:
        return self.feed(FromGcs(message))

    def pass_time(self, seconds: float) -> list[Command]:
        """Let time pass, with a tick at each deadline on the way."""
        end = self.now + seconds
        commands: list[Command] = []
        for _ in range(1000):
            due = self.machine.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            commands += self.feed(Tick())
        else:
            raise AssertionError("the machine wants to be woken without end")
        self.now = end
        return commands + self.feed(Tick())

    # -- those around it ---------------------------------------------------------------------------------------------

    def welcome(self, *others: NodeInfo) -> None:
        """The GCS knows the node, and tells of these others."""
        self.from_gcs(Welcome("cluster", list(others)))

    def node_comes(self, info: NodeInfo, available: dict[str, int] | None = None) -> list[Command]:
        commands = self.from_gcs(NodeUpdate(info))
        if available is not None:
            commands += self.from_gcs(ResourceView([(info.node_id, available, info.total)]))
        return commands

    def take(self, kind: type[T]) -> list[T]:
        """Commands of this type since the last `take` of it."""
        found = [command for command in self.commands if isinstance(command, kind)]
        self.commands = [command for command in self.commands if not isinstance(command, kind)]
        return found

    def told(self, peer: bytes, kind: type[T]) -> list[T]:
        """Messages of this type that were sent to ``peer`` since the last look."""
        found: list[T] = []
        left: list[Command] = []
        for command in self.commands:
            if isinstance(command, Reply) and command.peer == peer and isinstance(command.message, kind):
                found.append(command.message)
            else:
                left.append(command)
        self.commands = left
        return found

    def told_gcs(self, kind: type[T]) -> list[T]:
        found = [c.message for c in self.commands if isinstance(c, TellGcs) and isinstance(c.message, kind)]
        self.commands = [c for c in self.commands if not (isinstance(c, TellGcs) and isinstance(c.message, kind))]
        return found

    def say_hello(self, start: StartWorker) -> None:
        """The worker that was asked for comes up."""
        pid = next(self.pids)
        self.feed(WorkerForked(start.worker_id, pid))
        address = Address(start.worker_id, HERE, f"ipc:///{start.worker_id.hex()}")
        self.receive(start.worker_id, CoreHello(PROTOCOL_VERSION, address, pid, "worker", token=start.token))

    def start_workers(self) -> int:
        """Let all workers that were asked for come up, and those asked for meanwhile; how many."""
        count = 0
        while starts := self.take(StartWorker):
            for start in starts:
                self.say_hello(start)
                count += 1
        return count

    def driver_comes(self, driver_id: bytes, job_id: bytes = JOB, *, owns_cluster: bool = False) -> None:
        address = Address(driver_id, HERE, "ipc:///driver")
        hello = CoreHello(PROTOCOL_VERSION, address, 77, "driver", job_id, owns_cluster=owns_cluster)
        self.receive(driver_id, hello)

    def demand(
        self, owner: bytes, want: int, spec: LeaseSpec | None = None, class_id: int = 1, hops: int = 0
    ) -> list[LeaseGranted]:
        """Say what is wanted; the leases granted at once."""
        self.receive(owner, SetDemand(class_id, want, spec or lease_spec(), hops))
        return self.told(owner, LeaseGranted)

    def leases(self, owner: bytes, want: int, spec: LeaseSpec | None = None, class_id: int = 1) -> list[LeaseGranted]:
        """Say what is wanted, and start workers for it."""
        granted = self.demand(owner, want, spec, class_id)
        self.start_workers()
        return granted + self.told(owner, LeaseGranted)

    def give_back(self, owner: bytes, *leases: LeaseGranted, broken: bool = False) -> None:
        self.receive(owner, ReturnLeases([lease.lease_id for lease in leases], broken))

    def exit(self, worker_id: bytes, code: int | None = 0, signal: int | None = None) -> list[Command]:
        return self.feed(WorkerExited(worker_id, code, signal))

    def start_actor(self, actor_id: bytes, spec: ActorSpec | None = None, restart: int = 0) -> list[Command]:
        return self.receive(GCS, StartActor(actor_id, spec or actor_spec(), restart))

    @property
    def free(self) -> dict[str, int]:
        return self.machine.ledger.available
