"""What tasks printed, on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.log_messages import LogSelection, LogSource
from himalia.cluster.telemetry.task_log import Speaker, TaskLog, find_sources, find_spans, log_lines, read_spans

OWNER = b"\x01" * 8


def task(counter: int) -> str:
    return make_task_id(OWNER, counter).hex()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two workers: one ran tasks 1 and 2 of cell 7, the other task 3 of cell 8."""
    first = TaskLog(str(tmp_path), b"worker-1")
    f = first.introduce(Speaker("f", OWNER.hex(), "00", 7, "m7", "", 11))
    first.write(f, 1, 0, 1, "a1\n", 1_000)
    first.write(f, 1, 0, 2, "error\n", 1_001)
    first.write(f, 1, 0, 1, "a2\n", 1_002)
    first.write(f, 1, 0, 1, "ä3\n", 1_003)
    first.write(f, 2, 0, 1, "b1\n", 1_010)
    first.close()
    second = TaskLog(str(tmp_path), b"worker-2")
    g = second.introduce(Speaker("g", OWNER.hex(), "00", 8, "m8", "", 12))
    second.write(g, 3, 0, 1, "c1\n", 1_005)
    second.close()
    return tmp_path


def text(folder: Path, wanted: LogSelection, tail: int = -1) -> str:
    return "".join(log_lines(find_spans(folder, wanted), tail))


def test_the_text_of_a_task_is_found_in_order(folder: Path) -> None:
    assert text(folder, LogSelection(task=task(1))) == "a1\nerror\na2\nä3\n"
    assert text(folder, LogSelection(task=task(1), stream=1)) == "a1\na2\nä3\n"
    assert text(folder, LogSelection(task=task(2))) == "b1\n"
    assert text(folder, LogSelection(task=task(9))) == ""


def test_the_text_of_a_cell_a_worker_and_a_process_is_found(folder: Path) -> None:
    assert text(folder, LogSelection(cell=7, stream=1)) == "a1\na2\nä3\nb1\n"
    assert text(folder, LogSelection(message="m8")) == "c1\n"
    assert text(folder, LogSelection(pid=12)) == "c1\n"
    assert text(folder, LogSelection(worker=b"worker-2".hex())) == "c1\n"


def test_workers_are_merged_by_time(folder: Path) -> None:
    assert text(folder, LogSelection(stream=1)) == "a1\na2\nä3\nc1\nb1\n"


@pytest.mark.parametrize(("tail", "expected"), [(0, ""), (1, "b1\n"), (2, "ä3\nb1\n"), (3, "a2\nä3\nb1\n"), (99, None)])
def test_the_last_lines_are_found_from_the_end(folder: Path, tail: int, expected: str | None) -> None:
    wanted = LogSelection(cell=7, stream=1)
    assert text(folder, wanted, tail) == (expected if expected is not None else text(folder, wanted))


def test_bytes_can_be_read_in_parts(folder: Path) -> None:
    spans = find_spans(folder, LogSelection(cell=7))
    whole = b"".join(data for _, data in read_spans(spans))
    for start in range(len(whole)):
        assert b"".join(data for _, data in read_spans(spans, start, 4)) == whole[start : start + 4]


def test_a_half_written_line_of_the_index_is_left_for_later(folder: Path) -> None:
    (index,) = folder.glob(f"worker-{b'worker-1'.hex()}.index")
    index.write_bytes(index.read_bytes()[:-3])
    assert text(folder, LogSelection(task=task(2))) == ""
    assert text(folder, LogSelection(task=task(1))).startswith("a1\n")


def test_a_log_that_can_not_be_written_says_why_and_takes_more(tmp_path: Path) -> None:
    log = TaskLog(str(tmp_path / "missing"), b"worker-1")
    number = log.introduce(Speaker("f", OWNER.hex()))
    assert "No such file" in log.failed
    log.write(number, 1, 0, 1, "text\n", 0)
    log.close()


def test_text_that_is_no_unicode_is_kept_readable(tmp_path: Path) -> None:
    log = TaskLog(str(tmp_path), b"worker-1")
    log.write(log.introduce(Speaker("f", OWNER.hex())), 1, 0, 1, "half \ud800\n", 0)
    log.close()
    assert text(tmp_path, LogSelection()) == "half \\ud800\n"


def test_who_has_printed_is_told_with_how_much(folder: Path) -> None:
    assert find_sources(folder, LogSelection()) == [
        LogSource("f", "00", 7, "m7", 11, 2, len("a1\nerror\na2\nä3\nb1\n".encode()), 1.010),
        LogSource("g", "00", 8, "m8", 12, 1, 3, 1.005),
    ]
    assert [source.name for source in find_sources(folder, LogSelection(cell=8))] == ["g"]


def test_a_long_run_is_parted_by_time_between_whole_lines(tmp_path: Path) -> None:
    log = TaskLog(str(tmp_path), b"worker-1")
    f = log.introduce(Speaker("f", OWNER.hex(), "00", 7, "m7", "", 11))
    for text_, at in (("a\n", 1_000), ("b\n", 1_900), ("c", 2_100), ("d", 9_000), ("e\n", 9_001), ("f\n", 9_002)):
        log.write(f, 1, 0, 1, text_, at)
    log.close()
    spans = find_spans(tmp_path, LogSelection())
    assert [span.at for span in spans] == [1.0, 2.1, 9.002]
    assert "".join(log_lines(spans, -1)) == "a\nb\ncde\nf\n"
    assert "".join(log_lines(find_spans(tmp_path, LogSelection()), 2)) == "cde\nf\n"
