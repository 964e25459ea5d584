"""Lines are found by text, level, time and who printed them, in pages that neither repeat nor miss a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from himalia.cluster.protocol.ids import make_task_id
from himalia.cluster.protocol.log_messages import FoundLines, LogSearch, LogSelection
from himalia.cluster.telemetry.log_search import level_of, search_logs
from himalia.cluster.telemetry.task_log import Speaker, TaskLog, dropped_bytes, find_sources, find_spans, log_lines

OWNER = b"\x01" * 8
FIRST, SECOND = b"worker-1".hex(), b"worker-2".hex()


class Logs:
    """Two workers that print, as their logs have it."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        self.folder = folder
        self.logs = [TaskLog(str(folder), worker, limit) for worker in (b"worker-1", b"worker-2")]
        self.speakers = [
            log.introduce(Speaker(name, OWNER.hex(), "00", cell, "m", "", pid))
            for log, name, cell, pid in zip(self.logs, ("f", "g"), (7, 8), (11, 12), strict=True)
        ]

    def say(self, worker: int, text: str, at: float, counter: int = 1, stream: int = 1) -> None:
        self.logs[worker].write(self.speakers[worker], counter, 0, stream, text, int(at * 1000))

    def search(self, **question: object) -> FoundLines:
        return search_logs(self.folder, LogSearch(**question))  # type: ignore[arg-type]

    def texts(self, **question: object) -> list[str]:
        return [line.text for line in self.search(**question).lines]


MakeLogs = Callable[..., Logs]


@pytest.fixture
def make_logs(tmp_path: Path) -> Iterator[MakeLogs]:
    made: list[Logs] = []

    def make(limit: int | None = None) -> Logs:
        made.append(Logs(tmp_path, limit))
        return made[-1]

    yield make
    for one in made:
        for log in one.logs:
            log.close()


@pytest.fixture
def logs(make_logs: MakeLogs) -> Logs:
    found = make_logs()
    found.say(0, "one fish\n", 1.0)
    found.say(1, "ERROR:root:two Fish\n", 2.0, counter=5, stream=2)
    found.say(0, "red fish\nblue\n", 3.0, counter=2)
    found.say(1, "2026-01-01 INFO himalia: three\n", 4.0)
    return found


def test_lines_of_all_workers_come_in_the_order_of_the_clock_with_who_printed_them(logs: Logs) -> None:
    found = logs.search()
    assert [line.text.split()[-1] for line in found.lines] == ["fish", "Fish", "fish", "blue", "three"]
    line = found.lines[1]
    assert (line.source, line.name, line.cell, line.stream, line.pid, line.at) == (SECOND, "g", 8, 2, 12, 2.0)
    assert line.task == make_task_id(OWNER, 5).hex()
    assert found.is_end
    assert found.dropped == 0


@pytest.mark.parametrize(
    ("question", "texts"),
    [
        ({"pattern": "fish"}, ["one fish", "red fish"]),
        ({"pattern": "fish", "ignore_case": True}, ["one fish", "ERROR:root:two Fish", "red fish"]),
        ({"pattern": "^(one|blue)", "is_regex": True}, ["one fish", "blue"]),
        ({"pattern": "FISH$", "is_regex": True, "ignore_case": True}, ["one fish", "ERROR:root:two Fish", "red fish"]),
        ({"level": "warning"}, ["ERROR:root:two Fish"]),
        ({"level": "INFO"}, ["ERROR:root:two Fish", "2026-01-01 INFO himalia: three"]),
        ({"selection": LogSelection(cell=7)}, ["one fish", "red fish", "blue"]),
        ({"selection": LogSelection(worker=SECOND, stream=1)}, ["2026-01-01 INFO himalia: three"]),
        ({"selection": LogSelection(task=make_task_id(OWNER, 2).hex())}, ["red fish", "blue"]),
        ({"since": 3.0, "pattern": "e"}, ["red fish", "blue", "2026-01-01 INFO himalia: three"]),
        ({"tail": 2}, ["blue", "2026-01-01 INFO himalia: three"]),
        ({"tail": 1, "pattern": "fish"}, ["red fish"]),
        ({"tail": 0}, []),
        ({"pattern": "nothing like it"}, []),
    ],
)
def test_what_is_asked_for_is_found(logs: Logs, question: dict[str, object], texts: list[str]) -> None:
    assert logs.texts(**question) == texts


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_together_are_everything_once_also_when_more_is_printed_meanwhile(logs: Logs, limit: int) -> None:
    found: list[str] = []
    cursor: dict[str, int] = {}
    for step in range(20):
        page = logs.search(limit=limit, cursor=cursor)
        found += [line.text for line in page.lines]
        cursor = page.cursor
        if step == 1:
            logs.say(0, "later\n", 5.0)
            logs.say(1, "earlier by the clock\n", 1.5)
    assert sorted(found) == sorted(logs.texts())
    assert len(found) == len(set(found)) == 7


def test_a_line_that_has_no_end_yet_is_marked_and_goes_on_in_the_next_page(logs: Logs) -> None:
    first = logs.search()
    logs.say(0, "half", 6.0)
    second = logs.search(cursor=first.cursor)
    logs.say(0, " a line\n", 6.0)
    third = logs.search(cursor=second.cursor)
    assert [(line.text, line.is_open) for line in second.lines + third.lines] == [("half", True), (" a line", False)]


