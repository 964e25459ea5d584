"""Addresses of the REST API that look closer: at logs, at what processes do, at why something waits."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from himalia.util.state import get_log, get_stack, list_logs, profile, search_logs
from himalia.util.state._pending import explain_task

from ...cluster.telemetry.profiles import folded_text, frame_text, speedscope
from ..actions import NothingThereError
from .declarations import Endpoint, Question, Text

__all__ = ["LOOKS"]

_MOST_LINES: Final = 10_000
_MOST_SECONDS: Final = 60.0  # of a profile: a thread that asks is taken for as long


class LogQuery(msgspec.Struct):
    """Which text: exactly one of file, task and actor."""

    file: str = ""
    task: str = ""
    actor: str = ""
    node: str = ""
    tail: int = 1000  # lines


class SearchQuery(msgspec.Struct):
    """Which lines; what is left out does not restrict. ``task`` or ``actor`` is an id, ``node`` an id or host name.

    ``regex``: ``pattern`` is an expression. ``files`` are names of files instead of what tasks print. ``cursor`` is
    that of the page before.
    """

    pattern: str = ""
    regex: bool = False
    ignore_case: bool = False
    task: str = ""
    actor: str = ""
    cell: int | None = None
    job: str = ""
    worker: str = ""
    node: str = ""
    stream: Literal["out", "err", "all"] = "all"
    level: str = ""
    since: float = 0.0
    files: str = ""
    tail: int = -1
    limit: int = 1000
    cursor: str = ""


class Line(msgspec.Struct):
    """A line and who printed it. ``stream`` is 1 for out, 2 for err; ``at`` seconds since the epoch."""

    text: str
    source: str
    at: float
    task: str
    name: str
    cell: int
    stream: int
    pid: int
    level: str


class Page(msgspec.Struct):
    """Some lines in the order of the clock. ``dropped``: bytes of the searched logs that are kept no more."""

    lines: list[Line]
    cursor: str
    is_end: bool
    dropped: int
    missing: list[str]


class Thread(msgspec.Struct):
    """A thread, with the outermost frame first. ``active`` is null where it is not known whether it works."""

    name: str
    active: bool | None
    frames: list[str]


class StackNow(msgspec.Struct):
    """A process at one moment. ``by``: who looked; ``note``: why it was not py-spy."""

    pid: int
    by: str
    note: str
    threads: list[Thread]


class ProfileQuery(msgspec.Struct):
    """How long, how often, and in which form. ``idle`` counts threads that wait, too."""

    seconds: float = 5.0
    rate: int = 100
    idle: bool = False
    format: Literal["folded", "speedscope"] = "folded"


class Reason(msgspec.Struct):
    """Why something waits, in a few sentences."""

    text: str


def _logs(question: Question) -> dict[str, list[str]]:
    return list_logs(address=question.asked.where.session_dir)


def _log_text(question: Question) -> Text:
    query: LogQuery = question.query
    if [bool(query.file), bool(query.task), bool(query.actor)].count(True) != 1:
        raise ValueError("say which: exactly one of file, task and actor")
    if not 1 <= query.tail <= _MOST_LINES:
        raise ValueError(f"tail is 1 to {_MOST_LINES} lines, not {query.tail}")
    pieces = get_log(
        address=question.asked.where.session_dir,
        node_id=query.node or None,
        filename=query.file or None,
        task_id=query.task or None,
        actor_id=query.actor or None,
        tail=query.tail,
        suffix="all" if not query.file else "out",
        errors="backslashreplace",
    )
    return Text("".join(pieces))


def _search(question: Question) -> Page:
    query: SearchQuery = question.query
    if query.task and query.actor:
        raise ValueError("say either a task or an actor")
    if not 1 <= query.limit <= _MOST_LINES:
        raise ValueError(f"limit is 1 to {_MOST_LINES} lines, not {query.limit}")
    page = search_logs(
        query.pattern,
        of=query.task or query.actor or None,
        regex=query.regex,
        ignore_case=query.ignore_case,
        cell=query.cell,
        job=query.job,
        worker=query.worker,
        node=query.node,
        stream=query.stream,
        level=query.level,
        since=query.since,
        files=query.files,
        tail=query.tail,
        limit=query.limit,
        cursor=query.cursor,
        address=question.asked.where.session_dir,
    )
    lines = [
        Line(one.text, one.source, one.at, one.task, one.name, one.cell, one.stream, one.pid, one.level)
        for one in page.lines
    ]
    return Page(lines, page.cursor, page.is_end, page.dropped, page.missing)


def _stack(question: Question) -> StackNow:
    stacks = get_stack(question.path["of"], address=question.asked.where.session_dir)
    threads = [
        Thread(thread.name or str(thread.thread_id), thread.active, [frame_text(frame) for frame in thread.frames])
        for thread in stacks.threads
    ]
    return StackNow(stacks.pid, stacks.by, stacks.note, threads)


def _profile(question: Question) -> Text:
    query: ProfileQuery = question.query
    if not 0 < query.seconds <= _MOST_SECONDS:
        raise ValueError(f"a profile takes up to {_MOST_SECONDS:g} seconds, not {query.seconds:g}")
    of = None if question.path["of"] == "all" else question.path["of"]
    taken = profile(
        of, seconds=query.seconds, rate=query.rate, idle=query.idle, address=question.asked.where.session_dir
    )
    if query.format == "speedscope":
        return Text(speedscope(taken), "application/json")
    return Text(folded_text(taken))


def _why(question: Question) -> Reason:
    try:
        task_id = bytes.fromhex(question.path["id"])
    except ValueError:
        raise NothingThereError(f"{question.path['id']!r} is no id of a task or actor") from None
    return Reason(explain_task(question.asked.source, task_id))


LOOKS: Final = (
    Endpoint("get", "/logs", "Names of log files, by what wrote them.", dict[str, list[str]], _logs, tag="logs"),
    Endpoint("get", "/logs/text", "What was printed: the last lines.", Text, _log_text, LogQuery, tag="logs"),
    Endpoint(
        "get", "/logs/search", "Lines of all nodes that fit, a page at a time.", Page, _search, SearchQuery, tag="logs"
    ),
    Endpoint(
        "get",
        "/stack/{of}",
        "Where the threads of a process are: a worker's id or pid, a task, an actor, gcs, host.",
        StackNow,
        _stack,
        tag="processes",
    ),
    Endpoint(
        "get",
        "/profile/{of}",
        "Which functions take a process's time; of all workers: all. Folded stacks, or a file for speedscope.",
        Text,
        _profile,
        ProfileQuery,
        tag="processes",
    ),
    Endpoint("get", "/why/{id}", "Why a task or an actor does not run.", Reason, _why),
)
