"""Answers questions about the logs of a node. Reads files only, so that it can run beside the raylet's loop."""

from __future__ import annotations

import os
from pathlib import Path

from ..protocol.log_messages import LogAnswer, LogPiece, LogQuestion
from ..telemetry.task_log import Span, dropped_bytes, find_sources, find_spans, last_spans, read_spans

__all__ = ["answer"]


def answer(session_dir: str, question: LogQuestion) -> LogAnswer:
    """What is asked about the logs in a session folder."""
    folder = Path(session_dir) / "logs"
    try:
        if question.names:
            files = sorted((file.name, file.stat().st_size) for file in folder.iterdir())
            return LogAnswer(question.request, files=files)
        if question.sources:
            return LogAnswer(question.request, sources=find_sources(folder, question.selection))
        spans = _file(folder, question.filename) if question.filename else find_spans(folder, question.selection)
        found = _read(spans, question)
        if not question.filename:
            found.dropped = _dropped(folder, question.selection.worker, spans)
        return found
    except (OSError, ValueError) as error:
        return LogAnswer(question.request, error=str(error))


def _dropped(folder: Path, worker: str, spans: list[Span]) -> int:
    """Bytes that are there no more of what these workers printed; of all, if it is not known who is meant."""
    gone = dropped_bytes(folder, worker)
    if not spans:
        return sum(gone.values())
    meant = {os.path.basename(span.path).removeprefix("worker-").partition(".")[0] for span in spans}
    return sum(count for name, count in gone.items() if name in meant)


def _file(folder: Path, name: str) -> list[Span]:
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no name of a log: list_logs() has them")
    path = folder / name
    if not path.is_file():
        raise ValueError(f"there is no log {name!r}: list_logs() has the names of all")
    return [Span(str(path), 0, path.stat().st_size, 0.0, "", name, 0, 0, 0)]


def _read(spans: list[Span], question: LogQuestion) -> LogAnswer:
    if question.tail >= 0:
        spans = last_spans(spans, question.tail)
    total = sum(span.end - span.start for span in spans)
    pieces = [
        LogPiece(span.task, span.name, span.stream, span.pid, span.attempt, span.at, data)
        for span, data in read_spans(spans, question.start, question.limit)
    ]
    is_end = question.start + sum(len(piece.data) for piece in pieces) >= total
    return LogAnswer(question.request, pieces, is_end=is_end)
