"""Metrics: what they say of a snapshot, how they are written, and that Grafana's dashboard asks for what is there."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import himalia
from himalia.cluster.protocol.common import RESOURCE_UNIT
from himalia.cluster.protocol.metric_messages import MetricsHeld, OwnMetric, OwnSample
from himalia.cluster.telemetry.events import TaskKind
from himalia.dashboard.groups import Group
from himalia.dashboard.server import metrics
from himalia.dashboard.server.grafana import dashboard
from himalia.dashboard.server.metrics import METRICS, Snapshot, write
from himalia.util.placement_group import placement_group, remove_placement_group
from tests.support.clusters import eventually
from tools.write_grafana import FILE, text

from .conftest import Client

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+-]+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')


def read(written: str) -> dict[tuple[str, ...], float]:
    """Samples by name and label values; fails where the text is not of Prometheus's format."""
    kinds: dict[str, str] = {}
    found: dict[tuple[str, ...], float] = {}
    assert written.endswith("\n")
    for line in written[:-1].split("\n"):
        if line.startswith("# HELP "):
            assert len(line.split(" ", 3)) == 4
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            values = [
                re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), v) for _, v in LABEL.findall(match[2] or "")
            ]
            assert match[1] in kinds, "its type comes first"
            assert (match[1], *values) not in found, "one sample for each set of labels"
            found[match[1], *values] = float(match[3])
    assert set(kinds.values()) <= {"gauge", "counter"}
    return found


def group(name: str, **fields: Any) -> Group:
    return Group(0, name, None, TaskKind.NORMAL, **fields)


