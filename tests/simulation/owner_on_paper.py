"""An owner's tasks without anything around them: what a raylet and workers say goes in, messages come out."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from himalia.cluster.core.commands import Send
from himalia.cluster.core.completion import Completion
from himalia.cluster.core.records import Plan, Record
from himalia.cluster.core.references import References
from himalia.cluster.core.refs import ObjectRef
from himalia.cluster.core.submission import Submission
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.core_messages import ARG_INLINE, Dep, Result, Task, TaskResults, Template
from himalia.cluster.protocol.raylet_messages import LeaseGranted, LeaseSpec

OWNER, RAYLET, OTHER = b"\x01owner!!", b"\x01raylet!", b"\x01raylet2"

T = TypeVar("T")


class Submitted(NamedTuple):
    record: Record
    made: ObjectRef


class Owner:
    """One class of tasks, and a raylet that grants what the test says."""

    def __init__(self) -> None:
        self.out: list[Any] = []
        self.now = 0.0
        self.references = References(Address(OWNER), self.out)
        self.completion = Completion(self.references, self.out, b"node")
        self.submission = Submission(self.completion, self.out, RAYLET, Address(OWNER))
        self.submission.cancel_error = lambda record: b"cancelled"
        self.submission.refuse_error = lambda record, refusal: b"refused"
        self.plan = Plan(Template(1, "f", b"hash"), "f", None)
        self.scheduling = self.submission.scheduling_class(LeaseSpec({"CPU": 10_000}, b"job"))
        self.plan.scheduling = self.scheduling
        self.plan.estimate = 0.0001
        self._last = 0

    def submit(self, *deps: ObjectRef) -> Submitted:
        self._last += 1
        ref = ObjectRef(OWNER, self._last)
        task = Task(self._last, 1, b"", [Dep(0, dep.binary(), ARG_INLINE) for dep in deps] or None)
        record = Record(task, self.plan, ref, None, 0, list(deps) or None)
        ref._data = record
        self.submission.submitted(record)
        self.submission.pump(self.now)
        return Submitted(record, ref)

    def lease(self, number: int = 1, raylet: bytes = RAYLET) -> bytes:
        worker = b"\x01worker%d" % number
        self.submission.lease_granted(raylet, LeaseGranted(1, number, Address(worker)), self.now)
        self.submission.pump(self.now)
        return worker

    def results(self, worker: bytes, *results: Result) -> None:
        self.submission.results(self.submission.workers[worker], TaskResults(list(results), 0.001), self.now)
        self.submission.pump(self.now)

    def told(self, peer: bytes, kind: type[T]) -> list[T]:
        """Messages of this type to a peer since the last look."""
        found = [c.message for c in self.out if isinstance(c, Send) and c.peer == peer and isinstance(c.message, kind)]
        self.out[:] = [
            c for c in self.out if not (isinstance(c, Send) and c.peer == peer and isinstance(c.message, kind))
        ]
        return found
