"""The model counts rightly whatever order batches come in, and tells each viewer only what is new to it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.core_messages import R_ERROR, R_INLINE
from himalia.cluster.telemetry.buffer import TaskEventBuffer
from himalia.cluster.telemetry.events import Batch, Count, Source, TaskState, decode_batch
from himalia.cluster.telemetry.feed import TaskFeed
from himalia.dashboard.model import Model

JOB = b"\0\0\0\1"
DRIVER, NODE = b"\x01driver_", b"\x01node___"
CELL, OTHER = Cell(JOB, 3, "a"), Cell(JOB, 4, "b")
F = Source("f", DRIVER, JOB, cell=CELL)
G = Source("g", DRIVER, JOB, cell=CELL)


def process(number: int, **more: Any) -> TaskEventBuffer:
    return TaskEventBuffer(b"\x01worker%d" % number, NODE, 100 + number, **more)


def flushed(buffer: TaskEventBuffer, extra: Any = ()) -> Batch:
    message = buffer.flush(0.0, extra)
    assert message is not None
    return decode_batch(message.blob)


def ran(buffer: TaskEventBuffer, source: Source, *counters: int, kind: int = R_INLINE, at: float = 100.0) -> None:
    for counter in counters:
        buffer.record((source, counter, 0, kind, at + counter, 0.5, "", 0))


def runs(counter: int, source: Source = F, at: float = 100.0) -> tuple[Any, ...]:
    return (counter, 0, source, TaskState.RUNNING, at, 0.0, None)


def owner_with(*waiting: tuple[Source, TaskState, int]) -> TaskEventBuffer:
    owner = TaskEventBuffer(DRIVER, NODE, 99, is_owner=True)
    owner.waiting = list(waiting)
    return owner


def group(model: Model, name: str) -> Any:
    (one,) = [group for group in model.groups.all if group.name == name]
    return one


# -- counts -----------------------------------------------------------------------------------------------------------


def test_ends_of_all_workers_are_one_groups() -> None:
    model = Model()
    for number in (1, 2):
        worker = process(number)
        ran(worker, F, 1, 2)
        ran(worker, G, 3, kind=R_ERROR)
        model.add(flushed(worker), 0.0)
    assert (group(model, "f").finished, group(model, "g").failed) == (4, 2)
    assert group(model, "f").seconds == pytest.approx(2.0)
    progress = model.progress(CELL)
    assert (progress.finished, progress.failed, progress.total) == (4, 2, 6)
    assert model.progress(OTHER).total == 0
    assert model.progress(CELL, name="g").total == 2


def test_a_failure_that_is_tried_again_is_no_end() -> None:
    model = Model()
    worker = process(1)
    ran(worker, F, 1, kind=R_ERROR)
    model.add(flushed(worker), 0.0)
    owner = TaskEventBuffer(DRIVER, NODE, 99, is_owner=True)
    owner.count(F, Count.RETRIED, 1)
    model.add(flushed(owner), 0.0)
    assert (group(model, "f").failed, group(model, "f").ended) == (0, 0)


def test_what_waits_is_what_its_owner_said_last() -> None:
    model = Model()
    owner = owner_with(
        (F, TaskState.PENDING_NODE, 8), (F, TaskState.PENDING_ARGS, 2), (F, TaskState.SUBMITTED_TO_WORKER, 5)
    )
    older = flushed(owner)
    owner.waiting = [(F, TaskState.PENDING_NODE, 1)]
    newer = flushed(owner)
    model.add(older, 0.0)
    assert (group(model, "f").waiting, group(model, "f").waiting_args, group(model, "f").total) == (10, 2, 15)
    model.add(newer, 0.0)
    model.add(older, 0.0)
    assert (group(model, "f").waiting, group(model, "f").total) == (1, 1)
    owner.waiting = []
    model.add(flushed(owner), 0.0)
    assert (group(model, "f").waiting, group(model, "f").total) == (0, 0)


def test_the_total_stays_while_tasks_end_between_two_looks_of_the_owner() -> None:
    model = Model()
    model.add(flushed(owner_with((F, TaskState.PENDING_NODE, 10))), 0.0)
    worker = process(1)
    ran(worker, F, 1, 2, 3)
    model.add(flushed(worker), 0.0)
    assert (group(model, "f").finished, group(model, "f").total) == (3, 10)
    assert not group(model, "f").is_over


def test_a_process_that_ended_waits_and_runs_no_more() -> None:
    model = Model()
    model.add(flushed(owner_with((F, TaskState.PENDING_NODE, 10))), 0.0)
    model.add(flushed(process(1), [runs(1)]), 0.0)
    model.process_ended(DRIVER)
    model.process_ended(b"\x01worker1")
    assert (group(model, "f").waiting, group(model, "f").running, group(model, "f").total) == (0, 0, 0)
    assert group(model, "f").is_over


def test_rates_tell_when_it_will_be_done() -> None:
    model = Model()
    owner = owner_with((F, TaskState.PENDING_NODE, 100))
    model.add(flushed(owner), 0.0)
    worker = process(1)
    model.tick(0.0)
    for second in range(1, 6):
        ran(worker, F, *range(second * 10, second * 10 + 10))
        model.add(flushed(worker), float(second))
        model.tick(float(second))
    assert group(model, "f").rate == pytest.approx(10.0)
    assert group(model, "f").left_s == pytest.approx(5.0)
    assert model.progress(CELL).left_s == pytest.approx(5.0)


def test_a_rate_goes_down_to_nothing_when_nothing_happens() -> None:
    model = Model()
    worker = process(1)
    model.tick(0.0)
    ran(worker, F, 1)
    model.add(flushed(worker), 1.0)
    for second in range(1, 30):
        model.tick(float(second))
    assert group(model, "f").rate == 0.0


# -- what runs --------------------------------------------------------------------------------------------------------


def test_a_task_runs_until_its_worker_says_how_it_ended() -> None:
    model, worker = Model(), process(1)
    first = flushed(worker, [runs(1)])
    model.add(first, 0.0)
    assert (group(model, "f").running, group(model, "f").total) == (1, 1)
    ran(worker, F, 1)
    second = flushed(worker)
    model.add(second, 0.0)
    assert (group(model, "f").running, group(model, "f").total) == (0, 1)
    model.add(first, 0.0)
    assert group(model, "f").running == 0, "an old batch that comes again starts nothing"


def test_a_worker_that_dies_is_told_by_the_owner() -> None:
    model = Model()
    model.add(flushed(process(1), [runs(1)]), 0.0)
    owner = TaskEventBuffer(DRIVER, NODE, 99, is_owner=True)
    owner.add((1, 0, F, TaskState.FAILED, 100.0, 101.0, "WorkerCrashedError: gone"))
    owner.count(F, Count.FAILED, 1)
    model.add(flushed(owner), 0.0)
    assert (group(model, "f").running, group(model, "f").failed, group(model, "f").total) == (0, 1, 1)


def test_a_task_that_nobody_speaks_of_any_more_runs_no_more() -> None:
    model, worker = Model(), process(1)
    model.add(flushed(worker, [runs(1), runs(2)]), 0.0)
    model.add(flushed(worker, [runs(2)]), 9.0)
    model.tick(12.0)
    assert [key[0][-1] for key in model.groups.running] == [2]


# -- any order, twice, not at all -------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Batch]:
    """Batches of some workers and their owner, in the order they were made."""
    workers = [process(number) for number in range(draw(st.integers(1, 3)))]
    owner = TaskEventBuffer(DRIVER, NODE, 99, is_owner=True)
    batches: list[Batch] = []
    for counter in range(1, draw(st.integers(2, 40))):
        worker, source = draw(st.sampled_from(workers)), draw(st.sampled_from([F, G]))
        step = draw(st.integers(0, 5))
        if step == 0:
            batches.append(flushed(worker, [runs(counter, source)]))
        ran(worker, source, counter, kind=draw(st.sampled_from([R_INLINE, R_ERROR])))
        if step == 1:
            worker.children.append((source, counter, 5, 9))
        elif step == 2:
            owner.waiting = [(source, TaskState.PENDING_NODE, counter)]
            batches.append(flushed(owner))
        elif step == 3:
            batches.append(flushed(worker))
    for worker in workers:
        message = worker.flush(0.0)
        if message is not None:
            batches.append(decode_batch(message.blob))
    owner.waiting = []
    message = owner.flush(0.0)
    if message is not None:
        batches.append(decode_batch(message.blob))
    return batches


def counts(model: Model) -> dict[str, tuple[int, ...]]:
    return {one.name: (one.finished, one.failed, one.cancelled, one.waiting) for one in model.groups.all}


def truth(batches: list[Batch]) -> dict[str, tuple[int, int]]:
    """The largest total of each process, added up."""
    best: dict[tuple[bytes, str, int], int] = {}
    for batch in batches:
        for source_of, what, count, _ in batch.totals:
            key = (batch.worker_id, batch.sources[source_of].name, what)
            best[key] = max(best.get(key, 0), count)
    return {
        name: (
            sum(count for (_, of, what), count in best.items() if of == name and what == Count.FINISHED),
            sum(count for (_, of, what), count in best.items() if of == name and what == Count.FAILED),
        )
        for name in ("f", "g")
    }


@settings(max_examples=150, deadline=None)
@given(histories(), st.data())
def test_no_order_and_no_repetition_changes_what_is_counted(batches: list[Batch], data: st.DataObject) -> None:
    straight, shuffled = Model(), Model()
    for batch in batches:
        straight.add(batch, 0.0)
    twice = data.draw(st.permutations(batches + data.draw(st.lists(st.sampled_from(batches), max_size=5))))
    for batch in twice:
        shuffled.add(batch, 0.0)
    assert counts(straight) == counts(shuffled)
    for name, (finished, failed) in truth(batches).items():
        if name in counts(straight):
            assert counts(straight)[name] == (finished, failed, 0, 0)
    assert not straight.groups.running
    assert straight.stream.tasks == shuffled.stream.tasks
    assert straight.graph.edges.keys() == shuffled.graph.edges.keys()
    assert sum(straight.changes_since().bars.counts) == sum(shuffled.changes_since().bars.counts)


@settings(max_examples=100, deadline=None)
@given(histories(), st.data())
def test_what_is_lost_makes_counts_late_and_never_wrong(batches: list[Batch], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.sampled_from(batches), unique_by=id))
    model = Model()
    for batch in kept:
        model.add(batch, 0.0)
    known = counts(model)
    for name, (finished, failed) in truth(kept).items():
        if name in known:
            assert known[name][:2] == (finished, failed)
    model.tick(60.0)
    for one in model.groups.all:
        assert one.running == 0
        assert one.total >= one.ended >= 0


# -- the stream -------------------------------------------------------------------------------------------------------


def test_short_tasks_side_by_side_are_one_bar_and_long_ones_are_their_own() -> None:
    model, worker = Model(), process(1)
    for n in range(10):
        worker.record((F, n, 0, R_INLINE, 100.0 + n * 0.0002, 0.0001, "", 0))
    worker.record((F, 10, 0, R_INLINE, 100.003, 0.5, "", 0))
    worker.record((F, 11, 0, R_ERROR, 100.6, 0.0001, "ValueError: no", 0))
    model.add(flushed(worker), 0.0)
    bars = model.changes_since().bars
    assert bars.counts == [10, 1, 1]
    assert bars.begins[0] == 100.0
    assert bars.ends[0] == pytest.approx(100.0019)
    assert bars.busy[0] == pytest.approx(0.001)
    assert bars.states == [TaskState.FINISHED, TaskState.FINISHED, TaskState.FAILED]
    assert bars.task_ids == ["", (DRIVER + (10).to_bytes(8, "big")).hex(), (DRIVER + (11).to_bytes(8, "big")).hex()]


def test_bars_of_different_functions_and_workers_are_apart() -> None:
    model = Model()
    for number, source in ((1, F), (2, G)):
        worker = process(number)
        worker.record((source, 1, 0, R_INLINE, 100.0, 0.0001, "", 0))
        worker.record((F, 2, 0, R_INLINE, 100.0002, 0.0001, "", 0))
        model.add(flushed(worker), 0.0)
    bars = model.changes_since().bars
    assert (bars.workers, bars.counts) == ([0, 1, 1], [2, 1, 1])
    assert [view.pid for view in model.workers] == [101, 102]


def test_a_task_is_found_by_its_id_with_every_attempt() -> None:
    model, worker = Model(), process(1)
    worker.record((F, 7, 0, R_ERROR, 100.0, 0.5, "ValueError: no", 0))
    worker.record((F, 7, 1, R_INLINE, 101.0, 0.5, "", 0))
    ran(worker, F, 8)
    model.add(flushed(worker), 0.0)
    last, first = model.task(DRIVER + (7).to_bytes(8, "big"))
    assert (last.state, last.attempt, last.begin, last.end) == (TaskState.FINISHED, 1, 101.0, 101.5)
    assert (first.state, first.error) == (TaskState.FAILED, "ValueError: no")
    assert model.task(b"\x01nobody_" + bytes(8)) == []


def test_tasks_are_listed_newest_first_by_group_and_state() -> None:
    model, worker = Model(), process(1)
    ran(worker, F, 1, 2)
    ran(worker, G, 3, kind=R_ERROR)
    model.add(flushed(worker), 0.0)
    assert [seen.task_id[-1] for seen in model.tasks()] == [3, 2, 1]
    assert [seen.task_id[-1] for seen in model.tasks(group=0, limit=1)] == [2]
    assert [seen.task_id[-1] for seen in model.tasks(states=[TaskState.FAILED])] == [3]


def test_the_oldest_rows_and_bars_go() -> None:
    model, worker = Model(tasks_kept=10, bars_kept=4), process(1)
    for batch in range(5):
        ran(worker, F, *range(batch * 4, batch * 4 + 4))
        model.add(flushed(worker), 0.0)
    assert (model.stream.tasks, model.stream.forgotten) == (8, 12)
    assert len(model.changes_since().bars) == 4
    assert group(model, "f").finished == 20, "counts do not go"


# -- the graph --------------------------------------------------------------------------------------------------------


def test_an_edge_is_found_whichever_is_heard_first() -> None:
    child_source = Source("child", b"\x01worker1", JOB, cell=CELL)
    parent, other = process(1), process(2)
    parent.children.append((F, 1, 5, 9))
    ran(other, child_source, 6)
    told, child = flushed(parent), flushed(other)
    for order in ((told, child), (child, told)):
        model = Model()
        for batch in order:
            model.add(batch, 0.0)
        names = [(model.groups.all[up].name, model.groups.all[down].name) for up, down in model.changes_since().edges]
        assert names == [("f", "child")]


def test_a_link_leads_from_who_makes_results_to_who_works_on_them() -> None:
    model = Model()
    owner = TaskEventBuffer(DRIVER, NODE, 99, is_owner=True)
    owner.link(F, G)
    model.add(flushed(owner), 0.0)
    changes = model.changes_since()
    assert [(model.groups.all[made].name, model.groups.all[used].name) for made, used in changes.links] == [("f", "g")]
    assert model.changes_since(changes.version).links == []


def test_a_viewer_that_comes_late_learns_the_counts_again() -> None:
    worker = process(1)
    ran(worker, F, 1, 2)
    worker.flush(0.0)
    ran(worker, G, 3)
    message = worker.flush(100.0)
    assert message is not None
    model = Model()
    model.add(decode_batch(message.blob), 0.0)
    assert (group(model, "f").finished, group(model, "g").finished) == (2, 1)


# -- changes ----------------------------------------------------------------------------------------------------------


def test_a_viewer_is_told_only_what_is_new_to_it() -> None:
    model, worker = Model(), process(1)
    ran(worker, F, 1)
    model.add(flushed(worker), 0.0)
    first = model.changes_since()
    assert ([one.name for one in first.groups], len(first.bars), len(first.workers)) == (["f"], 1, 1)
    nothing = model.changes_since(first.version)
    assert (nothing.groups, len(nothing.bars), nothing.workers, nothing.edges) == ([], 0, [], [])
    assert nothing.running is None
    ran(worker, G, 2)
    model.add(flushed(worker, [runs(3, G)]), 0.0)
    second = model.changes_since(first.version)
    assert ([one.name for one in second.groups], len(second.bars), second.workers) == (["g"], 1, [])
    assert second.running is not None
    assert [one.task_id[-1] for one in second.running] == [3]
    assert len(model.changes_since().groups) == 2, "another viewer sees all"


def test_changes_can_be_sent_as_json() -> None:
    model, worker = Model(), process(1)
    ran(worker, F, 1)
    model.add(flushed(worker, [runs(2)]), 0.0)
    model.sample([node_row()], 50.0)
    assert b'"name":"f"' in msgspec.json.encode(model.changes_since())


def test_a_version_is_sent_once_more_when_only_what_runs_has_changed() -> None:
    model, worker = Model(), process(1)
    model.add(flushed(worker, [runs(1)]), 0.0)
    version = model.changes_since().version
    model.process_ended(b"\x01worker1")
    assert model.changes_since(version).running == []


def test_a_feed_tells_who_ended_and_what_is_missing() -> None:
    model, worker = Model(), process(1)
    batch = flushed(worker, [runs(1)])
    feed = TaskFeed(lambda message: None)
    model.take([batch], feed, 0.0)
    assert group(model, "f").running == 1
    feed.dead, feed.missed, feed.unsent = [batch.worker_id], 3, 4
    model.take([], feed, 0.0)
    assert group(model, "f").running == 0
    assert model.changes_since().dropped == 7


def test_lost_rows_are_told() -> None:
    model = Model()
    model.lose(5)
    assert model.changes_since().dropped == 5


# -- nodes ------------------------------------------------------------------------------------------------------------


def node_row(**more: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "node_id": NODE,
        "host": "here",
        "alive": True,
        "total": {"CPU": 20_000},
        "available": {"CPU": 5_000},
        "store_used": 10,
        "object_store_bytes": 100,
        "pending": [({"CPU": 10_000}, 3)],
    }
    return {**row, **more}


def test_nodes_have_their_resources_over_time() -> None:
    model = Model(samples_kept=2)
    model.sample([node_row()], 1.0)
    version = model.changes_since().version
    for at in (2.0, 3.0):
        model.sample([node_row(available={"CPU": 20_000}, store_used=int(at))], at)
    (view,) = model.changes_since(version).nodes
    assert [sample.at for sample in view.samples] == [2.0, 3.0]
    assert view.samples[1].used == {"CPU": 0.0}
    assert view.samples[1].total == {"CPU": 2.0}
    assert (view.samples[1].store_used, view.samples[1].store_bytes, view.samples[1].pending) == (3, 100, 3)


def test_a_node_that_died_is_told_once() -> None:
    model = Model()
    model.sample([node_row()], 1.0)
    model.sample([node_row(alive=False)], 2.0)
    version = model.changes_since().version
    model.sample([node_row(alive=False)], 3.0)
    assert model.changes_since(version).nodes == []
    assert not model.changes_since().nodes[0].alive
