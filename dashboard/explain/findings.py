"""From where the slots' time went to what a user should know and do: findings, the costliest first. Pure.

A finding is said when its cause took a tenth of the slots' time, since every cell has a begin and an end at which not
all slots are busy. Each has the numbers that it rests on, the functions and lines it is about, and one advice.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from ...cluster.telemetry.phases import Phase
from .accounting import account, phase_seconds
from .cause import TINY, Accounting, Cause
from .causes import EXPLAINED, SHARE, Finding, explain_gpus
from .path import Step, critical_path
from .record import CellRecord
from .words import span

__all__ = ["SHORTEST", "Diagnosis", "Finding", "FunctionRow", "diagnose"]

_MESSAGES: Final = 0.2  # the same for messages between tasks that are not tiny, and for waiting for workers
SHORTEST: Final = 0.1
"""Seconds of a cell: of a shorter one its begin and its end are too large a part."""
_LINES: Final = 3


class FunctionRow(msgspec.Struct):
    """The tasks of one function. Times are seconds."""

    name: str
    line: int
    tasks: int
    failed: int
    total: float
    median: float
    longest: float


class Diagnosis(msgspec.Struct):
    """Why a cell took as long as it did.

    Attributes
    ----------
    seconds
        Slot-seconds by cause: they add up to ``wall × slots``.
    gaps
        What is not known, and why.
    """

    cell: int
    wall: float
    slots: float
    tasks: int
    seconds: dict[str, float]
    findings: list[Finding]
    functions: list[FunctionRow]
    path: list[Step]
    gaps: list[str]


def diagnose(record: CellRecord) -> Diagnosis:
    """Account for the cell's slots, and say what that means."""
    accounting = account(record)
    findings: list[Finding] = []
    if record.wall >= SHORTEST and len(record.runs):
        for cause, explain in EXPLAINED.items():
            if accounting.share(cause) >= _least(record, cause):
                finding = explain(record, accounting)
                finding.lines = sorted(set(finding.lines))[:_LINES]
                findings.append(finding)
        gpu = explain_gpus(record)
        if gpu is not None:
            findings.append(gpu)
    findings.sort(key=lambda finding: -finding.share)
    return Diagnosis(
        record.number,
        record.wall,
        accounting.slots,
        len(record.runs),
        {str(cause): seconds for cause, seconds in sorted(accounting.seconds.items(), key=lambda one: -one[1])},
        findings,
        _functions(record),
        critical_path(record),
        _unknown(record, accounting),
    )


def _least(record: CellRecord, cause: Cause) -> float:
    """The share from which on a cause is named. Delays of messages are also made by a machine that is busy."""
    if cause in (Cause.SCHEDULING, Cause.WAITING) or (
        cause is Cause.OVERHEAD and float(record.runs.spans.mean()) >= TINY
    ):
        return _MESSAGES
    return SHARE


def _functions(record: CellRecord) -> list[FunctionRow]:
    rows: list[FunctionRow] = []
    for number, function in enumerate(record.functions):
        chosen = record.runs.functions == number
        spans = record.runs.spans[chosen]
        if len(spans):
            failed = int(record.runs.failed[chosen].sum())
            numbers = (float(spans.sum()), float(np.median(spans)), float(spans.max()))
            rows.append(FunctionRow(function.name, function.line, len(spans), failed, *numbers))
    return sorted(rows, key=lambda row: -row.total)


def _unknown(record: CellRecord, accounting: Accounting) -> list[str]:
    gaps: list[str] = []
    if record.wall < SHORTEST and len(record.runs):
        gaps.append(f"The cell took less than {span(SHORTEST)}: too little to name a reason. Give it more to do.")
    if record.driver is None:
        gaps.append(
            "The cell ran without being measured: what the driver did, when tasks were submitted, and what"
            " serialization took is not known. Run it again below %%explain."
        )
    elif not len(record.runs) and Phase.SUBMIT in record.driver.sums:
        gaps.append(
            "No events of its tasks came: they are not recorded (HIMALIA_TELEMETRY=0, enable_task_events=False)."
        )
    elif record.phases is None and len(record.runs):
        gaps.append("No worker told what it measured: what serialization took in tasks is not known.")
    held_up = phase_seconds(record, Phase.HELD_UP)
    if held_up >= SHARE * accounting.capacity:
        gaps.append(
            f"Tasks waited {span(held_up)} for processors that others had: other programs, the notebook, or more"
            " workers than this machine has cores."
        )
    if record.lost:
        gaps.append(f"{record.lost:,} events of tasks were lost: their time counts as idle.")
    if accounting.share(Cause.UNKNOWN) >= SHARE:
        seconds = accounting.seconds[Cause.UNKNOWN]
        gaps.append(f"Why slots stood still for {seconds:.1f} slot-seconds is not known.")
    return gaps
