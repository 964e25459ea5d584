"""What fails in a real cluster is listed by kind, whoever saw it fail."""

from __future__ import annotations

import os
from typing import Any

from himalia.util import state
from tests.integration.conftest import Nodes
from tests.support.clusters import eventually


def parse(text: str) -> int:
    return int(text)


def read(text: str) -> int:
    return parse(text)


def leave() -> None:
    os._exit(3)


class Fragile:
    def __init__(self, works: bool) -> None:
        if not works:
            raise KeyError("missing")

    def call(self) -> None:
        raise RuntimeError("broken")


def kinds() -> dict[tuple[str, str], Any]:
    return {(row.error, row.function): row for row in state.list_errors(detail=True)}


def test_failures_are_listed_by_kind(one_node: Nodes) -> None:
    hv = one_node.hv
    refs = [hv.remote(max_retries=0)(read).options(name="read").remote(f"x{number}") for number in range(40)]
    hv.wait(refs, num_returns=len(refs))
    # What a worker saw fail in its last moments may go with it, so it is asked for before one is made to leave.
    eventually(lambda: ("ValueError", "read") in kinds(), "a kind that a worker tells of")
    refs = [hv.remote(max_retries=0)(leave).options(name="leave").remote()]
    fragile = hv.remote(num_cpus=0)(Fragile)
    good, bad = fragile.remote(True), fragile.remote(False)
    refs += [good.call.remote(), bad.call.remote()]
    hv.wait(refs, num_returns=len(refs))
    wanted = {
        ("ValueError", "read"),
        ("WorkerCrashedError", "leave"),
        ("RuntimeError", "Fragile.call"),
        ("KeyError", "Fragile.__init__"),
        ("ActorDiedError", "Fragile.call"),
    }
    eventually(lambda: wanted <= kinds().keys(), "all kinds of failures")
    found = kinds()
    row = found["ValueError", "read"]
    assert (row.file, row.frame) == (__file__, "parse")
    assert "return int(text)" in row.traceback
    assert row.message.startswith("invalid literal for int()")
    assert row.node_ids == [one_node.head.node_id]
    assert found["WorkerCrashedError", "leave"].count == 1
    assert found["KeyError", "Fragile.__init__"].frame == "Fragile.__init__"


def test_all_that_fails_in_workers_that_live_is_counted(two_nodes: Nodes) -> None:
    hv = two_nodes.hv
    work = hv.remote(max_retries=0)(read).options(name="counted")
    hv.wait([work.remote("y") for _ in range(300)], num_returns=300)
    row = eventually(lambda: kinds().get(("ValueError", "counted")), "the failures")
    eventually(lambda: kinds()["ValueError", "counted"].count == 300, "all of them")
    assert row.job_id == hv.get_runtime_context().get_job_id()


def test_tasks_that_are_not_to_be_recorded_are_not(one_node: Nodes) -> None:
    hv = one_node.hv
    silent = hv.remote(max_retries=0, enable_task_events=False)(read).options(name="silent").remote("x")
    told = hv.remote(max_retries=0)(read).options(name="told").remote("x")
    hv.wait([silent, told], num_returns=2)
    eventually(lambda: ("ValueError", "told") in kinds(), "the failure that is recorded")
    assert ("ValueError", "silent") not in kinds()
