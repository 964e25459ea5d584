"""GPUs through NVML, where there is one, where there is none, and where it is broken."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from himalia.cluster.telemetry.gpu_sampler import (
    RECORDING,
    GpuReading,
    Nvml,
    RecordedGpus,
    open_gpus,
    visible_devices,
)

UUIDS = ["GPU-aaaa-1", "GPU-aabb-2", "GPU-cccc-3"]
GIB = 1 << 30


class NotSupported(Exception):
    """As NVML says it."""


class Library:
    """NVML with devices that know more or less. Handles are numbers."""

    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2

    def __init__(self, uuids: list[str] | None = None, broken: bool = False) -> None:
        self.uuids = UUIDS if uuids is None else uuids
        self.broken = broken
        self.opened = 0
        self.lost: set[int] = set()

    def nvmlInit(self) -> None:  # noqa: N802 NVML's names
        self.opened += 1
        if self.broken:
            raise NotSupported("driver and library do not fit")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, device: int) -> bytes:  # noqa: N802
        return self.uuids[device].encode()

    def nvmlDeviceGetName(self, device: int) -> str:  # noqa: N802
        return "NVIDIA H100"

    def nvmlDeviceGetUtilizationRates(self, device: int) -> Any:  # noqa: N802
        if device in self.lost:
            raise NotSupported("lost")
        return SimpleNamespace(gpu=40 + device, memory=3)

    def nvmlDeviceGetMemoryInfo(self, device: int) -> Any:  # noqa: N802
        if device in self.lost:
            raise NotSupported("lost")
        return SimpleNamespace(used=2 * GIB, total=80 * GIB)

    def nvmlDeviceGetPowerUsage(self, device: int) -> int:  # noqa: N802
        return 123_400

    def nvmlDeviceGetTemperature(self, device: int, sensor: int) -> int:  # noqa: N802
        return 55

    def nvmlDeviceGetClockInfo(self, device: int, kind: int) -> int:  # noqa: N802
        return {1: 1980, 2: 2619}[kind]

    def nvmlDeviceGetComputeRunningProcesses(self, device: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=7, usedGpuMemory=GIB), SimpleNamespace(pid=8, usedGpuMemory=None)]

    def nvmlDeviceGetGraphicsRunningProcesses(self, device: int) -> list[Any]:  # noqa: N802
        return [SimpleNamespace(pid=7, usedGpuMemory=GIB // 2)]


def test_a_device_is_read_with_all_that_it_knows() -> None:
    library = Library()
    reading = Nvml(None, lambda: library).read()[0]
    assert reading == GpuReading(
        uuid="GPU-aaaa-1",
        name="NVIDIA H100",
        utilization=40,
        memory_used=2 * GIB,
        memory_total=80 * GIB,
        power=123.4,
        power_limit=None,  # this library has no such question
        temperature=55,
        clock=1980,
        memory_clock=2619,
        processes=[(7, GIB), (8, -1)],
    )


def test_only_the_devices_of_the_node_are_read_in_its_order() -> None:
    readings = Nvml("2,0", Library).read()
    assert [reading.uuid for reading in readings] == ["GPU-cccc-3", "GPU-aaaa-1"]


@pytest.mark.parametrize(
    ("visible", "chosen"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2, 0", [2, 0]),
        ("0,7,1", [0]),
        ("GPU-cccc-3,1", [2, 1]),
        ("GPU-aab", [1]),
        ("GPU-aa", []),
        ("-1", []),
        ("MIG-9,0", ["MIG-9", 0]),
    ],
)
def test_devices_are_chosen_as_cuda_does(visible: str | None, chosen: list[int | str]) -> None:
    assert visible_devices(visible, UUIDS) == chosen


def test_a_part_of_a_device_is_found_by_its_id() -> None:
    class Parts(Library):
        def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> int:  # noqa: N802
            return self.uuids.index("GPU-" + uuid.decode().removeprefix("MIG-"))

    (reading,) = Nvml("MIG-cccc-3", Parts).read()
    assert reading.uuid == "GPU-cccc-3"
    assert Nvml("MIG-unknown", Parts).read() == []


def test_a_library_that_is_not_there_is_looked_for_once() -> None:
    looks: list[int] = []

    def library() -> Any:
        looks.append(1)
        raise ImportError("No module named 'pynvml'")

    source = Nvml(None, library)
    assert [source.read() for _ in range(3)] == [[], [], []]
    assert len(looks) == 1


def test_a_broken_driver_is_tried_once() -> None:
    library = Library(broken=True)
    source = Nvml(None, lambda: library)
    assert [source.read() for _ in range(3)] == [[], [], []]
    assert library.opened == 1


def test_nvml_stays_open_between_readings() -> None:
    library = Library()
    source = Nvml(None, lambda: library)
    for _ in range(3):
        assert len(source.read()) == 3
    assert library.opened == 1


def test_a_device_that_is_lost_keeps_its_number_and_tells_nothing() -> None:
    library = Library()
    source = Nvml(None, lambda: library)
    source.read()
    library.lost.add(1)
    readings = source.read()
    assert [reading.utilization for reading in readings] == [40, None, 42]
    assert readings[1].memory_used is None


def test_a_recording_is_played_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "gpus.json"
    path.write_text(json.dumps([[{"name": "A", "processes": [[0, 5]]}], [{"name": "B"}]]))
    source = open_gpus({RECORDING: str(path)})
    assert [source.read()[0].name for _ in range(3)] == ["A", "B", "A"]


def test_a_recording_of_nothing_has_no_devices(tmp_path: Path) -> None:
    path = tmp_path / "gpus.json"
    path.write_text("[]")
    assert RecordedGpus(str(path)).read() == []


def test_without_a_recording_nvml_is_asked() -> None:
    assert isinstance(open_gpus({}), Nvml)
