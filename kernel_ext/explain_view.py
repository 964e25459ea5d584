"""A diagnosis as HTML that stands in a saved notebook, and as text: the same words in both."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from ..dashboard.explain.findings import SHORTEST
from ..dashboard.explain.path import coarse
from ..dashboard.explain.words import percent, span
from .html import BAD, BUSY, GOOD, card
from .tables import Table

if TYPE_CHECKING:
    from ..cluster.protocol.stack_messages import Profile
    from ..dashboard.explain.findings import Diagnosis, Finding
    from ..dashboard.explain.path import Step

__all__ = ["explain_bundle"]

_WIDTH: Final = 560  # pixels of a bar
_SHOWN: Final = 8  # functions, and steps of the path
_SMALLEST: Final = 0.004  # of a bar: what is less is not drawn

COLOURS: Final = {
    "compute": "#009e73",
    "other work": "#8a8a8a",
    "serialization": "#d55e00",
    "transfer": "#e69f00",
    "spill": "#a6611a",
    "overhead": "#cc79a7",
    "loading": "#8c6bb1",
    "straggler": "#c51b7d",
    "dependencies": "#0072b2",
    "parallelism": "#56b4e9",
    "driver": "#b8860b",
    "scheduling": "#5d6d7e",
    "waiting": "#f0c808",
    "unknown": "#b0b0b0",
}
"""By cause: of Okabe and Ito where they suffice, so that they can be told apart by everybody."""

_WORDS: Final = {
    "compute": "computing",
    "other work": "other cells",
    "serialization": "serialization",
    "transfer": "moving data",
    "spill": "spilling",
    "overhead": "overhead of tasks",
    "loading": "loading code",
    "straggler": "idle: stragglers",
    "dependencies": "idle: dependencies",
    "parallelism": "idle: too few tasks",
    "driver": "idle: the notebook's own code",
    "scheduling": "idle: no worker",
    "waiting": "tasks wait in themselves",
    "unknown": "idle: reason not known",
    "gpu idle": "GPU idle",
}
_STEPS: Final = {"task": "#009e73", "driver": "#b8860b", "wait": "#8a8a8a"}


def explain_bundle(
    diagnosis: Diagnosis, notes: list[str] | None = None, profile: Profile | None = None
) -> dict[str, str]:
    """HTML and plain text.

    Parameters
    ----------
    notes
        Said at the end, with what is not known.
    profile
        Shown below, as a flame graph and as its hottest functions.
    """
    said = [*diagnosis.gaps, *(notes or [])]
    html, text = _html(diagnosis, said), _text(diagnosis, said)
    if profile is not None:
        from ..dashboard.plots.flame import flame_html, flame_text

        html += flame_html(profile, title="Flame graph")
        text += f"\n{flame_text(profile, _SHOWN)}"
    return {"text/html": html, "text/plain": text}


def _summary(diagnosis: Diagnosis) -> str:
    computed = diagnosis.seconds.get("compute", 0.0)
    capacity = diagnosis.wall * diagnosis.slots
    share = f", which computed {percent(computed / capacity)} of it" if capacity else ""
    return f"{span(diagnosis.wall)} on {diagnosis.slots:g} CPUs{share}"


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.findings:
        return ""
    if not diagnosis.tasks:
        return "" if diagnosis.gaps else "The cell submitted no tasks."
    if diagnosis.wall < SHORTEST:
        return ""  # which the gaps tell
    return "Nothing stands out: the cluster was busy with the cell's work."


def _title(diagnosis: Diagnosis) -> str:
    return f"Cell [{diagnosis.cell}]" if diagnosis.cell else "Cell"


def _text(diagnosis: Diagnosis, said: list[str]) -> str:
    lines = [f"{_title(diagnosis)} took {_summary(diagnosis)}"]
    if verdict := _verdict(diagnosis):
        lines.append(f"  {verdict}")
    for number, finding in enumerate(diagnosis.findings, 1):
        lines.append(f"{number}. {_headline(finding)}")
        lines += [f"     {_evidence(line)}" for line in finding.evidence]
        if where := _where(finding, diagnosis.cell):
            lines.append(f"     {where}")
        lines.append(f"   → {finding.advice}")
    lines.append("  Where the time of all CPUs went:")
    capacity = diagnosis.wall * diagnosis.slots or 1.0
    shown = [(cause, seconds) for cause, seconds in diagnosis.seconds.items() if seconds / capacity >= _SMALLEST]
    width = max((len(_WORDS[cause]) for cause, _ in shown), default=0)
    lines += [
        f"    {_WORDS[cause]:<{width}}  {percent(seconds / capacity):>5}  {span(seconds)}" for cause, seconds in shown
    ]
    if diagnosis.functions:
        lines.append(_functions(diagnosis).text())
    if diagnosis.path:
        lines.append("  Critical path: " + " → ".join(_step_text(step) for step in coarse(diagnosis.path, _SHOWN)))
    return "\n".join([*lines, *(f"  {line}" for line in said)])


def _html(diagnosis: Diagnosis, said: list[str]) -> str:
    colour = BAD if diagnosis.findings else BUSY if diagnosis.gaps else GOOD
    parts = [card(_title(diagnosis), f"took {_summary(diagnosis)}", colour, [])]
    if verdict := _verdict(diagnosis):
        parts.append(f'<div style="margin:4px 0">{escape(verdict)}</div>')
    parts += [_finding_html(number, finding, diagnosis.cell) for number, finding in enumerate(diagnosis.findings, 1)]
    capacity = diagnosis.wall * diagnosis.slots
    if capacity:
        parts.append(_caption("Where the time of all CPUs went"))
        shares = [(_WORDS[cause], COLOURS[cause], one / capacity) for cause, one in diagnosis.seconds.items()]
        parts.append(_bar(shares))
    if diagnosis.path and diagnosis.wall:
        parts.append(_caption("Critical path: what had to end before what, from the cell's begin to its end"))
        steps = [
            (_step_text(step), _STEPS[step.kind], step.seconds / diagnosis.wall)
            for step in coarse(diagnosis.path, _SHOWN)
        ]
        parts.append(_bar(steps))
    if diagnosis.functions:
        parts.append(_functions(diagnosis).html())
    parts += [f'<div style="opacity:.65;font-size:12px">{escape(line)}</div>' for line in said]
    return f'<div style="font-family:sans-serif;font-size:13px;line-height:1.6">{"".join(parts)}</div>'


def _headline(finding: Finding) -> str:
    return f"{finding.title} ({percent(finding.share)})"


def _evidence(line: str) -> str:
    return line[:1].upper() + line[1:]


def _where(finding: Finding, cell: int) -> str:
    if not finding.lines:
        return ""
    word = "line" if len(finding.lines) == 1 else "lines"
    return f"See In [{cell}], {word} {', '.join(map(str, finding.lines))}"


def _finding_html(number: int, finding: Finding, cell: int) -> str:
    colour = COLOURS.get(finding.cause, BAD)
    facts = [_evidence(line) for line in finding.evidence]
    if where := _where(finding, cell):
        facts.append(where)
    return (
        f'<div style="margin:6px 0;padding-left:10px;border-left:3px solid {colour}">'
        f"<b>{number}. {escape(_headline(finding))}</b>"
        f'<div style="opacity:.8">{escape(". ".join(facts))}.</div>'
        f"<div>→ {escape(finding.advice)}</div></div>"
    )


def _caption(text: str) -> str:
    return f'<div style="opacity:.65;font-size:12px;margin-top:6px">{escape(text)}</div>'


def _bar(shares: list[tuple[str, str, float]]) -> str:
    """Boxes side by side, in the width of their share, with a legend that has the same order."""
    shown = [(name, colour, share) for name, colour, share in shares if share >= _SMALLEST]
    boxes = "".join(
        f'<span title="{escape(f"{name}: {percent(share)}")}" style="display:inline-block;height:14px;'
        f'width:{max(1, round(share * _WIDTH))}px;background-color:{colour}"></span>'
        for name, colour, share in shown
    )
    legend = "".join(
        f'<span style="margin-right:14px;white-space:nowrap"><span style="color:{colour}">■</span> '
        f"{escape(name)} {percent(share)}</span> "
        for name, colour, share in shown
    )
    return f'<div style="white-space:nowrap;line-height:0">{boxes}</div><div style="font-size:12px">{legend}</div>'


def _functions(diagnosis: Diagnosis) -> Table:
    rows = [
        [
            row.name,
            f"line {row.line}" if row.line else "",
            f"{row.tasks:,}",
            str(row.failed or ""),
            span(row.total),
            span(row.median),
            span(row.longest),
        ]
        for row in diagnosis.functions[:_SHOWN]
    ]
    columns = ("function", "called in", "tasks", "failed", "in all", "half took less than", "longest")
    return Table(columns, rows, frozenset(columns[2:]))


def _step_text(step: Step) -> str:
    if step.kind == "task":
        name = f"{step.tasks:,} × {step.name}" if step.tasks > 1 else step.name
    else:
        name = "notebook" if step.kind == "driver" else "waiting"
    return f"{name} {span(step.seconds)}"
