"""`himalia start`, `stop` and `status`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from typing import Any

from himalia.cli._output import print_table, print_value

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    start = commands.add_parser("start", help="start a cluster on this machine, or join one")
    what = start.add_mutually_exclusive_group(required=True)
    what.add_argument("--head", action="store_true", help="start a new cluster")
    what.add_argument("--address", help="join this cluster: its connection file (copied from its head), or host:port")
    start.add_argument("--num-cpus", type=float, help="logical CPUs (default: those of the machine)")
    start.add_argument("--num-gpus", type=float, help="logical GPUs (default: those of the machine)")
    start.add_argument("--memory", type=_size, help="memory to hand out, as 8G or in bytes")
    start.add_argument("--object-store-memory", type=_size, help="size of the object store, as 2G or in bytes")
    start.add_argument("--resources", type=_resources, default={}, help="""custom resources as JSON: '{"disk": 2}'""")
    start.add_argument("--labels", type=_labels, default={}, help="labels of the node: zone=a,kind=fast")
    start.add_argument("--host", default="", help="listen on this address for other machines (always encrypted)")
    start.add_argument("--port", type=int, default=0, help="port of the GCS on --host (default: any free one)")
    start.add_argument("--storage", default="", help="where the cluster's state is kept: sqlite:<path> or memory:")
    start.add_argument("--spill-dir", default="", help="where objects go that do not fit into memory")
    start.add_argument(
        "--include-dashboard",
        type=_truth,
        help="true: the dashboard runs from the beginning, false: there is none (default: it starts when it is opened)",
    )
    start.add_argument("--dashboard-host", default="127.0.0.1", help="address that the dashboard listens on")
    start.add_argument("--dashboard-port", type=int, help="of the dashboard (default: 8265, or the next that is free)")
    start.add_argument("--dashboard-certificate", default="", help="PEM file, with which the dashboard speaks TLS")
    start.add_argument("--dashboard-key", default="", help="PEM file of its key, if it is in another")
    start.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    start.add_argument("--block", action="store_true", help="stay in the foreground; the node ends with this command")
    start.set_defaults(run=_start)

    stop = commands.add_parser("stop", help="stop the nodes of a cluster that run on this machine")
    which = stop.add_mutually_exclusive_group()
    which.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    which.add_argument(
        "--all", action="store_true", help="all clusters of yours, also those of notebooks that are open"
    )
    stop.set_defaults(run=_stop)

    status = commands.add_parser("status", help="show nodes, resources, and what waits")
    status.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    status.add_argument("--format", choices=["table", "json"], default="table")
    status.set_defaults(run=_status)


def _size(text: str) -> int:
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = units.get(number[-1:], 1)
    try:
        return int(float(number.rstrip("KMGT")) * unit)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500M, 8G, or a number of bytes") from None


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither: write true or false")
    return text.lower() == "true"


def _resources(text: str) -> dict[str, float]:
    try:
        value = json.loads(text)
        return {str(name): float(quantity) for name, quantity in value.items()}
    except (ValueError, AttributeError, TypeError):
        raise argparse.ArgumentTypeError(f"""{text!r} are no resources: write '{{"disk": 2}}'""") from None


def _labels(text: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in text.split(",") if item]
    if not all(key and equals for key, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} are no labels: write zone=a,kind=fast")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _start(arguments: argparse.Namespace) -> int:
    from himalia.cluster.launchers.boot import NodeOptions
    from himalia.cluster.launchers.doorway import warnings_of
    from himalia.cluster.launchers.local import find_connection, start_head, start_node

    options = NodeOptions(
        num_cpus=arguments.num_cpus,
        num_gpus=arguments.num_gpus,
        memory=arguments.memory,
        object_store_memory=arguments.object_store_memory,
        resources=arguments.resources,
        labels=arguments.labels,
        tcp_host=arguments.host,
        tcp_port=arguments.port,
        gcs_storage=arguments.storage,
        spill_dir=arguments.spill_dir,
        log_level=arguments.log_level,
        include_dashboard=arguments.include_dashboard,
        dashboard_host=arguments.dashboard_host,
        dashboard_port=arguments.dashboard_port,
        dashboard_certificate=arguments.dashboard_certificate,
        dashboard_key=arguments.dashboard_key,
    )
    if arguments.head:
        node = start_head(options)
    else:
        if arguments.port or arguments.storage:
            raise ValueError("--port and --storage are for the head node, which has the GCS")
        if arguments.include_dashboard or arguments.dashboard_port is not None or arguments.dashboard_certificate:
            raise ValueError("options of the dashboard are for the head node, which has it")
        node = start_node(find_connection(arguments.address), options)
    try:
        connection = node.connection
        print(f"Node {connection.node_id.hex()} of cluster {connection.cluster_id} runs (pid {connection.pid}).")
        print(f"  In Python:  himalia.init({connection.session_dir!r})  or  himalia.init('auto')")
        if arguments.head and connection.gcs.tcp:
            print(f"  To join:    himalia start --address <a copy of {connection.session_dir}/cluster.json>")
        if connection.dashboard_url:
            print(f"  Dashboard:  {connection.dashboard_url}  (himalia dashboard opens it)")
        for warning in warnings_of(connection):
            print(f"  Beware:     {warning}", file=sys.stderr)
        print(f"  To end it:  himalia stop --address {connection.session_dir}")
    except BaseException:
        node.stop()
        raise
    if not arguments.block:
        node.detach()
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while node.is_running():
            time.sleep(0.5)
    except KeyboardInterrupt:
        node.stop()
        return 0
    print(f"The node ended: {node.end_reason() or 'it was stopped'}")
    return 0 if not node.end_reason() else 1


def _stop(arguments: argparse.Namespace) -> int:
    from himalia.cluster.launchers.local import stop_all
    from himalia.cluster.launchers.session import running_sessions

    if not running_sessions():
        stop_all()  # what killed nodes left behind
        print("No node of yours runs on this machine.")
        return 0
    count = stop_all(None if arguments.all else arguments.address or "auto")
    print(f"Stopped {count} {'node' if count == 1 else 'nodes'}.")
    others = {info.cluster_id: info.session_dir for info in running_sessions()}
    if others:
        print(f"Still running: {', '.join(others.values())}  (himalia stop --all ends all)")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from himalia.cluster.launchers.local import find_connection
    from himalia.cluster.protocol.common import from_units
    from himalia.util.state._source import open_source

    url = find_connection(arguments.address or "auto").dashboard_url
    with open_source(arguments.address, 10.0) as source:
        nodes, stats, resources = source.ask("nodes"), source.ask("stats"), source.ask("resources")
    total, free = from_units(resources["total"]), from_units(resources["available"])
    waiting = [(from_units(need), count) for need, count in (*stats["pending"], *stats["actors_waiting"])]
    shown: dict[str, Any] = {
        "cluster_id": stats["cluster_id"],
        "dashboard_url": url or None,
        "nodes": [
            {"node_id": node["node_id"].hex(), "state": node["state"], "host": node["host"], "is_head": node["is_head"]}
            for node in nodes
        ],
        "resources": {name: {"used": total[name] - free.get(name, 0.0), "total": total[name]} for name in total},
        "waiting": [{"resources": need, "count": count} for need, count in waiting],
        "actors": stats["actors"],
        "jobs_running": stats["jobs_running"],
        "task_events": stats["task_events"],
        "task_events_dropped": stats["task_events_dropped"],
    }
    if arguments.format == "json":
        print_value(shown)
        return 0
    print(f"Cluster {shown['cluster_id']}: {shown['jobs_running']} running job(s)")
    if url:
        print(f"Dashboard: {url}")
    print()
    rows = [
        [node["node_id"], node["state"], node["host"], "head" if node["is_head"] else ""] for node in shown["nodes"]
    ]
    print_table(["NODE", "STATE", "HOST", ""], rows)
    print()
    used = [
        [name, _quantity(name, row["used"]), _quantity(name, row["total"])] for name, row in shown["resources"].items()
    ]
    print_table(["RESOURCE", "USED", "TOTAL"], [row for row in used if not row[0].startswith("node:")])
    print()
    if shown["actors"]:
        print("Actors: " + ", ".join(f"{count} {state}" for state, count in sorted(shown["actors"].items())))
    for need, count in waiting:
        print(f"Waiting: {count} × {need or 'no resources'}")
    if not waiting:
        print("Nothing waits for resources.")
    return 0


def _quantity(name: str, value: float) -> str:
    if name in ("memory", "object_store_memory"):
        return f"{value / (1 << 30):.2f} GiB"
    return f"{value:g}"
