"""Stacks and profiles of processes on several nodes."""

from __future__ import annotations

import os
from pathlib import Path

from himalia.util import state
from tests.support.clusters import eventually

from .conftest import Nodes


def test_workers_of_all_nodes_are_seen_and_their_profiles_are_one(two_nodes: Nodes, tmp_path: Path) -> None:
    hv, gate = two_nodes.hv, tmp_path / "gate"

    @hv.remote
    def burn(gate: str, started: str) -> int:
        Path(started).touch()
        while not os.path.exists(gate):
            sum(range(1_000))
        return os.getpid()

    here = burn.options(num_cpus=0, resources={"head": 1}).remote(str(gate), str(tmp_path / "here"))
    there = burn.options(num_cpus=0, resources={"other": 1}).remote(str(gate), str(tmp_path / "there"))
    eventually(lambda: len(os.listdir(tmp_path)) == 2, "both run")
    seen = [state.get_stack(ref) for ref in (here, there)]
    for stacks in seen:
        assert any(frame.name.endswith("burn") for thread in stacks.threads for frame in thread.frames)
    profile = state.profile([here, there], seconds=1)
    raylets = [state.get_stack(node.node_id).pid for node in state.list_nodes()]
    gate.touch()
    pids = set(hv.get([here, there]))
    assert {stacks.pid for stacks in seen} == set(profile.pids) == pids
    assert len(set(raylets) | pids) == 4
    burning = [s for s in profile.stacks if any(profile.frames[n].name.endswith("burn") for n in s.frames)]
    assert sum(stack.count for stack in burning) > 0.5 * sum(stack.count for stack in profile.stacks)
