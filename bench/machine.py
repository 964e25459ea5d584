"""On which machine, and with what, a figure was measured: without it a figure says little."""

from __future__ import annotations

import datetime as dt
import os
import platform
from importlib import metadata
from pathlib import Path

__all__ = ["describe", "machine"]

_PACKAGES = ("himalia", "ray", "distributed", "pyzmq", "msgspec", "numpy")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, object]:
    """CPU, cores, memory, kernel, Python, versions, date, and how busy the machine is with other things now."""
    return {
        "cpu": _cpu_model(),
        "cores": _cores(),
        "memory_gb": round(_memory_gb(), 1),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": _versions(),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="minutes"),
        "load": round(os.getloadavg()[0], 2),
    }


def describe(of: dict[str, object]) -> str:
    """The machine in two lines, for the head of a table."""
    versions = of["versions"]
    assert isinstance(versions, dict)
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{of['cpu']}, {of['cores']} cores, {of['memory_gb']} GB, Linux {of['kernel']}, {of['python']}\n"
        f"{names}; {of['date']}, load average {of['load']} before the run"
    )
