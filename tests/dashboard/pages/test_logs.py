"""The page of logs, and lines that grow."""

from __future__ import annotations

from himalia.dashboard.pages.lines import Lines, overlap
from tests.dashboard.cluster import source
from tests.dashboard.pages.showing import Shown, actor_row

FILES = [{"file": "raylet.log", "size": 10}]


def line(text: str, stream: int = 1) -> dict[str, object]:
    return {"text": text, "stream": stream, "name": "f", "pid": 7, "task": "t1"}


def test_lines_that_are_new_are_sent_alone() -> None:
    lines = Lines("log")
    lines.set([(str(number), "") for number in range(10)])
    lines.rows.changes()
    lines.set([(str(number), "") for number in range(2, 12)])
    remove, stream = lines.rows.changes()
    assert remove["rows"] == [1, 0]
    assert stream["data"] == {"key": [10, 11], "text": ["10", "11"], "mark": ["", ""]}


def test_lines_overlap_where_the_rest_of_the_old_ones_begins_the_new_ones() -> None:
    old = [("a", ""), ("b", ""), ("b", "")]
    assert overlap(old, [("b", ""), ("b", ""), ("c", "")]) == 1
    assert overlap(old, [("x", ""), ("b", "")]) == 3
    assert overlap(old, old) == 0


def test_the_log_says_who_printed_a_line_and_marks_stderr() -> None:
    shown = Shown("logs", **{"logs:all": [line("one"), line("two", 2)], "log_files:all": FILES})
    assert shown.looker.rows("log") == [
        {"key": 0, "text": "f 7 │ one", "mark": ""},
        {"key": 1, "text": "f 7 │ two", "mark": "error"},
    ]
    assert shown.looker.rows("files") == FILES


def test_a_log_is_asked_for_by_what_restricts_it() -> None:
    params = {"search": "a b", "cell": "3"}
    shown = Shown("logs", params, actors=[actor_row()], **{"logs:cell=3&search=a+b": [], "log_files:all": []})
    assert shown.hub.feed.state.failed == {}
    shown.played.ran(source("f", cell=3))
    looker = shown.bring()
    assert looker.data["cells"]["label"] == ["all", "In [3]"]
    assert looker.data["actors"] == {"key": ["", "a1"], "label": ["all", "Counter 7"]}
