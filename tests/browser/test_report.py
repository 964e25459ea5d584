"""A saved run, opened from a file, in a browser that reaches nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from himalia.dashboard.report import make_report
from tests.browser.lab import launch
from tests.dashboard.test_report import played_run

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(240),
]

TOTAL = "td:nth-child(4)"


@contextmanager
def opened(place: str, problems: list[str], *, offline: bool = True) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    with playwright.sync_playwright() as running:
        browser = launch(running)
        try:
            context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=offline)
            page = context.new_page()
            page.set_default_timeout(30_000)
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("console", lambda said: problems.append(said.text) if said.type in ("error", "warning") else None)
            if offline:
                page.on("request", lambda asked: problems.append(asked.url) if asked.url.startswith("http") else None)
            page.goto(place)
            yield page
        finally:
            browser.close()


def move_to(page: Any, share: float) -> None:
    """Move the slider to a share of the run."""
    page.locator(".hm-travel input").evaluate(
        "(slider, share) => { slider.value = Number(slider.min) + (slider.max - slider.min) * share;"
        " slider.dispatchEvent(new Event('input')); }",
        share,
    )


def test_a_saved_run_opens_offline_with_all_pages_and_goes_through_time(tmp_path: Path) -> None:
    file = tmp_path / "run.html"
    file.write_text(make_report(played_run(), "recorded today"), encoding="utf-8")
    problems: list[str] = []
    with opened(file.as_uri(), problems) as page:
        names = page.locator("#menu a").all_inner_texts()
        for name in names:
            page.locator("#menu a", has_text=name).first.click()
            page.locator("#title", has_text=name).wait_for()
            page.locator(".hm-panel").first.wait_for()
        page.locator("#left-out", has_text="of 233 tasks").wait_for()
        page.locator("#menu a", has_text="Progress").click()
        row = page.locator("tbody tr", has_text="In [1]")
        row.locator(TOTAL, has_text="230").wait_for()
        move_to(page, 0.2)
        page.wait_for_function("() => Number(document.querySelector('tbody tr td:nth-child(4)').textContent) < 60")
        assert page.locator("tbody tr", has_text="In [2]").count() == 0
        page.locator(".hm-travel button", has_text="Live").click()
        row.locator(TOTAL, has_text="230").wait_for()
        # Down to one task, whose error is text.
        page.locator("tbody tr", has_text="In [2]").click()
        page.locator("#title", has_text="Tasks").wait_for()
        page.locator("tbody tr", has_text="ValueError").first.click()
        page.locator(".hm-text", has_text="</script><script>alert(1)</script>").wait_for()
        page.go_back()
        page.locator("#title", has_text="Tasks").wait_for()
        # What is not in it says so.
        page.get_by_label("Order").select_option("shortest")
        page.locator(".hm-notice", has_text="does not hold that").wait_for()
    assert problems == []
