"""How many instructions a task costs its owner and its worker, which does not depend on what else the machine does.

The machines of both sides run in one process and hand each other encoded messages; there are no sockets, so what is
counted is Himalia's own work, pickling and coding of messages included. In the order of a task's life:

``submit``   `f.remote(1, 2)`: the record and its reference, into the inbox
``push``     inbox to queue to worker: the message with the tasks, encoded
``execute``  the worker: message decoded, arguments unpickled, function called, result pickled, message encoded; the
             task recorded, if telemetry is on (HIMALIA_TELEMETRY)
``result``   the owner: message decoded, references told
``get``      the value of each reference

Ways of counting, best first: ``perf`` (the processor counts; few virtual machines let one), ``callgrind`` (Valgrind
counts, fifty times slower), ``bytecodes`` (the interpreter's own instructions, blind to what C code does). Numbers of
different ways, or of different versions of Python, do not compare.

``--explained`` counts the same while both sides are measured as for ``%%explain``.

Usage: python bench/hot_path.py [--method NAME] [--tasks N] [--explained]
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import count as counter
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import msgspec

__all__ = ["METHODS", "PHASES", "count"]

METHODS = ("perf", "callgrind", "bytecodes")
PHASES = ("submit", "push", "execute", "result", "get")
_WARM_UP = (
    200  # tasks before what is counted: templates sent, the time of a task learnt, caches of the interpreter filled
)


class HotPath:
    """An owner and a worker in one process. ``explained``: both measure what they do."""

    def __init__(self, explained: bool = False) -> None:
        from himalia.cluster.core.cells import EndedCells
        from himalia.cluster.core.completion import Completion
        from himalia.cluster.core.objects import ObjectOps
        from himalia.cluster.core.references import References
        from himalia.cluster.core.submission import Submission
        from himalia.cluster.core.tasks import TIMED, TaskOps
        from himalia.cluster.core.timing import CoreTiming
        from himalia.cluster.protocol.common import Address
        from himalia.cluster.protocol.core_messages import CoreMessage
        from himalia.cluster.protocol.raylet_messages import LeaseGranted
        from himalia.cluster.serialization import functions
        from himalia.cluster.telemetry.phases import PhaseLog
        from himalia.cluster.telemetry.recorder import WorkerRecorder
        from himalia.cluster.worker.executor import Executor
        from himalia.cluster.worker.output import Output

        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(CoreMessage).decode
        node, raylet = b"node0001", b"raylet01"
        owner, worker = Address(b"owner001", node), Address(b"worker01", node)
        self.peer = worker.worker_id
        self.out: list[Any] = []
        references = References(owner, self.out)
        self.submission = Submission(Completion(references, self.out, node), self.out, raylet, owner)
        self.inbox: deque[Any] = deque()

        # What the two mixins that the user's thread runs through ask of a core.
        core: Any = SimpleNamespace(
            fatal=None,
            worker_id=owner.worker_id,
            node_id=node,
            next_counter=counter(1).__next__,
            inbox=self.inbox,
            reactor=SimpleNamespace(sleeping=False),
            submission=self.submission,
            templates=0,
            job_id=b"",
            pinned_refs=[],
            code={},
            _with_root=lambda options: {**options, TIMED: True} if explained else options,
        )
        for mixin, names in ((TaskOps, ("submit", "_task_with_args", "make_plan")), (ObjectOps, ("_value",))):
            for name in names:
                setattr(core, name, getattr(mixin, name).__get__(core))
        core.submit_function = core.submit  # for `f.remote()` it finds the plan, which is here at hand
        self._add_measured(core)
        if explained:
            CoreTiming(core, PhaseLog()).install()
        self.core = core
        self.worker_out: list[Any] = []
        worker_core: Any = SimpleNamespace(
            worker_id=worker.worker_id,
            node_id=node,
            out=self.worker_out,
            handlers={},
            pid=1,
            job_id=b"",
            next_counter=counter(1).__next__,
            fetch_function=lambda content_hash: b"",
            before_flush=None,
            gcs_send=self.encode,
            tick_hooks=[],
            cells=SimpleNamespace(ended=EndedCells()),
            timing=None,
            _value=None,
            submit_function=None,
        )
        self._add_measured(worker_core)
        self.executor = Executor(worker_core, memoryview(bytearray(8)).cast("Q"))
        WorkerRecorder.install(worker_core, self.executor)
        output = Output(worker_core, "", lambda: self.executor.running)  # of tasks that print nothing: no file is made
        self.executor.output = self.executor.outgoing.output = output

        def add(a: int, b: int) -> int:
            return a + b

        self.plan = core.make_plan("add", functions.export_function(add), resources={"CPU": 10_000})
        self.plan.estimate = 1e-6  # known, so that one message takes them all, whatever the machine does
        self.lease = LeaseGranted(1, 1, worker)
        self.raylet = raylet
        self.refs: list[Any] = []
        self.messages: list[bytes] = []

    @staticmethod
    def _add_measured(core: Any) -> None:
        """Methods of a core that measuring replaces, and that a task without references does not come through."""
        for name in ("call_method", "get", "put", "_put_large", "_read", "write_object", "_ask_raylet", "_hold_pin"):
            setattr(core, name, None)
        core.blocking = nullcontext

    @classmethod
    def warm(cls, explained: bool = False) -> HotPath:
        """One that has run, in a process whose older objects the garbage collector leaves alone, as in a worker."""
        path = cls(explained)
        path.run(_WARM_UP, lambda phase, step: step())
        gc.collect()  # else it is chance in which phase all objects are looked at
        gc.freeze()
        return path

    def submit(self, tasks: int) -> None:
        submit, plan = self.core.submit_function, self.plan
        self.refs = [submit(plan, (1, 2), {}) for _ in range(tasks)]

    def push(self, tasks: int) -> None:
        submission, inbox = self.submission, self.inbox
        while inbox:
            submission.submitted(inbox.popleft())
        submission.pump(0.0)
        if not submission.workers:
            submission.lease_granted(self.raylet, self.lease, 0.0)
            submission.pump(0.0)
        self._encode_all(self.out)

    def execute(self, tasks: int) -> None:
        executor = self.executor
        for message in self._taken():
            executor.on_push(b"owner001", message)
        while executor.queue:
            executor.execute(executor.queue.popleft())
        executor.outgoing.collect()
        self._encode_all(self.worker_out)
        if executor.events is not None:
            executor.events.flush()  # as the next tick would

    def result(self, tasks: int) -> None:
        worker = self.submission.workers[self.peer]
        for message in self._taken():
            message.busy = -1.0  # measured: it would change the estimate
            self.submission.results(worker, message, 0.0)

    def get(self, tasks: int) -> None:
        value = self.core._value
        for ref in self.refs:
            assert value(ref) == 3

    def _encode_all(self, out: list[Any]) -> None:
        from himalia.cluster.protocol.core_messages import PushTasks, TaskResults

        messages = [getattr(command, "message", None) for command in out]
        self.messages = [self.encode(message) for message in messages if isinstance(message, PushTasks | TaskResults)]
        out.clear()

    def _taken(self) -> list[Any]:
        messages, self.messages = self.messages, []
        return [self.decode(message) for message in messages]

    def run(self, tasks: int, around: Callable[[str, Callable[[], None]], None], until: str = PHASES[-1]) -> None:
        """Take so many tasks from call to value, phase by phase."""
        for phase in PHASES[: PHASES.index(until) + 1]:
            step: Callable[[int], None] = getattr(self, phase)
            around(phase, partial(step, tasks))


def child(tasks: int, until: str, marked: bool, explained: bool) -> None:
    """What a counter watches: the path, warmed up, once. ``marked``: a system call of its own before each phase."""
    path = HotPath.warm(explained)

    def around(phase: str, step: Callable[[], None]) -> None:
        if marked:
            os.getppid()
        step()

    path.run(tasks, around, until)
    if marked:
        os.getppid()
    os._exit(0)  # how the interpreter ends is not of interest


def _child_command(tasks: int, *options: str) -> list[str]:
    return [sys.executable, __file__, "--child", "--tasks", str(tasks), *options]


def _run(command: list[str]) -> str:
    # The same order of sets and dictionaries in each run, and nothing compiled in one of them only.
    environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{' '.join(command[:4])} … failed: {run.stderr.strip().splitlines()[-3:]}")
    return run.stderr


def _perf(command: list[str]) -> int | None:
    """Instructions of a command in user mode; None if this kernel, or this virtual machine, does not count them."""
    with tempfile.NamedTemporaryFile("r") as out:
        _run(["perf", "stat", "-x", ",", "-e", "instructions:u", "-o", out.name, *command])
        found = re.search(r"^(\d+),[^,]*,instructions", out.read(), re.MULTILINE)
    return int(found[1]) if found else None


def _perf_works() -> bool:
    return shutil.which("perf") is not None and _perf(["true"]) is not None


def by_perf(tasks: int, *options: str) -> dict[str, float]:
    """Two sizes tell what a task costs apart from start-up, and runs that end after each phase tell these apart."""
    counts, before = {}, 0.0
    for phase in PHASES:
        few, many = (_perf(_child_command(n, "--until", phase, *options)) for n in (tasks // 2, tasks))
        assert few is not None and many is not None
        total = (many - few) / (tasks - tasks // 2)
        counts[phase] = total - before
        before = total
    return counts


def by_callgrind(tasks: int, *options: str) -> dict[str, float]:
    """One run; the marks between phases have Callgrind write what it has counted, and begin anew."""
    with tempfile.TemporaryDirectory(prefix="himalia-bench-") as folder:
        out = Path(folder) / "out"
        counting = ["--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
        _run(["valgrind", *counting, *_child_command(tasks, "--marked", *options)])
        counts = {}
        for number, phase in enumerate(PHASES, 2):  # the first part is what came before the first mark
            found = re.search(r"^(?:totals|summary): (\d+)", Path(f"{out}.{number}").read_text(), re.MULTILINE)
            assert found is not None, f"Callgrind wrote no sum for {phase}"
            counts[phase] = int(found[1]) / tasks
    return counts


def by_bytecodes(tasks: int, *options: str) -> dict[str, float]:
    """In this process: each phase once more, with the interpreter telling of every instruction."""
    path = HotPath.warm("--explained" in options)
    counts: dict[str, float] = {}

    def around(phase: str, step: Callable[[], None]) -> None:
        counts[phase] = _bytecodes(step) / tasks

    path.run(tasks, around)
    return counts


def _bytecodes(step: Callable[[], None]) -> int:
    executed = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal executed
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        executed += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(before)
    return executed


def count(method: str = "auto", tasks: int = 1_000, explained: bool = False) -> tuple[str, dict[str, float]]:
    """Instructions of a task by phase, and in which way they were counted.

    Parameters
    ----------
    method
        One of `METHODS`; ``auto`` is the first that works here.
    tasks
        How many are counted, 1,000 at most: as many as travel in one message.
    explained
        While both sides measure what they do.
    """
    if importlib.util.find_spec("himalia") is None:
        raise SystemExit("himalia is not installed for this interpreter: pip install -e .")
    tasks = min(max(tasks, 2), 1_000)
    if method == "auto":
        method = "perf" if _perf_works() else "callgrind" if shutil.which("valgrind") else "bytecodes"
    elif method == "perf" and not _perf_works():
        raise SystemExit("perf is not installed, or the processor's counters can not be read here (virtual machine?)")
    elif method == "callgrind" and not shutil.which("valgrind"):
        raise SystemExit("callgrind is a part of Valgrind, which is not installed")
    by = {"perf": by_perf, "callgrind": by_callgrind, "bytecodes": by_bytecodes}[method]
    counts = by(tasks, *(["--explained"] if explained else []))
    return method, {**counts, "total": sum(counts.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="auto", choices=["auto", *METHODS])
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--explained", action="store_true", help="while both sides are measured, as for %%%%explain")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--until", default=PHASES[-1], choices=PHASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.tasks, options.until, options.marked, options.explained)
    method, counts = count(options.method, options.tasks, options.explained)
    for phase, number in counts.items():
        print(f"{phase:10}{number:12,.0f} {'' if method == 'bytecodes' else 'instructions, by '}{method}")


if __name__ == "__main__":
    main()
