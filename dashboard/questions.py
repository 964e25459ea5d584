"""What pages ask of the cluster by name: lists of the state API, and things about one task, actor or process.

A name is that of a list (``actors``), or a kind and an argument with a colon between them (``task_log:ID``). An
argument that selects by several things is written as a query: ``logs:actor=ID&search=words``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from himalia.util.state._events import cluster_events
from himalia.util.state._logs import LogReader
from himalia.util.state._source import ROWS, Source
from himalia.util.state._stacks import Profiling, get_stacks

from ..cluster.gcs.client import GcsClient, GcsUnreachableError
from ..cluster.protocol.common import Address, NodeInfo
from ..cluster.protocol.held_messages import ExplainObject, ObjectExplained
from ..cluster.protocol.log_messages import LogLine, LogQuestion, LogSearch, LogSelection
from ..cluster.telemetry.events import TaskState
from ..cluster.telemetry.profiles import frame_text
from ..cluster.telemetry.records import TaskRecord
from .errands import Errands
from .followed import FollowingSource
from .plots.flame import flame_html, hottest
from .task_questions import told_of_task

__all__ = ["ABOUT", "ERRANDS", "answer", "query_name"]

_LOG_LINES: Final = 1_000
_SEARCH_SECONDS: Final = 1.0  # of a node, for each look at a log: pages look again
_NUMBERS: Final = frozenset({"attempt", "cell", "pid", "stream"})  # of a selection; the others are text
_CALLS: Final = 200
_TIMEOUT: Final = 5.0

Row = dict[str, Any]


def query_name(kind: str, **selected: str | int) -> str:
    """The name of a question that selects by several things; what is empty does not restrict."""
    return f"{kind}:{urlencode(sorted((key, value) for key, value in selected.items() if value)) or 'all'}"


def answer(source: Source, name: str, errands: Errands | None = None) -> list[Row]:
    """The rows that a name stands for.

    Parameters
    ----------
    errands
        Where answers that take seconds are worked on; see `ERRANDS`.

    Raises
    ------
    LookupError
        There is nothing of that name.
    """
    kind, _, argument = name.partition(":")
    if argument and kind in ABOUT:
        return ABOUT[kind](source, argument)
    if argument and kind in ERRANDS and errands is not None:
        return errands.ask(name, lambda: ERRANDS[kind](source, argument))
    if argument or name not in ROWS:
        known = [*ROWS, *(f"{kind}:…" for kind in (*ABOUT, *ERRANDS))]
        raise LookupError(f"there is no {name!r} to ask for, but {', '.join(known)}")
    return [row.asdict() for row in ROWS[name][1](source)]


def _task_log(source: Source, task: str) -> list[Row]:
    """What a task printed: the last lines."""
    rows: list[Row] = []
    with GcsClient(source.where) as client:
        for info in source.nodes():
            node = msgspec.convert(info, NodeInfo)
            if not node.alive:
                continue
            question = LogQuestion(LogSelection(task=task), tail=_LOG_LINES)
            try:
                pieces = client.read_logs(node.raylet, question, timeout=_TIMEOUT).pieces
            except GcsUnreachableError as error:
                rows.append({"text": f"node {node.host}: {error}", "stream": 2, "at": 0.0})
                continue
            for piece in pieces:
                lines = piece.data.decode("utf-8", "backslashreplace").splitlines()
                rows += [{"text": line, "stream": piece.stream, "at": piece.at} for line in lines]
    return rows[-_LOG_LINES:]


def _logs(source: Source, query: str) -> list[Row]:
    """The last lines of what a task, an actor, a cell, a worker or everybody printed, or of a file; searched."""
    asked = dict(parse_qsl(query))
    words, node, filename = (asked.pop(name, "") for name in ("search", "node", "file"))
    search = LogSearch(
        LogSelection(**{name: int(value) if name in _NUMBERS else value for name, value in asked.items()}),  # type: ignore[arg-type]  # by name
        words,
        ignore_case=True,
        files=filename,
        tail=_LOG_LINES,
        limit=_LOG_LINES,
        seconds=_SEARCH_SECONDS,
    )
    found: list[LogLine] = []
    with LogReader(source.where, node, _TIMEOUT) as reader:
        for one in reader.nodes:
            found += reader.search(one.raylet, search).lines
        if len(reader.nodes) > 1:
            found.sort(key=lambda line: line.at)
    return [
        {"text": line.text, "stream": line.stream, "name": line.name, "pid": line.pid, "task": line.task}
        for line in found[-_LOG_LINES:]
    ]


def _log_files(source: Source, node: str) -> list[Row]:
    """Files of logs that are not empty, with their sizes. ``all``: of all nodes."""
    with LogReader(source.where, "" if node == "all" else node, _TIMEOUT) as reader:
        return [{"file": name, "size": size} for name, size in reader.files() if size and not name.endswith(".index")]


def _newest_events(source: Source, limit: str) -> list[Row]:
    """What happened in the cluster of late."""
    return [row.asdict() for row in cluster_events(source, int(limit))]


def _actor_calls(source: Source, actor: str) -> list[Row]:
    """The newest calls of an actor's methods, and those that wait."""
    actor_id = bytes.fromhex(actor)
    if isinstance(source, FollowingSource):
        records = source.calls(actor_id)
    else:
        records = [record for record in source.records() if record.actor_id == actor_id]
    records.sort(key=lambda record: record.started or record.submitted or 0.0)
    waiting = [record for record in records if record.state < TaskState.RUNNING]
    begun = [record for record in records if record.state >= TaskState.RUNNING]
    return [_call(record) for record in [*begun[-_CALLS:], *waiting[:_CALLS]]]


