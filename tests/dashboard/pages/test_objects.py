"""The pages of objects."""

from __future__ import annotations

from typing import Any

from tests.dashboard.pages.showing import NODE, Shown, actor_row, node_row

NODES = [node_row(object_store_used=50, object_store_bytes=100)]
DRIVER = {"worker_id": "d0", "worker_type": "DRIVER", "pid": 1, "node_id": NODE}
WORKER = {"worker_id": "w1", "worker_type": "WORKER", "pid": 7, "node_id": NODE}
BIG: dict[str, Any] = {
    "object_id": "aa", "object_size": 40, "task_status": "NIL", "reference_type": "LOCAL_REFERENCE",
    "call_site": "/x/y/z.py:3 in load", "node_id": NODE, "owner_id": "d0", "holder_id": "d0", "origin": "PUT",
    "function": "put", "cell": 3, "stored": "SEALED", "stored_on": [NODE], "pins": 2,
}  # fmt: skip
BORROWED = {**BIG, "holder_id": "w1", "reference_type": "PINNED_IN_MEMORY"}
SMALL = {**BIG, "object_id": "bb", "object_size": 10, "origin": "RETURN", "function": "f", "call_site": "", "cell": 4,
         "stored": "SPILLED", "task_status": "FINISHED"}  # fmt: skip
UNKNOWN = {**SMALL, "object_id": "cc", "object_size": -1, "holder_id": "", "stored": "", "stored_on": []}


def shown(page: str, params: dict[str, str] | None = None, **rows: Any) -> Shown:
    objects = [BIG, BORROWED, SMALL, UNKNOWN]
    return Shown(page, params, nodes=NODES, workers=[DRIVER, WORKER], actors=[actor_row()], objects=objects, **rows)


def test_objects_are_listed_with_who_holds_them_and_what_made_them() -> None:
    looker = shown("objects").looker
    row = looker.row("objects", key="aa:d0")
    assert (row["maker"], row["site"], row["cell"], row["holder"]) == ("put", "y/z.py:3 in load", "In [3]", "driver 1")
    assert looker.row("objects", key="aa:w1")["holder"] == "Counter 7"
    assert looker.row("objects", key="aa:w1")["how"] == "a value of it"
    assert (looker.row("objects", key="cc:")["size"], looker.row("objects", key="cc:")["holder"]) == (None, "nobody")


def test_an_object_counts_once_however_many_hold_it() -> None:
    looker = shown("objects").looker
    assert looker.row("numbers", key="bytes")["value"] == 50
    assert looker.row("numbers", key="spilled")["value"] == 10
    assert looker.row("numbers", key="store")["share"] == 0.5
    group = looker.row("groups", key="put y/z.py:3 in load")
    assert (group["count"], group["bytes"], group["share"], group["holders"]) == (1, 40, 0.8, 2)


def test_objects_are_summed_up_by_what_is_chosen() -> None:
    by_cell = shown("objects", {"by": "cell"}).looker
    assert by_cell.row("groups", key="In [4]")["bytes"] == 10
    assert shown("objects", {"by": "holder"}).looker.row("groups", key="Counter 7")["bytes"] == 40


def test_memory_of_stores_is_stacked_by_node() -> None:
    looker = shown("objects").looker
    assert looker.data["store"]["name"] == ["here"]
    assert looker.data["store"]["value"] == [10]


def test_one_object_says_who_holds_it_and_by_what_name() -> None:
    kept = [
        {"holder": "d0", "keeper": "name", "name": "variable `results[3]`", "cell": 0, "process": ""},
        {"holder": "d0", "keeper": "task", "name": "f", "cell": 4, "process": ""},
        {"holder": "d0", "keeper": "actor", "name": "", "cell": 0, "process": b"a1".hex()},
        {"holder": "w1", "note": "did not answer in time"},
    ]
    looker = shown("object", {"object": "aa"}, **{"object:aa": kept}).looker
    assert looker.row("details", key="holders")["value"] == 2
    assert looker.row("details", key="stored")["value"] == "sealed on here"
    assert [(row["holder"], row["what"]) for row in looker.rows("kept")] == [
        ("driver 1", "variable `results[3]`"),
        ("driver 1", "task `f` of In [4], which has it as an argument"),
        ("driver 1", "the constructor's arguments of an actor"),
        ("Counter 7", "did not answer in time"),
    ]
    assert looker.row("kept", key=3)["state"] == "warning"


def test_an_object_that_is_gone_has_no_details() -> None:
    assert shown("object", {"object": "zz"}, **{"object:zz": []}).looker.rows("details") == []
