"""Logs of a cluster: what tasks printed, and the files on its nodes. Asked of the raylets, wherever they are."""

from __future__ import annotations

import codecs
import fnmatch
import heapq
import re
from collections.abc import Iterator
from typing import Any, Self

import msgspec

from himalia.cluster.core.actor_class import ActorHandle
from himalia.cluster.core.generator import ObjectRefGenerator
from himalia.cluster.core.refs import ObjectRef
from himalia.cluster.gcs.client import GcsClient, GcsUnreachableError, Reachable
from himalia.cluster.protocol.common import Address, NodeInfo
from himalia.cluster.protocol.gcs_messages import ListState
from himalia.cluster.protocol.ids import OBJECT_ID_SIZE, TASK_ID_SIZE
from himalia.cluster.protocol.log_messages import FoundLines, LogPiece, LogQuestion, LogSearch, LogSelection, LogSource
from himalia.util.state._source import reachable

__all__ = ["LogReader", "dropped_note", "get_log", "list_logs", "logs", "selections_of", "stream_number"]

_STREAMS = {"out": 1, "err": 2, "all": 0}
_PART = 1 << 20  # bytes asked for at a time
_POLL = 0.5  # seconds between looks for more
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

#: Ray's categories of files, by how ours begin.
_CATEGORIES = {"worker": "worker", "raylet": "raylet", "gcs": "gcs_server", "node_host": "node_host"}


class LogReader:
    """Asks all nodes of a cluster. To be used in a ``with`` statement.

    Parameters
    ----------
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    node
        Id or host name of the only node to ask; "": all.
    timeout
        Seconds to wait for each answer.
    """

    def __init__(self, address: str | Reachable | None = None, node: str = "", timeout: float = 30.0) -> None:
        self._timeout = timeout
        self.dropped: dict[bytes, int] = {}  # by node, of what was read: bytes that are kept no more
        self._client = GcsClient(reachable(address))
        try:
            rows = self._client.call(ListState("nodes", 1_000_000), timeout)
        except BaseException:
            self._client.close()
            raise
        nodes = [msgspec.convert(row, NodeInfo) for row in rows]
        self.nodes = [info for info in nodes if info.alive and node in ("", info.node_id.hex(), info.host)]
        if not self.nodes:
            self._client.close()
            known = ", ".join(f"{info.node_id.hex()} ({info.host})" for info in nodes if info.alive)
            raise ValueError(f"there is no living node {node!r}; there are: {known}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._client.close()

    def files(self) -> list[tuple[str, int]]:
        """Names of all logs with their sizes."""
        found: dict[str, int] = {}
        for node in self.nodes:
            found.update(self._client.read_logs(node.raylet, LogQuestion(names=True), timeout=self._timeout).files)
        return sorted(found.items())

    def sources(self, selection: LogSelection) -> list[LogSource]:
        """Who has printed how much, in order of the time when they printed last."""
        found: list[LogSource] = []
        for node in self.nodes:
            question = LogQuestion(selection, sources=True)
            found += self._client.read_logs(node.raylet, question, timeout=self._timeout).sources
        return sorted(found, key=lambda source: source.at)

    def pieces(self, selection: LogSelection, filename: str = "", tail: int = -1) -> Iterator[LogPiece]:
        """What was printed, in order; ``tail``: the last so many lines only."""
        if filename:
            yield from self._of_file(filename, tail)
            return
        parts = [self._of_node(node, LogQuestion(selection, tail=tail)) for node in self.nodes]
        merged = parts[0] if len(parts) == 1 else heapq.merge(*parts, key=lambda piece: piece.at)
        yield from merged if tail < 0 or len(parts) == 1 else _last_lines(list(merged), tail)

    def first(self, selections: list[LogSelection], stream: int, tail: int = -1) -> list[LogPiece]:
        """What was printed of the first of these that has printed."""
        for selection in selections:
            pieces = list(self.pieces(msgspec.structs.replace(selection, stream=stream), tail=tail))
            if pieces:
                return pieces
        return []

    def chosen(self, selections: list[LogSelection]) -> LogSelection:
        """The first of these that has printed, else the first."""
        return next((one for one in selections if self.sources(one)), selections[0])

    def follow(self, selection: LogSelection, filename: str, tail: int, interval: float) -> Iterator[LogPiece]:
        """What was printed, and then what is printed from now on, until nobody wants more."""
        from himalia.util.state._log_search import follow_logs

        files = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in filename)
        for page in follow_logs(self, LogSearch(selection, files=files, tail=tail), interval):
            for line in page.lines:
                data = line.text.encode("utf-8", "surrogateescape") + (b"" if line.is_open else b"\n")
                yield LogPiece(line.task, line.name, line.stream, line.pid, line.attempt, line.at, data)

    def search(self, raylet: Address, search: LogSearch) -> FoundLines:
        """Lines of one node's logs."""
        return self._client.search_logs(raylet, search, timeout=self._timeout)

    def _of_file(self, filename: str, tail: int) -> Iterator[LogPiece]:
        errors = []
        for node in self.nodes:
            try:
                yield from self._of_node(node, LogQuestion(filename=filename, tail=tail))
            except ValueError as error:
                errors.append(str(error))
            else:
                return
        raise ValueError(errors[0])

    def _of_node(self, node: NodeInfo, question: LogQuestion) -> Iterator[LogPiece]:
        question.limit = _PART
        while True:
            try:
                answer = self._client.read_logs(node.raylet, question, timeout=self._timeout)
            except GcsUnreachableError as error:
                raise GcsUnreachableError(f"node {node.node_id.hex()}: {error}") from error
            question.start += sum(len(piece.data) for piece in answer.pieces)
            self.dropped[node.node_id] = max(answer.dropped, self.dropped.get(node.node_id, 0))
            yield from answer.pieces
            if answer.is_end or not answer.pieces:
                return


