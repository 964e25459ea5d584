"""What the tasks of a worker printed, all of it, on disk, and which task printed what.

Two files a worker in the session's ``logs`` folder, made when something is printed: ``worker-<id>.log`` is the text
in the order in which it was printed, and can be read as it is; ``worker-<id>.index`` says in one line of JSON for
each run of text whose it is. Only what changes is written there: an object introduces a speaker (a function in a
cell, for an owner), a list of numbers a run: speaker, counter of the task, attempt, stream, place in the log,
milliseconds of the clock. A run ends where the next begins, and after a second. Text is written before its writer
goes on, so that it is there when the process is killed at the next moment.

What is kept is bounded (`log_limits`): text and index are written in segments of half of what a worker may keep, and
the one before the last is let go when a new one begins. A segment's index begins with its place in all that was
printed. What workers leave behind that have ended is bounded by the raylet (`raylet/log_keeper.py`).

Rejected: a file for each task (a hundred thousand of them), marks inside the text (it should be readable, and be what
was printed), SQLite (a commit for each line is too slow, and less often loses the last lines, which are wanted most).
"""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ..protocol.ids import make_task_id
from ..protocol.log_messages import LogSelection, LogSource

__all__ = [
    "DROPPED",
    "LogLimits",
    "Span",
    "Speaker",
    "TaskLog",
    "dropped_bytes",
    "find_sources",
    "find_spans",
    "last_spans",
    "log_end",
    "log_limits",
    "log_lines",
    "read_spans",
    "spans_of",
    "worker_logs",
]

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_CHUNK: Final = 1 << 20  # bytes read at a time

_LEAST: Final = 4096  # bytes that a worker can be told to keep

_LONGEST_RUN: Final = 1_000
"""Milliseconds after which a run ends at the next whole line: who asks what was printed since a time gets that."""


DROPPED: Final = "dropped"
"""The file in the folder of logs that says how many bytes were let go with the logs of workers that had ended."""


class LogLimits(NamedTuple):
    """Bytes that are kept of what tasks print: of one worker, and of all that ever ran on a node."""

    worker: int = 64 << 20
    node: int = 1 << 30


def log_limits() -> LogLimits:
    """The defaults, or what HIMALIA_LOG_WORKER_BYTES and HIMALIA_LOG_NODE_BYTES say. Of whoever starts the node.

    Raises
    ------
    ValueError
        One of them is no number of bytes.
    """
    found = LogLimits()
    for field in found._fields:
        name = f"HIMALIA_LOG_{field.upper()}_BYTES"
        text = os.environ.get(name)
        if text is None:
            continue
        if not text.isdecimal() or int(text) < _LEAST:
            raise ValueError(f"{name} is a number of bytes, at least {_LEAST}, not {text!r}")
        found = found._replace(**{field: int(text)})
    return found


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
    """The files of one worker, for writing. The caller sees to it that one thread writes at a time.

    Parameters
    ----------
    limit
        Bytes on disk, of text and index together, of which at least the newer half is kept; None: see `log_limits`.
    """

    def __init__(self, folder: str, worker_id: bytes, limit: int | None = None) -> None:
        self._base = f"{folder}/worker-{worker_id.hex()}"
        self._limit = (log_limits().worker if limit is None else limit) // 2
        self._text = self._index = -1
        self._segment = 0
        self._start = 0  # of this segment in all that was printed
        self._at = 0  # in this segment
        self._size = 0  # of this segment with its index
        self._speakers: list[bytes] = []
        self._known: dict[int, int] = {}  # of speakers that this segment's index knows: their numbers there
        self._run: tuple[int, int, int, int] | None = None
        self._next_run = 0  # milliseconds of the clock from which on the next line begins one
        self._whole = True  # the last line is complete
        self.failed = ""  # why nothing is written any more

    def introduce(self, speaker: Speaker) -> int:
        """Register a speaker; its number, by which `write` knows it."""
        self._speakers.append(msgspec.json.encode(speaker) + b"\n")
        number = len(self._speakers) - 1
        if not self.failed:
            try:
                if self._text < 0:
                    self._open()
                self._number(number)
            except OSError as error:
                self.failed = str(error)
        return number

    def write(self, speaker: int, counter: int, attempt: int, stream: int, text: str, milliseconds: int) -> None:
        """Append what a task of this counter printed."""
        if self.failed:
            return
        run = (speaker, counter, attempt, stream)
        data = text.encode("utf-8", "backslashreplace")
        try:
            if self._size >= self._limit and self._whole:
                self._part()
            if run != self._run or (self._whole and milliseconds >= self._next_run):
                line = b"[%d,%d,%d,%d,%d,%d]\n" % (self._number(speaker), *run[1:], self._at, milliseconds)
                _write_all(self._index, line)
                self._size += len(line)
                self._run, self._next_run = run, milliseconds + _LONGEST_RUN
            _write_all(self._text, data)
            self._whole = data.endswith(b"\n")
        except OSError as error:  # the disk is full, most likely: tasks go on without a log
            self.failed = str(error)
        self._at += len(data)
        self._size += len(data)

    def _number(self, speaker: int) -> int:
        """A speaker's number in this segment, whose index it is told to if need be."""
        number = self._known.get(speaker)
        if number is None:
            _write_all(self._index, self._speakers[speaker])
            self._size += len(self._speakers[speaker])
            number = self._known[speaker] = len(self._known)
        return number

    def _path(self, segment: int, kind: str) -> str:
        return f"{self._base}.{segment}.{kind}" if segment else f"{self._base}.{kind}"

    def _open(self) -> None:
        self._text = os.open(self._path(self._segment, "log"), _FLAGS, 0o600)
        self._index = os.open(self._path(self._segment, "index"), _FLAGS, 0o600)

    def _part(self) -> None:
        """Begin the next segment; the one before this is let go."""
        self.close()
        for kind in ("index", "log"):
            if self._segment:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(self._segment - 1, kind))
        self._segment += 1
        self._start += self._at
        self._at = self._size = 0
        self._known.clear()
        self._run = None
        self._open()
        _write_all(self._index, b"[%d]\n" % self._start)

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
    """A run of text of one task in a worker's log: bytes from ``start`` to ``end``, begun at ``at`` (seconds).

    ``offset`` is where the file begins in all that the worker ever printed.
    """

    path: str
    start: int
    end: int
    at: float
    task: str
    name: str
    stream: int
    pid: int
    attempt: int
    cell: int = 0
    offset: int = 0


