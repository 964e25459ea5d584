"""Several stores and processes in any order of events: no byte that is pinned changes, and nothing is left at the end.

The machines run on real (small) memory; a seed decides what happens next: messages arrive, disks answer, processes and
nodes die, disks and shared memory fill up. A failing seed is replayed by `run(seed)`.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.object_store import exchange, room, transfer
from himalia.cluster.object_store.lifecycle import FREED, LOST, NO_ROOM, PINNED
from himalia.cluster.object_store.slab import SlabPart, SlabPool
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.raylet_messages import (
    CreateObject,
    FreeObjects,
    ObjectCreated,
    ObjectsPinned,
    PinObjects,
    ReleasePins,
    SealedObject,
    SealObjects,
    ShareObject,
    SlabCreated,
    UnpinObjects,
)
from tests.object_store.world import Node, World, content, object_id, process_id

KB = 1024
STEPS = 150


class Held(NamedTuple):
    """A pin, and the bytes that must not change while it is held; ``offset`` is -1 for those in a file."""

    object_id: bytes
    place: memoryview
    expected: bytes
    offset: int


class Process:
    """A driver or worker: writes, pins, checks what it pinned, and answers `ReleasePins`."""

    def __init__(self, simulation: Simulation, number: int, node: Node) -> None:
        self.simulation = simulation
        self.id = process_id(number)
        self.node = node
        self.pool = SlabPool()
        self.held: list[Held] = []
        self.wanted: dict[bytes, int] = {}
        self.creating: dict[bytes, int] = {}  # object → version
        self.parts: list[tuple[bytes, SlabPart, int]] = []  # being written
        self.is_alive = True

    @property
    def address(self) -> Address:
        return Address(self.id)

    def write(self, of: bytes, size: int) -> None:
        if of in self.creating or any(of == other for other, _, _ in self.parts):
            return
        version = self.simulation.new_version(of)
        part = self.pool.take(size, self.node.world.now)
        self.send_pool_messages()
        if part is not None:
            self.parts.append((of, part, version))
        else:
            self.creating[of] = version
            self.node.tell(self.id, CreateObject(of, size, self.address))

    def send_pool_messages(self) -> None:
        for message in self.pool.messages():
            self.node.tell(self.id, message)

    def seal_part(self, number: int) -> None:
        of, part, version = self.parts.pop(number)
        if self.simulation.random.random() < 0.1:
            self.pool.give_up(part)
            self.send_pool_messages()
            return
        view = self.node.view(part.offset, part.size)
        view[:] = content(of, version, part.size)[: part.size]
        self.seal(SealedObject(of, b"", part.slab, part.offset, part.size), view, part.offset)

    def share(self, of: bytes, held: Held) -> None:
        """Make an object of what this process has pinned."""
        if of in self.creating or any(of == other for other, _, _ in self.parts):
            return
        self.simulation.new_version(of)
        self.simulation.shared.setdefault(of, set()).add(held.expected)
        pin_for = self.id if self.simulation.random.random() < 0.5 else b""
        before = self.pins_of(of)
        self.node.tell(self.id, ShareObject(of, held.object_id, held.offset, pin_for))
        if self.pins_of(of) > before:
            self.held.append(Held(of, held.place, held.expected, held.offset))

    def seal(self, sealed: SealedObject, view: memoryview, offset: int) -> None:
        sealed.pin_for = self.id if self.simulation.random.random() < 0.5 else b""
        before = self.pins_of(sealed.object_id)
        self.node.tell(self.id, SealObjects([sealed]))
        if self.pins_of(sealed.object_id) > before:
            self.held.append(Held(sealed.object_id, view, bytes(view), offset))

    def pins_of(self, of: bytes) -> int:
        record = self.node.machine.index.get(of)
        return 0 if record is None else record.pins.get(self.id, 0) + record.waiters.count(self.id)

    def hear(self) -> None:
        for message in self.node.answers(self.id):
            match message:
                case ObjectCreated(of, offset, size, path, error):
                    version = self.creating.pop(of, None)
                    if error or version is None:
                        continue
                    if self.simulation.random.random() < 0.1:
                        self.node.tell(self.id, FreeObjects([of]))
                        continue
                    view = self.node.view(offset, size, path)
                    view[:] = content(of, version, size)[:size]
                    self.seal(SealedObject(of), view, -1 if path else offset)
                case SlabCreated():
                    self.pool.on_created(message, self.node.world.now)
                    self.pool.check_invariants()
                case ObjectsPinned(objects):
                    for answer in objects:
                        self.wanted[answer.object_id] -= 1
                        assert answer.status in (PINNED, LOST, FREED, NO_ROOM)
                        if answer.status == PINNED:
                            view = self.node.view(answer.offset, answer.size, answer.path)
                            self.simulation.check_content(answer.object_id, view)
                            offset = -1 if answer.path else answer.offset
                            self.held.append(Held(answer.object_id, view, bytes(view), offset))
                case ReleasePins():
                    self.pool.release(self.node.world.now)
        self.send_pool_messages()

    def want(self, of: bytes, nodes: list[bytes]) -> None:
        self.wanted[of] = self.wanted.get(of, 0) + 1
        self.node.tell(self.id, PinObjects([of], [nodes]))

    def check(self) -> None:
        for held in self.held:
            assert held.place == held.expected, f"object {held.object_id!r} changed while {self.id!r} had it pinned"

    def unpin(self, number: int) -> None:
        held = self.held.pop(number)
        assert held.place == held.expected
        self.node.tell(self.id, UnpinObjects([held.object_id], [1]))


class Simulation:
    """One run from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.world = World(nodes=3, capacity=256 * KB)
        self.processes = [Process(self, number, self.world[number % 3]) for number in range(6)]
        self.versions: dict[bytes, int] = {}
        self.shared: dict[bytes, set[bytes]] = {}  # object → contents that it was given by sharing
        self.next_object = 0
        self.objects: list[bytes] = []
        self.next_process = len(self.processes)

    def new_version(self, of: bytes) -> int:
        self.versions[of] = self.versions.get(of, -1) + 1
        return self.versions[of]

    def check_content(self, of: bytes, view: memoryview) -> None:
        size = len(view)
        known = range(self.versions[of] + 1)
        is_right = any(view == content(of, version, size)[:size] for version in known)
        assert is_right or bytes(view) in self.shared.get(of, ()), f"object {of!r} is damaged"

    # -- what can happen ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        choose = self.random
        actions = {
            self.write: 6,
            self.want: 6,
            self.unpin: 6,
            self.free: 3,
            self.seal_part: 5,
            self.share: 3,
            self.hear: 10,
            self.deliver: 20,
            self.work: 15,
            self.pass_time: 3,
            self.fill_disk: 0.3,
            self.fill_shared_memory: 0.2,
            self.kill_process: 0.5,
            self.kill_node: 0.15,
        }
        (action,) = choose.choices(list(actions), list(actions.values()))
        action()
        for process in self.processes:
            process.check()

    def a_process(self) -> Process:
        return self.random.choice(self.processes)

    def an_object(self) -> bytes:
        """A new object, or one that is made again by a retry, perhaps on another node."""
        if self.objects and self.random.random() < 0.15:
            return self.random.choice(self.objects)
        self.next_object += 1
        of = object_id(self.a_process().id, self.next_object)
        self.objects.append(of)
        return of

    def write(self) -> None:
        process = self.a_process()
        process.write(
            self.an_object(), self.random.choice([100, 5 * KB, 20 * KB, 60 * KB, 70 * KB, 200 * KB, 300 * KB])
        )

    def seal_part(self) -> None:
        process = self.a_process()
        if process.parts:
            process.seal_part(self.random.randrange(len(process.parts)))

    def share(self) -> None:
        process = self.a_process()
        candidates = [held for held in process.held if held.offset >= 0]
        if candidates:
            process.share(self.an_object(), self.random.choice(candidates))

    def want(self) -> None:
        if self.objects:
            nodes = self.random.sample(list(self.world.nodes), self.random.randint(0, 3))
            self.a_process().want(self.random.choice(self.objects), nodes)

    def unpin(self) -> None:
        process = self.a_process()
        if process.held:
            process.unpin(self.random.randrange(len(process.held)))

    def free(self) -> None:
        if self.objects:
            of = self.random.choice(self.objects)
            nodes = self.random.sample(list(self.world.nodes), self.random.randint(0, 3))
            process = self.a_process()
            if of in process.creating:
                return  # the answer is under way
            process.node.tell(process.id, FreeObjects([of], nodes))

    def hear(self) -> None:
        self.a_process().hear()

    def deliver(self) -> None:
        links = self.world.busy_links()
        if links:
            self.world.deliver(self.random.choice(links))

    def work(self) -> None:
        nodes = [node for node in self.world.nodes.values() if node.is_alive and node.jobs]
        if nodes:
            node = self.random.choice(nodes)
            node.jobs.rotate(self.random.randrange(len(node.jobs)))
            node.run_job()

    def pass_time(self) -> None:
        self.world.now += self.random.choice([0.1, 0.5, 3.0, 40.0])
        for process in self.processes:
            process.pool.tick(self.world.now)
            process.send_pool_messages()
        self.world.tick()

    def fill_disk(self) -> None:
        disk = self.random.choice(list(self.world.nodes.values())).disk
        disk.room = self.random.choice([0, 100 * KB, None])

    def fill_shared_memory(self) -> None:
        node = self.random.choice(list(self.world.nodes.values()))
        node.shared_memory = max(node.reserved, self.random.choice([0, 100 * KB, 256 * KB]))

    def kill_process(self) -> None:
        process = self.a_process()
        self.processes.remove(process)
        process.is_alive = False
        self.world.kill_process(process.id)
        process.node.answers(process.id)
        self.processes.append(Process(self, self.next_process, process.node))
        self.next_process += 1

    def kill_node(self) -> None:
        alive = [number for number in range(3) if self.world[number].is_alive]
        if len(alive) < 2:
            return
        number = self.random.choice(alive)
        dead = self.world[number]
        for process in [process for process in self.processes if process.node is dead]:
            self.processes.remove(process)
        self.world.kill_node(number)
        if not self.processes:
            self.processes.append(Process(self, self.next_process, self.world[alive[0]]))
            self.next_process += 1

    # -- the end -----------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Everything under way ends; everybody lets go; everything is freed: then nothing may be left."""
        for node in self.world.nodes.values():
            node.disk.room = None
        for _ in range(4):
            self.world.pass_time(35)
            for process in self.processes:
                process.hear()
                while process.parts:
                    process.seal_part(0)
                while process.held:
                    process.unpin(0)
                process.pool.tick(self.world.now)
                process.send_pool_messages()
        for process in self.processes:
            assert not any(process.wanted.values()), f"{process.id!r} was never answered: {process.wanted}"
            assert not process.creating, f"{process.id!r} was never given room for {process.creating}"
        for node in self.world.nodes.values():
            if node.is_alive:
                node.tell(process_id(999), FreeObjects(self.objects))
        self.world.pass_time(5)
        for process in self.processes:
            process.hear()
        self.world.pass_time(5)
        for node in self.world.nodes.values():
            if node.is_alive:
                assert not node.machine.index.records, {r.state: r.history for r in node.machine.index.records.values()}
                assert node.machine.room.allocator.used == 0
                assert not node.disk.files
                assert not node.machine.room.waiting


def run(seed: int, steps: int = STEPS) -> None:
    simulation = Simulation(seed)
    for _ in range(steps):
        simulation.step()
    simulation.end()


@pytest.fixture(autouse=True, scope="module")
def _small_steps() -> object:
    patch = pytest.MonkeyPatch()
    patch.setattr(transfer, "CHUNK", 16 * KB)
    patch.setattr(exchange, "SENDS", 1)
    patch.setattr(room, "EXTEND_STEP", 32 * KB)
    patch.setattr("himalia.cluster.object_store.slab.SMALLEST", 64 * KB)
    patch.setattr("himalia.cluster.object_store.slab.LARGEST", 128 * KB)
    patch.setattr("himalia.cluster.object_store.slab.LARGEST_PART", 64 * KB)
    yield patch
    patch.undo()


@given(st.integers(0, 1 << 32))
@settings(max_examples=40, deadline=None)
def test_no_pinned_byte_changes_and_nothing_is_left(seed: int) -> None:
    run(seed)