def _last_lines(pieces: list[LogPiece], lines: int) -> list[LogPiece]:
    """The last lines of pieces that were read already."""
    kept: list[LogPiece] = []
    for piece in reversed(pieces):
        if lines <= 0:
            break
        parts = piece.data.splitlines(keepends=True)[-lines:]
        lines -= len(parts)
        piece.data = b"".join(parts)
        kept.append(piece)
    return kept[::-1]


def selections_of(thing: Any) -> list[LogSelection]:
    """What may be meant by a reference, an actor's handle, a generator, or an id: the first that has printed is.

    Raises
    ------
    ValueError
        It names nothing that prints.
    """
    if isinstance(thing, ActorHandle):
        return [LogSelection(actor=thing._id.hex())]
    if isinstance(thing, ObjectRef):
        return [LogSelection(task=thing.binary()[:TASK_ID_SIZE].hex())]
    if isinstance(thing, ObjectRefGenerator):
        return [LogSelection(task=thing.task_id().hex())]
    text = thing if isinstance(thing, str) else thing.hex() if callable(getattr(thing, "hex", None)) else ""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) == OBJECT_ID_SIZE:
        return [LogSelection(task=data[:TASK_ID_SIZE].hex())]
    if len(data) == TASK_ID_SIZE:  # an actor has the id of the task that made it
        return [LogSelection(actor=data.hex()), LogSelection(task=data.hex())]
    what = repr(thing) if isinstance(thing, str) else f"a {type(thing).__name__}"
    raise ValueError(
        f"{what} has no log: give a reference, an actor's handle, or the id of a task or actor in hexadecimal "
        "digits, as list_tasks() and list_actors() show it"
    )


def logs(of: Any, *, tail: int = -1, stream: str = "all", address: str | None = None) -> str:
    """Everything that a task or actor has printed, also what was left out of a notebook.

    Logs are bounded: where the oldest part of them is kept no more, the text begins with a line that says so.

    Parameters
    ----------
    of
        The reference to a task's result, an actor's handle, or the id of a task or actor in hexadecimal digits.
    tail
        Only so many lines at the end; -1: all.
    stream
        "out", "err", or "all" for both in the order in which they were written.
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.

    Raises
    ------
    ValueError
        ``of`` names nothing that prints.
    """
    number = stream_number(stream)
    with LogReader(address) as reader:
        pieces = reader.first(selections_of(of), number, tail)
        text = b"".join(piece.data for piece in pieces).decode("utf-8", "backslashreplace")
        dropped = sum(reader.dropped.values()) if tail < 0 else 0
        return f"{dropped_note(dropped)}\n{text}" if dropped else text


