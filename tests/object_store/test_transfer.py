"""Objects between nodes: in chunks, with credit, from whoever has them, whoever dies."""

from __future__ import annotations

import pytest

from himalia.cluster.object_store import exchange, transfer
from himalia.cluster.object_store.events import SendChunk, WriteChunk
from himalia.cluster.object_store.lifecycle import LOST, PINNED
from himalia.cluster.object_store.records import State
from himalia.cluster.object_store.transfer import CREDIT, STALL, Outgoing, Pull, in_order_for
from himalia.cluster.protocol.raylet_messages import (
    Chunk,
    ChunkCredit,
    FreeObjects,
    ObjectPinned,
    PinObjects,
    PullObject,
    UnpinObjects,
)
from tests.object_store.test_machine import DRIVER, KB, A, create, pinned, put, reads, seal, state, used
from tests.object_store.world import Node, World, node_id, process_id

CHUNK = 16 * KB
SIZE = 100 * KB  # seven chunks, the last one short


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "CHUNK", CHUNK)


@pytest.fixture
def world() -> World:
    return World(nodes=4)


def want(node: Node, nodes: list[int], by: bytes = DRIVER) -> None:
    node.tell(by, PinObjects([A], [[node_id(number) for number in nodes]]))


def deliver_until(world: World, kind: type) -> tuple[bytes, bytes]:
    """Deliver messages and let jobs end until a message of this kind is next on a link; the link."""
    for _ in range(1000):
        for link in world.busy_links():
            if isinstance(world.links[link][0][0], kind):
                return link
        for link in world.busy_links():
            world.deliver(link)
            break
        for node in world.nodes.values():
            if node.jobs:
                node.run_job()
    raise AssertionError(f"no {kind.__name__} was sent")


