"""`himalia logs`: what tasks printed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from himalia.cli._output import print_table

if TYPE_CHECKING:
    from himalia.cluster.protocol.log_messages import LogPiece, LogSearch, LogSelection
    from himalia.util.state._log_search import LogPage
    from himalia.util.state._logs import LogReader

__all__ = ["add_commands"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SEARCHES = ("cell", "worker", "level", "since", "grep")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    logs = commands.add_parser(
        "logs",
        help="show what a task or actor printed, search it, or list the logs",
        description="Without an argument: which functions printed how much, and the files in the session's folders.",
    )
    logs.add_argument(
        "what", nargs="?", help="id of a task, actor or object, or the name of a file (also with wildcards)"
    )
    logs.add_argument("--grep", metavar="TEXT", help="only lines that contain this text")
    logs.add_argument("--regex", action="store_true", help="TEXT is a regular expression")
    logs.add_argument("--ignore-case", "-i", action="store_true", help="capitals do not matter in TEXT")
    logs.add_argument("--level", help="only lines of a logger, of at least this level: WARNING")
    logs.add_argument("--cell", type=int, help="only what the tasks of this notebook cell printed")
    logs.add_argument("--worker", help="only what was printed in this worker, by its id")
    logs.add_argument("--pid", type=int, help="all that a worker with this process id printed")
    logs.add_argument("--since", type=_ago, metavar="10m", help="only the last so many s, m, h or d")
    logs.add_argument("--tail", type=int, default=-1, metavar="N", help="the last N lines only")
    logs.add_argument("--limit", type=int, default=1_000, metavar="N", help="lines of a search at most")
    logs.add_argument("--stream", choices=["out", "err", "all"], default="all")
    logs.add_argument("--follow", "-f", action="store_true", help="go on with what is printed from now on")
    logs.add_argument("--node", default="", help="id or host name of the only node to ask")
    logs.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    logs.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for each answer")
    logs.set_defaults(run=_logs)


def _ago(text: str) -> float:
    """How many seconds a time is long."""
    unit = _UNITS.get(text[-1:], 0)
    try:
        return float(text[:-1] if unit else text) * (unit or 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 30s, 10m, 2h or 1d") from None


def _logs(arguments: argparse.Namespace) -> int:
    from himalia.cluster.protocol.log_messages import LogSelection
    from himalia.util.state._logs import LogReader, dropped_note, selections_of, stream_number

    if arguments.what is not None and arguments.pid is not None:
        raise ValueError(f"give {arguments.what!r} or --pid, not both")
    if arguments.grep is None and (arguments.regex or arguments.ignore_case):
        raise ValueError("--regex and --ignore-case are about --grep: give the text to search for")
    with LogReader(arguments.address, arguments.node, arguments.timeout) as reader:
        if any(getattr(arguments, name) is not None for name in _SEARCHES):
            return _search(reader, arguments)
        if arguments.what is None and arguments.pid is None:
            return _list(reader)
        filename, selections = "", [LogSelection(pid=arguments.pid or 0)]
        if arguments.what is not None and arguments.what in {name for name, _ in reader.files()}:
            filename = arguments.what
        elif arguments.what is not None:
            selections = selections_of(arguments.what)
        stream = stream_number(arguments.stream)
        pieces: Iterator[LogPiece]
        if arguments.follow:
            pieces = reader.follow(_chosen(reader, selections, stream), filename, arguments.tail, 0.5)
        elif filename:
            pieces = reader.pieces(LogSelection(), filename, arguments.tail)
        else:
            pieces = iter(reader.first(selections, stream, arguments.tail))
        for piece in pieces:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
        if arguments.tail < 0 and (dropped := sum(reader.dropped.values())):
            print(dropped_note(dropped), file=sys.stderr)
    return 0


def _chosen(reader: LogReader, selections: list[LogSelection], stream: int) -> LogSelection:
    """The first selection that has printed, else the first."""
    import msgspec

    return msgspec.structs.replace(reader.chosen(selections), stream=stream)


def _search(reader: LogReader, arguments: argparse.Namespace) -> int:
    from himalia.util.state._log_search import follow_logs, read_page

    search = _asked(reader, arguments)
    if not arguments.follow:
        page = read_page(reader, search, {})
        _print_page(page)
        if not page.is_end:
            print(f"{len(page.lines)} lines shown, and there is more: --limit, --tail or --since", file=sys.stderr)
        return 0 if page.lines or arguments.grep is None else 1
    for page in follow_logs(reader, search):
        _print_page(page)
        sys.stdout.flush()
    return 0


def _asked(reader: LogReader, arguments: argparse.Namespace) -> LogSearch:
    from himalia.cluster.protocol.log_messages import LogSelection
    from himalia.util.state._log_search import make_search
    from himalia.util.state._logs import selections_of

    who, files = LogSelection(), ""
    if arguments.what is not None:
        if any(letter in arguments.what for letter in ".*?["):
            files = arguments.what
        else:
            who = reader.chosen(selections_of(arguments.what))
    return make_search(
        who,
        pattern=arguments.grep or "",
        regex=arguments.regex,
        ignore_case=arguments.ignore_case,
        cell=arguments.cell,
        worker=arguments.worker or "",
        pid=arguments.pid,
        stream=arguments.stream,
        level=arguments.level or "",
        since=time.time() - arguments.since if arguments.since is not None else 0.0,
        files=files,
        tail=arguments.tail,
        limit=arguments.limit,
    )


def _print_page(page: LogPage) -> None:
    from himalia.util.state._log_search import line_text
    from himalia.util.state._logs import dropped_note

    for line in page.lines:
        who = f"({line.name} pid={line.pid})" if line.pid else f"({line.name})"
        print(f"{who} {line_text(line)}")
    for text in page.missing:
        print(text, file=sys.stderr)
    if page.dropped:
        print(dropped_note(page.dropped), file=sys.stderr)


def _list(reader: LogReader) -> int:
    from himalia.cluster.protocol.log_messages import LogSelection

    rows = [
        [source.name, str(source.cell or "-"), str(source.pid), str(source.tasks), str(source.size)]
        for source in reader.sources(LogSelection())
    ]
    if rows:
        print_table(["FUNCTION", "CELL", "PID", "TASKS", "BYTES"], rows)
        print()
    print_table(["FILE", "BYTES"], [[name, str(size)] for name, size in reader.files()])
    return 0
