"""Looks for lines in the logs of a node, a page at a time.

Strategy: each worker's log, and each file, is a stream that only grows at its end, so a place in each of them is a
cursor that stays right whatever is printed meanwhile. The streams are read in the order of the clock, from their places
on, until a page is full or the time is over. What has been let go meanwhile is counted.

A regular expression may take for ever on one line, and nothing can stop it but the end of its process: whoever searches
by one does it in a process of its own (`raylet/log_desk.py`). A search for text, or none at all, reads hundreds of
megabytes a second and looks at the clock.
"""

from __future__ import annotations

import fnmatch
import heapq
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from ..protocol.log_messages import FoundLines, LogLine, LogSearch
from .task_log import Span, dropped_bytes, last_spans, log_end, spans_of, worker_logs

__all__ = ["LEVELS", "level_of", "search_logs"]

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SAME: Final = {"WARN": "WARNING", "FATAL": "CRITICAL"}
_LEVEL: Final = re.compile(r"(?<![\w-])(DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)(?![\w-])")
_LEVEL_WITHIN: Final = 80  # characters at the beginning of a line, where loggers put it
_LONGEST: Final = 64 * 1024  # bytes of a line; more of it is left out
_PART: Final = 1 << 20  # bytes read at a time


def level_of(text: str) -> str:
    """The level that a logger wrote at the beginning of a line; empty if there is none."""
    found = _LEVEL.search(text[:_LEVEL_WITHIN])
    return _SAME.get(found[1], found[1]) if found else ""


class _Place(NamedTuple):
    """A span to be read: ``order`` never goes back within a source, though the clock may."""

    order: float
    source: str
    span: Span


def search_logs(folder: str | Path, question: LogSearch, clock: Callable[[], float] = time.monotonic) -> FoundLines:
    """The next page of lines.

    Raises
    ------
    ValueError
        The expression or level is none.
    """
    return _Search(Path(folder), question, clock).run()