_decoder: Final = msgspec.json.Decoder(Speaker | list[int])


def find_spans(folder: str | Path, wanted: LogSelection) -> list[Span]:
    """Where the wanted output lies, in the order in which it was printed.

    Between workers that order is by the clock, and as exact as the beginnings of runs.
    """
    spans: list[Span] = []
    for segments in worker_logs(folder, wanted.worker).values():
        for index in segments:
            with contextlib.suppress(FileNotFoundError):
                spans.extend(spans_of(index, wanted))
    spans.sort(key=lambda span: span.at)
    return spans


def worker_logs(folder: str | Path, worker: str = "") -> dict[str, list[Path]]:
    """The indexes of workers by their ids in hexadecimal digits, each in the order in which they were written."""
    found: dict[str, list[tuple[int, Path]]] = {}
    for index in sorted(Path(folder).glob(f"worker-{worker}*.index")):
        name, _, segment = index.name.removeprefix("worker-").removesuffix(".index").partition(".")
        found.setdefault(name, []).append((int(segment or 0), index))
    return {name: [path for _, path in sorted(parts)] for name, parts in found.items()}


def dropped_bytes(folder: str | Path, worker: str = "") -> dict[str, int]:
    """How much of what workers printed is there no more, by worker; "" for what whole workers printed."""
    found: dict[str, int] = {}
    for name, segments in worker_logs(folder, worker).items():
        if segments and (start := _start_of(segments[0])):
            found[name] = start
    with contextlib.suppress(FileNotFoundError, ValueError):
        found[""] = int((Path(folder) / DROPPED).read_text())
    return found


def log_end(index: Path) -> int:
    """Where a segment ends at this moment in all that its worker printed."""
    return _start_of(index) + os.path.getsize(index.with_suffix(".log"))


def _start_of(index: Path) -> int:
    """Where a segment begins in all that its worker printed."""
    with contextlib.suppress(FileNotFoundError), index.open("rb") as file:
        line = file.readline()
        if line.startswith(b"[") and line.endswith(b"]\n") and b"," not in line:
            return int(line[1:-2])
    return 0


def _runs_of(index: Path) -> Iterator[tuple[list[Speaker], list[int], int]]:
    """The runs of text of a segment: the speakers known so far, the run's numbers, and where it ends."""
    data = index.read_bytes()
    size = os.path.getsize(index.with_suffix(".log"))
    speakers: list[Speaker] = []
    run: list[int] | None = None
    # A line may be half written at this moment.
    for line in _decoder.decode_lines(data[: data.rfind(b"\n") + 1]):
        if isinstance(line, Speaker):
            speakers.append(line)
            continue
        if len(line) == 1:
            continue  # where the segment begins
        if run is not None:
            yield speakers, run, line[4]
        run = line
    if run is not None:
        yield speakers, run, size


def spans_of(index: Path, wanted: LogSelection) -> Iterator[Span]:
    """The wanted runs of a segment, in the order in which they were written."""
    path = str(index.with_suffix(".log"))
    offset = _start_of(index)
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
        at_seconds = milliseconds / 1000
        yield Span(path, at, end, at_seconds, task_id, who.name, stream, who.pid, attempt, who.cell, offset)


def find_sources(folder: str | Path, wanted: LogSelection) -> list[LogSource]:
    """Who has printed how much, by function, cell and worker."""
    found: list[LogSource] = []
    for segments in worker_logs(folder, wanted.worker).values():
        sources: dict[bytes, tuple[LogSource, set[int]]] = {}  # by speaker: another segment gives it another number
        for index in segments:
            with contextlib.suppress(FileNotFoundError):
                _add_sources(index, wanted, sources)
        found += [source for source, _ in sources.values()]
    return found


def _add_sources(index: Path, wanted: LogSelection, sources: dict[bytes, tuple[LogSource, set[int]]]) -> None:
    for speakers, (number, task, _, _, at, milliseconds), end in _runs_of(index):
        who = speakers[number]
        if not accepts(wanted, who):
            continue
        key = msgspec.json.encode(who)
        if key not in sources:
            sources[key] = LogSource(who.name, who.job, who.cell, who.message, who.pid, 0, 0, 0.0), set()
        source, tasks = sources[key]
        tasks.add(task)
        source.tasks, source.size, source.at = len(tasks), source.size + end - at, milliseconds / 1000


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
