"""Metrics of one's own, in this process: what they count, and what they refuse."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

from himalia.cluster.protocol.metric_messages import OwnMetric, OwnSample
from himalia.cluster.telemetry import own_metrics
from himalia.util.metrics import Counter, Gauge, Histogram


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    """No metric is left for the next test."""
    monkeypatch.setattr(own_metrics, "_held", {})


def samples(name: str) -> dict[tuple[str, ...], float]:
    (metric,) = [metric for metric in own_metrics.held_metrics() if metric.name == name]
    return {tuple(sample.tags): sample.value for sample in metric.samples}


def test_a_counter_adds_up_by_its_tags() -> None:
    counter = Counter("done", tag_keys=("kind", "where"))
    counter.inc(tags={"kind": "a", "where": "x"})
    counter.inc(2.5, tags={"where": "x", "kind": "a"})
    counter.inc(tags={"kind": "b", "where": "x"})
    assert samples("done") == {("a", "x"): 3.5, ("b", "x"): 1.0}


def test_default_tags_stand_in_for_those_that_are_not_given() -> None:
    gauge = Gauge("level", tag_keys=("kind", "where")).set_default_tags({"where": "here"})
    gauge.set(1, tags={"kind": "a"})
    gauge.set(3, tags={"kind": "a", "where": "there"})
    gauge.set(2, tags={"kind": "a"})
    assert samples("level") == {("a", "here"): 2.0, ("a", "there"): 3.0}
    assert gauge.info == {
        "name": "level",
        "description": "",
        "tag_keys": ("kind", "where"),
        "default_tags": {"where": "here"},
    }


def test_a_histogram_counts_within_its_boundaries() -> None:
    histogram = Histogram("took", boundaries=[0.1, 1, 10])
    for value in (0.1, 0.5, 5, 100, -1):
        histogram.observe(value)
    (metric,) = own_metrics.held_metrics()
    assert metric.samples[0].counts == [2, 1, 1, 1]
    assert metric.samples[0].value == pytest.approx(104.6)
    assert histogram.info["boundaries"] == [0.1, 1.0, 10.0]


def test_of_one_name_there_is_one_also_when_it_travels() -> None:
    first = Counter("shared", "What it is.", ("kind",)).set_default_tags({"kind": "a"})
    first.inc()
    Counter("shared", "What it is.", ("kind",)).inc(tags={"kind": "a"})
    pickle.loads(pickle.dumps(first)).inc()
    assert samples("shared") == {("a",): 3.0}
    histogram = Histogram("sizes", "Sizes.", [1, 2], ("kind",))
    assert pickle.loads(pickle.dumps(histogram)).info == histogram.info


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Counter(""), "no name of a metric"),
        (lambda: Counter("two words"), "no name of a metric"),
        (lambda: Counter("x\n# TYPE"), "no name of a metric"),
        (lambda: Counter("x", tag_keys=("worker",)), "no name of a tag"),
        (lambda: Counter("x", tag_keys=("a-b",)), "no name of a tag"),
        (lambda: Counter("x").inc(0), "more than 0"),
        (lambda: Counter("x").inc(-1), "more than 0"),
        (lambda: Counter("x").inc(tags={"kind": "a"}), "has no tag kind"),
        (lambda: Counter("x", tag_keys=("kind",)).inc(), "needs a value for its tag kind"),
        (lambda: Counter("x", tag_keys=("kind",)).set_default_tags({"k": "a"}), "has no tag k"),
        (lambda: Histogram("x"), "rising numbers"),
        (lambda: Histogram("x", boundaries=[2, 1]), "rising numbers"),
        (lambda: Histogram("x", boundaries=[0, 1]), "rising numbers"),
        (lambda: (Counter("x"), Gauge("x")), "a counter x"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


def test_tag_keys_that_are_one_text_are_refused() -> None:
    with pytest.raises(TypeError, match="tuple of names"):
        Counter("x", tag_keys="kind")


def test_a_tag_with_values_without_bounds_is_refused_before_it_fills_the_memory() -> None:
    counter = Counter("x", tag_keys=("id",))
    with pytest.raises(ValueError, match="not for ids"):
        for number in range(2_000):
            counter.inc(tags={"id": str(number)})
    assert len(samples("x")) == 1_000
    counter.inc(tags={"id": "0"})
    assert samples("x")["0",] == 2.0


def test_what_is_destroyed_may_count_while_the_metrics_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = Counter("things_ended", tag_keys=("kind",))
    ended.inc(tags={"kind": "first"})

    def sample(*fields: Any) -> OwnSample:
        ended.inc(tags={"kind": "second"})  # as a destructor does, which the collector calls in the midst of anything
        return OwnSample(*fields)

    monkeypatch.setattr(own_metrics, "OwnSample", sample)
    told: list[list[OwnMetric]] = []
    thread = threading.Thread(target=lambda: told.append(own_metrics.held_metrics()), daemon=True)
    thread.start()
    thread.join(30)
    assert told


def test_a_counter_does_not_grow_by_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="not by nan"):
        Counter("never_counted").inc(float("nan"))
