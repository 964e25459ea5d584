"""One job of several, alone: on pages, through time, and in a report."""

from __future__ import annotations

import json
from typing import Any

import pytest

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.events import Source
from himalia.dashboard.hub import Hub
from himalia.dashboard.jobs import JobSpan, KnownJobs, rows_of_job
from himalia.dashboard.pages import PAGES
from himalia.dashboard.pages.base import BadParamsError
from himalia.dashboard.report import make_report
from tests.dashboard.cluster import PlayedCluster
from tests.dashboard.test_report import record_of
from tests.dashboard.viewing import Looker

ONE, TWO = b"job1".hex(), b"job2".hex()
F = Source("f", b"\x01owner1_", cell=Cell(b"job1", 1, "m"))
G = Source("g", b"\x01owner2_", cell=Cell(b"job2", 1, "m"))


def job_row(job_id: str, begin: float, end: float | None, entrypoint: str) -> dict[str, Any]:
    return {
        "job_id": job_id, "entrypoint": entrypoint, "status": "RUNNING" if end is None else "SUCCEEDED",
        "start_time": int(begin * 1000), "end_time": None if end is None else int(end * 1000),
        "driver_info": None, "message": None,
    }  # fmt: skip


@pytest.fixture
def played() -> PlayedCluster:
    """A job that ran from 1101 to 1105, and one from 1106 on, with the first one's workers dead by then."""
    cluster = PlayedCluster()
    cluster.rows_of["jobs"] = [
        job_row(ONE, 1100.5, 1105.0, "python /home/me/train.py"),
        job_row(TWO, 1105.5, None, "notebook.ipynb"),
    ]
    for _ in range(5):
        cluster.now += 1
        cluster.ran(F, 2, worker=1, took=0.1)
    for _ in range(10):
        cluster.now += 1
        cluster.ran(G, 1, worker=2, took=0.1, error="ValueError: no")
    return cluster


@pytest.fixture
def hub(played: PlayedCluster) -> Hub:
    hub = Hub(played.feed())
    looker = Looker(hub, "progress")
    bring(hub)
    bring(hub)  # that there are two jobs is known now, and asked is what they are called
    looker.viewer.close()
    return hub


def bring(hub: Hub) -> None:
    hub.feed.apply(hub.feed.read(hub.needs()))
    hub.step()


def names(looker: Looker, source: str = "rows") -> set[str]:
    return {row["name"] for row in looker.rows(source)}


def last(looker: Looker) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(looker.texts[-1])
    return message


def test_where_several_jobs_ran_they_can_be_chosen(hub: Hub) -> None:
    looker = Looker(hub, "progress")
    assert last(looker)["jobs"] == [[TWO, f"{TWO} notebook.ipynb"], [ONE, f"{ONE} python train.py"]]
    assert names(looker) == {"f", "g"}


def test_where_one_job_ran_there_is_no_choice_and_nothing_is_asked_for_it() -> None:
    played = PlayedCluster()
    played.ran(F, 2)
    hub = Hub(played.feed())
    looker = Looker(hub, "progress")
    bring(hub)
    bring(hub)
    assert last(looker).get("jobs", []) == []
    assert "jobs" not in played.asked


def test_a_page_shows_one_job_and_goes_on_with_it(hub: Hub, played: PlayedCluster) -> None:
    looker = Looker(hub, "progress", {"job": TWO})
    assert looker.pages[0]["job"] == TWO
    assert names(looker) == {"g"}
    played.now += 1
    played.ran(F, 5, worker=1)
    played.ran(G, 5, worker=2)
    bring(hub)
    assert looker.row("rows", name="g")["total"] == 15
    assert names(looker) == {"g"}


def test_the_task_stream_of_a_job_has_its_bars_and_workers_only(hub: Hub) -> None:
    looker = Looker(hub, "task_stream", {"job": TWO})
    assert set(looker.data["bars"]["name"]) == {"g"}
    assert looker.data["workers"]["label"] == ["2"]
    assert names(looker, "functions") == {"g"}


def test_an_actor_that_another_job_calls_is_a_worker_of_both(hub: Hub, played: PlayedCluster) -> None:
    looker = Looker(hub, "task_stream", {"job": TWO})
    played.now += 1
    played.ran(G, 1, worker=1)
    bring(hub)
    assert looker.data["workers"]["label"] == ["2", "1"]
    assert looker.data["bars"]["worker"][-1] == "1"


def test_the_slider_of_a_job_goes_from_its_start_to_its_end_or_now(hub: Hub) -> None:
    over, runs = Looker(hub, "progress", {"job": ONE}), Looker(hub, "progress", {"job": TWO})
    assert last(over)["record"] == [1101.0, 1107.0]  # the recording begins at 1101; two seconds for what comes late
    assert last(over)["over"] is True
    assert last(runs)["record"] == [1105.5, 1115.0]
    assert last(runs)["over"] is False


