"""`himalia list`, `get`, `summary` and `timeline`."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from himalia.cli._output import print_rows, print_table, print_value

__all__ = ["add_commands"]

_KINDS = ("actors", "jobs", "nodes", "objects", "placement-groups", "tasks", "workers")
#: What is not asked for by an id.
_OTHERS = (
    "cluster-events",
    "errors",
    "function-memory",
    "gpu-stats",
    "node-stats",
    "pending",
    "worker-stats",
)
_SUMMARIES = ("actors", "objects", "placement-groups", "tasks")


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    listing = commands.add_parser(
        "list", help="list tasks, actors, objects, placement groups, nodes, workers, jobs, or what these use"
    )
    listing.add_argument("kind", choices=(*_KINDS, *_OTHERS))
    listing.add_argument(
        "--filter",
        "-f",
        dest="filters",
        action="append",
        type=_filter,
        default=[],
        help="state=RUNNING or name!=f; may be given several times, and all must hold",
    )
    listing.add_argument("--limit", type=int, default=100)
    listing.add_argument("--detail", action="store_true", help="all columns")
    _common(listing)
    listing.set_defaults(run=_list)

    events = commands.add_parser("events", help="follow what happens in the cluster, until interrupted")
    events.add_argument("--since", type=int, default=0, help="begin behind the event with this number")
    events.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    events.add_argument("--timeout", type=float, help="end after so many seconds")
    events.set_defaults(run=_events)

    errors = commands.add_parser("errors", help="show what failed, by kind, each with a traceback")
    errors.add_argument("--limit", type=int, default=10, help="kinds, those that failed last first")
    _common(errors)
    errors.set_defaults(run=_errors)

    reason = commands.add_parser("why", help="tell why a task, actor or placement group waits, or what waits at all")
    reason.add_argument("id", nargs="?", help="of a task, actor or placement group (default: all that waits)")
    _common(reason)
    reason.set_defaults(run=_why)

    one = commands.add_parser("get", help="show everything about one")
    one.add_argument("kind", choices=_KINDS)
    one.add_argument("id")
    _common(one)
    one.set_defaults(run=_get)

    summary = commands.add_parser("summary", help="count tasks, actors, objects or placement groups")
    summary.add_argument("kind", choices=_SUMMARIES)
    _common(summary)
    summary.set_defaults(run=_summary)

    timeline = commands.add_parser("timeline", help="write what ran when, for chrome://tracing or Perfetto")
    timeline.add_argument("file", nargs="?", default="timeline.json")
    timeline.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    timeline.set_defaults(run=_timeline)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for each answer")


def _filter(text: str) -> tuple[str, str, str]:
    for predicate in ("!=", "="):
        key, found, value = text.partition(predicate)
        if found and key:
            return key.strip(), predicate, value.strip()
    raise argparse.ArgumentTypeError(f"{text!r} is no filter: write state=RUNNING or name!=f")


def _list(arguments: argparse.Namespace) -> int:
    from himalia.util.state._api import query
    from himalia.util.state._source import ROWS

    what = arguments.kind.replace("-", "_")
    rows = query(what, arguments.address, arguments.filters, None, arguments.timeout, complete=False)
    kind = ROWS[what][0]
    if arguments.limit < 1:
        raise ValueError(f"--limit must be at least 1, not {arguments.limit}")
    shown = rows[: arguments.limit]
    print_rows(shown, kind.columns() if arguments.detail else kind.base_columns(), arguments.format)
    if len(shown) < len(rows):
        print(f"{len(shown)} of {len(rows)} shown: --limit {len(rows)} shows all", file=sys.stderr)
    return 0


def _events(arguments: argparse.Namespace) -> int:
    from himalia.util.state import follow_cluster_events

    for event in follow_cluster_events(arguments.address, arguments.since, arguments.timeout):
        cell = f" [cell {event.cell}]" if event.cell else ""
        print(f"{event.event_id:>5} {event.time} {event.severity:<7} {event.message}{cell}", flush=True)
    return 0


def _errors(arguments: argparse.Namespace) -> int:
    from himalia.util.state._api import query

    rows = query("errors", arguments.address, None, arguments.limit, arguments.timeout, complete=False)
    if arguments.format == "json":
        print_value([row.asdict() for row in rows])
        return 0
    for row in rows:
        cells = f", cells {', '.join(map(str, row['cells']))}" if row["cells"] else ""
        where = f" at {row['file']}:{row['line']}" if row["file"] else ""
        times = f"{row['count']} times, last {row['last_time']}" if row["count"] > 1 else f"once, {row['last_time']}"
        print(f"{row['error']} in {row['function']}{where}: {times}{cells}")
        print("".join(f"    {line}\n" for line in (row["traceback"] or row["message"]).splitlines()))
    if not rows:
        print("Nothing failed.")
    return 0


def _why(arguments: argparse.Namespace) -> int:
    from himalia.util.state import why
    from himalia.util.state._api import query

    if arguments.id:
        text = why(arguments.id, arguments.address, arguments.timeout)
        if arguments.format == "json":
            print_value({"id": arguments.id, "why": text})
        else:
            print(text)
        return 0
    rows = query("pending", arguments.address, None, None, arguments.timeout, complete=False)
    if arguments.format == "json":
        print_value([row.asdict() for row in rows])
        return 0
    for row in rows:
        cell = f", cell {row['cell']}" if row["cell"] else ""
        noun = {"tasks": "task", "placement group": "bundle"}.get(row["kind_of_work"], "actor")
        count = f" ({row['tasks']} {noun}{'s' if row['tasks'] != 1 else ''}{cell})"
        print(f"{row['name']}{count}: {row['verdict']} for {row['waited_s']:.1f} s\n  {row['reason']}")
    if not rows:
        print("Nothing waits.")
    return 0


def _get(arguments: argparse.Namespace) -> int:
    from himalia.util.state._api import query
    from himalia.util.state._source import ROWS

    what = arguments.kind.replace("-", "_")
    key = ROWS[what][0].id_field
    rows = query(what, arguments.address, [(key, "=", arguments.id)], None, arguments.timeout)
    if not rows:
        print(f"There is none of the {arguments.kind} with the id {arguments.id!r}.", file=sys.stderr)
        return 1
    if arguments.format == "json":
        print_value([row.asdict() for row in rows])
        return 0
    for row in rows:
        print_table(["FIELD", "VALUE"], [[name, "-" if value is None else str(value)] for name, value in row.items()])
    return 0


def _summary(arguments: argparse.Namespace) -> int:
    from himalia.util import state

    summarize = {
        "actors": state.summarize_actors,
        "objects": state.summarize_objects,
        "placement-groups": state.summarize_placement_groups,
        "tasks": state.summarize_tasks,
    }[arguments.kind]
    answer: dict[str, Any] = summarize(arguments.address, arguments.timeout)["cluster"]
    if arguments.format == "json":
        print_value(answer)
        return 0
    rows = []
    for name, group in answer["summary"].items():
        counts = group.get("state_counts") or group["task_state_counts"]
        size = [f"{group['total_size_mb']:.1f}"] if arguments.kind == "objects" else []
        rows.append([name, str(sum(counts.values())), *size, ", ".join(f"{s}: {n}" for s, n in sorted(counts.items()))])
    titles = ["NAME", "COUNT", *(["MB"] if arguments.kind == "objects" else []), "STATES"]
    print_table(titles, rows)
    return 0


def _timeline(arguments: argparse.Namespace) -> int:
    from himalia.cluster.telemetry.timeline import chrome_trace
    from himalia.util.state._source import open_source

    with open_source(arguments.address, 30.0) as source:
        events = chrome_trace(source.records())
    with open(arguments.file, "w") as file:
        json.dump(events, file)
    spans = sum(event["ph"] == "X" for event in events)
    print(f"{spans} tasks in {arguments.file}: open it at https://ui.perfetto.dev or chrome://tracing")
    return 0
