"""What a tool may have a process do: the parts that no cluster is needed for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from himalia.cluster.core.control import cancel_owned, end_job
from himalia.cluster.protocol.control_messages import CancelOwned, ControlDone, EndJob
from himalia.cluster.protocol.gcs_messages import ReportJobEnd


class PaperCore:
    """A process with some tasks and calls of actors."""

    def __init__(self, *, is_driver: bool = True) -> None:
        self.out: list[Any] = []
        self.fatal: BaseException | None = None
        self.options = SimpleNamespace(job=object() if is_driver else None)
        self.gcs_id, self.job_id = b"gcs", b"job1"
        self.cancelled: list[tuple[int, Any]] = []
        self.cells = SimpleNamespace(
            pending=lambda: [self.record(1), self.record(2, actor=True), self.record(3), self.record(4, creates=True)]
        )
        self.submission = SimpleNamespace(cancel=lambda record, *how: self.cancelled.append((record.task.counter, how)))
        self.actor_calls = self.submission

    @staticmethod
    def record(counter: int, *, actor: bool = False, creates: bool = False) -> Any:
        return SimpleNamespace(
            task=SimpleNamespace(counter=counter),
            plan=SimpleNamespace(actor=object() if actor else None),
            create=object() if creates else None,
        )

    def die(self, error: BaseException) -> None:
        self.fatal = error

    def answers(self) -> list[Any]:
        return [one.message for one in self.out if isinstance(one.message, ControlDone)]


def test_only_what_was_named_is_cancelled_and_no_actor_is_ended() -> None:
    core: Any = PaperCore()
    cancel_owned(core, b"tool", CancelOwned([1, 2, 4, 99], force=True, recursive=False, request=7))
    assert core.cancelled == [(1, (True, False)), (2, (False,))]
    assert core.answers() == [ControlDone(7, 2)]


def test_a_driver_ends_its_job_once_and_says_why() -> None:
    core: Any = PaperCore()
    for request in (1, 2):
        end_job(core, b"tool", EndJob("somebody asked for it", request))
    assert core.answers() == [ControlDone(1, 1), ControlDone(2, 0)]
    assert "somebody asked for it" in str(core.fatal)
    assert [type(one.message) for one in core.out].count(ReportJobEnd) == 1


def test_a_worker_has_no_job_to_end() -> None:
    core: Any = PaperCore(is_driver=False)
    end_job(core, b"tool", EndJob("why", 1))
    assert core.answers() == [ControlDone(1, 0)]
    assert core.fatal is None