def test_a_job_that_has_ended_is_shown_as_it_was_at_its_end(hub: Hub) -> None:
    looker = Looker(hub, "progress", {"job": ONE})
    row = looker.row("rows", name="f")
    assert row["total"] == 10
    assert row["rate"] > 1
    assert Looker(hub, "progress").row("rows", name="f")["rate"] < 1  # by now it has fallen


def test_a_moment_of_one_job(hub: Hub) -> None:
    looker = Looker(hub, "progress", {"job": TWO, "at": "1108.5"})
    assert names(looker) == {"g"}
    assert looker.row("rows", name="g")["total"] == 3
    looker.viewer.change({"job": ONE, "at": "1102.5"})
    assert looker.pages[-1]["job"] == ONE
    assert looker.row("rows", name="f")["total"] == 4


def test_a_moment_that_is_not_read_yet_is_shown_when_it_is(played: PlayedCluster) -> None:
    hub = Hub(played.feed())
    looker = Looker(hub, "progress", {"job": TWO, "at": "1108.5"})
    assert looker.rows("rows") == []
    bring(hub)
    assert looker.row("rows", name="g")["total"] == 3
    text = looker.texts[-1]
    bring(hub)
    played.ran(G, 1)
    bring(hub)
    assert looker.texts[-1] == text  # what is past does not change


def test_every_page_can_show_one_job(hub: Hub) -> None:
    for name in PAGES:
        looker = Looker(hub, name, {"job": TWO})
        assert looker.pages[0]["name"] == name
        assert "brought up to date" not in looker.error


def test_rows_of_other_jobs_are_left_out_and_those_of_nobody_stay() -> None:
    actors = [{"job_id": ONE, "actor_id": "a"}, {"job_id": TWO, "actor_id": "b"}]
    assert rows_of_job(actors, TWO, []) == actors[1:]
    events: list[dict[str, Any]] = [{"job_id": None}, {"job_id": ONE}]
    assert rows_of_job(events, TWO, []) == events[:1]
    workers = [{"worker_id": "w1", "job_id": ONE}, {"worker_id": "w2", "job_id": TWO}]
    objects = [{"owner_id": "w1"}, {"owner_id": "w2"}, {"owner_id": "unknown"}]
    assert rows_of_job(objects, TWO, workers) == objects[1:]
    nodes: list[dict[str, Any]] = [{"node_id": "n"}]
    assert rows_of_job(nodes, TWO, workers) == nodes


def test_actors_and_logs_are_of_the_job(hub: Hub, played: PlayedCluster) -> None:
    jobs = Looker(hub, "jobs", {"job": ONE})
    assert [row["job_id"] for row in jobs.rows("jobs")] == [ONE]
    Looker(hub, "logs", {"job": TWO})
    assert f"logs:job={TWO}" in hub.needs()


def test_a_job_of_which_nothing_is_recorded_is_said_so_and_a_bad_name_is_refused(hub: Hub) -> None:
    assert Looker(hub, "progress", {"job": "00ff"}).error == "No task of the job 00ff is recorded, or not any more."
    with pytest.raises(BadParamsError, match="a job is named by its id, as the page Jobs has it, not 'train'"):
        Looker(hub, "progress", {"job": "train"})


def test_a_job_without_rows_has_no_bounds() -> None:
    known = KnownJobs()
    assert known.span(ONE, []) == JobSpan(ONE, ONE)
    assert known.span(ONE, []).within((5.0, 9.0)) == (5.0, 9.0)
    assert JobSpan(ONE, "", 1.0, 2.0).within((5.0, 9.0)) == (5.0, 5.0)  # all of it is forgotten
    long = known.span(ONE, [job_row(ONE, 1.0, None, "python " + "very_" * 20)]).label
    assert long.endswith("…")
    assert len(long) < 60


def test_a_report_of_one_job_has_nothing_of_others(played: PlayedCluster) -> None:
    record = record_of(make_report(played, "recorded today", ONE))
    assert record["made"] == f"recorded today, job {ONE}"
    assert (record["times"][0] > 1101.0, record["times"][-1]) == (True, 1107.0)
    assert not any("ValueError" in key or "failed" in key for key in record["pages"])
    ((rows,), *_) = record["pages"]["jobs?{}"]["frames"]
    assert rows["data"]["job_id"] == [ONE]
    with pytest.raises(LookupError, match="there is no job '00ff'"):
        make_report(played, "recorded today", "00ff")
