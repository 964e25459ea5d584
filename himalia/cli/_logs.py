"""`himalia logs`: what tasks printed."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from himalia.cli._output import print_table

if TYPE_CHECKING:
    from himalia.cluster.protocol.log_messages import LogSelection
    from himalia.util.state._logs import LogReader

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    logs = commands.add_parser(
        "logs",
        help="show what a task or actor printed, or list the logs",
        description="Without an argument: which functions printed how much, and the files in the session's folders.",
    )
    logs.add_argument("what", nargs="?", help="id of a task, actor or object, or the name of a file")
    logs.add_argument("--pid", type=int, help="all that a worker with this process id printed")
    logs.add_argument("--tail", type=int, default=-1, metavar="N", help="the last N lines only")
    logs.add_argument("--stream", choices=["out", "err", "all"], default="all")
    logs.add_argument("--follow", "-f", action="store_true", help="go on with what is printed from now on")
    logs.add_argument("--node", default="", help="id or host name of the only node to ask")
    logs.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    logs.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for each answer")
    logs.set_defaults(run=_logs)


def _logs(arguments: argparse.Namespace) -> int:
    from himalia.cluster.protocol.log_messages import LogSelection
    from himalia.util.state._logs import LogReader, selections_of, stream_number

    if arguments.what is not None and arguments.pid is not None:
        raise ValueError(f"give {arguments.what!r} or --pid, not both")
    with LogReader(arguments.address, arguments.node, arguments.timeout) as reader:
        if arguments.what is None and arguments.pid is None:
            return _list(reader)
        filename, selections = "", [LogSelection(pid=arguments.pid or 0)]
        if arguments.what is not None and arguments.what in {name for name, _ in reader.files()}:
            filename = arguments.what
        elif arguments.what is not None:
            selections = selections_of(arguments.what)
        stream = stream_number(arguments.stream)
        if arguments.follow:
            pieces = reader.follow(_chosen(reader, selections, stream), filename, arguments.tail, 0.5)
        elif filename:
            pieces = reader.pieces(LogSelection(), filename, arguments.tail)
        else:
            pieces = iter(reader.first(selections, stream, arguments.tail))
        for piece in pieces:
            sys.stdout.buffer.write(piece.data)
            sys.stdout.buffer.flush()
    return 0


def _chosen(reader: LogReader, selections: list[LogSelection], stream: int) -> LogSelection:
    """The first selection that has printed, else the first."""
    import msgspec

    chosen = next((one for one in selections if reader.sources(one)), selections[0])
    return msgspec.structs.replace(chosen, stream=stream)


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
