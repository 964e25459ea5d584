"""What pages ask again and again of task events costs what came since, however often they ask."""

from __future__ import annotations

from typing import Any

from himalia.cluster.protocol.gcs_messages import ReadTaskEvents
from himalia.cluster.telemetry.events import Source, TaskKind
from himalia.dashboard.followed import ActorCalls, Followed
from tests.dashboard.cluster import OWNER, PlayedCluster, source

ACTOR = b"\x01actor__\x00\x00\x00\x00\x00\x00\x00\x07"
METHOD = Source("Counter.add", OWNER, kind=TaskKind.ACTOR_METHOD, actor_id=ACTOR)


class Asked:
    """Asks a played cluster, and counts the batches that it is answered."""

    def __init__(self) -> None:
        self.played = PlayedCluster()
        self.batches = 0
        self.followed = Followed(self.ask, lambda: self.played.now)

    def ask(self, message: Any) -> Any:
        assert isinstance(message, ReadTaskEvents)
        answer = self.played.call(message)
        self.batches += len(answer["blobs"])
        return answer

    def calls(self) -> ActorCalls:
        return self.followed.up_to_now(ACTOR, lambda: ActorCalls(ACTOR))


def test_calls_of_an_actor_cost_what_is_new_and_batches_of_others_are_not_decoded() -> None:
    asked = Asked()
    for _ in range(50):
        asked.played.ran(source("f"), 10)
        asked.played.ran(METHOD, 2, worker=2)
    assert len(asked.calls().records()) == 100
    assert (asked.batches, asked.calls().decoded) == (100, 50)
    for _ in range(20):
        asked.calls()
    assert asked.batches == 100
    asked.played.ran(METHOD, 1, worker=2)
    asked.played.ran(source("f"), 1)
    calls = asked.calls()
    assert (asked.batches, calls.decoded, len(calls.records())) == (102, 51, 101)
    assert {record.name for record in calls.records()} == {"Counter.add"}


def test_what_nobody_asks_for_is_forgotten_and_begins_anew() -> None:
    asked = Asked()
    asked.played.ran(METHOD, 2, worker=2)
    first = asked.calls()
    asked.played.now += 59
    assert asked.calls() is first
    asked.played.now += 61
    again = asked.calls()
    assert again is not first
    assert len(again.records()) == 2
