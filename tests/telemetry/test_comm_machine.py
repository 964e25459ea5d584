"""Changes of widgets: the latest state goes, not too often; what is too much waits, or is counted."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.telemetry.comm_machine import EVERY, CommFlow


def opened(**limits: float) -> CommFlow:
    flow = CommFlow(**limits)  # type: ignore[arg-type]
    assert flow.open("a", 10, 0.0)
    return flow


def test_the_first_change_goes_at_once_and_the_next_is_merged_with_what_follows_it() -> None:
    flow = opened()
    flow.update("a", {"value": 1})
    assert flow.due(0.0) == ["a"]
    assert flow.take("a", 0.0) == {"value": 1}
    for value in range(100):
        flow.update("a", {"value": value, f"other{value % 2}": value})
        assert flow.due(EVERY / 2) == []
    assert flow.restless
    assert flow.due(EVERY) == ["a"]
    assert flow.take("a", EVERY) == {"value": 99, "other0": 98, "other1": 99}
    assert not flow.restless


def test_states_that_are_large_wait_for_room() -> None:
    flow = opened(burst=1_000, rate=100)
    flow.update("a", {"value": 1})
    flow.take("a", 1.0)
    flow.spent(1_500, 1.0)  # a state is not cut: the next waits the longer
    flow.update("a", {"value": 2})
    assert flow.due(5.0) == []
    assert flow.due(6.5) == ["a"]


def test_messages_that_can_not_be_merged_are_counted_when_they_are_too_many() -> None:
    flow = opened(burst=1_000, rate=10)
    said = [flow.say("a", 300, 0.0) for _ in range(5)]
    assert said == [True, True, True, False, False]
    assert flow.omitted == {"a": 2}


def test_widgets_are_bounded_by_number_and_size() -> None:
    flow = opened(burst=1_000, rate=0, most=3)
    assert flow.open("b", 900, 0.0)
    assert not flow.open("c", 900, 0.0)
    assert flow.open("d", 1, 0.0)
    assert not flow.open("e", 1, 0.0)
    flow.close("d")
    assert flow.open("e", 1, 0.0)


def test_what_was_not_opened_or_is_closed_says_nothing() -> None:
    flow = opened()
    flow.update("b", {"value": 1})
    flow.update("a", {"value": 1})
    flow.close("a")
    assert flow.due(1.0) == flow.waiting() == []
    assert not flow.say("a", 1, 1.0)
    assert not flow.knows("a")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.floats(0, 0.3)), max_size=60))
def test_the_last_state_arrives_and_never_more_often_than_allowed(steps: list[tuple[str, int, float]]) -> None:
    flow, now = CommFlow(), 0.0
    last: dict[str, int] = {}
    sent: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}
    for comm_id in "ab":
        flow.open(comm_id, 1, now)

    def send() -> None:
        for comm_id in flow.due(now):
            sent[comm_id].append((now, flow.take(comm_id, now)["value"]))

    for comm_id, value, wait in steps:
        now += wait
        last[comm_id] = value
        flow.update(comm_id, {"value": value})
        send()
    now += 2 * EVERY
    send()
    for comm_id, value in last.items():
        assert sent[comm_id][-1][1] == value
    for times in sent.values():
        assert all(later - earlier >= EVERY - 1e-9 for (earlier, _), (later, _) in pairwise(times))
