"""A GCS machine and what its peers would see: raylets and cores that are nothing but ids and lists of messages."""

from __future__ import annotations

from typing import Any

import msgspec

from himalia.cluster.gcs.commands import (
    Command,
    Connect,
    Disconnect,
    End,
    Log,
    PeerBack,
    PeerLost,
    Persist,
    Received,
    Send,
    SendRaylet,
    Tick,
)
from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.machine import GcsMachine
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address, Death, DeathKind, NodeInfo, to_units
from himalia.cluster.protocol.gcs_messages import (
    ActorInfo,
    ActorSpec,
    ActorUpdate,
    Answer,
    CreateActor,
    DriverHello,
    Failed,
    JobInfo,
    NodeHello,
    NodeReport,
    ReportActor,
    ReportProcessDeath,
    Welcome,
)
from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.raylet_messages import StartActor

WALL = 1_000_000.0


def an_id(kind: str, number: int) -> bytes:
    return b"\x01" + f"{kind}{number:>3}".encode().rjust(7, b"_")[-7:]


class OnPaper:
    """Feeds a machine and sorts its commands; checks the invariants after every step."""

    def __init__(self, config: GcsConfig | None = None) -> None:
        self.config = config or GcsConfig()
        self.machine = GcsMachine("cluster", self.config, wall=WALL)
        self.now = 100.0
        self.inbox: dict[bytes, list[Any]] = {}  # by peer
        self.raylet_inbox: dict[bytes, list[Any]] = {}  # by node
        self.connected: set[bytes] = set()
        self.stored: dict[str, dict[bytes, bytes]] = {}
        self.logged: list[str] = []
        self.ended: str | None = None
        self._request = 0
        self._counter = 0
        self._worker = 0

    # -- steps ----------------------------------------------------------------------------------------------------

    def feed(self, event: Any) -> list[Command]:
        commands = self.machine.handle(event, self.now)
        for command in commands:
            self._sort(command)
        self.machine.check_invariants()
        return commands

    def _sort(self, command: Command) -> None:
        match command:
            case Send():
                for peer in command.peers:
                    self.inbox.setdefault(peer, []).append(command.message)
            case SendRaylet():
                assert command.node_id in self.connected, "a message to a node that was never connected"
                self.raylet_inbox.setdefault(command.node_id, []).append(command.message)
            case Connect():
                self.connected.add(command.node_id)
            case Disconnect():
                self.connected.discard(command.node_id)
            case Persist():
                table = self.stored.setdefault(command.table, {})
                if command.record is None:
                    table.pop(command.key, None)
                else:
                    table[command.key] = msgspec.msgpack.encode(command.record)
            case Log():
                self.logged.append(command.text)
            case End():
                self.ended = command.reason

    def say(self, peer: bytes, message: Any) -> None:
        self.feed(Received(peer, message))

    def lose(self, peer: bytes) -> None:
        self.feed(PeerLost(peer))

    def regain(self, peer: bytes) -> None:
        self.feed(PeerBack(peer))

    def ask(self, peer: bytes, message: Any) -> Any:
        """The value of the answer, or the `Failed`; fails if neither came."""
        self._request += 1
        message.request = self._request
        self.say(peer, message)
        return self.answer(peer, self._request)

    def answer(self, peer: bytes, request: int) -> Any:
        for message in self.inbox.get(peer, []):
            if isinstance(message, Answer) and message.request == request:
                return msgspec.msgpack.decode(message.value)
            if isinstance(message, Failed) and message.request == request:
                return message
        raise AssertionError(f"request {request} was not answered")

    def wait(self, seconds: float) -> None:
        """Let time pass, with every tick the machine wants."""
        end = self.now + seconds
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.feed(Tick())
        self.now = end

    def restart(self) -> None:
        """Kill the GCS and start it from what it stored."""
        self.machine = GcsMachine("cluster", self.config, wall=WALL)
        self.machine.restore(self.stored, self.now)
        self.connected.clear()
        self.inbox.clear()
        self.raylet_inbox.clear()
        self.feed(Tick())

    # -- peers ----------------------------------------------------------------------------------------------------

    def node(self, number: int = 1, *, labels: dict[str, str] | None = None, **resources: float) -> Raylet:
        return Raylet(self, number, to_units(resources or {"CPU": 2.0}), labels or {})

    def driver(self, number: int = 1, node: Raylet | None = None) -> Driver:
        return Driver(self, number, node.node_id if node is not None else b"")

    def new_counter(self) -> int:
        self._counter += 1
        return self._counter

    def new_worker(self) -> bytes:
        self._worker += 1
        return an_id("w", self._worker)

    def got(self, peer: bytes, kind: type[Any]) -> list[Any]:
        return [message for message in self.inbox.get(peer, []) if isinstance(message, kind)]


