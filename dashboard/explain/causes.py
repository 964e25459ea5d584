"""What is said of each cause: its evidence, the functions and lines it is about, and what to do. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import msgspec
import numpy as np

from ...cluster.telemetry.phases import Phase, Sum
from .cause import TINY, Accounting, Cause
from .moments import is_straggler
from .path import Kind, critical_path
from .record import CellRecord
from .words import percent, size, span

__all__ = ["EXPLAINED", "SHARE", "Finding", "explain_gpus"]

SHARE: Final = 0.10
"""Of wall × slots that a cause must have taken to be named."""

_WANTED: Final = 0.02  # seconds that a task should take
_LOW_GPU: Final = 0.3  # of a GPU's time: below that it waits for the program


class Finding(msgspec.Struct):
    """One reason why the cell took as long as it did.

    Attributes
    ----------
    cause
        A `Cause`, or ``gpu idle``.
    seconds, share
        Slot-seconds that it took, and of all there were.
    title
        In a few words.
    evidence
        What was measured.
    advice
        What to do.
    functions, lines
        Which functions, and which lines of the cell, it is about.
    """

    cause: str
    seconds: float
    share: float
    title: str
    evidence: list[str]
    advice: str
    functions: list[str] = []
    lines: list[int] = []


def _make(
    record: CellRecord,
    accounting: Accounting,
    cause: Cause,
    title: str,
    evidence: list[str],
    advice: str,
    functions: list[int] | None = None,
    lines: list[int] | None = None,
) -> Finding:
    share = accounting.share(cause)
    chosen = [record.functions[number] for number in functions or ()]
    places = [*(lines or ()), *(function.line for function in chosen if function.line)]
    names = [function.name for function in chosen]
    return Finding(str(cause), accounting.seconds[cause], share, title, evidence, advice, names, places)


def _largest(record: CellRecord) -> list[int]:
    """Numbers of functions, that with the most tasks first."""
    counts = np.bincount(record.runs.functions, minlength=len(record.functions))
    return [int(number) for number in np.argsort(-counts) if counts[number]]


def _phase_sum(record: CellRecord, *phases: Phase) -> dict[int, Sum]:
    """Phases of workers by function, in sum."""
    found: dict[int, Sum] = {}
    for (number, phase), one in (record.phases or {}).items():
        if phase in phases:
            known = found.setdefault(number, Sum())
            known.count, known.seconds = known.count + one.count, known.seconds + one.seconds
            known.nbytes += one.nbytes
    return found


def _overhead(record: CellRecord, accounting: Accounting) -> Finding:
    number = _largest(record)[0]
    spans = record.runs.spans[record.runs.functions == number]
    mean = float(spans.mean())
    name = record.functions[number].name
    if mean >= TINY:
        return _make(
            record,
            accounting,
            Cause.OVERHEAD,
            "Messages between the driver and its tasks",
            [f"tasks of {name} take {span(mean)}, and slots wait between them"],
            "Submit all tasks before the first get(), so that the next one is there when one ends.",
            [number],
        )
    batch = 2 ** max(1, math.ceil(math.log2(_WANTED / max(mean, 1e-6))))
    batch = min(batch, max(2, len(spans) // max(1, round(4 * accounting.slots))))
    return _make(
        record,
        accounting,
        Cause.OVERHEAD,
        "Tiny tasks",
        [f"{len(spans):,} tasks of {name} take {span(mean)} each: less than it costs to send them"],
        f"Give the actor about {batch:,} things in one call."
        if record.functions[number].is_actor
        else f"Do about {batch:,} of them in a task: himalia.util.map({name}, …, chunksize={batch}) does, with a plain"
        " function instead of a remote one.",
        [number],
    )


def _serialization(record: CellRecord, accounting: Accounting) -> Finding:
    evidence: list[str] = []
    lines: list[int] = []
    driver = record.driver
    if driver is not None:
        for phase, what in ((Phase.PUT, "pickled large arguments"), (Phase.READ, "unpickled results")):
            one = driver.sums.get(phase)
            if one is not None and one.seconds > SHARE * record.wall / 2:
                amount = f" ({size(one.nbytes)})" if one.nbytes else ""
                evidence.append(f"the driver {what} for {span(one.seconds)}{amount}")
                lines += _busiest(driver.sent)
        one = driver.sums.get(Phase.SUBMIT)
        if one is not None and one.count and one.seconds / one.count > 0.001:
            evidence.append(f"submitting took {span(one.seconds)}: a function takes much along, or arguments are deep")
            lines += _busiest(driver.sent)
    functions: list[int] = []
    for phases, what in (
        ((Phase.ARGUMENTS, Phase.READ), "reading arguments"),
        ((Phase.RESULT, Phase.PUT), "pickling results"),
    ):
        for number, one in sorted(_phase_sum(record, *phases).items(), key=lambda item: -item[1].seconds)[:1]:
            if one.seconds > SHARE * accounting.capacity / 2:
                evidence.append(f"{what} took tasks of {record.functions[number].name} {span(one.seconds)} in all")
                functions.append(number)
    return _make(
        record,
        accounting,
        Cause.SERIALIZATION,
        "Serialization",
        evidence,
        "Pass what many tasks read once, by himalia.put(); turn nested Python objects into arrays or tables, which are"
        " not pickled piece by piece; let tasks make or read their data themselves.",
        functions or _largest(record)[:1],
        lines,
    )


def _transfer(record: CellRecord, accounting: Accounting) -> Finding:
    fetched, stored = _phase_sum(record, Phase.FETCH), _phase_sum(record, Phase.STORE)
    evidence: list[str] = []
    functions: list[int] = []
    kinds = [(fetched, "waited for objects of other nodes"), (stored, "copied into the object store")]
    if record.spilled == 0:
        ready = _phase_sum(record, Phase.ROOM)
        kinds.append((ready, "waited for memory of the object store that was got ready"))
    for sums, what in kinds:
        for number, one in sorted(sums.items(), key=lambda item: -item[1].seconds)[:1]:
            if one.seconds > SHARE * accounting.capacity / 3:
                amount = f" ({size(one.nbytes)})" if one.nbytes else ""
                evidence.append(f"tasks of {record.functions[number].name} {what} for {span(one.seconds)}{amount}")
                functions.append(number)
    copied = sum(one.seconds for sums, _ in kinds[1:] for one in sums.values())
    moved = sum(one.seconds for one in fetched.values()) > copied
    advice = (
        "Run tasks where their data is: give each node its share once and keep it there (an actor a node, or"
        " NodeAffinitySchedulingStrategy), and send back only what is small."
        if moved
        else "Return less: reduce in the task that made the data, or hand on the reference of an array as it is, which"
        " is not copied again."
    )
    title = "Data moves between nodes" if moved else "Data is copied"
    return _make(record, accounting, Cause.TRANSFER, title, evidence, advice, functions or _largest(record)[:1])


def _spill(record: CellRecord, accounting: Accounting) -> Finding:
    evidence: list[str] = []
    if record.spilled:
        evidence.append(f"{size(record.spilled)} were written to disk, {size(record.restored or 0)} read back")
    functions: list[int] = []
    for phases, what in (((Phase.ROOM,), "room in the object store"), ((Phase.RESTORE,), "objects to come from disk")):
        for number, one in sorted(_phase_sum(record, *phases).items(), key=lambda item: -item[1].seconds)[:1]:
            evidence.append(f"tasks of {record.functions[number].name} waited {span(one.seconds)} for {what}")
            functions.append(number)
    return _make(
        record,
        accounting,
        Cause.SPILL,
        "Object memory is full: objects go to disk",
        evidence,
        "Keep less at a time: drop references you do not need (%memory shows who holds what), work in waves with"
        " himalia.wait(), or give the store more memory (object_store_memory=…).",
        functions or _largest(record)[:1],
    )


def _loading(record: CellRecord, accounting: Accounting) -> Finding:
    evidence: list[str] = []
    functions: list[int] = []
    for number, one in sorted(_phase_sum(record, Phase.LOAD).items(), key=lambda item: -item[1].seconds)[:1]:
        name = record.functions[number].name
        evidence.append(f"loading {name} took {span(one.seconds)} in all, in {one.count} workers")
        functions.append(number)
    return _make(
        record,
        accounting,
        Cause.LOADING,
        "Workers load functions and what they import",
        evidence,
        "It happens once a worker: the next cell is faster. If the function takes large data along, pass that by"
        " himalia.put() instead.",
        functions,
    )


def _stragglers(record: CellRecord, accounting: Accounting) -> Finding:
    late = is_straggler(record)
    rows = np.flatnonzero(late)
    row = int(rows[np.argmax(record.runs.spans[rows])])
    number = int(record.runs.functions[row])
    spans = record.runs.spans[record.runs.functions == number]
    longest, median = float(record.runs.spans[row]), float(np.median(spans))
    name = record.functions[number].name
    some = f"{len(rows)} tasks" if len(rows) > 1 else "one task"
    workers = {int(worker) for worker in record.runs.workers[rows]}
    evidence = [
        f"{some} of {name} took up to {span(longest)}; half of all {len(spans):,} took less than {span(median)}",
        f"the longest is task {int(record.runs.counters[row])}",
    ]
    if len(rows) > 2 and len(workers) == 1:
        evidence.append("all of them ran in the same worker")
    return _make(
        record,
        accounting,
        Cause.STRAGGLER,
        "Stragglers: a few tasks take much longer than the others",
        evidence,
        "Split the large pieces, or submit them first: then the short ones fill the slots beside them.",
        [number],
    )


def _dependencies(record: CellRecord, accounting: Accounting) -> Finding:
    path = [step for step in critical_path(record) if step.kind is Kind.TASK]
    tasks = sum(step.tasks for step in path)
    chain = " → ".join(dict.fromkeys(step.name for step in path))
    numbers = [number for number, one in enumerate(record.functions) if one.name in {step.name for step in path}]
    evidence = [f"the longest chain is of {tasks:,} tasks ({chain}), one after the other"] if tasks > 1 else []
    nested = _phase_sum(record, Phase.BLOCKED)
    if sum(one.seconds for one in nested.values()) > SHARE * accounting.capacity:
        number = max(nested, key=lambda one: nested[one].seconds)
        evidence.append(f"tasks of {record.functions[number].name} waited in get() for others")
    evidence.append(f"{accounting.concurrency:.1f} tasks ran at a time, on average")
    return _make(
        record,
        accounting,
        Cause.DEPENDENCIES,
        "Tasks wait for the results of others",
        evidence,
        "Shorten the chain: combine results in a tree instead of one after the other, begin with what the chain needs"
        " first, and let independent chains run side by side.",
        numbers,
    )


def _parallelism(record: CellRecord, accounting: Accounting) -> Finding:
    counts = np.bincount(record.runs.functions, minlength=len(record.functions))
    number = int(np.argmax(np.bincount(record.runs.functions, record.runs.spans)))
    name, tasks = record.functions[number].name, int(counts[number])
    waits = record.driver.sums.get(Phase.BLOCKED) if record.driver is not None else None
    evidence = [f"{accounting.concurrency:.1f} tasks ran at a time on average, where {accounting.slots:g} could"]
    lines: list[int] = []
    if accounting.concurrency < 1.3 and waits is not None and tasks > 2 and waits.count >= 0.5 * len(record.runs):
        evidence.append(f"the driver waited {waits.count:,} times, for {len(record.runs):,} tasks: once for each")
        advice = "Submit all tasks first, and get() their references together after the loop."
        title = "Each task is waited for before the next is submitted"
    elif tasks < accounting.slots:
        evidence.append(f"there {'are' if tasks > 1 else 'is'} {tasks} task{'s' if tasks > 1 else ''} of {name}")
        advice = f"Cut the work into more pieces: {math.ceil(2 * accounting.slots)} or more."
        title = "Fewer tasks than CPUs"
    elif record.functions[number].is_actor:
        evidence.append(f"calls of one actor run one after the other: {tasks:,} calls of {name}")
        advice = "Spread the work over several actors (himalia.util.ActorPool), or make it tasks."
        title = "One actor does the work"
    else:
        last = float(np.median(record.runs.spans[record.runs.functions == number]))
        evidence.append(f"{tasks:,} tasks of {name} take {span(last)} each: at the end some slots have none left")
        advice = "Cut the work into smaller pieces, and submit the longest first."
        title = "Too few tasks at a time"
    return _make(record, accounting, Cause.PARALLELISM, title, evidence, advice, [number], lines)


def _driver(record: CellRecord, accounting: Accounting) -> Finding:
    driver = record.driver
    assert driver is not None
    places = sorted(driver.places.items(), key=lambda item: -item[1])[:2]
    evidence = [f"the notebook's own process worked for {span(seconds)} in {place}" for place, seconds in places]
    return _make(
        record,
        accounting,
        Cause.DRIVER,
        "The cluster waits for the notebook's own code",
        evidence,
        "Make tasks of what the cell does itself between submitting and getting, or do it while tasks run.",
        [],
        _busiest(driver.lines),
    )


def _scheduling(record: CellRecord, accounting: Accounting) -> Finding:
    large = [function for function in record.functions if function.cpus > 1 or function.gpus]
    evidence = ["tasks that could run waited while CPUs were free"]
    if large:
        evidence += [
            f"tasks of {one.name} need {one.cpus:g} CPUs{f' and {one.gpus:g} GPUs' if one.gpus else ''}"
            for one in large
        ]
    first = float(record.runs.begins.min()) - record.begin
    if first > SHARE * record.wall:
        evidence.append(f"the first task began after {span(first)}")
    return _make(
        record,
        accounting,
        Cause.SCHEDULING,
        "Tasks wait for a worker, though CPUs are free",
        evidence,
        "Workers may have been starting (run the cell again), or tasks need what no node has free: more CPUs at a time,"
        " a GPU, a custom resource.",
        _largest(record)[:1],
    )


def _waiting(record: CellRecord, accounting: Accounting) -> Finding:
    number = int(np.argmax(np.bincount(record.runs.functions, record.runs.spans)))
    function = record.functions[number]
    share = accounting.seconds[Cause.WAITING] / max(
        accounting.seconds[Cause.WAITING] + accounting.seconds.get(Cause.COMPUTE, 0.0), 1e-9
    )
    cpus = max(0.1, round((function.cpus or 1.0) * (1 - share), 1))
    return _make(
        record,
        accounting,
        Cause.WAITING,
        "Tasks hold CPUs and do not compute: they wait for something of their own",
        [f"for {percent(share)} of their time tasks had no processor and needed none: they sleep, read, ask a server"],
        f"Let more of them run at a time: {function.name}.options(num_cpus={cpus:g}) says that they need less; or make"
        " them methods of an asynchronous actor.",
        [number],
    )


EXPLAINED: Final[dict[Cause, Callable[[CellRecord, Accounting], Finding]]] = {
    Cause.OVERHEAD: _overhead,
    Cause.SERIALIZATION: _serialization,
    Cause.TRANSFER: _transfer,
    Cause.SPILL: _spill,
    Cause.LOADING: _loading,
    Cause.STRAGGLER: _stragglers,
    Cause.DEPENDENCIES: _dependencies,
    Cause.PARALLELISM: _parallelism,
    Cause.DRIVER: _driver,
    Cause.SCHEDULING: _scheduling,
    Cause.WAITING: _waiting,
}


def _busiest(lines: dict[int, float]) -> list[int]:
    """The line that took the most time."""
    return [max(lines, key=lambda line: lines[line])] if lines else []


def explain_gpus(record: CellRecord) -> Finding | None:
    """GPUs that leases hold and nobody uses."""
    held = [sample for sample in record.gpus if sample.held > 0 and sample.utilisation]
    if not held:
        return None
    used = float(np.mean([np.mean(one.utilisation) for one in held]))
    if used >= _LOW_GPU:
        return None
    share = len(held) / len(record.gpus) * (1 - used)
    if share < SHARE:
        return None
    count = max(sample.held for sample in held)
    functions = [function for function in record.functions if function.gpus]
    return Finding(
        "gpu idle",
        share * record.wall * count,
        share,
        "GPUs are held and idle",
        [
            f"tasks held {count:g} GPUs in {percent(len(held) / len(record.gpus))} of the time",
            f"these computed {percent(used)} of it",
        ],
        "Prepare batches in other tasks while the GPU computes, larger ones, and copy them ahead of time; hold a GPU"
        " only where it is used.",
        [function.name for function in functions],
        [function.line for function in functions if function.line],
    )
