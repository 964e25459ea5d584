"""The past, as it was when it was the present."""

from __future__ import annotations

import json

import pytest

from himalia.cluster.telemetry.events import Source
from himalia.dashboard.hub import Hub
from himalia.dashboard.model import Model, Progress
from himalia.dashboard.pages import PAGES
from himalia.dashboard.pages.base import BadParamsError
from himalia.dashboard.recording import Player, Recording
from himalia.dashboard.state import StateFeed
from tests.dashboard.cluster import PlayedCluster, source
from tests.dashboard.viewing import Looker


def counted(progress: Progress) -> tuple[int, int, int, int]:
    return progress.total, progress.finished, progress.failed, progress.running


def played_run(feed: StateFeed, played: PlayedCluster, seconds: int) -> dict[float, Progress]:
    """So many seconds of a run; how far it was after each."""
    f, g = source("f", cell=1), source("g", cell=2)
    seen: dict[float, Progress] = {}
    for second in range(seconds):
        played.now += 1
        played.ran(f, 3 + second, worker=1, took=0.01)
        played.ran(g, 1, worker=2, took=0.5, error="ValueError: no" if second % 3 == 0 else "")
        feed.apply(feed.read(set()))
        seen[1000.0 + played.now] = feed.state.model.progress()
    return seen


@pytest.mark.parametrize("segment", [1, 20, 10_000])
def test_each_moment_is_as_it_was_seen_then(segment: int) -> None:
    played = PlayedCluster()
    feed = played.feed()
    feed.recording._segment = segment
    for at, progress in played_run(feed, played, 12).items():
        assert counted(feed.past(at).model.progress()) == counted(progress)


def test_the_past_is_no_part_of_the_present() -> None:
    played = PlayedCluster()
    feed = played.feed()
    seen = played_run(feed, played, 5)
    past = feed.past(min(seen))
    present = counted(feed.state.model.progress())
    past.model.process_ended(b"\x01work001")
    past.model.groups.all[0].finished += 100
    assert counted(feed.state.model.progress()) == present
    assert counted(feed.past(min(seen)).model.progress()) == counted(seen[min(seen)])


def test_a_reader_that_comes_late_knows_the_same_past_and_the_same_rates() -> None:
    played = PlayedCluster()
    early = played.feed()
    seen = played_run(early, played, 12)
    late = played.feed()
    late.apply(late.read(set()))
    for at, progress in seen.items():
        past = late.past(at).model.progress()
        assert counted(past) == counted(progress)
        assert past.rate == pytest.approx(progress.rate, rel=0.2)
    assert late.record == early.record


def test_what_is_too_old_is_forgotten_by_segments() -> None:
    played = PlayedCluster()
    feed = played.feed()
    feed.recording._segment, feed.recording._rows_kept = 10, 60
    seen = played_run(feed, played, 15)
    assert feed.recording.rows <= 60
    begin, end = feed.record
    assert min(seen) < begin < end == max(seen)
    for at in (moment for moment in seen if moment >= begin):
        assert counted(feed.past(at).model.progress()) == counted(seen[at])
    assert counted(feed.past(0.0).model.progress()) == counted(feed.past(begin - 0.001).model.progress())


def test_a_batch_from_the_future_is_of_now_and_time_never_goes_back() -> None:
    model = Model()
    player, recording = Player(model), Recording(model)
    cluster = PlayedCluster()
    feed = cluster.feed()
    cluster.now = 5_000.0
    cluster.ran(source("f"), 1)
    cluster.now = 100.0
    cluster.ran(Source("g", b"\x01other__"), 1, worker=2)
    read = feed.read(set()).model
    times = []
    for batch, blob in zip(read.batches, read.blobs, strict=True):
        recording.add(player, blob, 1, player.play(batch, 1_100.0))
        times.append(player.at)
    assert times == [1_100.0, 1_100.0]
    assert recording.at(1_100.0).progress().finished == 2


def bring(hub: Hub, played: PlayedCluster) -> None:
    played.now += 1
    hub.feed.apply(hub.feed.read(hub.needs()))
    hub.step()


def test_a_viewer_goes_through_time_and_is_sent_data_only() -> None:
    played, own = PlayedCluster(), source("f")
    hub = Hub(played.feed())
    looker = Looker(hub, "progress")
    for _ in range(3):
        played.ran(own, 2)
        bring(hub, played)
    begin, _ = hub.feed.record
    looker.viewer.change({"at": str(begin)})
    assert len(looker.pages) == 1
    assert looker.row("rows", name="f")["total"] == 2
    played.ran(own, 2)
    bring(hub, played)
    assert looker.row("rows", name="f")["total"] == 2  # the past does not change
    message = json.loads(looker.texts[-1])
    assert message["at"] == begin
    assert message["record"][0] == begin
    looker.viewer.change({})
    assert len(looker.pages) == 1
    assert looker.row("rows", name="f")["total"] == 8
    assert json.loads(looker.texts[-1])["at"] is None


@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_opened_in_the_past(name: str) -> None:
    played, own = PlayedCluster(), source("f")
    hub = Hub(played.feed())
    live = Looker(hub, "overview")
    played.ran(own, 2)
    bring(hub, played)
    past = Looker(hub, name, {"at": str(hub.feed.record[0])})
    assert past.pages[0]["at"] == hub.feed.record[0]
    assert "brought up to date" not in past.error
    assert live.row("functions", name="f")["total"] == 2


def test_to_go_to_a_moment_makes_neither_rows_nor_plots_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    played = PlayedCluster()
    hub = Hub(played.feed())
    looker = Looker(hub, "task_stream")
    seen = played_run(hub.feed, played, 12)
    begin, *moments = seen
    looker.viewer.change({"at": str(begin)})
    for name in ("make_block", "bars_of"):
        monkeypatch.setattr(f"himalia.dashboard.stream.{name}", None)
    monkeypatch.setattr("himalia.dashboard.hub.describe", None)
    for at in moments:
        looker.viewer.change({"at": str(at)})
        assert sum(looker.data["bars"]["count"]) == seen[at].finished + seen[at].failed


def test_a_graph_of_the_past_has_the_arrows_that_were_found_by_then() -> None:
    played, own = PlayedCluster(), source("f")
    feed = played.feed()
    played.ran(own, 1)
    feed.apply(feed.read(set()))
    feed.state.model.graph.edges[0, 0] = feed.state.model.version + 1  # with the next batch
    before = 1000.0 + played.now
    played.now += 5
    played.ran(own, 1)
    feed.apply(feed.read(set()))
    assert feed.past(before).model.graph.edges == {}
    assert list(feed.past(1000.0 + played.now).model.graph.edges) == [(0, 0)]


def test_pages_of_what_is_not_recorded_say_that_it_is_of_the_present() -> None:
    hub = Hub(PlayedCluster().feed())
    assert "of the present" in Looker(hub, "actors", {"at": "1000"}).error
    assert Looker(hub, "progress", {"at": "1000"}).error == ""


def test_a_moment_that_is_none_is_refused() -> None:
    hub = Hub(PlayedCluster().feed())
    with pytest.raises(BadParamsError, match="seconds since the epoch, not 'yesterday'"):
        Looker(hub, "progress", {"at": "yesterday"})
