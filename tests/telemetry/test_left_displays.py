"""Displays that wait for another kernel."""

from __future__ import annotations

from pathlib import Path

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.core_messages import DisplayData
from himalia.cluster.telemetry.left_displays import LeftDisplays, LeftReader

CELL = Cell(b"job1", 3, "message")


def display(text: str) -> DisplayData:
    return DisplayData(CELL, "f", 7, b"node", {"text/html": text}, display_id="id")


def read(reader: LeftReader) -> list[str]:
    return [left.data.data["text/html"] for left in reader.news()]


def test_what_workers_leave_is_read_once_in_its_order(tmp_path: Path) -> None:
    reader = LeftReader(tmp_path)
    assert read(reader) == []
    one, other = (LeftDisplays(f"{tmp_path}/worker-{name}") for name in ("aa", "bb"))
    one.add(display("first"))
    other.add(display("second"))
    one.add(display("third"))
    left = reader.news()
    assert [each.data.data["text/html"] for each in left] == ["first", "second", "third"]
    assert left[0].data == display("first")
    assert read(reader) == []
    one.add(display("fourth"))
    assert read(reader) == ["fourth"]


def test_half_a_record_is_read_when_it_is_whole(tmp_path: Path) -> None:
    LeftDisplays(f"{tmp_path}/worker-aa").add(display("whole"))
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-3])
    reader = LeftReader(tmp_path)
    assert read(reader) == []
    path.write_bytes(data)
    assert read(reader) == ["whole"]


def test_a_worker_leaves_no_more_than_its_limit(tmp_path: Path) -> None:
    left = LeftDisplays(f"{tmp_path}/worker-aa", limit=1_000)
    left.add(display("x" * 2_000))
    left.add(display("small"))
    assert read(LeftReader(tmp_path)) == ["small"]
