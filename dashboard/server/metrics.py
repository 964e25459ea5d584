"""Metrics in Prometheus's text format: declarations, what they are read from, and how they are written. Pure.

Strategy: a metric is its name, its words, its labels and a function of a snapshot. The text of `/metrics` and the
dashboard for Grafana (`grafana.py`) are both made of these, so a panel never asks for what is not there. Labels are
bounded: of functions the busiest have their own series, all others one together, and tasks, cells and processes have
none.

Rejected: Prometheus's client library. It keeps counters of its own, and ours are kept where the work is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal

import msgspec

from ...cluster.protocol.common import from_units
from ...cluster.protocol.metric_messages import MetricsHeld, OwnMetric, OwnSample
from ..groups import Group

__all__ = ["CONTENT_TYPE", "METRICS", "Metric", "Snapshot", "write"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
FUNCTIONS: Final = 200  # with series of their own
OTHERS: Final = "(others)"
OWN_PREFIX: Final = "himalia_user_"

Labelled = Iterable[tuple[tuple[str, ...], float]]


class Snapshot(msgspec.Struct):
    """What a scrape read: answers of the GCS (``stats``, ``nodes``), rows of the state API, and what the model counts.

    ``viewers``: pages that are open. ``own``: what users count, by process.
    """

    version: str
    stats: dict[str, Any]
    nodes: list[dict[str, Any]]
    node_stats: list[dict[str, Any]]
    gpu_stats: list[dict[str, Any]]
    groups: list[Group]
    viewers: int = 0
    own: list[MetricsHeld] = []
    placement_groups: list[dict[str, Any]] = []


class Metric(msgspec.Struct, frozen=True):
    """One family.

    ``unit`` is Grafana's name of the unit, ``row`` the heading it stands under there, if it has a panel.
    """

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    read: Callable[[Snapshot], Labelled]
    labels: tuple[str, ...] = ()
    unit: str = "short"
    row: str = ""
    legend: str = ""


# -- reading --------------------------------------------------------------------------------------------------------


def _one(value: Callable[[Snapshot], float]) -> Callable[[Snapshot], Labelled]:
    return lambda snapshot: [((), value(snapshot))]


def _node(row: dict[str, Any]) -> str:
    return str(row["node_id"].hex())


def _nodes(value: Callable[[dict[str, Any]], float]) -> Callable[[Snapshot], Labelled]:
    """Of each living node, as the GCS knows it."""
    return lambda snapshot: [((_node(row), row["host"]), value(row)) for row in snapshot.nodes if row["alive"]]


def _node_stats(column: str, factor: float = 1.0) -> Callable[[Snapshot], Labelled]:
    return lambda snapshot: [((row["node_id"], row["node_ip"]), row[column] * factor) for row in snapshot.node_stats]


def _gpus(column: str, factor: float = 1.0) -> Callable[[Snapshot], Labelled]:
    return lambda snapshot: [
        ((row["node_id"], str(row["index"]), row["name"]), row[column] * factor)
        for row in snapshot.gpu_stats
        if row[column] is not None
    ]


def _resources(which: str) -> Callable[[Snapshot], Labelled]:
    def read(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], float]]:
        for row in snapshot.nodes:
            if row["alive"]:
                for name, quantity in from_units(row[which]).items():
                    if not name.startswith("node:"):
                        yield (_node(row), row["host"], name), quantity

    return read


def _waiting(snapshot: Snapshot) -> Labelled:
    counts: dict[str, int] = {}
    for need, count in (*snapshot.stats["pending"], *snapshot.stats["actors_waiting"]):
        words = ", ".join(f"{name}: {quantity:g}" for name, quantity in sorted(from_units(need).items())) or "nothing"
        counts[words] = counts.get(words, 0) + count
    return [((words,), count) for words, count in counts.items()]


def _node_states(snapshot: Snapshot) -> Labelled:
    counts: dict[str, int] = {"ALIVE": 0}
    for row in snapshot.nodes:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    return [((state,), count) for state, count in counts.items()]


def _functions(*values: tuple[str, Callable[[Group], float]]) -> Callable[[Snapshot], Labelled]:
    """By function, of all cells together; by what is counted as well, if there is more than one thing."""

    def read(snapshot: Snapshot) -> Labelled:
        sums: dict[str, list[float]] = {}
        for name, group in _named(snapshot.groups):
            known = sums.setdefault(name, [0.0] * len(values))
            for index, (_, value) in enumerate(values):
                known[index] += value(group)
        return [
            ((name, word) if len(values) > 1 else (name,), total)
            for name, totals in sums.items()
            for (word, _), total in zip(values, totals, strict=True)
        ]

    return read


def _named(groups: list[Group]) -> Iterator[tuple[str, Group]]:
    """Groups with the name of their series."""
    totals: dict[str, int] = {}
    for group in groups:
        totals[group.name] = totals.get(group.name, 0) + group.total
    own = set(sorted(totals, key=lambda name: (-totals[name], name))[:FUNCTIONS])
    for group in groups:
        yield group.name if group.name in own else OTHERS, group


_NODE: Final = ("node", "host")
_GPU: Final = ("node", "gpu", "model")

METRICS: Final[tuple[Metric, ...]] = (
    Metric("himalia_info", "gauge", "The release, as a label; always 1.", lambda s: [((s.version,), 1)], ("version",)),
    Metric("himalia_nodes", "gauge", "Nodes by state.", _node_states, ("state",), row="Cluster", legend="{{state}}"),
    Metric(
        "himalia_processes",
        "gauge",
        "Workers and drivers that live.",
        _one(lambda s: s.stats["processes"]),
        row="Cluster",
    ),
    Metric(
        "himalia_jobs_running",
        "gauge",
        "Jobs whose driver lives.",
        _one(lambda s: s.stats["jobs_running"]),
        row="Cluster",
    ),
    Metric(
        "himalia_actors",
        "gauge",
        "Actors by state.",
        lambda s: [((state,), count) for state, count in s.stats["actors"].items()],
        ("state",),
        row="Cluster",
        legend="{{state}}",
    ),
    Metric(
        "himalia_placement_groups",
        "gauge",
        "Placement groups by state.",
        lambda s: list(Counter((row["state"],) for row in s.placement_groups).items()),
        ("state",),
        row="Cluster",
        legend="{{state}}",
    ),
    Metric(
        "himalia_waiting",
        "gauge",
        "Leases and actors that wait for a place, by what each needs.",
        _waiting,
        ("resources",),
        row="Cluster",
        legend="{{resources}}",
    ),
    Metric(
        "himalia_tasks_total",
        "counter",
        "Tasks that ended, by function and how.",
        _functions(
            ("finished", lambda g: g.finished), ("failed", lambda g: g.failed), ("cancelled", lambda g: g.cancelled)
        ),
        ("function", "state"),
        unit="ops",
        row="Tasks",
        legend="{{function}} {{state}}",
    ),
    Metric(
        "himalia_tasks_running",
        "gauge",
        "Tasks at work, by function.",
        _functions(("", lambda g: g.running)),
        ("function",),
        row="Tasks",
        legend="{{function}}",
    ),
    Metric(
        "himalia_tasks_waiting",
        "gauge",
        "Tasks that have not begun, by function.",
        _functions(("", lambda g: g.waiting)),
        ("function",),
        row="Tasks",
        legend="{{function}}",
    ),
    Metric(
        "himalia_task_seconds_total",
        "counter",
        "Time that ended tasks ran, in sum, by function.",
        _functions(("", lambda g: g.seconds)),
        ("function",),
        unit="s",
        row="Tasks",
        legend="{{function}}",
    ),
    Metric(
        "himalia_task_events_dropped_total",
        "counter",
        "Task events that the GCS forgot to make room for newer ones.",
        _one(lambda s: s.stats["task_events_dropped"]),
    ),
    Metric(
        "himalia_task_events_unsent_total",
        "counter",
        "Task events that their senders dropped.",
        _one(lambda s: s.stats["task_events_unsent"]),
    ),
    Metric("himalia_gcs_messages_total", "counter", "Messages the GCS handled.", _one(lambda s: s.stats["messages"])),
    Metric(
        "himalia_resource_capacity",
        "gauge",
        "What a node has of a resource; memory in bytes.",
        _resources("total"),
        (*_NODE, "resource"),
    ),
    Metric(
        "himalia_resource_available",
        "gauge",
        "What of a node's resource is free; memory in bytes.",
        _resources("available"),
        (*_NODE, "resource"),
        row="Nodes",
        legend="{{host}} {{resource}}",
    ),
    Metric(
        "himalia_object_store_capacity_bytes",
        "gauge",
        "Size of a node's object store.",
        _nodes(lambda row: row["object_store_bytes"]),
        _NODE,
        unit="bytes",
    ),
    Metric(
        "himalia_object_store_used_bytes",
        "gauge",
        "What objects take of it.",
        _nodes(lambda row: row["store_used"]),
        _NODE,
        unit="bytes",
        row="Nodes",
        legend="{{host}}",
    ),
    Metric(
        "himalia_node_cpu_ratio",
        "gauge",
        "How busy a node's processors are, of all programs: 0 to 1.",
        _node_stats("cpu_percent", 0.01),
        _NODE,
        unit="percentunit",
        row="Nodes",
        legend="{{host}}",
    ),
    Metric(
        "himalia_node_memory_total_bytes",
        "gauge",
        "Memory of a node.",
        _node_stats("memory_total"),
        _NODE,
        unit="bytes",
    ),
    Metric(
        "himalia_node_memory_used_bytes",
        "gauge",
        "What of it is in use, by all programs.",
        _node_stats("memory_used"),
        _NODE,
        unit="bytes",
        row="Nodes",
        legend="{{host}}",
    ),
    Metric(
        "himalia_node_spilled_bytes",
        "gauge",
        "Objects of a node that lie on disk.",
        _node_stats("spilled"),
        _NODE,
        unit="bytes",
    ),
    Metric(
        "himalia_node_disk_read_bytes_per_second",
        "gauge",
        "Read from a node's disks, by all programs.",
        _node_stats("disk_read"),
        _NODE,
        unit="Bps",
    ),
    Metric(
        "himalia_node_disk_written_bytes_per_second",
        "gauge",
        "Written to a node's disks, by all programs.",
        _node_stats("disk_written"),
        _NODE,
        unit="Bps",
    ),
    Metric(
        "himalia_node_network_received_bytes_per_second",
        "gauge",
        "Received by a node, by all programs.",
        _node_stats("net_received"),
        _NODE,
        unit="Bps",
        row="Nodes",
        legend="{{host}}",
    ),
    Metric(
        "himalia_node_network_sent_bytes_per_second",
        "gauge",
        "Sent by a node, by all programs.",
        _node_stats("net_sent"),
        _NODE,
        unit="Bps",
        row="Nodes",
        legend="{{host}}",
    ),
    Metric(
        "himalia_node_workers",
        "gauge",
        "Workers of a node.",
        _node_stats("workers"),
        _NODE,
    ),
    Metric(
        "himalia_node_busy_workers",
        "gauge",
        "Workers of a node that run something.",
        _node_stats("busy_workers"),
        _NODE,
        row="Nodes",
        legend="{{host}}",
    ),
    Metric(
        "himalia_gpu_utilization_ratio",
        "gauge",
        "How busy a GPU is: 0 to 1.",
        _gpus("utilization", 0.01),
        _GPU,
        unit="percentunit",
        row="GPUs",
        legend="{{node}} {{gpu}}",
    ),
    Metric("himalia_gpu_memory_total_bytes", "gauge", "Memory of a GPU.", _gpus("memory_total"), _GPU, unit="bytes"),
    Metric(
        "himalia_gpu_memory_used_bytes",
        "gauge",
        "What of a GPU's memory is in use.",
        _gpus("memory_used"),
        _GPU,
        unit="bytes",
        row="GPUs",
        legend="{{node}} {{gpu}}",
    ),
    Metric(
        "himalia_gpu_power_watts",
        "gauge",
        "What a GPU takes.",
        _gpus("power"),
        _GPU,
        unit="watt",
        row="GPUs",
        legend="{{node}} {{gpu}}",
    ),
    Metric(
        "himalia_gpu_temperature_celsius",
        "gauge",
        "How hot a GPU is.",
        _gpus("temperature"),
        _GPU,
        unit="celsius",
        row="GPUs",
        legend="{{node}} {{gpu}}",
    ),
    Metric(
        "himalia_gpu_share",
        "gauge",
        "How much of a GPU tasks and actors hold, as they asked for it.",
        _gpus("share"),
        _GPU,
        row="GPUs",
        legend="{{node}} {{gpu}}",
    ),
    Metric("himalia_dashboard_viewers", "gauge", "Pages of the dashboard that are open.", _one(lambda s: s.viewers)),
)


# -- writing --------------------------------------------------------------------------------------------------------


def write(snapshot: Snapshot) -> str:
    """All metrics as text. One without a sample has no lines."""
    lines: list[str] = []
    for metric in METRICS:
        samples = list(metric.read(snapshot))
        if samples:
            lines.append(f"# HELP {metric.name} {_help(metric.about)}")
            lines.append(f"# TYPE {metric.name} {metric.kind}")
            lines += [f"{metric.name}{_labels(metric.labels, values)} {_number(value)}" for values, value in samples]
    lines += _own(snapshot.own)
    return "\n".join(lines) + "\n"


def _own(answers: list[MetricsHeld]) -> Iterator[str]:
    """What users count: a series for each process. Where two mean different things by a name, the first is right."""
    families: dict[str, list[tuple[MetricsHeld, OwnMetric]]] = {}
    for answer in answers:
        for metric in answer.metrics:
            family = families.setdefault(metric.name, [])
            if not family or family[0][1].kind == metric.kind:
                family.append((answer, metric))
    for name, members in families.items():
        kind, about = members[0][1].kind, members[0][1].about
        if not any(metric.samples for _, metric in members):
            continue
        full = f"{OWN_PREFIX}{name}"
        if kind == "counter" and not name.endswith("_total"):
            full += "_total"
        yield f"# HELP {full} {_help(about) or name}"
        yield f"# TYPE {full} {kind}"
        for answer, metric in members:
            names = ("node", "worker", *metric.tag_keys)
            for sample in metric.samples:
                values = (answer.node_id.hex(), answer.worker_id.hex(), *sample.tags)
                yield from _own_lines(full, names, values, metric, sample)


def _own_lines(
    full: str, names: tuple[str, ...], values: tuple[str, ...], metric: OwnMetric, sample: OwnSample
) -> Iterator[str]:
    if metric.kind != "histogram":
        yield f"{full}{_labels(names, values)} {_number(sample.value)}"
        return
    total = 0
    for boundary, count in zip([*map(_number, metric.boundaries), "+Inf"], sample.counts, strict=True):
        total += count
        yield f"{full}_bucket{_labels((*names, 'le'), (*values, boundary))} {total}"
    yield f"{full}_sum{_labels(names, values)} {_number(sample.value)}"
    yield f"{full}_count{_labels(names, values)} {total}"


def _help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    pairs = ",".join(f'{name}="{_value(value)}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}" if pairs else ""


def _value(text: str) -> str:
    # Names come from tasks: half a surrogate is text in Python and no text on the way.
    whole = text.encode("utf-8", "backslashreplace").decode()
    return whole.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'+' if value > 0 else '-'}Inf"
    return str(int(value)) if float(value).is_integer() else repr(float(value))
