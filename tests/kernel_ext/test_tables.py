"""Tables and their text."""

from __future__ import annotations

from himalia.kernel_ext.tables import Table, report


def test_columns_of_text_line_up_and_numbers_to_the_right() -> None:
    table = Table(("name", "size"), [["a", "5"], ["longer", "12345"]], frozenset({"size"}))
    assert table.text().splitlines() == ["  name     size", "  a           5", "  longer  12345"]


def test_what_is_too_long_is_cut_and_only_the_first_line_stays() -> None:
    table = Table(("error",), [["x" * 500], ["one\ntwo"]])
    assert max(map(len, table.text().splitlines())) <= 62
    assert "two" not in table.text()
    assert "two" not in table.html()


def test_states_have_colours_and_values_are_no_markup() -> None:
    html = Table(("state", "name"), [["failed", "<b>"], ["odd", ""]]).html()
    assert html.count("●") == 1
    assert "<b>" not in html


def test_a_report_leaves_out_empty_tables() -> None:
    shown = report("Tasks", "none", "#000", [Table(("a",))], "see elsewhere")
    assert shown["text/plain"] == "Tasks: none\nsee elsewhere"
    assert "<table" not in shown["text/html"]
