"""Questions to a raylet about the logs of its node, and their answers: what tasks printed, and the files there are.

Anybody who has the cluster's key may ask; a question stands for itself, so that a reader can go on where it was, and a
raylet keeps nothing between two.
"""

from __future__ import annotations

import msgspec

__all__ = ["FoundLines", "LogAnswer", "LogLine", "LogPiece", "LogQuestion", "LogSearch", "LogSelection", "LogSource"]


class LogSelection(msgspec.Struct, array_like=True, frozen=True):
    """Which output is wanted; what is empty does not restrict. Ids are in hexadecimal digits."""

    task: str = ""
    actor: str = ""
    job: str = ""
    cell: int = 0
    message: str = ""  # of the request that executed the cell
    worker: str = ""
    pid: int = 0
    stream: int = 0  # 1 stdout, 2 stderr
    attempt: int = -1


class LogQuestion(msgspec.Struct, array_like=True, tag=80):
    """To a raylet: at most ``limit`` bytes from ``start`` on of what is selected, laid end to end; or of ``filename``.

    ``tail``: begin with the last so many lines (-1: with the first); ``start`` counts from there. ``names``: which
    files there are, instead; ``sources``: who has printed how much.
    """

    selection: LogSelection = LogSelection()
    filename: str = ""
    start: int = 0
    limit: int = 1 << 20
    tail: int = -1
    names: bool = False
    sources: bool = False
    request: int = 0


class LogPiece(msgspec.Struct, array_like=True):
    """Some bytes of what one task printed; ``at`` is the clock's time when the run of text began that they are of."""

    task: str
    name: str
    stream: int
    pid: int
    attempt: int
    at: float
    data: bytes


class LogSource(msgspec.Struct, array_like=True):
    """What tasks of one function in one cell have printed in one worker."""

    name: str
    job: str
    cell: int
    message: str
    pid: int
    tasks: int
    size: int  # bytes
    at: float  # when the last run of text began


class LogSearch(msgspec.Struct, array_like=True, tag=90):
    """To a raylet: lines of what is selected, or of its files, from where the last answer ended.

    ``pattern`` is text that lines contain, or a regular expression. ``level``: only lines whose level is known, and at
    least this. ``files``: names of plain files, with wildcards, instead of what tasks printed. ``since``: seconds of
    the clock. ``cursor``: of the last answer. ``tail``: only the last so many lines of what there is (-1: all).
    ``seconds``: how long the search may take.
    """

    selection: LogSelection = LogSelection()
    pattern: str = ""
    is_regex: bool = False
    ignore_case: bool = False
    level: str = ""
    files: str = ""
    since: float = 0.0
    cursor: dict[str, int] = {}
    tail: int = -1
    limit: int = 1_000
    limit_bytes: int = 1 << 20
    seconds: float = 5.0
    request: int = 0


class LogLine(msgspec.Struct, array_like=True):
    """A line, and who printed it. ``source`` is the worker or file, ``start`` its place there.

    ``level`` is empty where it is not known; ``is_open``: it has no end yet.
    """

    text: str
    source: str
    start: int
    at: float = 0.0
    task: str = ""
    name: str = ""
    cell: int = 0
    stream: int = 0
    pid: int = 0
    attempt: int = 0
    level: str = ""
    is_open: bool = False
    node: str = ""  # filled in by who asks


class FoundLines(msgspec.Struct, array_like=True, tag=90):
    """Answer to `LogSearch`. ``is_end``: there is no more at this moment. ``cursor``: where to go on.

    ``dropped``: bytes that are there no more between the cursor that was given and the first line that was looked at.
    """

    request: int
    lines: list[LogLine] = []
    cursor: dict[str, int] = {}
    is_end: bool = True
    dropped: int = 0
    error: str = ""


class LogAnswer(msgspec.Struct, array_like=True, tag=80):
    """A raylet's answer. ``is_end``: there is no more at this moment. ``error``: why there is nothing."""

    request: int
    pieces: list[LogPiece] = []
    files: list[tuple[str, int]] = []  # name and size
    sources: list[LogSource] = []
    is_end: bool = True
    error: str = ""
    dropped: int = 0  # bytes that the workers printed before, and that are there no more