def _object(source: Source, query: str) -> list[Row]:
    """What keeps an object alive, in each process that holds it."""
    object_id = bytes.fromhex(query)
    asked: dict[int, bytes] = {}
    rows: list[Row] = []
    with GcsClient(source.where) as client:
        for row in source.ask("workers"):
            if row["is_alive"] and row.get("address") is not None:
                with contextlib.suppress(ConnectionError):  # it dies this moment
                    address = msgspec.convert(row["address"], Address)
                    asked[client.post(address, ExplainObject(object_id), is_raylet=False)] = row["worker_id"]
        for answer in client.answers(list(asked), _TIMEOUT):
            del asked[answer.request]
            rows += _kept_rows(answer)
    silent = [{"holder": worker_id.hex(), "note": "did not answer in time"} for worker_id in asked.values()]
    return rows + silent


def _kept_rows(answer: ObjectExplained) -> list[Row]:
    holder = answer.worker_id.hex()
    notes = [answer.error] if answer.error else []
    if not answer.is_whole:
        notes.append("it holds more objects than could be looked at: not all names were found")
    kept = [
        {
            "holder": holder,
            "keeper": one.keeper,
            "name": one.name,
            "cell": one.cell.execution if one.cell is not None else 0,
            "process": one.process.hex(),
        }
        for one in answer.kept
    ]
    return [*({"holder": holder, "note": note} for note in notes), *kept]


def _call(record: TaskRecord) -> Row:
    return {
        "task_id": record.task_id.hex(),
        "attempt": record.attempt,
        "name": record.name,
        "state": record.state.name,
        "cell": record.cell.execution if record.cell is not None else 0,
        "submitted": record.submitted or None,
        "started": record.started or None,
        "ended": record.ended or None,
        "error": record.error,
    }


ABOUT: Final[dict[str, Callable[[Source, str], list[Row]]]] = {
    "actor_calls": _actor_calls,
    "log_files": _log_files,
    "logs": _logs,
    "newest_events": _newest_events,
    "object": _object,
    "task_log": _task_log,
    "task_told": told_of_task,
}


# -- what takes seconds: each in a thread of its own, so only `source.where` may be used ------------------------------


def _stack(source: Source, query: str) -> list[Row]:
    """Where the threads of a process are: a line each, with the outermost frame first."""
    asked = dict(parse_qsl(query))
    found, failed = get_stacks([asked["of"]], address=source.where)
    rows: list[Row] = [{"text": text, "mark": "error"} for text in failed.values()]
    for stacks in found:
        rows.append({"text": f"process {stacks.pid}, told by {stacks.by}", "mark": "faint"})
        if stacks.note:
            rows.append({"text": stacks.note, "mark": "warning"})
        for thread in stacks.threads:
            working = {True: " (at work)", False: " (waits)", None: ""}[thread.active]
            rows.append({"text": f"thread {thread.name or thread.thread_id}{working}", "mark": ""})
            rows += [
                {"text": f"    {frame_text(frame)}", "mark": "faint" if frame.internal else ""}
                for frame in reversed(thread.frames)
            ]
    return rows


def _profile(source: Source, query: str) -> list[Row]:
    """What the threads of a process did for some seconds: a flame graph, and the functions that took most."""
    asked = dict(parse_qsl(query))
    seconds = float(asked.get("seconds", "5"))
    with Profiling(asked["of"], seconds=seconds, idle=asked.get("idle") == "1", address=source.where) as running:
        profile = running.result()
    hot = [
        {"name": one.name, "place": one.place, "own": round(one.own, 3), "total": round(one.total, 3)}
        for one in hottest(profile)
    ]
    return [{"html": flame_html(profile), "hot": hot}]


ERRANDS: Final[dict[str, Callable[[Source, str], list[Row]]]] = {"profile": _profile, "stack": _stack}
