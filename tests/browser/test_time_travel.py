"""The task pages in a real browser: down from a function to one task, and back in time."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import himalia
from himalia.cluster.core import session
from tests.browser.test_report import move_to, opened
from tests.support.leaks import LeakGuard

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(240),
]


@pytest.fixture
def url(leak_guard: LeakGuard) -> Iterator[str]:
    himalia.init(num_cpus=2, dashboard_port=0, log_to_driver=False)
    live = session.current_session()
    assert live is not None
    yield f"{live.connection.dashboard_url}/page/progress?token={live.connection.dashboard_token}"
    himalia.shutdown()


OTHER = """
import time

import himalia
from himalia.util.state import list_tasks

himalia.init("auto", log_to_driver=False)

@himalia.remote
def other(x):
    return x

himalia.get([other.remote(x) for x in range(7)])
while len(list_tasks(filters=[("name", "=", "other"), ("state", "=", "FINISHED")])) < 7:
    time.sleep(0.1)  # a worker that ends with its job tells no more
himalia.shutdown()
"""


@himalia.remote
def first(x: int) -> int:
    return x


@himalia.remote
def second(x: int) -> int:
    print("working on", x)
    return sum(himalia.get([first.remote(x) for x in range(3)]))


def test_from_a_function_to_one_task_and_back_in_time(url: str) -> None:
    problems: list[str] = []
    himalia.get([first.remote(x) for x in range(50)])
    with opened(url, problems, offline=False) as page:
        total = "tbody tr td:nth-child(4)"
        page.locator(total, has_text="50").wait_for()
        himalia.get([second.remote(x) for x in range(4)])
        page.locator("tbody tr", has_text="second").wait_for()
        page.locator(total, has_text="62").wait_for()
        move_to(page, 0.001)
        page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
        assert "at=" in page.url
        page.reload()
        page.wait_for_function("() => document.querySelectorAll('tbody tr').length === 1")
        page.locator(".hm-travel button", has_text="Live").click()
        page.locator("tbody tr", has_text="second").click()
        page.locator("tbody tr", has_text="finished").first.click()
        page.locator("dd", has_text="second").first.wait_for()
        page.locator(".hm-text pre", has_text="working on").wait_for()
        assert page.locator("tbody tr", has_text="first").count() == 3
        page.locator("#menu a", has_text="Task graph").click()
        page.locator(".hm-plot[data-drawn]").wait_for()
        # Another driver: one of the two can be chosen.
        subprocess.run([sys.executable, "-c", OTHER], check=True, timeout=120)
        choice = page.locator(".hm-travel select")
        choice.wait_for()
        page.locator("#menu a", has_text="Jobs").click()
        page.locator("tbody tr", has_text="succeeded").click()
        page.locator("tbody tr", has_text="other").wait_for()
        page.locator(".hm-travel-time", has_text="its end").wait_for()
        assert "job=" in page.url
        assert page.locator("tbody tr", has_text="second").count() == 0
        page.reload()
        page.locator("tbody tr", has_text="other").wait_for()
        choice.select_option("")
        page.locator("tbody tr", has_text="second").wait_for()
        assert "job=" not in page.url
    assert problems == []