def only(answers: list[ObjectPinned]) -> ObjectPinned:
    (answer,) = answers
    return answer


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_an_object_comes_from_another_node_whole(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    world.settle()
    answer = only(pinned(world[1]))
    assert answer.status == PINNED
    assert reads(world[1], answer)
    record = world[0].machine.index.get(A)
    assert record is not None
    assert not record.pins, "the sender's pin went with the transfer"
    assert record.copies == {node_id(1)}


def test_many_who_want_it_pull_it_once(world: World) -> None:
    put(world[0], A, SIZE)
    for number in range(5):
        want(world[1], [0], by=process_id(number))
    world.settle()
    assert all(only(pinned(world[1], process_id(number))).status == PINNED for number in range(5))
    assert used(world[1]) == SIZE
    record = world[1].machine.index.get(A)
    assert record is not None
    assert sum("pulled" in why for _, why in record.history) == 1


def test_no_more_than_the_credit_is_under_way(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    deliver_until(world, Chunk)
    while world[0].jobs or world[1].jobs or world.busy_links():
        chunks = [m for m, data in world.links.get((node_id(0), node_id(1)), ()) if isinstance(m, Chunk) and data]
        writes = len(world[1].jobs)
        assert len(chunks) + writes <= CREDIT
        links = world.busy_links()
        if links:
            world.deliver(links[0])
        else:
            world[1].run_job()
    assert only(pinned(world[1])).status == PINNED


def test_a_spilled_object_is_restored_to_be_sent(world: World) -> None:
    put(world[0], A, 600 * KB)
    put(world[0], A[:-1] + b"\x09", 600 * KB)
    assert state(world[0], A) is State.SPILLED
    want(world[1], [0])
    world.settle()
    assert reads(world[1], only(pinned(world[1])))


def test_an_object_being_written_is_sent_when_it_is_sealed(world: World) -> None:
    create(world[0], A, SIZE)
    want(world[1], [0])
    world.settle()
    assert not pinned(world[1])
    seal(world[0], A)
    world.settle()
    assert only(pinned(world[1])).status == PINNED


def test_an_object_nobody_has_is_lost(world: World) -> None:
    want(world[1], [0, 2])
    world.pass_time(5)
    assert only(pinned(world[1])).status == LOST


def test_a_free_follows_the_copies(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    world.settle()
    want(world[2], [1])
    world.settle()
    for node in (world[1], world[2]):
        pinned(node)
        node.machine.index.unpin(node.machine.index.records[A], DRIVER, 1)
    world[0].tell(DRIVER, FreeObjects([A]))
    world.settle()
    assert [used(world[number]) for number in range(3)] == [0, 0, 0]


def test_a_free_reaches_the_nodes_it_names(world: World) -> None:
    put(world[1], A, SIZE)
    world[0].tell(DRIVER, FreeObjects([A], [node_id(0), node_id(1)]))
    world.settle()
    assert used(world[1]) == 0


def test_copies_are_dropped_when_memory_is_short(world: World) -> None:
    put(world[0], A, 600 * KB)
    want(world[1], [0])
    world.settle()
    world[1].machine.index.unpin(world[1].machine.index.records[A], DRIVER, 1)
    put(world[1], A[:-1] + b"\x09", 600 * KB)
    assert state(world[1], A) is None
    assert not world[1].disk.files


# -- senders that go away ----------------------------------------------------------------------------------------------


def test_another_node_is_asked_when_the_sender_dies_in_the_middle(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[2], [0])
    world.settle()
    want(world[1], [0, 2])
    link = deliver_until(world, Chunk)
    world.deliver(link)  # the offer
    link = deliver_until(world, Chunk)
    for _ in range(3):
        world.deliver(link)
    sender = int(link[0][1:])
    world.kill_node(sender)
    world.settle()
    answer = only(pinned(world[1]))
    assert answer.status == PINNED
    assert reads(world[1], answer)
    assert used(world[1]) == SIZE


def test_it_is_lost_when_the_only_sender_dies(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    deliver_until(world, Chunk)
    world.kill_node(0)
    world.settle()
    assert only(pinned(world[1])).status == LOST
    world.pass_time(5)
    assert used(world[1]) == 0
    assert state(world[1], A) is None


def test_a_silent_sender_is_given_up(world: World) -> None:
    put(world[0], A, SIZE)
    put(world[2], A, SIZE)
    want(world[1], [0, 2])
    (link,) = world.busy_links()
    world.links[link].clear()  # the question is lost
    world.pass_time(STALL - 1)
    assert not pinned(world[1])
    world.pass_time(2)
    assert only(pinned(world[1])).status == PINNED


def test_a_receiver_that_dies_leaves_no_pin(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    deliver_until(world, Chunk)
    world.kill_node(1)
    record = world[0].machine.index.get(A)
    assert record is not None
    assert not record.pins


def test_two_nodes_that_ask_each_other_do_not_wait_forever(world: World) -> None:
    want(world[0], [1])
    want(world[1], [0])
    world.settle()
    world.pass_time(5)
    assert only(pinned(world[0])).status == LOST
    assert only(pinned(world[1])).status == LOST


def test_an_object_freed_while_it_is_pulled_leaves_nothing(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    deliver_until(world, Chunk)
    deliver_until(world, Chunk)
    world[1].tell(DRIVER, FreeObjects([A], [node_id(0)]))
    world.settle()
    assert [used(world[0]), used(world[1])] == [0, 0]


def test_an_object_freed_when_its_last_bytes_have_just_arrived_leaves_nothing(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    link = deliver_until(world, ChunkCredit)
    while world.links[link][0][0].credit >= 0:
        world.deliver(link)
        link = deliver_until(world, ChunkCredit)
    world[0].tell(DRIVER, FreeObjects([A]))  # before it hears that node 1 has it all
    world.settle()
    world[1].tell(DRIVER, UnpinObjects([A], [1]))
    assert [used(world[0]), used(world[1])] == [0, 0]


def test_a_value_made_again_is_not_mixed_with_the_old_one(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    deliver_until(world, Chunk)
    link = deliver_until(world, Chunk)
    world.deliver(link)
    put(world[0], A, SIZE, by=process_id(3))  # same bytes here, but the store cannot know
    world.settle()
    (answer,) = pinned(world[1])
    assert answer.status in (PINNED, LOST)


# -- hot objects -------------------------------------------------------------------------------------------------------


def test_a_busy_sender_sends_others_on_to_those_who_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SENDS", 1)
    world = World(nodes=6)
    put(world[0], A, SIZE)
    want(world[1], [0])
    world.settle()
    for number in range(2, 6):
        want(world[number], [0])
    served: set[bytes] = set()
    for _ in range(2000):
        links = world.busy_links()
        if not links and not any(node.jobs for node in world.nodes.values()):
            break
        for link in links:
            message, data = world.links[link][0]
            if isinstance(message, Chunk) and data:
                served.add(link[0])
            world.deliver(link)
        for node in world.nodes.values():
            if node.jobs:
                node.run_job()
    assert all(only(pinned(world[number])).status == PINNED for number in range(2, 6))
    assert len(served) > 1


# -- the rules ---------------------------------------------------------------------------------------------------------


def test_every_node_begins_with_another_one() -> None:
    nodes = [node_id(number) for number in range(8)]
    firsts = {in_order_for(bytes([number] * 8), A, nodes)[0] for number in range(8)}
    assert len(firsts) > 4
    assert sorted(in_order_for(node_id(3), A, [*nodes, *nodes])) == [node for node in nodes if node != node_id(3)]
    assert in_order_for(node_id(3), A, [node_id(3)]) == []


def test_chunks_out_of_turn_are_refused() -> None:
    pull = Pull([node_id(1)])
    pull.next_source(1, 0.0)
    assert not pull.offered(SIZE)
    assert not pull.accept(0, CHUNK), "there is no room yet"
    pull.block = object()  # type: ignore[assignment]
    assert pull.more_credit() == CREDIT
    assert pull.more_credit() == 0
    assert not pull.accept(CHUNK, CHUNK)
    assert pull.accept(0, CHUNK)
    assert not pull.accept(0, CHUNK)
    assert not pull.accept(CHUNK, SIZE)
    assert not pull.is_complete


def test_a_new_attempt_waits_for_writes_of_the_old_one() -> None:
    pull = Pull([node_id(1), node_id(2)])
    pull.next_source(1, 0.0)
    pull.offered(SIZE)
    pull.block = object()  # type: ignore[assignment]
    pull.more_credit()
    pull.accept(0, CHUNK)
    pull.next_source(2, 0.0)
    pull.offered(SIZE)
    assert pull.more_credit() == 0
    pull.writing -= 1
    assert pull.more_credit() == CREDIT


def test_a_sender_sends_what_the_credit_allows() -> None:
    outgoing = Outgoing(SIZE, pull=1)
    assert outgoing.next_chunks() == []
    outgoing.credit = 2
    assert outgoing.next_chunks() == [(0, CHUNK), (CHUNK, CHUNK)]
    outgoing.credit = 100
    assert outgoing.next_chunks()[-1] == (6 * CHUNK, SIZE - 6 * CHUNK)
    assert outgoing.next_chunks() == []


def test_a_chunk_of_an_old_attempt_changes_nothing(world: World) -> None:
    put(world[0], A, SIZE)
    want(world[1], [0])
    deliver_until(world, Chunk)
    commands = world[1].tell(node_id(0), Chunk(A, 0, SIZE, pull=12345), b"x" * CHUNK)
    assert not any(isinstance(command, WriteChunk) for command in commands)


def test_a_question_asked_again_begins_again(world: World) -> None:
    put(world[0], A, SIZE)
    world[0].tell(node_id(1), PullObject(A, 1))
    world[0].tell(node_id(1), PullObject(A, 2))
    record = world[0].machine.index.get(A)
    assert record is not None
    assert record.pins == {node_id(1): 1}
    assert not world[0].tell(node_id(1), ChunkCredit(A, 4, 1))
    commands = world[0].tell(node_id(1), ChunkCredit(A, 4, 2))
    assert [type(command) for command in commands] == [SendChunk] * 4