def snapshot(*groups: Group) -> Snapshot:
    units = RESOURCE_UNIT
    return Snapshot(
        version="1.2",
        placement_groups=[{"state": "CREATED"}, {"state": "CREATED"}, {"state": "PENDING"}],
        stats={
            "processes": 3,
            "jobs_running": 1,
            "actors": {"ALIVE": 2, "DEAD": 5},
            "pending": [({"CPU": units}, 4), ({"CPU": units, "GPU": units // 2}, 1)],
            "actors_waiting": [({"CPU": units}, 2)],
            "task_events_dropped": 7,
            "task_events_unsent": 8,
            "messages": 9,
        },
        nodes=[
            {
                "node_id": b"\x01node_aa",
                "host": "here",
                "state": "ALIVE",
                "alive": True,
                "total": {"CPU": 4 * units, "node:here": units},
                "available": {"CPU": units},
                "object_store_bytes": 100,
                "store_used": 10,
            },
            {"node_id": b"\x01node_bb", "host": "gone", "state": "DEAD", "alive": False},
        ],
        node_stats=[
            {
                "node_id": "aa",
                "node_ip": "here",
                "cpu_percent": 25.0,
                "memory_total": 1000,
                "memory_used": 250,
                "spilled": 0,
                "disk_read": 1.5,
                "disk_written": 0.0,
                "net_received": 0.0,
                "net_sent": 0.0,
                "workers": 4,
                "busy_workers": 3,
            }
        ],
        gpu_stats=[
            {
                "node_id": "aa",
                "index": 0,
                "name": "H100",
                "utilization": 50,
                "memory_total": 80,
                "memory_used": None,
                "power": 300.5,
                "temperature": 60,
                "share": 0.5,
            }
        ],
        groups=list(groups),
        viewers=2,
    )


def test_every_metric_says_what_the_snapshot_holds() -> None:
    found = read(write(snapshot(group("f", finished=3, failed=1, running=2, waiting=5, seconds=1.5, total=11))))
    node = ("016e6f64655f6161", "here")
    assert found["himalia_info", "1.2"] == 1
    assert found["himalia_nodes", "ALIVE"] == found["himalia_nodes", "DEAD"] == 1
    assert found["himalia_actors", "ALIVE"] == 2
    assert found["himalia_placement_groups", "CREATED"] == 2
    assert found["himalia_waiting", "CPU: 1"] == 6
    assert found["himalia_waiting", "CPU: 1, GPU: 0.5"] == 1
    assert found["himalia_tasks_total", "f", "finished"] == 3
    assert found["himalia_tasks_total", "f", "failed"] == 1
    assert found["himalia_tasks_running", "f"] == 2
    assert found["himalia_tasks_waiting", "f"] == 5
    assert found["himalia_task_seconds_total", "f"] == 1.5
    assert found["himalia_resource_capacity", *node, "CPU"] == 4
    assert found["himalia_resource_available", *node, "CPU"] == 1
    assert ("himalia_resource_capacity", *node, "node:here") not in found
    assert found["himalia_node_cpu_ratio", "aa", "here"] == 0.25
    assert found["himalia_gpu_utilization_ratio", "aa", "0", "H100"] == 0.5
    assert ("himalia_gpu_memory_used_bytes", "aa", "0", "H100") not in found, "the driver does not tell"
    assert found["himalia_dashboard_viewers",] == 2


def test_tasks_of_one_function_in_several_cells_are_one_series() -> None:
    found = read(write(snapshot(group("f", finished=3, total=3), group("f", finished=4, total=4))))
    assert found["himalia_tasks_total", "f", "finished"] == 7


def test_of_very_many_functions_the_busiest_have_series_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "FUNCTIONS", 2)
    found = read(write(snapshot(*(group(f"f{n}", finished=n, total=n) for n in range(10)))))
    series = {
        labels[1]: value
        for labels, value in found.items()
        if labels[0] == "himalia_tasks_total" and labels[2] == "finished"
    }
    assert series == {"f9": 9, "f8": 8, metrics.OTHERS: sum(range(8))}


@given(st.text())
def test_whatever_a_function_is_called_the_text_can_be_read(name: str) -> None:
    found = read(write(snapshot(group(name, running=1, total=1))))
    shown = name.encode("utf-8", "backslashreplace").decode()
    assert found["himalia_tasks_running", shown] == 1


def test_names_are_as_prometheus_wants_them() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert re.fullmatch(r"himalia_[a-z_]+[a-z]", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.about.endswith(".")
        assert not metric.legend or set(re.findall(r"\{\{(\w+)\}\}", metric.legend)) <= set(metric.labels)


def test_a_scrape_of_a_real_cluster_has_every_metric(member: Client) -> None:
    @himalia.remote
    def scraped() -> int:
        return 1

    himalia.get([scraped.remote() for _ in range(20)])

    class Held:
        pass

    actor = himalia.remote(num_cpus=0)(Held).remote()
    group = placement_group([{"CPU": 0.1}])

    def scrape() -> dict[tuple[str, ...], float]:
        answer = member.get("/metrics")
        assert answer.status == 200, answer.text
        assert answer.headers["Content-Type"] == metrics.CONTENT_TYPE
        return read(answer.text)

    found = eventually(
        lambda: (
            (seen := scrape()).get(("himalia_tasks_total", "scraped", "finished")) == 20
            and any(labels[0] == "himalia_actors" for labels in seen)
            and seen
        ),
        "that the tasks and the actor are counted",
    )
    there = {labels[0] for labels in found}
    expected = {metric.name for metric in METRICS if metric.name != "himalia_waiting"}
    assert {name for name in expected - there if not name.startswith("himalia_gpu")} == set()
    himalia.kill(actor)
    remove_placement_group(group)


def test_what_users_count_is_there_by_process(member: Client) -> None:
    @himalia.remote(num_cpus=0)
    class Counting:
        def count(self, label: str) -> None:
            from himalia.util.metrics import Counter, Gauge, Histogram

            Counter("handled", "Things handled.", ("label",)).inc(2, {"label": label})
            Gauge("level").set(-0.5)
            sizes = Histogram("sizes", "Sizes.", [1, 10])
            for size in (0.5, 1, 5, 50):
                sizes.observe(size)

    actors = [Counting.remote() for _ in range(2)]
    himalia.get([actor.count.remote('a "label"\n') for actor in actors])
    written = member.get("/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(written)}
    handled = families["himalia_user_handled"]
    assert (handled.type, handled.documentation) == ("counter", "Things handled.")
    assert [sample.value for sample in handled.samples] == [2, 2]
    assert {sample.labels["label"] for sample in handled.samples} == {'a "label"\n'}
    assert len({sample.labels["worker"] for sample in handled.samples}) == 2
    assert [sample.value for sample in families["himalia_user_level"].samples] == [-0.5, -0.5]
    worker = handled.samples[0].labels["worker"]
    sizes = {
        (sample.name.rpartition("_")[2], sample.labels.get("le")): sample.value
        for sample in families["himalia_user_sizes"].samples
        if sample.labels["worker"] == worker
    }
    assert sizes == {
        ("bucket", "1"): 2,
        ("bucket", "10"): 3,
        ("bucket", "+Inf"): 4,
        ("sum", None): 56.5,
        ("count", None): 4,
    }
    for actor in actors:
        himalia.kill(actor)
    eventually(lambda: "himalia_user_handled" not in member.get("/metrics").text, "that they are gone")


def test_processes_that_mean_different_things_by_a_name_do_not_spoil_the_rest() -> None:
    def held(worker: bytes, kind: str, value: float) -> MetricsHeld:
        return MetricsHeld(1, worker, b"n", [OwnMetric("x", kind, "", [], [OwnSample([], value)])])

    seen = snapshot()
    seen.own = [held(b"a", "counter", 1), held(b"b", "gauge", 2), held(b"c", "counter", float("inf"))]
    (family,) = [one for one in text_string_to_metric_families(write(seen)) if one.name == "himalia_user_x"]
    assert [sample.value for sample in family.samples] == [1, float("inf")]


def test_prometheus_itself_reads_the_text() -> None:
    families = {one.name for one in text_string_to_metric_families(write(snapshot(group("f", finished=1, total=1))))}
    assert {"himalia_tasks", "himalia_nodes", "himalia_gpu_share"} <= families


def test_metrics_need_the_token(stranger: Client) -> None:
    assert stranger.get("/metrics").status == 401
    assert stranger.get(f"/metrics?token={stranger.token}").status == 200


def test_grafana_asks_for_metrics_that_exist_with_labels_that_they_have() -> None:
    known = {metric.name: metric for metric in METRICS}
    asked = set()
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            (name,) = re.findall(r"himalia_\w+", target["expr"])
            asked.add(name)
            labels = re.search(r"by \(([^)]*)\)", target["expr"])
            assert tuple((labels[1] if labels else "").split(", ")) == (known[name].labels or ("",))
            assert ("rate(" in target["expr"]) == (known[name].kind == "counter")
    assert asked == {metric.name for metric in METRICS if metric.row}


def test_panels_of_grafana_do_not_lie_over_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_the_file_for_grafana_is_what_the_declarations_give() -> None:
    assert FILE.read_text() == text(), "run tools/write_grafana.py"
    json.loads(FILE.read_text())
