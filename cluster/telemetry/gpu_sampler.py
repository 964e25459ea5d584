"""Measures GPUs: NVML behind a small interface, and a recording in its place for tests.

Strategy: a source gives a list of readings, one a device, and an empty list where there are none. NVML is loaded with
the first reading, and stays open, since opening it may take a second. Where it is missing or broken this is found out
once and never tried again: no GPUs, no error, no cost. A number that a device does not have (a MIG device knows no
utilisation, a virtual one no power) is None, as is one that could not be read.

Devices are told apart by the number that leases carry: the place among those that this node may use, which are all of
the machine or those that CUDA_VISIBLE_DEVICES named when the node started.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

__all__ = ["RECORDING", "GpuReading", "GpuSource", "Nvml", "RecordedGpus", "open_gpus", "visible_devices"]

RECORDING: Final = "HIMALIA_GPU_RECORDING"
"""Environment variable of a node: a JSON file of readings to show instead of devices, for tests of what draws them."""


class GpuReading(msgspec.Struct, kw_only=True):
    """One device at one moment. Memory is bytes, power watts, temperature degrees Celsius, clocks MHz; the rest percent
    of the time since the driver's last look.

    ``processes``: process id and bytes of each that uses it; -1 bytes where the driver does not tell. In a container
    these may be the numbers of the machine, and not our own.
    """

    uuid: str = ""
    name: str = ""
    utilization: int | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    power: float | None = None
    power_limit: float | None = None
    temperature: int | None = None
    clock: int | None = None
    memory_clock: int | None = None
    processes: list[tuple[int, int]] = []


class GpuSource(Protocol):
    """What can be read."""

    def read(self) -> list[GpuReading]:
        """All devices that the node may use, in the order of their numbers."""


def open_gpus(environment: dict[str, str] | None = None) -> GpuSource:
    """The GPUs of this machine; or what was recorded, if the environment says so."""
    environment = dict(os.environ) if environment is None else environment
    recording = environment.get(RECORDING)
    return RecordedGpus(recording) if recording else Nvml(environment.get("CUDA_VISIBLE_DEVICES"))


def visible_devices(visible: str | None, uuids: list[str]) -> list[int | str]:
    """Which of the machine's devices a node may use, by CUDA's rules: the first entry that names none ends the list.

    Numbers of devices; of a part of one (MIG), which has no number, its unique id.

    Parameters
    ----------
    visible
        What CUDA_VISIBLE_DEVICES was; None: all.
    uuids
        Of the machine's devices, in their order.
    """
    if visible is None:
        return list(range(len(uuids)))
    chosen: list[int | str] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.startswith("MIG-"):
            index: int | str = entry
        elif entry.isdecimal() and int(entry) < len(uuids):
            index = int(entry)
        else:
            # An abbreviated unique id names a device if it names only one.
            found = [index for index, uuid in enumerate(uuids) if entry and uuid.startswith(entry)]
            if len(found) != 1:
                break
            index = found[0]
        chosen.append(index)
    return chosen


class Nvml:
    """NVIDIA's devices. ``library`` gives the module `pynvml`, or fails; it is for tests."""

    def __init__(self, visible: str | None = None, library: Callable[[], Any] | None = None) -> None:
        self._visible = visible
        self._library = library or _pynvml
        self._nvml: Any = None
        self._devices: list[Any] | None = None  # handles; None: not looked yet

    def read(self) -> list[GpuReading]:
        if self._devices is None:
            self._devices = self._open()
        return [self._read_one(device) for device in self._devices]

    def _open(self) -> list[Any]:
        # Whatever goes wrong in a driver's library, it is not the raylet's end, and trying again would go wrong again.
        try:
            nvml = self._nvml = self._library()
            nvml.nvmlInit()
            devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
            uuids = [_text(nvml.nvmlDeviceGetUUID(device)) for device in devices]
            return [
                nvml.nvmlDeviceGetHandleByUUID(which.encode()) if isinstance(which, str) else devices[which]
                for which in visible_devices(self._visible, uuids)
            ]
        except Exception:  # noqa: BLE001 no driver, no library, no device: then there are none
            return []

    def _read_one(self, device: Any) -> GpuReading:
        nvml = self._nvml

        def ask(question: str, *more: Any) -> Any:
            try:
                return getattr(nvml, question)(device, *more)
            except Exception:  # noqa: BLE001 not known to this device or driver, or the device is lost
                return None

        rates, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
        power, limit = ask("nvmlDeviceGetPowerUsage"), ask("nvmlDeviceGetEnforcedPowerLimit")
        processes: dict[int, int] = {}
        for question in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
            for process in ask(question) or ():
                used = -1 if process.usedGpuMemory is None else process.usedGpuMemory
                processes[process.pid] = max(used, processes.get(process.pid, -1))
        return GpuReading(
            uuid=_text(ask("nvmlDeviceGetUUID") or ""),
            name=_text(ask("nvmlDeviceGetName") or ""),
            utilization=None if rates is None else rates.gpu,
            memory_used=None if memory is None else memory.used,
            memory_total=None if memory is None else memory.total,
            power=None if power is None else power / 1000,
            power_limit=None if limit is None else limit / 1000,
            temperature=ask("nvmlDeviceGetTemperature", getattr(nvml, "NVML_TEMPERATURE_GPU", 0)),
            clock=ask("nvmlDeviceGetClockInfo", getattr(nvml, "NVML_CLOCK_SM", 1)),
            memory_clock=ask("nvmlDeviceGetClockInfo", getattr(nvml, "NVML_CLOCK_MEM", 2)),
            processes=sorted(processes.items()),
        )


def _pynvml() -> Any:
    if not any(Path("/dev").glob("nvidia[0-9]*")) and not Path("/proc/driver/nvidia/gpus").is_dir():
        raise OSError("there is no NVIDIA driver")
    import pynvml

    return pynvml


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class RecordedGpus:
    """Readings out of a file: a list of moments, each a list of `GpuReading`. Given one by one, then from the start.

    A process id of 0 stands for one that holds the device, whose number no recording can know.
    """

    def __init__(self, path: str) -> None:
        self._moments = msgspec.convert(json.loads(Path(path).read_text()), list[list[GpuReading]])
        self._next = 0

    def read(self) -> list[GpuReading]:
        if not self._moments:
            return []
        self._next += 1
        return self._moments[(self._next - 1) % len(self._moments)]
