"""Views that are computed once for all their viewers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from himalia.dashboard.hub import Hub, UnknownPageError
from himalia.dashboard.pages import PAGES
from himalia.dashboard.pages.base import BadParamsError, Page
from himalia.dashboard.pages.panels import Panel, Table
from himalia.dashboard.sources import Rows
from himalia.dashboard.state import State
from tests.dashboard.cluster import PlayedCluster, source
from tests.dashboard.viewing import Looker


class Counting(Page):
    """Counts how often it was brought up to date."""

    name = "counting"
    title = "Counting"
    PARAMS = ("of",)
    NEEDS = ("actors",)

    def __init__(self, params: dict[str, str]) -> None:
        super().__init__(params)
        self.updates = 0
        self.table = self.add(Rows("table", ("key", "updates", "actors")))

    def panels(self) -> list[Panel]:
        return [Table("Counting", "table", [])]

    def update(self, state: State) -> None:
        self.updates += 1
        if state.rows.get("actors") == [{"bad": True}]:
            raise RuntimeError("a bad row")
        self.table.set([(1, self.updates, len(state.get("actors")))])


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> PlayedCluster:
    monkeypatch.setitem(PAGES, "counting", Counting)
    cluster = PlayedCluster()
    cluster.rows_of["actors"] = [{}, {}]
    return cluster


def one_round(hub: Hub) -> None:
    """What `Hub.run` does each time."""
    if hub.feed.apply(hub.feed.read(hub.needs())):
        hub.step()


def test_viewers_of_one_page_share_its_computation_and_its_texts(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    lookers = [Looker(hub, "counting") for _ in range(20)]
    one_round(hub)
    assert {looker.row("table")["updates"] for looker in lookers} == {2}  # once to open it
    assert len({id(looker.texts[-1]) for looker in lookers}) == 1


def test_a_page_with_other_parameters_is_another_view(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    one, other = Looker(hub, "counting"), Looker(hub, "counting", {"of": "x"})
    assert one.viewer._view is not other.viewer._view
    assert other.pages[0]["params"] == {"of": "x"}


def test_rows_are_asked_only_while_a_page_that_needs_them_is_open(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    overview = Looker(hub, "overview")
    one_round(hub)
    assert "actors" not in played.asked
    counting = Looker(hub, "counting")
    one_round(hub)
    assert played.asked.count("actors") == 1
    assert counting.row("table")["actors"] == 2
    counting.viewer.close()
    played.now += 10
    one_round(hub)
    assert played.asked.count("actors") == 1
    overview.viewer.close()
    assert hub.viewers == 0


def test_who_comes_later_has_all_data(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    first = Looker(hub, "task_stream")
    played.ran(source("f"), 5)
    one_round(hub)
    later = Looker(hub, "task_stream")
    assert later.data == first.data
    assert sum(later.data["bars"]["count"]) == 5


def test_unknown_pages_and_parameters_are_refused(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    with pytest.raises(UnknownPageError, match="no page 'nowhere', but overview"):
        Looker(hub, "nowhere")
    with pytest.raises(BadParamsError, match="no parameter colour; it has of"):
        Looker(hub, "counting", {"colour": "red"})
    for moment in ("yesterday", "nan", "inf"):
        with pytest.raises(BadParamsError, match=f"not '{moment}'"):
            Looker(hub, "counting", {"at": moment})
    assert hub.viewers == 0


def test_a_viewer_that_asks_for_what_is_not_there_stays_where_it_is(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker = Looker(hub, "counting")
    with pytest.raises(BadParamsError):
        looker.viewer.change({"colour": "red"})
    one_round(hub)
    assert looker.row("table")["updates"] == 2


def test_nobody_looks_at_a_page_whose_plots_can_not_be_made(
    played: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(played.feed())
    looker = Looker(hub, "counting")
    monkeypatch.setitem(sys.modules, "himalia.dashboard.plots.embedding", None)
    with pytest.raises(ImportError):
        hub.open("task_stream", {}, lambda text: None)
    with pytest.raises(ImportError):
        looker.viewer.change({}, "task_stream")
    assert hub.viewers == 1
    assert hub.needs() == {"actors"}
    one_round(hub)
    assert looker.row("table")["updates"] == 2


def test_a_viewer_that_asks_for_the_page_it_looks_at_goes_on_looking(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker = Looker(hub, "counting")
    looker.viewer.change({})
    one_round(hub)
    assert looker.row("table")["updates"] == 2
    looker.viewer.close()
    assert hub.viewers == 0


def test_a_page_that_breaks_says_so_and_works_again(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker, other = Looker(hub, "counting"), Looker(hub, "overview")
    good, played.rows_of["actors"] = played.rows_of["actors"], [{"bad": True}]
    one_round(hub)
    assert looker.error == "This page could not be brought up to date: RuntimeError: a bad row"
    assert other.error == ""
    played.rows_of["actors"], played.now = good, played.now + 10
    one_round(hub)
    assert looker.error == ""


def test_rows_that_can_not_be_asked_leave_the_others(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker = Looker(hub, "counting")
    del played.rows_of["actors"]
    one_round(hub)
    assert hub.feed.state.failed == {"actors": "KeyError: 'actors'"}
    assert looker.error == "The cluster could not tell all of this page: KeyError: 'actors'"


def test_a_node_that_does_not_answer_is_no_end_of_the_cluster(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker, other = Looker(hub, "counting"), Looker(hub, "overview")
    played.silent = {"actors"}
    one_round(hub)
    assert looker.error == "The cluster could not tell all of this page: GcsUnreachableError: actors did not come"
    assert other.error == ""
    played.silent, played.now = set(), played.now + 10
    one_round(hub)
    assert looker.error == ""


def test_a_cluster_that_dies_in_a_round_is_waited_for_once(played: PlayedCluster) -> None:
    feed = played.feed()
    played.dies_at = "actors"
    with pytest.raises(ConnectionError, match="it is gone"):
        feed.read(["actors", "jobs", "objects"])
    assert "jobs" not in played.asked


def test_why_a_thing_was_not_told_is_forgotten_with_it(played: PlayedCluster) -> None:
    feed = played.feed()
    feed.apply(feed.read(["object:00", "actors"]))
    assert feed.state.failed == {"object:00": "KeyError: 'object:00'"}
    feed.apply(feed.read([]))
    assert feed.state.failed == {}


@asynccontextmanager
async def running(hub: Hub) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(hub.run())
    yield task
    task.cancel()
    await asyncio.wait([task])


async def test_nothing_is_asked_while_nobody_looks(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    async with running(hub):
        for _ in range(10):
            await asyncio.sleep(0)
        assert played.asked == []
        arrived = asyncio.Event()
        hub.open("counting", {}, lambda text: arrived.set() if '"actors":[[0],[2]]' in text else None)
        await asyncio.wait_for(arrived.wait(), 10)


async def test_viewers_are_told_that_the_cluster_is_gone(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker = Looker(hub, "counting")
    played.is_gone = True
    async with running(hub) as task:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(asyncio.shield(task), 10)
    assert looker.others == [{"type": "gone", "reason": "The cluster has ended or does not answer: it is gone"}]
