"""Pieces of HTML and their plain-text twins."""

from __future__ import annotations

import re

import pytest

from himalia.kernel_ext.html import BAD, bar, card, note, quantity, text_card


def test_text_is_escaped_and_values_are_html() -> None:
    shown = card("<title>", "<state>", BAD, [("<name>", "<i>value</i>")])
    assert "&lt;title&gt;" in shown
    assert "&lt;state&gt;" in shown
    assert "&lt;name&gt;" in shown
    assert "<i>value</i>" in shown
    assert "&lt;b&gt;" in note("<b>", BAD)


def test_nothing_that_a_front_end_takes_out_of_a_foreign_notebook_is_used() -> None:
    shown = card("title", "state", BAD, [("used", bar(0.5))])
    assert not re.search(r"var\(|gradient|<script|<style|url\(|class=", shown)


@pytest.mark.parametrize(("share", "pixels"), [(0.0, 0), (0.5, 60), (1.0, 120), (7.0, 120), (-1.0, 0)])
def test_a_bar_shows_a_share_within_its_bounds(share: float, pixels: int) -> None:
    assert re.findall(r"width:(\d+)px", bar(share)) == [str(pixels), str(120 - pixels)]


def test_text_values_stand_below_each_other() -> None:
    assert text_card("T", "ready", [("a", "1"), ("long", "2")]) == "T: ready\n  a     1\n  long  2"
    assert text_card("T", "ready", []) == "T: ready"


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (2.5e9, "2.5 GB"), (3e12, "3.0 TB")],
)
def test_sizes_are_shown_as_people_read_them(nbytes: float, text: str) -> None:
    assert quantity(nbytes) == text
