"""Lines of logs by what they contain and who printed them, in pages, on all nodes of a cluster.

A cursor names a place in the log of each worker of each node; so a page begins where the last one ended, whatever was
printed meanwhile. Following is asking for the next page again and again.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from himalia.cluster.gcs.client import GcsUnreachableError
from himalia.cluster.protocol.log_messages import FoundLines, LogLine, LogSearch, LogSelection
from himalia.util.state._logs import LogReader, selections_of, stream_number

__all__ = ["Follower", "LogPage", "follow_logs", "line_text", "make_search", "read_page", "search_logs"]

DEFAULT_LIMIT: Final = 1_000
POLL: Final = 0.5  # seconds between looks for more

Cursor = dict[str, dict[str, int]]
"""By node and source: the place up to which lines were looked at."""


class LogPage(msgspec.Struct):
    """Some lines, in the order of the clock.

    Attributes
    ----------
    cursor
        For the next page: give it to `search_logs`.
    is_end
        There is no more at this moment.
    dropped
        Bytes of what was searched that are kept no more: the logs of workers and nodes are bounded.
    missing
        Nodes that did not answer, and why.
    """

    lines: list[LogLine]
    cursor: str
    is_end: bool
    dropped: int = 0
    missing: list[str] = []


def search_logs(
    pattern: str = "",
    *,
    of: Any = None,
    regex: bool = False,
    ignore_case: bool = False,
    cell: int | None = None,
    job: str = "",
    worker: str = "",
    pid: int | None = None,
    node: str = "",
    stream: str = "all",
    level: str = "",
    since: float = 0.0,
    files: str = "",
    tail: int = -1,
    limit: int = DEFAULT_LIMIT,
    cursor: str = "",
    seconds: float = 5.0,
    address: str | None = None,
    timeout: float = 30.0,
) -> LogPage:
    """Lines that tasks printed, or of the files of the cluster's processes.

    Parameters
    ----------
    pattern
        Text that a line contains; with ``regex`` an expression; empty: all lines.
    of
        A reference, an actor's handle, or the id of a task or actor: only what that printed.
    cell, job, worker, pid, node
        Only what tasks printed that a cell or job submitted, or in this worker, process, or on this node (its id or
        host name).
    stream
        "out", "err" or "all".
    level
        Only lines with a logger's level at their beginning, of at least this: "WARNING".
    since
        Only lines of this time on, in seconds of the clock; exact to a second.
    files
        Names of files instead, with wildcards, as `list_logs` has them: ``"raylet.log"``.
    tail
        Only the last so many lines of all that there are; -1: the first ``limit`` ones.
    limit
        Lines of a page.
    cursor
        Of the page before.
    seconds
        How long each node may search for a page.
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    timeout
        Seconds to wait for each answer beyond that.

    Raises
    ------
    ValueError
        There is no such expression, level, stream or node, or an expression took too long.
    """
    search = make_search(
        LogSelection(), pattern, regex, ignore_case, cell, job, worker, pid, stream, level, since, files, tail, limit
    )
    if seconds <= 0:
        raise ValueError(f"a search takes more than 0 seconds, not {seconds}")
    search.seconds = seconds
    with LogReader(address, node, timeout) as reader:
        if of is not None:
            if files:
                raise ValueError("files are not of a task or actor: give files or of")
            selections = selections_of(of)  # an id may be that of an actor, or of a task
            who = reader.chosen(selections) if len(selections) > 1 else selections[0]
            search.selection = msgspec.structs.replace(search.selection, task=who.task, actor=who.actor)
        return read_page(reader, search, _unpack(cursor))


class Follower:
    """Reads on where it was: the last ``tail`` lines first, then what came since."""

    def __init__(self, reader: LogReader, search: LogSearch) -> None:
        self._reader = reader
        self._search = search
        self._cursor: Cursor = {}

    def next_page(self) -> LogPage:
        """What is new: nothing, perhaps."""
        page = read_page(self._reader, self._search, self._cursor)
        self._cursor = _unpack(page.cursor)
        if self._search.tail >= 0:
            self._search = msgspec.structs.replace(self._search, tail=-1)  # from now on, all that comes
        return page


def follow_logs(reader: LogReader, search: LogSearch, interval: float = POLL) -> Iterator[LogPage]:
    """Pages from the last ``tail`` lines on, without end; an empty one where there is nothing new."""
    follower = Follower(reader, search)
    while True:
        page = follower.next_page()
        yield page
        if page.is_end:
            time.sleep(interval)


def make_search(
    who: LogSelection,
    pattern: str = "",
    regex: bool = False,
    ignore_case: bool = False,
    cell: int | None = None,
    job: str = "",
    worker: str = "",
    pid: int | None = None,
    stream: str = "all",
    level: str = "",
    since: float = 0.0,
    files: str = "",
    tail: int = -1,
    limit: int = DEFAULT_LIMIT,
) -> LogSearch:
    """What `search_logs` asks the raylets."""
    if limit < 1:
        raise ValueError(f"limit must be at least 1, not {limit}")
    others = cell is not None or job or worker or pid is not None or stream != "all"
    if files and (others or who != LogSelection()):
        raise ValueError("files are not of a task, actor, cell, job, worker or stream: give them alone, or with a node")
    if files and since:
        raise ValueError("of lines in files it is not known when they were written: leave out since (--since)")
    selection = msgspec.structs.replace(
        who, cell=cell or 0, job=job, worker=worker, pid=pid or 0, stream=stream_number(stream)
    )
    tail = min(tail, limit)
    return LogSearch(selection, pattern, regex, ignore_case, level, files, since, {}, tail, limit)


def read_page(reader: LogReader, search: LogSearch, cursor: Cursor) -> LogPage:
    """One page of all nodes together."""
    lines: list[LogLine] = []
    places: Cursor = {}
    dropped, is_end, missing = 0, True, []
    for node in reader.nodes:
        name = node.node_id.hex()
        try:
            found = _all_of(reader, node.raylet, search, cursor.get(name, {}))
        except GcsUnreachableError as error:
            missing.append(f"node {name}: {error}")
            places[name] = cursor.get(name, {})
            continue
        for line in found.lines:
            line.node = name
        lines += found.lines
        places[name] = found.cursor
        dropped += found.dropped
        is_end = is_end and found.is_end
    if len(reader.nodes) > 1:
        lines.sort(key=lambda line: line.at)
    if search.tail >= 0:
        lines = lines[-search.tail :] if search.tail else []
    elif len(lines) > search.limit:
        lines, rest = lines[: search.limit], lines[search.limit :]
        is_end = False
        for line in reversed(rest):  # they come with the next page
            places[line.node][line.source] = min(line.start, places[line.node][line.source])
    return LogPage(lines, _pack(places), is_end, dropped, missing)


def _all_of(reader: LogReader, raylet: Any, search: LogSearch, cursor: dict[str, int]) -> FoundLines:
    """A page of one node; for the last lines, as many pages as there are."""
    found = reader.search(raylet, msgspec.structs.replace(search, cursor=cursor))
    if search.tail < 0:
        return found
    while not found.is_end:
        more = reader.search(raylet, msgspec.structs.replace(search, cursor=found.cursor))
        lines = (found.lines + more.lines)[-search.tail :] if search.tail else []
        found = FoundLines(0, lines, more.cursor, more.is_end, found.dropped + more.dropped)
    return found


def _pack(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).decode()


def _unpack(cursor: str) -> Cursor:
    if not cursor:
        return {}
    try:
        return msgspec.msgpack.decode(base64.urlsafe_b64decode(cursor), type=Cursor)
    except ValueError:
        raise ValueError(f"{cursor[:40]!r} is no cursor: take that of a page, as it is") from None


def line_text(line: LogLine) -> str:
    """A line as it is seen: of one that was drawn over, its last state."""
    return line.text.rstrip("\r").rpartition("\r")[2]
