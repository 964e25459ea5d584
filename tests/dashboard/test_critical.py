"""Chains that a run waited for."""

from __future__ import annotations

from himalia.cluster.protocol.core_messages import R_INLINE
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Source, decode_batch
from himalia.dashboard.critical import longest_chain, run_chain
from himalia.dashboard.model import Model
from tests.dashboard.cluster import OWNER, source


def test_times_along_results_add_up() -> None:
    weights = {0: 1.0, 1: 2.0, 2: 5.0, 3: 1.0}
    assert longest_chain(weights, [(0, 1), (1, 3), (0, 2)], []) == [0, 2]
    assert longest_chain(weights, [(0, 1), (1, 3), (0, 2), (2, 3)], []) == [0, 2, 3]


def test_along_a_submission_the_longer_of_the_two_counts() -> None:
    weights = {0: 10.0, 1: 9.0, 2: 2.0}
    assert longest_chain(weights, [(1, 2)], [(0, 1)]) == [0, 1, 2]  # 11 seconds
    assert longest_chain({**weights, 3: 12.0}, [(1, 2)], [(0, 1)]) == [3]


def test_cycles_and_boxes_without_a_time_do_no_harm() -> None:
    assert longest_chain({}, [(0, 1)], []) == []
    assert set(longest_chain({0: 1.0, 1: 1.0}, [(0, 1), (1, 0)], [(0, 0)])) == {0, 1}


def test_chains_may_be_longer_than_the_stack() -> None:
    weights = dict.fromkeys(range(5_000), 1.0)
    assert len(longest_chain(weights, [(n, n + 1) for n in range(4_999)], [])) == 5_000


def _played(rows: list[tuple[Source, int, float, float]], links: list[tuple[Source, Source]]) -> Model:
    model = Model()
    worker = TaskEventBuffer(b"\x01work001", b"\x01node___", 1)
    for what, counter, begin, took in rows:
        worker.record((what, counter, 0, R_INLINE, begin, took, "", 0))
    owner = TaskEventBuffer(OWNER, b"\x01node___", 2, is_owner=True)
    for made, used in links:
        owner.link(made, used)
    for buffer in (worker, owner):
        message = buffer.flush(0.0)
        if message is not None:
            model.add(decode_batch(message.blob), 0.0)
    return model


def test_a_run_waited_for_the_last_result_that_each_step_may_use() -> None:
    load, clean, other = source("load"), source("clean"), source("other")
    rows = [(load, 1, 100.0, 1.0), (load, 2, 100.0, 3.0), (clean, 3, 103.5, 1.0), (other, 4, 100.0, 4.2)]
    model = _played(rows, [(load, clean)])
    steps = run_chain(model, range(3))
    assert [(model.groups.all[step.task.group].name, step.why) for step in steps] == [
        ("load", "first"),
        ("clean", "result"),
    ]
    assert steps[0].task.end == 103.0
    assert steps[1].gap == 0.5


def test_a_run_without_links_is_the_task_that_ended_last() -> None:
    load = source("load")
    (step,) = run_chain(_played([(load, 1, 100.0, 1.0), (load, 2, 100.0, 3.0)], []), [0])
    assert (step.task.end, step.why, step.gap) == (103.0, "first", 0.0)
    assert run_chain(Model(), [0]) == []
