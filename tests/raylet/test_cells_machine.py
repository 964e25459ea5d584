"""A raylet passes on that a cell is over: to whom it may concern, now and a little later."""

from __future__ import annotations

from himalia.cluster.protocol.common import CancelCell, Cell
from himalia.cluster.raylet.events import TellNode
from himalia.cluster.raylet.machine import HANDLED

from .node_on_paper import JOB, OTHER_JOB, THERE, Node, cpus, lease_spec, node_info

DRIVER, OTHER, RAYLET = b"\x01driver!", b"\x01other!!", b"\x01raylet!"
CELL = Cell(JOB, 3, "message")


def test_every_worker_of_the_job_is_told_and_no_other() -> None:
    node = Node(cpus(4))
    mine = [lease.worker.worker_id for lease in node.leases(DRIVER, 2)]
    (other,) = node.leases(OTHER, 1, lease_spec(job_id=OTHER_JOB))
    node.receive(DRIVER, CancelCell(CELL))
    for worker in mine:
        assert node.told(worker, CancelCell) == [CancelCell(CELL)]
    assert node.told(other.worker.worker_id, CancelCell) == []
    assert node.told(DRIVER, CancelCell) == []


def test_a_worker_without_a_job_may_serve_it_next_and_is_told_too() -> None:
    node = Node(prestart=1)
    node.start_workers()
    (worker,) = node.machine.pool.workers
    node.receive(DRIVER, CancelCell(CELL))
    assert node.told(worker, CancelCell) == [CancelCell(CELL)]


def test_a_worker_that_starts_later_hears_of_it() -> None:
    node = Node()
    node.receive(DRIVER, CancelCell(CELL))
    (lease,) = node.leases(DRIVER, 1)
    assert node.told(lease.worker.worker_id, CancelCell) == [CancelCell(CELL)]


def test_the_other_nodes_are_told_once() -> None:
    node = Node()
    node.welcome(node_info())
    node.receive(DRIVER, CancelCell(CELL))
    assert node.take(TellNode) == [TellNode(THERE, CancelCell(CELL, forwarded=True))]
    node.receive(RAYLET, CancelCell(CELL, forwarded=True))
    assert node.take(TellNode) == []


def test_a_node_that_joins_later_hears_it_from_the_raylet_that_heard_it_of_the_driver() -> None:
    for forwarded in (False, True):
        node = Node()
        node.welcome()
        node.receive(DRIVER, CancelCell(CELL, forwarded))
        node.node_comes(node_info())
        node.node_comes(node_info())  # as it is said again when something about it changes
        assert len(node.take(TellNode)) == (not forwarded)


def test_the_server_hands_it_to_the_machine() -> None:
    assert CancelCell in HANDLED
