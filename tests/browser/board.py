"""A cluster at work, and its dashboard in a headless Chromium."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import himalia
from himalia.cluster.core import session
from himalia.util.placement_group import placement_group
from himalia.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.browser.lab import launch
from tests.browser.pictures import take

_TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"

__all__ = ["EVIL", "Board", "Workload", "board_page", "browser_context", "connection"]

EVIL = "<img src=x onerror=window.taken=1>"
"""What a page must show as text: it would set ``window.taken``."""

#: What a browser says itself of a connection that is down, which is what some tests do to it.
_OF_THE_LINE = ("WebSocket connection to", "Failed to load resource")


class Workload:
    """A bit of everything, again and again in a thread of its own, until it is stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="workload")

        @himalia.remote(num_cpus=0)
        class Counter:
            def __init__(self) -> None:
                self.kept: list[Any] = []

            def keep(self, refs: list[Any]) -> None:
                self.kept = refs

            def count(self, seconds: float) -> None:
                print("the counter counts")
                time.sleep(seconds)

        @himalia.remote
        def simulate(value: Any, seconds: float) -> None:
            print(f"hello from a task {EVIL}")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                sum(range(1000))

        @himalia.remote(max_retries=0)
        def fail() -> None:
            raise ValueError(EVIL)

        @himalia.remote(num_cpus=1000)
        def too_large() -> None:
            pass

        self._simulate, self._fail = simulate, fail
        self.counter = Counter.options(name="the-counter").remote()
        self.victims = [Counter.options(name=f"victim-{number}").remote() for number in range(2)]
        self.large = himalia.put(np.zeros(500_000))
        himalia.get(self.counter.keep.remote([self.large]))
        self._never = too_large.remote()
        self.groups = [
            placement_group([{"CPU": 0.1}] * 2, name="the-group"),
            placement_group([{"CPU": 1000}], name="too-large"),
        ]
        in_group = PlacementGroupSchedulingStrategy(self.groups[0], 0)
        self.member = Counter.options(name="member", num_cpus=0.1, scheduling_strategy=in_group).remote()

    def __enter__(self) -> Workload:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        named = self._simulate.options(name=EVIL)
        while not self._stop.is_set():
            refs = [self._simulate.remote(self.large, 0.3) for _ in range(4)]
            refs += [named.remote(self.large, 0.05), self.counter.count.remote(0.2)]
            with contextlib.suppress(ValueError):
                himalia.get(self._fail.remote())
            himalia.get(refs)


def connection() -> Any:
    """Of the cluster that this process is connected to."""
    live = session.current_session()
    assert live is not None
    return live.connection


class Board:
    """The dashboard in a tab. ``page`` is Playwright's; ``errors`` is what its console said."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._said)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_OF_THE_LINE):
            self.errors.append(message.text)

    def show(self, name: str, query: str = "") -> None:
        """Open a page, and wait until it is live."""
        self.page.goto(f"{self.url}/page/{name}{query}")
        self.page.wait_for_selector("#menu a")

    def wait_for(self, *texts: str) -> None:
        """Wait until the page shows these."""
        for text in texts:
            self.page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)

    def row(self, *texts: str) -> Any:
        """The first row of a table with these."""
        found = self.page.locator("tbody tr")
        for text in texts:
            found = found.filter(has_text=text)
        return found.first

    def press(self, title: str) -> None:
        """Press a button."""
        self.page.locator("button", has_text=title).first.click()

    def pictures(self, name: str) -> None:
        """Keep a picture in the light and one in the dark."""
        for theme in ("light", "dark"):
            if self.page.evaluate("document.body.dataset.theme") != theme:
                self.page.locator("#menu button").click()
            self.page.wait_for_function("theme => document.body.dataset.theme === theme", arg=theme)
            self.page.evaluate(_TWO_FRAMES)
            take(self.page, f"dashboard-{name}-{theme}", whole=True)

    def was_taken(self) -> bool:
        """Whether text of the cluster's ran as a script."""
        return self.page.evaluate("window.taken !== undefined || document.querySelector('#page img') !== null")


@contextlib.contextmanager
def browser_context() -> Iterator[Any]:
    """A browser without a past."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launch(playwright)
        try:
            yield browser.new_context(viewport={"width": 1280, "height": 900})
        finally:
            browser.close()


@contextlib.contextmanager
def board_page(context: Any, where: Any) -> Iterator[Board]:
    """A tab that has logged in."""
    page = context.new_page()
    try:
        page.goto(f"{where.dashboard_url}/?token={where.dashboard_token}")
        page.wait_for_selector("#menu a")
        yield Board(page, where.dashboard_url)
    finally:
        page.close()