class _Search:
    def __init__(self, folder: Path, question: LogSearch, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._question = question
        self._clock = clock
        self._deadline = clock() + question.seconds
        self._matches, self._needle = _matcher(question)
        self._levels = _levels_from(question.level)
        self._cursor = dict(question.cursor)
        self._lines: deque[LogLine] = deque(maxlen=question.tail if question.tail >= 0 else None)
        self._bytes = 0
        self._ends: dict[str, int] = {}  # of streams, when the search began

    def run(self) -> FoundLines:
        streams = self._files() if self._question.files else self._workers()
        places: Iterator[_Place] = heapq.merge(*streams, key=lambda place: place.order)
        if self._question.tail >= 0 and self._matches is None and not self._levels:
            places = self._last(list(places))
        is_end = all(self._read(place) for place in places)
        dropped = self._dropped()
        if is_end:
            for source, end in self._ends.items():
                self._cursor[source] = max(end, self._cursor.get(source, 0))
        return FoundLines(self._question.request, list(self._lines), self._cursor, is_end, dropped)

    # -- the streams --------------------------------------------------------------------------------------------------

    def _workers(self) -> list[Iterator[_Place]]:
        logs = worker_logs(self._folder, self._question.selection.worker)
        return [self._worker(name, segments) for name, segments in logs.items()]

    def _worker(self, name: str, segments: list[Path]) -> Iterator[_Place]:
        order, since = 0.0, self._question.since
        for index in segments:
            try:
                self._ends[name] = log_end(index)
                if self._ends[name] <= self._cursor.get(name, 0):
                    continue  # nothing new: its index need not be read
                spans = list(spans_of(index, self._question.selection))
            except FileNotFoundError:
                continue  # let go this moment
            for span in spans:
                order = max(order, span.at)
                if span.at >= since and span.offset + span.end > self._cursor.get(name, 0):
                    yield _Place(order, name, span)

    def _files(self) -> list[Iterator[_Place]]:
        found: list[Iterator[_Place]] = []
        for path in sorted(self._folder.iterdir()):
            if fnmatch.fnmatchcase(path.name, self._question.files) and path.suffix != ".index":
                size = path.stat().st_size
                span = Span(str(path), 0, size, 0.0, "", path.name, 0, 0, 0)
                if size > self._cursor.get(path.name, 0):
                    found.append(iter([_Place(0.0, path.name, span)]))
        return found

    def _last(self, places: list[_Place]) -> Iterator[_Place]:
        """Those that hold the last lines: the others are passed over unread."""
        for place in places:
            begin = self._cursor.get(place.source, 0) - place.span.offset
            place.span.start = max(place.span.start, begin)
        kept = last_spans([place.span for place in places], self._question.tail)
        for place in places[: len(places) - len(kept)]:
            self._cursor[place.source] = place.span.offset + place.span.end
        for place, span in zip(places[len(places) - len(kept) :], kept, strict=True):
            yield place._replace(span=span)

    def _dropped(self) -> int:
        """What went of these workers' output since the cursor; of all workers only if nothing tells which are meant."""
        question = self._question
        gone = {} if question.files else dropped_bytes(self._folder, question.selection.worker)
        whole = 0 if question.cursor else gone.pop("", 0)
        gone.pop("", None)
        meant = {line.source for line in self._lines} or set(gone)
        lost = {name: start - question.cursor.get(name, 0) for name, start in gone.items() if name in meant}
        for name in gone:
            self._cursor[name] = max(self._cursor.get(name, 0), gone[name])
        return sum(max(0, count) for count in lost.values()) + (whole if not question.selection.worker else 0)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read(self, place: _Place) -> bool:
        """Read a span; False if the page is full or the time is over."""
        span, source = place.span, place.source
        at = max(span.start, self._cursor.get(source, 0) - span.offset)
        try:
            file = open(span.path, "rb")  # noqa: SIM115 closed below; opening alone may fail
        except FileNotFoundError:
            return True
        with file:
            file.seek(at)
            rest = b""
            while at < span.end:
                if self._clock() > self._deadline:
                    return False
                data = file.read(min(_PART, span.end - at))
                if not data:
                    break
                at += len(data)
                data, rest = rest + data, b""
                if at < span.end and len(data) < _LONGEST + _PART:
                    data, newline, rest = data.rpartition(b"\n")
                    data += newline
                if not self._take(place, data, at - len(rest) - len(data)):
                    return False
        self._cursor[source] = span.offset + span.end
        return True

    def _take(self, place: _Place, data: bytes, begin: int) -> bool:
        """Look at whole lines that begin at this place of the file; False if the page is full."""
        question, source = self._question, place.source
        offset = place.span.offset
        if self._needle and self._needle not in data:
            self._cursor[source] = offset + begin + len(data)
            return True
        for part in data.splitlines(keepends=True) if b"\r" not in data else _split(data):
            line = self._line(place, part, offset + begin)
            if line is not None:
                is_full = self._bytes + len(line.text) > question.limit_bytes or len(self._lines) >= question.limit
                if question.tail < 0 and is_full and self._lines:
                    return False
                self._lines.append(line)
                self._bytes += len(line.text)
            begin += len(part)
            self._cursor[source] = offset + begin
        return True

    def _line(self, place: _Place, part: bytes, start: int) -> LogLine | None:
        span = place.span
        text = part[:_LONGEST].decode("utf-8", "backslashreplace").rstrip("\n")
        if len(part) > _LONGEST:
            text += f"… {len(part) - _LONGEST} more bytes"
        if self._matches is not None and not self._matches(text):
            return None
        level = level_of(text)
        if self._levels and level not in self._levels:
            return None
        where = (place.source, start, span.at, span.task, span.name, span.cell, span.stream, span.pid, span.attempt)
        return LogLine(text, *where, level, not part.endswith(b"\n"))


def _split(data: bytes) -> list[bytes]:
    """Lines, of which only a newline is the end: what is drawn over is one line."""
    parts = data.split(b"\n")
    last = parts.pop()
    return [part + b"\n" for part in parts] + ([last] if last else [])


def _matcher(question: LogSearch) -> tuple[Callable[[str], object] | None, bytes]:
    """A test of a line, and bytes without which no line passes it (empty: none are known)."""
    pattern = question.pattern
    if not pattern:
        return None, b""
    if question.is_regex:
        try:
            return re.compile(pattern, re.IGNORECASE if question.ignore_case else 0).search, b""
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    if question.ignore_case:
        low = pattern.casefold()
        return lambda text: low in text.casefold(), b""
    return lambda text: pattern in text, pattern.encode("utf-8", "backslashreplace")


def _levels_from(level: str) -> frozenset[str]:
    if not level:
        return frozenset()
    name = _SAME.get(level.upper(), level.upper())
    if name not in LEVELS:
        raise ValueError(f"there is no level {level!r}, but {', '.join(LEVELS)}")
    return frozenset(LEVELS[LEVELS.index(name) :])
