"""Measures a machine and some of its processes: CPU, memory, disks, network.

Strategy: a sample is the difference of two readings of counters, so its rates are means since the sample before, and
nothing runs in between. When the one before is too old to tell what happens now, or there is none, two readings are
made a tenth of a second apart; therefore this belongs into a thread. What is private to a process (USS) takes the
kernel a walk through its pages, so it is read for as many processes as a budget allows, in turns.

psutil is imported with the first sample: a node that nobody looks at does without.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

__all__ = ["ProcessCounters", "Sampler", "SystemCounters", "process_rates", "system_rates"]

STALE: Final = 10.0
"""Seconds after which a reading says nothing about now."""

GAP: Final = 0.1
"""Seconds between two readings where there was none before: ten ticks of the kernel's accounting."""

USS_BUDGET: Final = 0.05
"""Seconds of CPU that a sample may spend on private memory: about a millisecond for each GB that a process maps."""


class SystemCounters(NamedTuple):
    """Sums since the machine began: seconds of each CPU (busy, all), bytes of disks and of the network."""

    at: float
    cpus: tuple[tuple[float, float], ...]
    disk_read: int
    disk_written: int
    net_received: int
    net_sent: int


class ProcessCounters(NamedTuple):
    """Seconds of CPU that a process has used, and when it began (``at`` and that are of the same clock)."""

    at: float
    began: float
    cpu: float


def system_rates(before: SystemCounters, after: SystemCounters) -> dict[str, Any]:
    """Percent of each CPU and of all, bytes a second."""
    seconds = max(after.at - before.at, 1e-6)
    percents = [
        _percent(busy - old_busy, total - old_total)
        for (old_busy, old_total), (busy, total) in zip(before.cpus, after.cpus, strict=False)
    ]
    return {
        "interval": seconds,
        "cpu_percent": sum(percents) / len(percents) if percents else 0.0,
        "cpu_percents": percents,
        "disk_read": max(0.0, (after.disk_read - before.disk_read) / seconds),
        "disk_written": max(0.0, (after.disk_written - before.disk_written) / seconds),
        "net_received": max(0.0, (after.net_received - before.net_received) / seconds),
        "net_sent": max(0.0, (after.net_sent - before.net_sent) / seconds),
    }


def process_rates(before: ProcessCounters | None, after: ProcessCounters) -> float:
    """Percent of one CPU since the reading before; of a process that was not there then, since it began."""
    if before is None or before.began != after.began:
        before = ProcessCounters(after.began, after.began, 0.0)
    return _percent(after.cpu - before.cpu, after.at - before.at, most=float("inf"))


def _percent(part: float, whole: float, most: float = 100.0) -> float:
    return min(most, max(0.0, 100.0 * part / whole)) if whole > 0 else 0.0


def _existing(folder: str) -> str:
    """The folder, or the one in which it will be made."""
    while not os.path.exists(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


class Sampler:
    """Samples of this machine. Belongs to one thread at a time.

    Parameters
    ----------
    folders
        Folders whose file systems are of interest: their size, and what is in use. URLs are left out.
    """

    def __init__(
        self,
        folders: Iterable[str],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folders = tuple(folder for folder in folders if folder and "://" not in folder)
        self._clock = clock
        self._sleep = sleep
        self._system: SystemCounters | None = None
        self._processes: dict[int, ProcessCounters] = {}
        self._private: dict[int, tuple[float, int]] = {}  # when it was read, and bytes

    def sample(self, pids: Iterable[int]) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
        """The machine, and those of the processes that are still there, by their ids."""
        wanted = list(pids)
        before, known = self._system, self._processes
        if before is None or self._clock() - before.at > STALE:
            before, known = self._read_system(), self._read_processes(wanted)
            self._sleep(GAP)
        self._system, self._processes = self._read_system(), self._read_processes(wanted)
        machine = {"at": self._system.at, **system_rates(before, self._system), **self._gauges()}
        rows = {
            pid: {"cpu_percent": process_rates(known.get(pid), counters)} for pid, counters in self._processes.items()
        }
        self._add_memory(rows)
        return machine, {pid: row for pid, row in rows.items() if "rss" in row}

    def _read_system(self) -> SystemCounters:
        import psutil

        cpus = []
        for times in psutil.cpu_times(percpu=True):
            total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
            cpus.append((total - times.idle - getattr(times, "iowait", 0.0), total))
        disk = psutil.disk_io_counters()
        net = [count for name, count in psutil.net_io_counters(pernic=True).items() if name != "lo"]
        return SystemCounters(
            self._clock(),
            tuple(cpus),
            disk.read_bytes if disk is not None else 0,
            disk.write_bytes if disk is not None else 0,
            sum(count.bytes_recv for count in net),
            sum(count.bytes_sent for count in net),
        )

    def _read_processes(self, pids: Iterable[int]) -> dict[int, ProcessCounters]:
        import psutil

        found: dict[int, ProcessCounters] = {}
        for pid in pids:
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    times = process.cpu_times()
                    found[pid] = ProcessCounters(self._clock(), process.create_time(), times.user + times.system)
            except psutil.Error:
                continue  # it ended
        return found

    def _gauges(self) -> dict[str, Any]:
        import psutil

        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disks: dict[int, dict[str, Any]] = {}
        for folder in self._folders:
            try:
                place = _existing(folder)
                device, usage = os.stat(place).st_dev, psutil.disk_usage(place)
            except OSError:
                continue  # it is removed at this moment
            disks.setdefault(device, {"path": folder, "total": usage.total, "used": usage.used})
        return {
            "load": list(os.getloadavg()),
            "memory_total": memory.total,
            "memory_used": memory.total - memory.available,
            "swap_total": swap.total,
            "swap_used": swap.used,
            "disks": list(disks.values()),
        }

    def _add_memory(self, rows: dict[int, dict[str, Any]]) -> None:
        """What each has in memory; and what of it is its own, those first that were not looked at for longest."""
        import psutil

        self._private = {pid: known for pid, known in self._private.items() if pid in rows}
        until = time.thread_time() + USS_BUDGET
        for pid in sorted(rows, key=lambda pid: self._private.get(pid, (0.0, 0))[0]):
            try:
                process = psutil.Process(pid)
                with process.oneshot():
                    resident, threads = process.memory_info().rss, process.num_threads()
                if time.thread_time() < until:
                    self._private[pid] = (self._clock(), process.memory_full_info().uss)
            except psutil.Error:
                continue  # it ended, or is none of ours
            private = self._private.get(pid)
            rows[pid].update(rss=resident, uss=None if private is None else private[1], threads=threads)
