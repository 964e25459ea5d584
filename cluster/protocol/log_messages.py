"""Questions to a raylet about the logs of its node, and their answers: what tasks printed, and the files there are.

Anybody who has the cluster's key may ask; a question stands for itself, so that a reader can go on where it was, and a
raylet keeps nothing between two.
"""

from __future__ import annotations

import msgspec

__all__ = ["LogAnswer", "LogPiece", "LogQuestion", "LogSelection", "LogSource"]


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


class LogAnswer(msgspec.Struct, array_like=True, tag=80):
    """A raylet's answer. ``is_end``: there is no more at this moment. ``error``: why there is nothing."""

    request: int
    pieces: list[LogPiece] = []
    files: list[tuple[str, int]] = []  # name and size
    sources: list[LogSource] = []
    is_end: bool = True
    error: str = ""