class Raylet:
    """A node that joined."""

    def __init__(self, paper: OnPaper, number: int, total: dict[str, int], labels: dict[str, str]) -> None:
        self.paper = paper
        self.node_id = an_id("n", number)
        self.peer = an_id("r", number)
        self.total = total
        self.info = NodeInfo(self.node_id, Address(self.peer, self.node_id), f"host{number}", number, total, labels, 0)
        self.hello()

    def hello(
        self,
        actors: list[tuple[bytes, Address]] | None = None,
        bundles: list[tuple[bytes, int, list[int], bool]] | None = None,
    ) -> None:
        self.paper.say(self.peer, NodeHello(PROTOCOL_VERSION, self.info, actors or [], bundles or []))

    def report(self, **available: float) -> None:
        self.paper.say(self.peer, NodeReport(to_units(available) if available else self.total))

    def heartbeat(self) -> None:
        node = self.paper.machine.nodes.by_id[self.node_id]
        self.paper.say(self.peer, NodeReport(dict(node.available)))

    def took(self, kind: type[Any]) -> list[Any]:
        return [m for m in self.paper.raylet_inbox.get(self.node_id, []) if isinstance(m, kind)]

    def start(self, actor_id: bytes, worker_id: bytes = b"") -> Address:
        """The actor that the GCS sent here last is up."""
        order = [m for m in self.took(StartActor) if m.actor_id == actor_id][-1]
        address = Address(worker_id or self.paper.new_worker(), self.node_id)
        self.paper.say(self.peer, ReportActor(actor_id, address, restart=order.restart))
        return address

    def lost(self, actor_id: bytes, kind: DeathKind = DeathKind.CRASHED) -> None:
        order = [m for m in self.took(StartActor) if m.actor_id == actor_id][-1]
        self.paper.say(self.peer, ReportActor(actor_id, death=Death(kind, "gone"), restart=order.restart))

    def process_died(self, worker_id: bytes, kind: DeathKind = DeathKind.CRASHED, **more: Any) -> None:
        self.paper.say(self.peer, ReportProcessDeath(worker_id, Death(kind, "gone"), **more))


class Driver:
    """A driver that said hello, with its job."""

    def __init__(self, paper: OnPaper, number: int, node_id: bytes) -> None:
        self.paper = paper
        self.peer = an_id("d", number)
        self.address = Address(self.peer, node_id)
        job = JobInfo(b"", self.address, number, "", f"script{number}.py", 0.0)
        paper.say(self.peer, DriverHello(PROTOCOL_VERSION, self.address, job))
        self.job_id: bytes = paper.got(self.peer, Welcome)[-1].job_id

    def spec(self, resources: dict[str, float] | None = None, **more: Any) -> ActorSpec:
        more.setdefault("placement", to_units({"CPU": 1.0}) if resources is None else {})
        more.setdefault("owner", self.address)
        return ActorSpec(b"hash", "Counter", self.job_id, resources=to_units(resources or {}), **more)

    def create(self, resources: dict[str, float] | None = None, **more: Any) -> bytes:
        spec = self.spec(resources, **more)
        actor_id = make_task_id(spec.owner.worker_id, self.paper.new_counter())
        self.paper.say(self.peer, CreateActor(actor_id, spec))
        return actor_id

    def updates(self, actor_id: bytes) -> list[ActorInfo]:
        updates: list[ActorUpdate] = self.paper.got(self.peer, ActorUpdate)
        return [update.info for update in updates if update.info.actor_id == actor_id]

    def states(self, actor_id: bytes) -> list[str]:
        return [info.state for info in self.updates(actor_id)]
