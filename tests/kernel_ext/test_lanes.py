"""Timelines that fit below a cell."""

from __future__ import annotations

from himalia.kernel_ext.lanes import FAULT, IDLE, Span, bundle, draw_html, draw_text, timeline_of


def test_a_column_shows_who_was_busy_longest_in_it() -> None:
    spans = [Span("a", "long", 0.0, 6.0), Span("a", "short", 6.0, 8.0), Span("b", "short", 8.0, 10.0)]
    drawn = timeline_of(spans, 5)
    assert drawn.names == ["long", "short"]
    assert [(lane.worker, lane.columns) for lane in drawn.lanes] == [
        ("a", [0, 0, 0, 1, 1]),
        ("b", [IDLE, IDLE, IDLE, IDLE, 1]),
    ]
    assert drawn.lanes[0].busy == 8.0


def test_a_short_failure_is_seen_among_long_runs() -> None:
    drawn = timeline_of([Span("a", "f", 0.0, 100.0), Span("a", "g", 50.0, 50.001, failed=True)], 10)
    assert drawn.lanes[0].columns.count(FAULT) == 1
    assert "failed" in draw_html(drawn)
    assert "!" in draw_text(drawn)


def test_a_million_runs_make_no_more_boxes_than_there_are_columns() -> None:
    spans = [Span("a", f"f{i % 20}", i * 1e-3, i * 1e-3 + 9e-4) for i in range(20_000)]
    html = draw_html(timeline_of(spans, 300))
    assert html.count("<span title=") <= 300
    assert "12 others" in html


def test_lanes_beyond_the_limit_are_counted() -> None:
    shown = bundle([Span(f"w{i}", "f", float(i), i + 1.0) for i in range(40)], "Timeline", "")
    assert sum(line.startswith("  w") for line in shown["text/plain"].splitlines()) == 32
    assert "8 more workers are not shown" in shown["text/plain"]


def test_nothing_and_runs_without_length_are_drawn() -> None:
    assert bundle([], "Timeline", "")["text/plain"] == "Timeline: nothing ran yet"
    assert "A" in bundle([Span("w", "f", 5.0, 5.0)], "Timeline", "")["text/plain"]


def test_names_are_text_and_no_markup() -> None:
    assert "<b>x" not in bundle([Span("<i>w", "<b>x", 0.0, 1.0)], "T", "<u>")["text/html"]
    assert "<i>w" not in bundle([Span("<i>w", "<b>x", 0.0, 1.0)], "T", "<u>")["text/html"]
