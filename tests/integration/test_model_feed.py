"""The model of a real cluster counts what really ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from himalia.cluster.core.current import find_core
from himalia.dashboard.feed import ModelFeed
from tests.support.clusters import eventually


@pytest.fixture
def hv() -> Iterator[ModuleType]:
    import himalia

    himalia.init(num_cpus=2)
    yield himalia
    himalia.shutdown()


class Counts:
    """What the model says of a function: finished, failed, running and all tasks."""

    def __init__(self, feed: ModelFeed) -> None:
        self.feed = feed

    def __call__(self, name: str) -> tuple[int, int, int, int]:
        model = self.feed.catch_up()
        found = [group for group in model.groups.all if group.name.split(".")[-1] == name]
        return (
            sum(group.finished for group in found),
            sum(group.failed for group in found),
            sum(group.running for group in found),
            sum(group.total for group in found),
        )


@pytest.fixture
def counts(hv: ModuleType) -> Counts:
    core = find_core()
    assert core is not None
    return Counts(ModelFeed(core.gcs_call))


def test_everything_that_ran_is_counted_and_who_called_whom(hv: ModuleType, counts: Counts) -> None:
    @hv.remote
    def leaf() -> None: ...

    @hv.remote
    def parent(n: int) -> None:
        hv.get([leaf.remote() for _ in range(n)])

    @hv.remote(max_retries=0)
    def wrong() -> None:
        raise ValueError("no")

    hv.get([parent.remote(5) for _ in range(3)] + [leaf.remote() for _ in range(1_000)])
    with pytest.raises(ValueError, match="no"):
        hv.get(wrong.remote())
    eventually(lambda: counts("leaf") == (1_015, 0, 0, 1_015), "all leaves to be counted")
    eventually(lambda: counts("parent") == (3, 0, 0, 3), "all parents to be counted")
    eventually(lambda: counts("wrong") == (0, 1, 0, 1), "the failure to be counted")
    model = counts.feed.model
    names = {(model.groups.all[up].name, model.groups.all[down].name) for up, down in model.graph.edges}
    assert names == {("parent", "leaf")}
    assert sum(model.changes_since(bars=100_000).bars.counts) == 1_019
    assert model.changes_since().dropped == 0


def test_a_task_that_is_tried_again_ends_once(hv: ModuleType, counts: Counts, tmp_path: Path) -> None:
    tried = tmp_path / "tried"

    @hv.remote(retry_exceptions=True)
    def second_time() -> None:
        if not tried.exists():
            tried.touch()
            raise ValueError("not yet")

    hv.get(second_time.remote())
    eventually(lambda: counts("second_time") == (1, 0, 0, 1), "one task to be counted")


def test_what_runs_and_waits_is_seen_while_it_does(hv: ModuleType, counts: Counts, tmp_path: Path) -> None:
    go = tmp_path / "go"

    @hv.remote
    def waits(path: str) -> None:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)

    refs = [waits.remote(str(go)) for _ in range(10)]
    eventually(lambda: counts("waits") == (0, 0, 2, 10), "two to run and eight to wait")
    assert len(counts.feed.model.changes_since().running) == 2
    go.touch()
    hv.get(refs)
    eventually(lambda: counts("waits") == (10, 0, 0, 10), "all to be done")


def test_a_graph_of_tasks_that_wait_for_each_other_is_linked(hv: ModuleType, counts: Counts, tmp_path: Path) -> None:
    go = tmp_path / "go"

    @hv.remote
    def make(path: str) -> int:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return 1

    @hv.remote
    def use(x: int) -> int:
        return x + 1

    ref = use.remote(use.remote(make.remote(str(go))))

    def links() -> set[tuple[str, str]]:
        model = counts.feed.catch_up()
        name = [group.name for group in model.groups.all]
        return {(name[made], name[used]) for made, used in model.graph.links}

    eventually(lambda: links() == {("make", "use"), ("use", "use")}, "both links to be seen")
    go.touch()
    assert hv.get(ref) == 3


def test_calls_of_actors_are_counted_and_a_killed_one_runs_no_more(hv: ModuleType, counts: Counts) -> None:
    class Actor:
        def quick(self) -> None: ...

        def calls(self) -> None:
            hv.get(leaf.remote())

        def hangs(self) -> None:
            import time

            time.sleep(60)

    @hv.remote
    def leaf() -> None: ...

    actor = hv.remote(Actor).remote()
    hv.get(actor.calls.remote())
    eventually(lambda: counts("leaf") == (1, 0, 0, 1), "its task to be counted")
    names = [group.name for group in counts.feed.model.groups.all]
    edges = {(names[up].split(".")[-1], names[down]) for up, down in counts.feed.model.graph.edges}
    assert edges == {("calls", "leaf")}
    hv.get([actor.quick.remote() for _ in range(100)])
    eventually(lambda: counts("quick") == (100, 0, 0, 100), "all calls to be counted")
    hung = actor.hangs.remote()
    eventually(lambda: counts("hangs")[2] == 1, "the call to run")
    hv.kill(actor)
    eventually(lambda: counts("hangs") == (0, 1, 0, 1), "the call to have failed")
    del hung