def test_a_search_whose_time_is_over_goes_on_where_it_was(logs: Logs) -> None:
    times = iter([0.0, 0.0, 10.0])
    page = search_logs(logs.folder, LogSearch(seconds=1.0), lambda: next(times))
    assert not page.is_end
    rest = logs.search(cursor=page.cursor)
    assert len(page.lines) < 5
    assert len(page.lines) + len(rest.lines) == 5


def test_files_are_searched_by_name_from_where_they_were(logs: Logs) -> None:
    file = logs.folder / "raylet.log"
    file.write_text("1 WARNING himalia: low\n1 INFO himalia: high\n")
    (logs.folder / "gcs.log").write_text("1 WARNING other\n")
    page = logs.search(files="raylet*", level="WARN")
    assert [(line.text, line.source, line.level) for line in page.lines] == [
        ("1 WARNING himalia: low", "raylet.log", "WARNING")
    ]
    with file.open("a") as end:
        end.write("1 ERROR himalia: gone\n")
    assert [line.text for line in logs.search(files="[gr]*.log", cursor=page.cursor).lines] == [
        "1 WARNING other",
        "1 ERROR himalia: gone",
    ]
    assert logs.texts(files="/etc/*") == logs.texts(files="../*") == []


def test_a_long_line_is_cut_and_says_so(logs: Logs) -> None:
    logs.say(0, "x" * 3_000_000 + "\nafter\n", 9.0)
    lines = logs.texts(since=9.0)
    assert lines[-1] == "after"
    assert len(lines[0]) < 70_000
    assert "more bytes" in lines[0]


@pytest.mark.parametrize(
    ("question", "message"),
    [({"pattern": "(", "is_regex": True}, "no regular expression"), ({"level": "LOUD"}, "but DEBUG, INFO, WARNING")],
)
def test_what_makes_no_sense_is_refused(logs: Logs, question: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        logs.search(**question)


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("WARNING:root:x", "WARNING"),
        ("2026-11-23 10:00:00,1 ERROR himalia.raylet: x", "ERROR"),
        ("[WARN] x", "WARNING"),
        ("FATAL x", "CRITICAL"),
        ("MY_ERROR_CODE", ""),
        ("NO-ERROR", ""),
        ("an error", ""),
        ("x" * 100 + " ERROR", ""),
    ],
)
def test_the_level_is_what_a_logger_wrote(text: str, level: str) -> None:
    assert level_of(text) == level


# -- bounds -----------------------------------------------------------------------------------------------------------


def fill(logs: Logs, count: int, worker: int = 0) -> None:
    for number in range(count):
        logs.say(worker, f"line {number:06}\n", 10 + number / 1000, counter=number // 100)


def test_a_log_is_bounded_and_says_what_went(make_logs: MakeLogs, tmp_path: Path) -> None:
    logs = make_logs(20_000)
    fill(logs, 10_000)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 10_000 <= size < 21_000
    page = logs.search(limit=100_000)
    kept = [line.text for line in page.lines]
    assert kept == [f"line {number:06}" for number in range(10_000 - len(kept), 10_000)]
    assert page.dropped == dropped_bytes(tmp_path)[FIRST] == 12 * (10_000 - len(kept))
    assert "".join(log_lines(find_spans(tmp_path, LogSelection()))).splitlines() == kept
    (source,) = find_sources(tmp_path, LogSelection())
    assert (source.name, source.size) == ("f", 12 * len(kept))
    assert page.lines[-1].task == make_task_id(OWNER, 99).hex()


def test_a_cursor_stays_right_while_segments_go(make_logs: MakeLogs, tmp_path: Path) -> None:
    logs = make_logs(20_000)
    seen: list[str] = []
    dropped = 0
    cursor: dict[str, int] = {}
    for number in range(3_000):
        logs.say(0, f"line {number:06}\n", number)
        if number % 100 == 0 and not 1_000 < number < 2_800:  # between these more comes than is kept
            page = logs.search(cursor=cursor, limit=10_000)
            seen += [line.text for line in page.lines]
            cursor, dropped = page.cursor, dropped + page.dropped
    assert len(seen) == len(set(seen)) == 2_901 - dropped // 12
    assert dropped > 0


def test_speakers_are_known_in_every_segment(make_logs: MakeLogs, tmp_path: Path) -> None:
    logs = make_logs(8_192)
    log = logs.logs[0]
    other = log.introduce(Speaker("other", OWNER.hex(), "00", 9, "m", "", 11))
    for number in range(2_000):
        log.write((logs.speakers[0], other)[number % 2], number, 0, 1, f"{number}\n", number)
    names = {(line.name, line.cell) for line in logs.search(limit=10_000).lines}
    assert names == {("f", 7), ("other", 9)}
    for line in logs.search(limit=10_000).lines:
        assert line.name == ("f", "other")[int(line.text) % 2]


def test_a_question_survives_the_wire() -> None:
    question = LogSearch(LogSelection(cell=3), "x", cursor={"a": 1}, seconds=0.5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(question), type=LogSearch) == question
