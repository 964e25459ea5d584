"""A widget's channel: the page is right in a browser whatever is lost on the way to it."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from himalia.dashboard.hub import Hub, UnknownPageError
from himalia.kernel_ext.widgets.channel import PageChannel
from tests.dashboard.cluster import PlayedCluster, source


class Browser:
    """What widget.js does; it may be made late, and may not get all."""

    def __init__(self) -> None:
        self.opening = b""  # state of the widget: always there
        self.openings = 0
        self.have = -1
        self.texts: list[dict[str, Any]] = []
        self.is_there = False

    def open(self, data: bytes) -> None:
        self.opening = data
        self.openings += 1
        self.begin()

    def begin(self) -> None:
        opening = json.loads(self.opening)
        if self.is_there and opening["number"] > self.have:
            self.have = opening["number"]
            self.texts = list(opening["texts"])

    def tell(self, number: int, text: str) -> None:
        if self.is_there and number == self.have + 1:
            self.have = number
            self.texts.append(json.loads(text))

    def total(self) -> int:
        """Tasks of the only function, as the last text that names them has it."""
        total = 0
        for text in self.texts:
            for op in text.get("ops", []):
                if op["source"] == "functions" and "total" in op["data"]:
                    column = op["data"]["total"]
                    values = column[1] if op["op"] == "patch" else column
                    total = values[-1] if values else total
        return total


@pytest.fixture
def played() -> PlayedCluster:
    return PlayedCluster()


def bring(hub: Hub, played: PlayedCluster) -> None:
    played.now += 1.0
    hub.feed.apply(hub.feed.read(hub.needs()))
    hub.step()


def channel_to(browser: Browser) -> PageChannel:
    return PageChannel(browser.open, browser.tell)


def test_a_browser_that_is_there_gets_one_opening_and_then_changes(played: PlayedCluster) -> None:
    browser, hub = Browser(), Hub(played.feed())
    browser.is_there = True
    channel = channel_to(browser)
    channel.show(hub, "overview", {}, 0.0)
    channel.here()
    for step in range(5):
        played.ran(source("f"), 10)
        bring(hub, played)
        channel.tick(float(step))
    assert browser.openings == 1
    assert browser.total() == 50


@pytest.mark.parametrize("seed", range(20))
def test_a_browser_that_comes_late_and_loses_texts_is_right_in_the_end(seed: int, played: PlayedCluster) -> None:
    """None of what it says is heard: the kernel is busy."""
    chance = random.Random(seed)
    browser, hub = Browser(), Hub(played.feed())

    def tell(number: int, text: str) -> None:
        if chance.random() < 0.7:
            browser.tell(number, text)

    channel = PageChannel(browser.open, tell)
    channel.show(hub, "overview", {}, 0.0)
    for step in range(100):
        if step == 30:
            browser.is_there = True
            browser.begin()
        played.ran(source("f"), 1)
        bring(hub, played)
        channel.tick(step * 0.25)
    for quiet in range(100):  # nothing new any more: the last opening has it all
        channel.tick(25 + quiet * 0.25)
    assert browser.total() == 100


def test_openings_are_renewed_ever_less_and_no_more_when_somebody_is_there(played: PlayedCluster) -> None:
    browser, hub = Browser(), Hub(played.feed())
    channel = channel_to(browser)
    channel.show(hub, "overview", {}, 0.0)
    renewed = []
    for step in range(400):
        played.ran(source("f"), 1)
        bring(hub, played)
        before = browser.openings
        channel.tick(step * 0.1)
        if browser.openings > before:
            renewed.append(step * 0.1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(renewed)]
    assert renewed[0] == 0.5
    assert all(later >= earlier - 0.11 for earlier, later in itertools.pairwise(gaps))
    assert gaps[-1] == pytest.approx(8.0, abs=0.11)
    channel.here()
    before = browser.openings
    played.ran(source("f"), 1)
    bring(hub, played)
    channel.tick(1000.0)
    assert browser.openings == before


def test_what_can_not_be_shown_leaves_what_is_shown(played: PlayedCluster) -> None:
    browser, hub = Browser(), Hub(played.feed())
    browser.is_there = True
    channel = channel_to(browser)
    channel.show(hub, "overview", {}, 0.0)
    with pytest.raises(UnknownPageError):
        channel.show(hub, "nowhere", {}, 1.0)
    played.ran(source("f"), 3)
    bring(hub, played)
    assert (channel.page, browser.total()) == ("overview", 3)
    channel.refuse("there is no such page")
    assert browser.texts[-1] == {"type": "refused", "reason": "there is no such page"}


def test_another_page_is_a_new_opening(played: PlayedCluster) -> None:
    browser, hub = Browser(), Hub(played.feed())
    browser.is_there = True
    channel = channel_to(browser)
    channel.show(hub, "overview", {}, 0.0)
    channel.show(hub, "task_stream", {}, 1.0)
    assert browser.openings == 2
    assert browser.texts[0]["name"] == "task_stream"
    channel.close()
    assert hub.viewers == 0