def dropped_note(dropped: int) -> str:
    """What is said where output is read of which a part is kept no more."""
    return (
        f"[himalia: up to {dropped:,} bytes that were printed before are kept no more: logs are bounded by "
        "HIMALIA_LOG_WORKER_BYTES and HIMALIA_LOG_NODE_BYTES]"
    )


def stream_number(name: str) -> int:
    """1 for "out", 2 for "err", 0 for "all"."""
    if name not in _STREAMS:
        raise ValueError(f'a stream is "out", "err" or "all", not {name!r}')
    return _STREAMS[name]


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: int = 30,
) -> dict[str, list[str]]:
    """Names of the logs on the nodes, by what wrote them.

    Parameters
    ----------
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    node_id, node_ip
        The only node to ask, by its id or its host name.
    glob_filter
        Only names like this: ``"*.err"``.
    timeout
        Seconds to wait for each answer.
    """
    found: dict[str, list[str]] = {}
    with LogReader(address, node_id or node_ip or "", timeout) as reader:
        for name, _ in reader.files():
            if glob_filter is None or fnmatch.fnmatchcase(name, glob_filter):
                kind = name.partition("-")[0].partition(".")[0]
                category = "worker_" + name.rpartition(".")[2] if kind == "worker" else _CATEGORIES.get(kind, kind)
                found.setdefault(category, []).append(name)
    return found


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: int = 30,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[str]:
    """What a task, actor or worker has printed, or a file of `list_logs`, in pieces.

    Parameters
    ----------
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    node_id, node_ip
        The only node to ask, by its id or its host name.
    filename, actor_id, task_id, pid
        Which log: exactly one of them.
    follow
        Go on with what is printed from now on, without end.
    tail
        Only so many lines at the end, to begin with; -1: all.
    timeout
        Seconds to wait for each answer.
    suffix
        "out" or "err", or "all" for both in the order in which they were written. Not for files.
    encoding, errors
        How bytes become text; None: bytes that are no text are shown as ``\\xff``.
    attempt_number
        Of a task that was tried again.
    _interval
        Seconds between looks for more.
    filter_ansi_code
        Leave out colours and other control sequences of terminals.

    Raises
    ------
    ValueError
        Not exactly one log is named, or there is none of this name.
    """
    if submission_id is not None:
        raise ValueError("submission_id names a submitted job, which Himalia does not have: give a task_id or filename")
    named = {"filename": filename, "actor_id": actor_id, "task_id": task_id, "pid": pid}
    given = [name for name, value in named.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(named)}; there is {' and '.join(given) or 'none'}")
    stream = stream_number(suffix)
    if task_id is not None:
        selection = LogSelection(task=selections_of(task_id)[-1].task, stream=stream, attempt=attempt_number)
    else:
        selection = LogSelection(actor=actor_id or "", pid=pid or 0, stream=stream)
    return _pieces_of_text(
        LogReader(address, node_id or node_ip or "", timeout),
        (selection, filename or "", tail),
        follow,
        _POLL if _interval is None else _interval,
        codecs.getincrementaldecoder(encoding or "utf-8")(errors if encoding and errors else "backslashreplace"),
        _ANSI if filter_ansi_code else None,
    )


def _pieces_of_text(
    reader: LogReader,
    what: tuple[LogSelection, str, int],
    follow: bool,
    interval: float,
    decoder: Any,
    leave_out: re.Pattern[str] | None,
) -> Iterator[str]:
    with reader:
        pieces = reader.follow(*what, interval) if follow else reader.pieces(*what)
        for piece in pieces:
            text = decoder.decode(piece.data)
            if leave_out is not None:
                text = leave_out.sub("", text)
            if text:
                yield text
