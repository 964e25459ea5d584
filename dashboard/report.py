"""A run as one HTML file that opens without a server, offline, on any machine: pages, their data, and time travel.

Strategy: a report is made by asking the cluster once, then playing the recorded run forward and noting, at some
moments, what changed in each page: the very operations that viewers are sent. In the browser `static/report.js` takes
the place of the connection. Single tasks are in it as far as somebody is likely to look: those that failed, and the
longest of each function; for the others the file says that they are not in it.

The HTML is the only format of a recorded run, since whoever is sent one can open it: a file of our own would need
Himalia of the same version. For other tools there is the Chrome trace (`cluster/telemetry/timeline.py`).

Rejected: all data of every page at every moment (a hundred times as large), and a server that reads recordings.
"""

from __future__ import annotations

import base64
import logging
import time
import zlib
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import msgspec

from ..cluster.gcs.client import Reachable
from ..cluster.telemetry.events import TaskState
from .answers import GcsAnswers
from .bundle import bokeh_js, bundled, static_text
from .hub import describe
from .model import Model
from .pages import PAGES, menu
from .pages.base import Page
from .pages.words import cell_key, group_key
from .recording import Player
from .state import ClusterAnswers, State, StateFeed

__all__ = ["make_report", "save_report"]

_FRAMES: Final = 100  # moments that the slider knows
_PAGE_BYTES: Final = 8 << 20  # of changes of one page; above, only its end is kept
_CELLS: Final = 30  # the newest
_GROUPS: Final = 40  # the newest
_LONGEST: Final = 10  # tasks of a function, each with its page
_FAILED: Final = 100  # tasks, each with its page …
_ASKED: Final = 20  # … and of so many, what they printed and their tracebacks

_log = logging.getLogger("himalia.dashboard")
_encode: Final = msgspec.json.Encoder().encode

_POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
"""The file fetches nothing and sends nothing."""

_AT_END: Final = "Only tasks are recorded through time: what else is here is as it was when this was saved."

_HTML: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="hm" data-theme="light">
<nav id="menu" aria-label="Pages"></nav>
<main><header><h1 id="title"></h1><span id="about"></span></header><div id="page"></div>
<footer id="left-out"></footer></main>
<noscript>This report needs JavaScript.</noscript>
<script id="himalia-record" type="text/plain">{record}</script>
<script>{bokeh}</script>
<script type="module">{client}</script>
</body>
</html>
"""


def save_report(where: Reachable, file: Path, job: str = "") -> int:
    """Write the report of the cluster at a place into a file; its size in bytes.

    Parameters
    ----------
    job
        The id of the job that it is of; empty: all.

    Raises
    ------
    ConnectionError
        The cluster is gone.
    LookupError
        There is no such job.
    OSError
        The file can not be written.
    """
    answers = GcsAnswers(where)
    try:
        text = make_report(answers, time.strftime("recorded %Y-%m-%d %H:%M:%S"), job)
    finally:
        answers.close()
    return file.write_bytes(text.encode())


class _Pages:
    """Pages of a report: each with its document and its data, by name and parameters."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.pages: dict[str, dict[str, Any]] = {}
        self.ends_only: list[str] = []  # titles of pages whose changes were too many
        self._known: dict[bytes, int] = {}

    def add(self, page: Page, frames: list[Any] | None = None) -> None:
        """Keep a page as it is now, or as its changes from one moment to the next."""
        layout = _encode([page.name, page.panels(), page.controls()])
        document = self._known.get(layout)
        if document is None:
            document = self._known[layout] = len(self.documents)
            self.documents.append(describe(page))
        if frames is None:
            frames = [[source.snapshot() for source in page.sources.values()]]
        note = _AT_END if page.needs() else ""
        self.pages[_key(page)] = {"document": document, "params": page.params, "frames": frames, "note": note}


def _key(page: Page) -> str:
    return f"{page.name}?{_encode(dict(sorted(page.params.items()))).decode()}"


def make_report(answers: ClusterAnswers, made: str, job: str = "") -> str:
    """The report as the text of an HTML file.

    Parameters
    ----------
    answers
        Who is asked for all that is to be in it.
    made
        When, in words for its reader.
    job
        The id of the job that it is of; empty: all.

    Raises
    ------
    ConnectionError
        The cluster is gone.
    LookupError
        There is no such job.
    """
    feed = StateFeed(answers)
    _read_all(feed, {name for page in _menu_pages(job) for name in page.needs()} | {"jobs"})
    if not feed.knows(job) and all(row["job_id"] != job for row in feed.state.get("jobs")):
        raise LookupError(f"there is no job {job!r}: `himalia list jobs` names those that there are")
    pages = _Pages()
    times = _play(feed, pages, job)
    state = feed.present(job)
    if job:
        made = f"{made}, job {job}"
    asked = 0
    for name, params in _others(state):
        page = PAGES[name](params)
        page.job = job
        if page.needs() and asked < _ASKED:
            asked += 1
            _read_all(feed, set(page.needs()))
            state = feed.present(job)
        if _is_updated(page, state):
            pages.add(page)
    record = {
        "made": made, "times": times, "menu": menu(), "documents": pages.documents, "pages": pages.pages,
        "left_out": _left_out(state, pages),
    }  # fmt: skip
    return _HTML.format(
        policy=_POLICY,
        title=escape(f"Himalia, {made}"),
        style=static_text("dashboard.css") + static_text("shell.css"),
        record=base64.b64encode(zlib.compress(_encode(record), 6)).decode(),
        bokeh=_in_script(bokeh_js().decode()),
        client=_in_script(bundled("report.js")),
    )


