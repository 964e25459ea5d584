"""A cell that is cancelled while its tasks are on two nodes, submitted by tasks that have returned."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from himalia.cluster.core import current
from himalia.cluster.protocol.common import Cell
from himalia.util import state
from tests.integration.conftest import Nodes
from tests.support.clusters import eventually


@contextmanager
def cell_of_driver(number: int) -> Iterator[Cell]:
    """What this thread submits belongs to a cell, as in a notebook."""
    core = current.get_core()
    cell = Cell(core.job_id, number, f"message {number}")
    core.cell_provider = lambda: cell
    try:
        yield cell
    finally:
        core.cell_provider = None


def test_tasks_on_another_node_end_also_when_their_parent_has_returned(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hv = two_nodes.hv
    children = on("other", num_cpus=1)

    @hv.remote
    def sleep(name: str) -> None:
        (tmp_path / name).touch()
        time.sleep(1000)

    @hv.remote
    def lend(name: str) -> list[Any]:
        return [sleep.options(**children).remote(name)]

    free = hv.cluster_resources()
    with cell_of_driver(1) as cell:
        for resource in ("head", "other"):
            refs = hv.get(lend.options(**on(resource)).remote(resource))
            eventually(lambda name=resource: (tmp_path / name).exists(), "the child to run")
        current.get_core().cancel_cell(cell)
        with pytest.raises(hv.exceptions.TaskCancelledError):
            hv.get(refs[0], timeout=10)
    eventually(lambda: hv.available_resources() == free, "everything to be free")
    (event,) = state.list_cluster_events(filters=[("event_type", "=", "CELL_CANCELLED")])  # once, though of two nodes
    assert event.cell == 1
    with cell_of_driver(2):
        assert hv.get(hv.remote(lambda: "next").options(**children).remote(), timeout=10) == "next"


def test_what_a_cancelled_cell_had_made_is_made_again_when_its_node_dies(
    two_nodes: Nodes, on: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    hv = two_nodes.hv
    made = tmp_path / "made"

    @hv.remote(num_cpus=1, scheduling_strategy="DEFAULT")
    def large() -> Any:
        with made.open("a") as file:
            file.write(f"{os.getpid()} ")
        return np.arange(1 << 18)

    with cell_of_driver(1) as cell:
        ref = large.options(resources={"shared": 1}).remote()
        third = two_nodes.add(resources={"shared": 1})
        assert hv.wait([ref], timeout=10, fetch_local=False)[0]
        current.get_core().cancel_cell(cell)
    two_nodes.add(resources={"shared": 1})
    two_nodes.cluster.remove_node(third, allow_graceful=False)
    assert int(hv.get(ref, timeout=20)[-1]) == (1 << 18) - 1
    assert len(made.read_text().split()) == 2
