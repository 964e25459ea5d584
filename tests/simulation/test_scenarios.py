"""Whole clusters, hundreds of times: no task is lost or run too often, and nothing is left of anything."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from himalia.cluster.testing.simulation import Scenario, SimulatedCluster, Trouble, play
from himalia.cluster.testing.simulation.__main__ import main
from himalia.cluster.testing.simulation.api import get, submit
from himalia.cluster.testing.simulation.book import value_of
from himalia.cluster.testing.simulation.process import Process
from himalia.cluster.testing.simulation.scenario import ALL, build
from himalia.cluster.testing.simulation.workloads import work

_SEEDS = 240
_CHUNK = 20

scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 2**32),
    nodes=st.lists(st.sampled_from((1.0, 2.0, 3.0, 8.0)), min_size=1, max_size=4).map(tuple),
    drivers=st.integers(1, 4),
    rounds=st.integers(1, 3),
    scale=st.sampled_from((2, 8, 20, 50)),
    workloads=st.lists(st.sampled_from(sorted(ALL)), min_size=1, unique=True).map(tuple),
    worker_kills=st.integers(0, 6),
    node_kills=st.integers(0, 2),
    driver_kills=st.integers(0, 2),
    cuts=st.integers(0, 2),
    resizes=st.integers(0, 4),
    slow=st.sampled_from((0.0, 0.05, 0.5)),
    fork_failures=st.sampled_from((0.0, 0.3)),
    arena_bytes=st.sampled_from((8 << 20, 600_000)),
)


@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_seeds_come_to_a_good_end(first: int) -> None:
    for seed in range(first, first + _CHUNK):
        play(Scenario.of_seed(seed))


@pytest.mark.timeout(300)  # for shrinking, when it fails
@given(scenario=scenarios)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    phases=(Phase.generate, Phase.shrink),  # explaining traces every line, which takes for ever
)
def test_any_scenario_comes_to_a_good_end(scenario: Scenario) -> None:
    play(scenario)


@pytest.mark.parametrize("workload", sorted(ALL))
def test_every_workload_runs_without_faults(workload: str) -> None:
    for seed in range(5):
        cluster = play(Scenario(seed, workloads=(workload,)))
        assert cluster.book.entries or workload == "actors"


def test_a_seed_is_a_history() -> None:
    def history(seed: int) -> list[object]:
        cluster = play(Scenario(seed, nodes=(2.0, 2.0), drivers=2, worker_kills=3, node_kills=1), record=True)
        return [cluster.kernel.steps, cluster.network.sent, *cluster.story.sizes()]

    assert history(7) == history(7)
    assert history(7) != history(8)


def test_a_hundred_nodes_share_what_one_driver_submits() -> None:
    cluster = SimulatedCluster(1)
    cluster.arena_bytes = 1 << 16
    with cluster.running():
        cluster.start_gcs()
        nodes = [cluster.add_node({"CPU": 1.0}) for _ in range(100)]

        def program(process: Process) -> None:
            refs = [submit(work, f"work/{number}", 0.5) for number in range(400)]
            for number, value in enumerate(get(refs)):
                assert value == value_of(f"work/{number}")
                cluster.book.ended(f"work/{number}", "value")

        cluster.kernel.after(1.0, lambda: cluster.add_driver(nodes[0], program) and None)
        cluster.programs.add(b"the one to come")
        cluster.kernel.after(1.0, lambda: cluster.programs.discard(b"the one to come"))
        cluster.run()
        used = {worker for entry in cluster.book.entries.values() for _, worker in entry.starts}
        assert len(used) > 50, f"only {len(used)} workers were used"


def test_what_goes_wrong_is_told_with_its_seed() -> None:
    cluster = SimulatedCluster(17)
    with cluster.running():
        build(cluster, Scenario(17, workloads=("burst",)))
        cluster.book.submitted("never", 0)
        with pytest.raises(Trouble, match=r"seed 17, at .*never"):
            cluster.run()


def test_the_story_of_a_task_tells_where_it_went() -> None:
    cluster = SimulatedCluster(3, record=True)
    with cluster.running():
        build(cluster, Scenario(3, workloads=("burst",)))
        cluster.run()
        driver = next(p for p in cluster.processes.values() if p.kind == "driver")
        first = (driver.identity + (1).to_bytes(8, "big")).hex()
        story = cluster.story.tell(f"task:{first}", cluster.names())
    assert f"driver {driver.identity.hex()} -> worker" in story
    assert "PushTasks" in story
    assert "TaskResults" in story


def test_the_command_plays_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0:3"]) == 0
    assert "3 seeds, 0 failures" in capsys.readouterr().out
