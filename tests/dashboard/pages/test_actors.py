"""The pages of actors."""

from __future__ import annotations

import msgspec

from himalia.cluster.telemetry.events import TaskKind
from tests.dashboard.cluster import source
from tests.dashboard.pages.showing import Shown, actor_row

METHOD = msgspec.structs.replace(source("Counter.add", cell=3), kind=TaskKind.ACTOR_METHOD)


def test_actors_are_listed_with_what_they_hold_and_why_they_are_dead() -> None:
    dead = actor_row("a2", state="DEAD", death_cause={"detail": "it was killed", "kind": "KILLED"}, worker_id=None)
    again = actor_row("a3", state="RESTARTING", num_restarts=1, max_restarts=-1, worker_id=None)
    shown = Shown("actors", actors=[actor_row(name="main"), dead, again])
    first = shown.looker.row("actors", actor_id="a1")
    assert (first["state"], first["node"], first["pid"], first["cell"]) == ("alive", "here", "7", "In [3]")
    assert first["may_kill"]
    ended = shown.looker.row("actors", actor_id="a2")
    assert (ended["death"], ended["may_kill"]) == ("it was killed", False)
    assert shown.looker.row("actors", actor_id="a3")["restarts"] == "1 of any number"
    assert shown.looker.row("numbers", key="alive")["value"] == 1
    assert shown.looker.row("numbers", key="dead")["note"] == "1 restarts in all"


def test_methods_have_their_mean_time_and_tasks_are_none() -> None:
    shown = Shown("actors")
    shown.played.ran(METHOD, 4, took=0.5)
    shown.played.ran(source("f"), 4)
    (row,) = shown.bring().rows("methods")
    assert (row["name"], row["cell"], row["calls"], row["mean"], row["waiting"]) == ("Counter.add", "In [3]", 4, 0.5, 0)


def test_one_actor_is_shown_with_its_calls_and_its_log() -> None:
    call = {"task_id": "t1", "attempt": 0, "name": "Counter.add", "state": "FINISHED", "cell": 3, "submitted": 1.0,
            "started": 1.5, "ended": 3.5, "error": ""}  # fmt: skip
    waits = {**call, "task_id": "t2", "state": "SUBMITTED_TO_WORKER", "started": None, "ended": None}
    printed = {"text": "<b>hello", "stream": 2, "name": "Counter.add", "pid": 7, "task": "t1"}
    shown = Shown(
        "actor",
        {"actor": "a1"},
        actors=[actor_row()],
        **{"actor_calls:a1": [call, waits], "logs:actor=a1": [printed]},
    )
    assert shown.looker.row("details", key="state")["value"] == "alive"
    assert shown.looker.row("details", key="may_kill")["value"] is True
    done = shown.looker.row("calls", task_id="t1")
    assert (done["waited"], done["took"], done["state"]) == (0.5, 2.0, "finished")
    assert shown.looker.row("calls", task_id="t2")["state"] == "waiting"
    assert shown.looker.rows("log") == [{"key": 0, "text": "<b>hello", "mark": "error"}]


def test_an_actor_that_nobody_knows_has_no_details() -> None:
    shown = Shown("actor", {"actor": "a9"}, actors=[actor_row()], **{"actor_calls:a9": [], "logs:actor=a9": []})
    assert shown.looker.rows("details") == []
