"""A node has what its process may use: control groups, affinity and the options decide."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from himalia.cluster.launchers.boot import NodeOptions
from himalia.cluster.raylet import resources
from himalia.cluster.raylet.resources import CgroupFiles, accelerator_type, arena_size, cpu_count, detect_resources

from .node_on_paper import UNIT


def groups(root: Path, membership: str, **files: str) -> CgroupFiles:
    """A system with these files below /sys/fs/cgroup (``__`` for ``/``), and this /proc/self/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    (root / "proc/meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\n")
    for name, text in files.items():
        path = root / "cg" / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return CgroupFiles(str(root / "cg"), str(root / "proc"))


def version_1(quota: str, period: str = "100000") -> dict[str, str]:
    """The files of a group of version 1 that limits its CPUs."""
    return {"cpu__x__cpu_DOT_cfs_quota_us": quota, "cpu__x__cpu_DOT_cfs_period_us": period}


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, 16),
        ("0::/\n", {"cpu_DOT_max": "max 100000"}, 16),
        ("0::/\n", {"cpu_DOT_max": "350000 100000"}, 3),
        ("0::/\n", {"cpu_DOT_max": "50000 100000"}, 1),
        ("0::/a/b\n", {"a__cpu_DOT_max": "200000 100000", "a__b__cpu_DOT_max": "max 100000"}, 2),
        ("0::/of/the/host\n", {"cpu_DOT_max": "400000 100000"}, 4),
        ("4:cpu,cpuacct:/x\n", version_1("600000"), 6),
        ("4:cpu,cpuacct:/x\n", version_1("600000", "200000"), 3),
        ("4:cpu,cpuacct:/x\n", version_1("-1"), 16),
    ],
)
def test_cpus_are_limited_by_the_control_group(
    membership: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert cpu_count(groups(tmp_path, membership, **files)) == expected


def test_cpus_are_limited_by_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert cpu_count(groups(tmp_path, "0::/\n")) == 1


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, 8 << 30),
        ("0::/\n", {"memory_DOT_max": "max"}, 8 << 30),
        ("0::/\n", {"memory_DOT_max": "1073741824"}, 1 << 30),
        ("0::/a/b\n", {"a__memory_DOT_max": "1073741824", "a__b__memory_DOT_max": "2147483648"}, 1 << 30),
        ("9:memory:/x\n", {"memory__x__memory_DOT_limit_in_bytes": "2147483648"}, 2 << 30),
        ("9:memory:/x\n", {"memory__x__memory_DOT_limit_in_bytes": "9223372036854771712"}, 8 << 30),
    ],
)
def test_memory_is_limited_by_the_control_group(
    membership: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    assert resources.memory_bytes(groups(tmp_path, membership, **files)) == expected


def test_the_arena_takes_a_share_of_memory(tmp_path: Path) -> None:
    found = groups(tmp_path, "0::/\n")
    assert arena_size(None, found) <= (8 << 30) * 0.3
    assert arena_size(12_345_678, found) == 12_345_678
    with pytest.raises(ValueError, match="at least 1048576 bytes"):
        arena_size(1000, found)


def test_what_the_options_say_is_what_the_node_has() -> None:
    options = NodeOptions(num_cpus=3.5, num_gpus=2, memory=1000, resources={"slot": 0.5}, labels={"zone": "a"})
    total, labels = detect_resources(options, 2000, is_head=True, host="10.0.0.1")
    assert total == {
        "CPU": 35_000,
        "GPU": 2 * UNIT,
        "memory": 1000 * UNIT,
        "object_store_memory": 2000 * UNIT,
        "slot": 5_000,
        "node:10.0.0.1": UNIT,
        "node:__internal_head__": UNIT,
    }
    assert labels == {"zone": "a"}


def test_the_rest_is_what_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "gpu_names", lambda: ["H100", "H100"])
    total, labels = detect_resources(NodeOptions(), 1 << 20, is_head=False, host="h")
    assert total["CPU"] == cpu_count() * UNIT
    assert 0 < total["memory"] < resources.memory_bytes() * UNIT
    assert total["GPU"] == 2 * UNIT
    assert total["accelerator_type:H100"] == UNIT
    assert labels == {"ray.io/accelerator-type": "H100"}
    assert "node:__internal_head__" not in total


@pytest.mark.parametrize("name", ["CPU", "GPU", "memory", "object_store_memory"])
def test_a_resource_with_an_argument_of_its_own_is_refused_among_the_others(name: str) -> None:
    with pytest.raises(ValueError, match="has an argument of its own"):
        detect_resources(NodeOptions(resources={name: 1}), 1, is_head=True, host="h")


def test_a_negative_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        detect_resources(NodeOptions(num_cpus=-1), 1, is_head=True, host="h")


@pytest.mark.parametrize(
    ("product", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("Something else", "Something else"),
    ],
)
def test_a_gpu_is_named_by_its_type(product: str, short: str) -> None:
    assert accelerator_type(product) == short


@pytest.mark.parametrize(
    ("visible", "count"), [(None, 3), ("0,2", 2), ("", 0), ("-1", 0), ("1,9,2", 1), ("GPU-8932f937", 1), ("x", 0)]
)
def test_only_visible_gpus_count(visible: str | None, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [Path(f"/dev/nvidia{number}") for number in range(3)]
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(devices))
    monkeypatch.setattr(resources, "_nvml_names", lambda: ["H100"] * 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert len(resources.gpu_names()) == count
