"""The worker's end of its widgets' comms, apart from any widget."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.comm_machine import CommFlow
from himalia.cluster.worker.comms import TaskComms


def test_a_task_may_make_its_first_widget_while_the_leader_looks_at_those_of_others() -> None:
    comms = TaskComms(SimpleNamespace(lock=threading.RLock()), lambda data: data)  # type: ignore[arg-type]  # no more

    class Looked(CommFlow):
        @property
        def restless(self) -> bool:
            comms._flows.setdefault(Cell(b"job1", 3), CommFlow())  # what another thread does at this moment
            return False

    comms._flows = {Cell(b"job1", 1): Looked(), Cell(b"job1", 2): CommFlow()}
    comms._tick(0.0)
    assert len(comms._flows) == 3
