"""What the tasks of a worker printed, all of it, on disk, and which task printed what.

Two files a worker in the session's ``logs`` folder, made when something is printed: ``worker-<id>.log`` is the text
in the order in which it was printed, and can be read as it is; ``worker-<id>.index`` says in one line of JSON for
each run of text whose it is. Only what changes is written there: an object introduces a speaker (a function in a
cell, for an owner), a list of numbers a run: speaker, counter of the task, attempt, stream, place in the log,
milliseconds of the clock. A run ends where the next begins, and after a second. Text is written before its writer
goes on, so that it is there when the process is killed at the next moment.

Rejected: a file for each task (a hundred thousand of them), marks inside the text (it should be readable, and be what
was printed), SQLite (a commit for each line is too slow, and less often loses the last lines, which are wanted most).
"""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from ..protocol.ids import make_task_id
from ..protocol.log_messages import LogSelection, LogSource

__all__ = ["Span", "Speaker", "TaskLog", "find_sources", "find_spans", "last_spans", "log_lines", "read_spans"]

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_CHUNK: Final = 1 << 20  # bytes read at a time

_LONGEST_RUN: Final = 1_000
"""Milliseconds after which a run ends at the next whole line: who asks what was printed since a time gets that."""


class Speaker(msgspec.Struct):
    """Who printed: tasks of one function in one cell, of one owner. Ids are in hexadecimal digits."""

    name: str
    owner: str
    job: str = ""
    cell: int = 0
    message: str = ""
    actor: str = ""  # id of the actor
    pid: int = 0


class TaskLog:
    """The two files of one worker, for writing. The caller sees to it that one thread writes at a time."""

    def __init__(self, folder: str, worker_id: bytes) -> None:
        self._base = f"{folder}/worker-{worker_id.hex()}"
        self._text = self._index = -1
        self._at = 0
        self._speakers = 0
        self._run: tuple[int, int, int, int] | None = None
        self._next_run = 0  # milliseconds of the clock from which on the next line begins one
        self._whole = True  # the last line is complete
        self.failed = ""  # why nothing is written any more

    def introduce(self, speaker: Speaker) -> int:
        """Register a speaker; its number, by which `write` knows it."""
        if self._text < 0 and not self.failed:
            try:
                self._text = os.open(f"{self._base}.log", _FLAGS, 0o600)
                self._index = os.open(f"{self._base}.index", _FLAGS, 0o600)
            except OSError as error:
                self.failed = str(error)
        if not self.failed:
            try:
                _write_all(self._index, msgspec.json.encode(speaker) + b"\n")
            except OSError as error:
                self.failed = str(error)
        self._speakers += 1
        return self._speakers - 1

    def write(self, speaker: int, counter: int, attempt: int, stream: int, text: str, milliseconds: int) -> None:
        """Append what a task of this counter printed."""
        if self.failed:
            return
        run = (speaker, counter, attempt, stream)
        data = text.encode("utf-8", "backslashreplace")
        try:
            if run != self._run or (self._whole and milliseconds >= self._next_run):
                line = b"[%d,%d,%d,%d,%d,%d]\n" % (*run, self._at, milliseconds)
                _write_all(self._index, line)
                self._run, self._next_run = run, milliseconds + _LONGEST_RUN
            _write_all(self._text, data)
            self._whole = data.endswith(b"\n")
        except OSError as error:  # the disk is full, most likely: tasks go on without a log
            self.failed = str(error)
        self._at += len(data)

    def close(self) -> None:
        """Close the files."""
        for fd in (self._text, self._index):
            if fd >= 0:
                os.close(fd)
        self._text = self._index = -1


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


# -- reading ----------------------------------------------------------------------------------------------------------


def accepts(wanted: LogSelection, speaker: Speaker) -> bool:
    """Whether output of this speaker can be wanted."""
    return (
        (not wanted.task or wanted.task.startswith(speaker.owner))
        and wanted.actor in ("", speaker.actor)
        and wanted.job in ("", speaker.job)
        and wanted.cell in (0, speaker.cell)
        and wanted.message in ("", speaker.message)
        and wanted.pid in (0, speaker.pid)
    )


class Span(msgspec.Struct, array_like=True):
    """A run of text of one task in a worker's log: bytes from ``start`` to ``end``, begun at ``at`` (seconds)."""

    path: str
    start: int
    end: int
    at: float
    task: str
    name: str
    stream: int
    pid: int
    attempt: int


_decoder: Final = msgspec.json.Decoder(Speaker | list[int])


def find_spans(folder: str | Path, wanted: LogSelection) -> list[Span]:
    """Where the wanted output lies, in the order in which it was printed.

    Between workers that order is by the clock, and as exact as the beginnings of runs.
    """
    spans: list[Span] = []
    for index in sorted(Path(folder).glob(f"worker-{wanted.worker or '*'}.index")):
        with contextlib.suppress(FileNotFoundError):
            spans.extend(_spans_of(index, wanted))
    spans.sort(key=lambda span: span.at)
    return spans


