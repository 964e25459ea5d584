"""Why tasks wait in a real cluster: it says what is wrong, and nothing when nothing is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import himalia
from himalia.util import state
from tests.integration.conftest import Gate, Nodes
from tests.support.clusters import eventually


def spin(path: str) -> None:
    """Use a CPU until a file is there."""
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)


def use(*values: Any) -> int:
    return len(values)


def verdicts() -> dict[str, str]:
    return {row.name: row.verdict for row in state.list_pending()}


def test_each_reason_is_told_and_goes_with_its_cause(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]], tmp_path: Any
) -> None:
    hv = two_nodes.hv
    stop = str(tmp_path / "stop")
    busy = hv.remote(num_cpus=0, resources={"head": 10})(spin).options(name="holding").remote(stop)
    waiting = hv.remote(num_cpus=0, resources={"head": 1})(use).options(name="waiting").remote(1)
    needs = hv.remote(num_cpus=0)(use).options(name="needing").remote(busy)
    never = hv.remote(num_cpus=0, resources={"head": 11})(use).options(name="never").remote()
    wanted = {"waiting": "BUSY", "needing": "ARGUMENTS", "never": "NEVER"}
    eventually(lambda: verdicts() == wanted, "all reasons")
    rows = {row.name: row for row in state.list_pending(detail=True)}
    assert "held by 1 × holding" in rows["waiting"].reason
    assert "results of holding" in rows["needing"].reason
    assert "can never run" in rows["never"].reason
    assert {node["verdict"] for node in rows["never"].nodes or ()} == {"too small"}
    assert rows["waiting"].tasks == 1
    eventually(lambda: "It waits for 1 head" in state.why(waiting), "the reason of one task")
    open(stop, "w").close()
    hv.get([waiting, needs])
    eventually(lambda: verdicts() == {"never": "NEVER"}, "nothing else waits")
    two_nodes.add(resources={"head": 11})
    hv.get(never)
    eventually(lambda: verdicts() == {}, "nothing waits")


def test_an_actor_that_fits_nowhere_says_why(one_node: Nodes) -> None:
    actor = himalia.remote(num_cpus=7)(Gate).remote()
    (row,) = eventually(lambda: state.list_pending(detail=True), "an actor that waits")
    assert (row.kind_of_work, row.name, row.verdict) == ("actor", "Gate", "NEVER")
    assert "1 CPU of the 7 asked for" in row.reason
    assert state.why(actor).startswith("Gate waits since")
    himalia.kill(actor)
    eventually(lambda: not state.list_pending(), "nothing waits")
