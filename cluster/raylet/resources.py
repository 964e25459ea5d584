"""What this machine has: CPUs, memory, GPUs, as far as this process may use them.

Strategy: ask the kernel, by files that are read once. A container or a job of a batch system limits a process by its
control group and its CPU affinity, so the machine's own numbers are only an upper bound. NVML is loaded only where a
driver is there, in a moment before the raylet has threads; without its library the device files are counted.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..launchers.boot import NodeOptions
from ..protocol.common import Resources, to_units

__all__ = [
    "CgroupFiles",
    "arena_size",
    "cpu_count",
    "detect_resources",
    "gpu_names",
    "memory_bytes",
]

SHARED_MEMORY: Final = "/dev/shm"
_ARENA_SHARE: Final = 0.3
"""Of memory: tasks' heaps need most of it. The arena is a sparse file, so what is never used costs nothing."""
_LEAST_ARENA: Final = 1 << 20
_SHM_SHARE: Final = 0.95
_NO_LIMIT: Final = 1 << 60  # what control groups of version 1 say, rounded down, where there is none


class CgroupFiles:
    """Files of this process's control group and its parents, in version 1 or 2. ``root`` and ``proc`` are for tests."""

    def __init__(self, root: str = "/sys/fs/cgroup", proc: str = "/proc") -> None:
        self._root = Path(root)
        self.proc = Path(proc)
        self._paths: dict[str, str] = {}
        with contextlib.suppress(OSError):
            for line in (self.proc / "self/cgroup").read_text().splitlines():
                _, controllers, path = line.split(":", 2)
                for controller in controllers.split(","):
                    self._paths[controller] = path

    def values(self, controller: str, v2: str, v1: str) -> Iterator[str]:
        """The contents of a file in our group and in each of its parents, which limit us as well."""
        for folder in self.folders(controller):
            name = v1 if folder.is_relative_to(self._root / controller) else v2
            with contextlib.suppress(OSError):
                yield (folder / name).read_text().strip()

    def folders(self, controller: str) -> Iterator[Path]:
        """Our group's folder and its parents', first the version 1 hierarchy of the controller, then version 2."""
        bases = [(self._root / controller, self._paths.get(controller)), (self._root, self._paths.get(""))]
        for base, path in bases:
            if path is None or not base.is_dir():
                continue
            # In a container the path may be one of the host's that does not exist here; its root is our group then.
            folder = base / path.lstrip("/")
            while folder != base:
                if folder.is_dir():
                    yield folder
                folder = folder.parent
            yield base


def cpu_count(groups: CgroupFiles | None = None) -> int:
    """CPUs this process may use: by affinity and by control group, at least 1."""
    groups = groups or CgroupFiles()
    count = float(len(os.sched_getaffinity(0)))
    # Version 2 has quota and period in one file, version 1 in two; every group of one has all its files.
    limits = groups.values("cpu", "cpu.max", "cpu.cfs_quota_us")
    periods = groups.values("cpu", "cpu.max", "cpu.cfs_period_us")
    for limit, other in zip(limits, periods, strict=False):
        quota = limit.split()[0]
        if quota not in ("max", "-1"):
            count = min(count, float(quota) / float(other.split()[-1]))
    return max(1, int(count))


def meminfo(groups: CgroupFiles | None = None) -> dict[str, int]:
    """`/proc/meminfo` in bytes."""
    text = ((groups or CgroupFiles()).proc / "meminfo").read_text()
    return {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def memory_bytes(groups: CgroupFiles | None = None) -> int:
    """Memory this process may use: the machine's, or less by control group."""
    groups = groups or CgroupFiles()
    limits = [meminfo(groups)["MemTotal"]]
    texts = groups.values("memory", "memory.max", "memory.limit_in_bytes")
    limits += [int(text) for text in texts if text != "max" and int(text) < _NO_LIMIT]
    return min(limits)


def arena_size(requested: int | None, groups: CgroupFiles | None = None) -> int:
    """Bytes of the object store's arena: as asked, or a share of memory that /dev/shm has room for."""
    if requested is not None:
        if requested < _LEAST_ARENA:
            raise ValueError(f"object_store_memory must be at least {_LEAST_ARENA} bytes (1 MiB), got {requested}")
        return requested
    shm = os.statvfs(SHARED_MEMORY)
    room = int(shm.f_bavail * shm.f_frsize * _SHM_SHARE)
    return max(_LEAST_ARENA, min(int(memory_bytes(groups) * _ARENA_SHARE), room))


def gpu_names() -> list[str]:
    """Names of the NVIDIA GPUs this process may use, e.g. ``["H100"]``; the accelerator types of Ray."""
    devices = sorted(Path("/dev").glob("nvidia[0-9]*"))
    if not devices and not Path("/proc/driver/nvidia/gpus").is_dir():
        return []
    names = _nvml_names() or [""] * len(devices)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return names
    # Entries may be numbers or unique ids; the first invalid one ends the list, as CUDA reads it.
    chosen: list[str] = []
    for entry in filter(None, (part.strip() for part in visible.split(","))):
        if entry.isdecimal():
            if int(entry) >= len(names):
                break
            chosen.append(names[int(entry)])
        elif entry.startswith(("GPU-", "MIG-")) and names:
            chosen.append(names[0])
        else:
            break
    return chosen


def _nvml_names() -> list[str]:
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        names: list[str | bytes] = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(index))
            for index in range(pynvml.nvmlDeviceGetCount())
        ]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()
    return [accelerator_type(name.decode() if isinstance(name, bytes) else name) for name in names]


def accelerator_type(product: str) -> str:
    """Ray's short name of a product: ``"H100"`` of ``"NVIDIA H100 80GB HBM3"``, ``"V100"`` of ``"Tesla V100-SXM2"``."""
    found = re.search(r"\b((?:[A-Z]{1,3}\d{1,4}[A-Z]?)|(?:RTX \w+))\b", product.removeprefix("NVIDIA "))
    return found[1].replace(" ", "-") if found else product


def detect_resources(
    options: NodeOptions, arena_bytes: int, *, is_head: bool, host: str
) -> tuple[Resources, dict[str, str]]:
    """The node's resources and labels: as the options say, the rest from the machine."""
    found: dict[str, float] = {
        "CPU": cpu_count() if options.num_cpus is None else options.num_cpus,
        "memory": (max(0, memory_bytes() - arena_bytes) if options.memory is None else options.memory),
        "object_store_memory": arena_bytes,
        f"node:{host}": 1,
    }
    if is_head:
        found["node:__internal_head__"] = 1
    labels = dict(options.labels)
    gpus = gpu_names() if options.num_gpus is None or options.num_gpus > 0 else []
    found["GPU"] = len(gpus) if options.num_gpus is None else options.num_gpus
    if gpus and gpus[0]:
        found[f"accelerator_type:{gpus[0]}"] = 1
        labels.setdefault("ray.io/accelerator-type", gpus[0])
    for name, quantity in options.resources.items():
        if name in ("CPU", "GPU", "memory", "object_store_memory"):
            raise ValueError(f"resource {name!r} has an argument of its own: it cannot be given in `resources`")
        found[name] = quantity
    return to_units(found), labels