def _left_out(state: State, pages: _Pages) -> str:
    """What of the run is not in the file, for its reader; empty if all is."""
    groups = [group for group in state.model.groups if group.total or group.ended or group.running]
    tasks, cells = sum(group.total for group in groups), len({group.cell for group in groups})
    there = sum(1 for key in pages.pages if key.startswith("task?"))
    notes: list[str] = []
    if tasks > there:
        notes.append(f"of {tasks:,} tasks {there:,} have a page: those that failed, and the longest of each function")
    if len(groups) > _GROUPS:
        notes.append(f"of {len(groups):,} functions the newest {_GROUPS} have a list of their tasks")
    if cells > _CELLS:
        notes.append(f"of {cells:,} cells the newest {_CELLS} have pages of their own")
    if state.model.stream.forgotten or state.model.dropped:
        lost = state.model.stream.forgotten + state.model.dropped
        notes.append(f"{lost:,} tasks are only counted, since too many ran to be remembered")
    if pages.ends_only:
        notes.append(f"only the end is shown of {', '.join(pages.ends_only)}, which changed too much")
    return f"Left out of this file: {'; '.join(notes)}." if notes else ""


def _is_updated(page: Page, state: State) -> bool:
    try:
        page.update(state)
    except Exception:  # noqa: BLE001 one page that breaks leaves the others
        _log.exception("the page %s is not in the report, or incomplete", page.name)
        return False
    return True


def _in_script(text: str) -> str:
    """Text that can not end the element it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _menu_pages(job: str) -> list[Page]:
    pages = [page({}) for page in PAGES.values() if page.IN_MENU]
    for page in pages:
        page.job = job
    return pages


def _read_all(feed: StateFeed, needs: set[str]) -> None:
    read = feed.read(needs)
    feed.apply(read)
    while read.model.is_behind:
        read = feed.read(())
        feed.apply(read)


def _play(feed: StateFeed, pages: _Pages, job: str) -> list[float]:
    """Add the pages of the menu, with what changed between some moments; these moments."""
    shown = _menu_pages(job)
    begin, end = feed.present(job).record
    frames: list[list[Any]] = [[] for _ in shown]
    sizes = [0] * len(shown)
    times: list[float] = []
    for model, at in _moments(feed, begin, end):
        if at == end:  # nodes are sampled while somebody looks: here, at the end
            model.take_samples(feed.state.model, float("inf"))
        state = feed.state_of(model, at, job)
        times.append(at)
        for place, page in enumerate(shown):
            _is_updated(page, state)
            changes = [change for source in page.sources.values() for change in source.changes()]
            if len(times) == 1:
                changes = [source.snapshot() for source in page.sources.values()]
            frames[place].append(changes)
            sizes[place] += len(_encode(changes))
    for page, own, size in zip(shown, frames, sizes, strict=True):
        pages.add(page, own if size <= _PAGE_BYTES else None)
        if size > _PAGE_BYTES:
            pages.ends_only.append(page.title)
    return times


def _moments(feed: StateFeed, begin: float, end: float) -> Iterator[tuple[Model, float]]:
    """The model at some moments of the recorded run, and at its end; it is one model, played forward."""
    model = feed.recording.start()
    player = Player(model)
    step = (end - begin) / _FRAMES
    due = begin + step
    for entry in feed.recording.entries():
        if entry.at > end:
            break
        while step and entry.at > due:
            player.tick(due)
            model.graph = feed.state.model.graph.until(model.version)
            yield model, due
            due += step
        if entry.is_end:
            player.end_process(entry.blob)
        else:
            player.replay(entry)
    player.tick(end)
    model.graph = feed.state.model.graph.until(model.version)
    model.lose(feed.state.model.dropped)
    yield model, end


def _others(state: State) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Pages that those of the menu lead to, as far as they are in a report."""
    groups = [group for group in state.model.groups if group.total or group.ended or group.running][::-1]
    yield "task_graph", {"level": "cells"}
    for cell in list(dict.fromkeys(cell_key(group.cell) for group in groups))[:_CELLS]:
        yield "progress", {"cell": cell}
        yield "task_graph", {"cell": cell}
    tasks: dict[str, None] = {}
    failed: dict[str, None] = {}
    for group in groups[:_GROUPS]:
        key = group_key(group)
        yield "tasks", {"group": key}
        yield "tasks", {"group": key, "sort": "longest"}
        ended = state.model.stream.ended(group.number)
        longest = (ended.ends - ended.begins).argsort()[::-1][:_LONGEST].tolist()
        tasks.update(dict.fromkeys(ended.task(place).task_id.hex() for place in longest))
        if group.failed:
            yield "tasks", {"group": key, "state": "failed"}
            places = (ended.states == TaskState.FAILED).nonzero()[0][::-1][:_FAILED].tolist()
            failed.update(dict.fromkeys(ended.task(place).task_id.hex() for place in places))
    wanted = list(failed)[:_FAILED]
    yield from (("task", {"task": task}) for task in dict.fromkeys([*wanted, *tasks]))
