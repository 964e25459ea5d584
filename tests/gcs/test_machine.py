"""The whole machine: any order of events keeps its invariants, and its promises to callers."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from himalia.cluster.gcs.actor_record import ActorState
from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.machine import GcsMachine
from himalia.cluster.protocol.common import Address, Death, DeathKind
from himalia.cluster.protocol.gcs_messages import (
    ActorUpdate,
    Failed,
    GcsMessage,
    KillActor,
    KvGet,
    KvPut,
    ListState,
    RemoveNode,
    ReplaceClass,
    ReportActor,
    ReportJobEnd,
    TaskEvents,
    WatchActor,
)
from himalia.cluster.protocol.raylet_messages import StartActor, StopActor
from himalia.cluster.protocol.transitions import InvariantViolation
from tests.gcs.cluster_on_paper import Driver, OnPaper, Raylet, an_id

SMALL = GcsConfig(dead_actors_kept=4, dead_nodes_kept=2, ended_jobs_kept=2, dead_processes_kept=50)


def test_every_message_has_a_handler() -> None:
    assert set(GcsMachine("c")._handlers) == set(GcsMessage.__args__)


def test_a_broken_invariant_is_told_with_the_story_of_the_actor() -> None:
    paper = OnPaper()
    node = paper.node(1)
    actor_id = paper.driver(1, node).create()
    paper.machine.actors.by_id[actor_id].state = ActorState.ALIVE
    with pytest.raises(
        InvariantViolation, match=r"has an address exactly if it takes calls(.|\n)*WAITING -> STARTING"
    ) as caught:
        paper.machine.check_invariants()
    assert actor_id.hex() in str(caught.value)


class Life(RuleBasedStateMachine):
    """Raylets that do what they are told, some time later, and everything that can go wrong meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.paper = OnPaper(SMALL)
        self.nodes: list[Raylet] = []
        self.drivers: list[Driver] = []
        self.actors: list[bytes] = []
        self.homes: dict[tuple[bytes, int], Address] = {}  # by actor and life: workers that run
        self.over: set[tuple[bytes, int]] = set()  # by actor and life: lives that really ended
        self.read: dict[bytes, int] = {}  # orders carried out, by node
        self.told: dict[tuple[bytes, bytes], str] = {}  # the last state, by watcher and actor
        self.events = 0

    def living(self) -> list[Raylet]:
        dead = {n.node_id for n in self.paper.machine.nodes.by_id.values() if n.is_dead}
        return [n for n in self.nodes if n.node_id not in dead and n.node_id in self.paper.machine.nodes.by_id]

    def orders(self, node: Raylet) -> list[Any]:
        return self.paper.raylet_inbox.get(node.node_id, [])[self.read.get(node.node_id, 0) :]

    # -- what users do --------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.nodes) < 6)
    @rule(cpus=st.integers(1, 3))
    def node_joins(self, cpus: int) -> None:
        self.nodes.append(self.paper.node(len(self.nodes) + 1, CPU=cpus))

    @precondition(lambda self: len(self.drivers) < 5)
    @rule(data=st.data())
    def driver_joins(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(self.living())) if self.living() else None
        self.drivers.append(self.paper.driver(len(self.drivers) + 1, node))

    @precondition(lambda self: self.drivers)
    @rule(
        data=st.data(),
        cpus=st.integers(0, 4),
        restarts=st.integers(-1, 2),
        detached=st.booleans(),
        name=st.sampled_from(["", "", "a", "b"]),
        strategy=st.sampled_from(["DEFAULT", "SPREAD", f"node:{an_id('n', 1).hex()}", f"node~:{an_id('n', 2).hex()}"]),
    )
    def create(self, data: st.DataObject, cpus: int, restarts: int, detached: bool, name: str, strategy: str) -> None:
        driver = data.draw(st.sampled_from(self.drivers))
        homes = list(self.homes.values())
        owner = data.draw(st.sampled_from([driver.address, *homes]))
        resources = {"CPU": float(cpus)} if cpus else None
        more = {"owner": owner, "max_restarts": restarts, "detached": detached, "name": name, "strategy": strategy}
        self.actors.append(driver.create(resources, **more))

    @precondition(lambda self: self.actors and self.drivers)
    @rule(data=st.data(), how=st.sampled_from(["kill", "restart", "scope", "watch", "class"]))
    def touch(self, data: st.DataObject, how: str) -> None:
        driver, actor_id = data.draw(st.sampled_from(self.drivers)), data.draw(st.sampled_from(self.actors))
        message: Any = {
            "kill": KillActor(actor_id),
            "restart": KillActor(actor_id, no_restart=False),
            "scope": KillActor(actor_id, out_of_scope=True),
            "watch": WatchActor(actor_id),
            "class": ReplaceClass(actor_id, b"new", "Newer"),
        }[how]
        self.paper.say(driver.peer, message)

    @precondition(lambda self: self.drivers)
    @rule(data=st.data(), goodbye=st.booleans())
    def driver_ends(self, data: st.DataObject, goodbye: bool) -> None:
        driver = data.draw(st.sampled_from(self.drivers))
        if goodbye:
            self.paper.say(driver.peer, ReportJobEnd(driver.job_id))
        elif self.living():
            self.living()[0].process_died(driver.peer, job_id=driver.job_id, is_driver=True)

    @rule(key=st.sampled_from([b"x", b"y"]), put=st.booleans())
    def key(self, key: bytes, put: bool) -> None:
        self.paper.say(an_id("t", 1), KvPut(key, b"") if put else KvGet(key, wait=True, request=1))

    @rule(count=st.integers(0, 60_000))
    def tasks(self, count: int) -> None:
        self.events += count
        self.paper.say(an_id("t", 1), TaskEvents(b"blob", count))
        ring = self.paper.machine.events
        assert ring.tasks + ring.dropped == self.events

    @rule(what=st.sampled_from(["actors", "nodes", "jobs", "workers", "named_actors", "resources", "stats"]))
    def look(self, what: str) -> None:
        assert not isinstance(self.paper.ask(an_id("t", 2), ListState(what)), Failed)

    # -- what raylets do ------------------------------------------------------------------------------------------

    @precondition(lambda self: any(self.orders(node) for node in self.living()))
    @rule(data=st.data(), outcome=st.sampled_from(["up", "up", "up", "rejected", "raised", "crashed"]))
    def raylet_obeys(self, data: st.DataObject, outcome: str) -> None:
        node = data.draw(st.sampled_from([node for node in self.living() if self.orders(node)]))
        order = self.orders(node)[0]
        self.read[node.node_id] = self.read.get(node.node_id, 0) + 1
        if isinstance(order, StartActor):
            self._start(node, order, outcome)
        elif isinstance(order, StopActor):
            lives = [key for key in self.homes if key[0] == order.actor_id and self.homes[key].node_id == node.node_id]
            for actor_id, life in lives:
                del self.homes[actor_id, life]
                self.over.add((actor_id, life))
                self.paper.say(node.peer, ReportActor(actor_id, death=order.death, restart=life))

    def _start(self, node: Raylet, order: StartActor, outcome: str) -> None:
        key = (order.actor_id, order.restart)
        address, error, death = None, b"", None
        if key in self.homes:
            return  # sent again after the GCS came back
        if outcome == "up":
            address = self.homes[key] = Address(self.paper.new_worker(), node.node_id)
        elif outcome == "raised":
            error = b"pickled"
        elif outcome == "crashed":
            death = Death(DeathKind.CRASHED)
            self.over.add(key)
        rejected = outcome == "rejected"
        self.paper.say(node.peer, ReportActor(order.actor_id, address, error, death, rejected, order.restart))

    @precondition(lambda self: self.living())
    @rule(data=st.data(), cpus=st.integers(0, 3))
    def report(self, data: st.DataObject, cpus: int) -> None:
        node = data.draw(st.sampled_from(self.living()))
        node.report(CPU=min(cpus, node.total["CPU"] / 10_000))

    @precondition(lambda self: self.homes)
    @rule(data=st.data(), as_process=st.booleans())
    def worker_dies(self, data: st.DataObject, as_process: bool) -> None:
        (actor_id, life), home = data.draw(st.sampled_from(sorted(self.homes.items())))
        node = next(node for node in self.nodes if node.node_id == home.node_id)
        del self.homes[actor_id, life]
        self.over.add((actor_id, life))
        if node not in self.living():
            return
        if as_process:
            node.process_died(home.worker_id)
        self.paper.say(node.peer, ReportActor(actor_id, death=Death(DeathKind.CRASHED), restart=life))

    @precondition(lambda self: self.living())
    @rule(data=st.data(), how=st.sampled_from(["killed", "removed", "drained", "silent"]))
    def node_goes(self, data: st.DataObject, how: str) -> None:
        node = data.draw(st.sampled_from(self.living()))
        there = self.paper.machine.nodes.by_id[node.node_id].promises
        self.over |= {(actor_id, self.paper.machine.actors.by_id[actor_id].restarts) for actor_id in there}
        if how == "killed":
            node.process_died(node.peer)
        elif how == "removed":
            self.paper.say(an_id("t", 1), RemoveNode(node.node_id, graceful=False))
        elif how == "drained":
            self.paper.say(an_id("t", 1), RemoveNode(node.node_id))
            self.paper.lose(node.peer)
        else:
            self.paper.lose(node.peer)
            self.paper.wait(1.0)
        self.homes = {key: home for key, home in self.homes.items() if home.node_id != node.node_id}

    @rule(seconds=st.floats(0, 0.2))
    def time_passes(self, seconds: float) -> None:
        self.paper.wait(seconds)
        for node in self.living():
            node.heartbeat()

    @rule()
    def gcs_restarts(self) -> None:
        before = {a.actor_id: (a.public_state, a.restarts) for a in self.paper.machine.actors.by_id.values()}
        living = self.living()
        for actor in self.paper.machine.actors.by_id.values():
            if actor.state is ActorState.STOPPING:  # whose orders get lost with the old connection
                self.over.add((actor.actor_id, actor.restarts))
        self.paper.restart()
        self.read.clear()
        self.told.clear()
        after = {a.actor_id: (a.public_state, a.restarts) for a in self.paper.machine.actors.by_id.values()}
        assert after == before
        for node in living:
            node.hello([(key[0], home) for key, home in self.homes.items() if home.node_id == node.node_id])
        ring = self.paper.machine.events
        self.events = ring.tasks

    # -- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def no_more_lives_than_allowed(self) -> None:
        for orders in self.paper.raylet_inbox.values():
            for order in orders:
                if isinstance(order, StartActor):
                    assert order.spec.max_restarts < 0 or order.restart <= order.spec.max_restarts

    @invariant()
    def no_life_is_counted_that_did_not_end(self) -> None:
        for actor in self.paper.machine.actors.by_id.values():
            for life in range(actor.restarts):
                assert (actor.actor_id, life) in self.over, (actor.actor_id.hex(), life, *map(str, actor.history))

    @invariant()
    def nothing_is_told_after_a_death(self) -> None:
        for peer, messages in self.paper.inbox.items():
            dead: set[bytes] = set()
            for message in messages:
                if isinstance(message, ActorUpdate):
                    assert message.info.state == "DEAD" or message.info.actor_id not in dead, (peer, message)
                    if message.info.state == "DEAD":
                        dead.add(message.info.actor_id)

    @invariant()
    def actors_that_hold_cpus_fit_their_node(self) -> None:
        for node in self.paper.machine.nodes.living():
            fitting = [held for actor_id, held in node.starting.items() if actor_id != node.pressing]
            assert sum(held.get("CPU", 0) for held in fitting) <= node.total["CPU"] or not node.reports

    @invariant()
    def stored_is_what_is(self) -> None:
        stored = self.paper.stored.get("actors", {})
        actors = self.paper.machine.actors.by_id
        assert stored.keys() == actors.keys()
        for actor_id, actor in actors.items():
            assert stored[actor_id] == msgspec.msgpack.encode(actor.record())


Life.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_order_of_events = Life.TestCase