def _runs_of(index: Path) -> Iterator[tuple[list[Speaker], list[int], int]]:
    """The runs of text of a worker: the speakers known so far, the run's numbers, and where it ends."""
    data = index.read_bytes()
    size = os.path.getsize(index.with_suffix(".log"))
    speakers: list[Speaker] = []
    run: list[int] | None = None
    # A line may be half written at this moment.
    for line in _decoder.decode_lines(data[: data.rfind(b"\n") + 1]):
        if isinstance(line, Speaker):
            speakers.append(line)
            continue
        if run is not None:
            yield speakers, run, line[4]
        run = line
    if run is not None:
        yield speakers, run, size


def _spans_of(index: Path, wanted: LogSelection) -> Iterator[Span]:
    path = str(index.with_suffix(".log"))
    counter = int(wanted.task[16:], 16) if wanted.task else 0
    accepted: list[bool] = []
    for speakers, (number, task, attempt, stream, at, milliseconds), end in _runs_of(index):
        accepted += [accepts(wanted, speaker) for speaker in speakers[len(accepted) :]]
        if not accepted[number] or (wanted.task and task != counter):
            continue
        if wanted.stream not in (0, stream) or wanted.attempt not in (-1, attempt):
            continue
        who = speakers[number]
        task_id = make_task_id(bytes.fromhex(who.owner), task).hex()
        yield Span(path, at, end, milliseconds / 1000, task_id, who.name, stream, who.pid, attempt)


def find_sources(folder: str | Path, wanted: LogSelection) -> list[LogSource]:
    """Who has printed how much, by function, cell and worker."""
    found: list[LogSource] = []
    for index in sorted(Path(folder).glob("worker-*.index")):
        with contextlib.suppress(FileNotFoundError):
            found.extend(_sources_of(index, wanted))
    return found


def _sources_of(index: Path, wanted: LogSelection) -> list[LogSource]:
    sources: dict[int, LogSource] = {}
    tasks: dict[int, set[int]] = {}
    for speakers, (number, task, _, _, at, milliseconds), end in _runs_of(index):
        who = speakers[number]
        if not accepts(wanted, who):
            continue
        source = sources.get(number)
        if source is None:
            source = sources[number] = LogSource(who.name, who.job, who.cell, who.message, who.pid, 0, 0, 0.0)
            tasks[number] = set()
        tasks[number].add(task)
        source.tasks, source.size, source.at = len(tasks[number]), source.size + end - at, milliseconds / 1000
    return list(sources.values())


def read_spans(spans: list[Span], start: int = 0, limit: int | None = None) -> Iterator[tuple[Span, bytes]]:
    """The bytes of spans laid end to end, from ``start`` on and at most ``limit`` of them, with whose they are."""
    left = limit if limit is not None else sum(span.end - span.start for span in spans)
    for span in spans:
        size = span.end - span.start
        if start >= size:
            start -= size
            continue
        with open(span.path, "rb") as file:
            file.seek(span.start + start)
            remaining = size - start
            start = 0
            while remaining > 0 and left > 0:
                data = file.read(min(remaining, left, _CHUNK))
                if not data:
                    break
                remaining -= len(data)
                left -= len(data)
                yield span, data
        if left <= 0:
            return


def last_spans(spans: list[Span], lines: int) -> list[Span]:
    """The spans that hold the last ``lines`` lines, the first of them cut to begin with one."""
    kept: list[Span] = []
    for span in reversed(spans):
        if lines <= 0:
            break
        start, found = _tail(span, lines)
        lines -= found
        kept.append(msgspec.structs.replace(span, start=start))
    return kept[::-1]


def _tail(span: Span, lines: int) -> tuple[int, int]:
    """Where the last lines of a span begin, and how many there are (at most ``lines``)."""
    found, at = 0, span.end
    with open(span.path, "rb") as file:
        while at > span.start:
            begin = max(span.start, at - _CHUNK)
            file.seek(begin)
            data = file.read(at - begin)
            place = len(data)
            while (place := data.rfind(b"\n", 0, place)) >= 0:
                if begin + place == span.end - 1:
                    continue  # the end of the last line, not of one before it
                found += 1
                if found == lines:
                    return begin + place + 1, lines
            at = begin
    return span.start, found + 1


def log_lines(spans: list[Span], tail: int = -1) -> Iterator[str]:
    """Text of spans in pieces, each of whole characters; ``tail``: only so many lines at the end."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for _, data in read_spans(spans if tail < 0 else last_spans(spans, tail)):
        text = decoder.decode(data)
        if text:
            yield text
