"""What placement groups show of themselves, on a front that remembers it, and in a real kernel."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import himalia
from himalia.cluster.core import current
from himalia.kernel_ext.asking import ASK_BUSY, ASK_IDLE, QUIET, Rhythm
from himalia.kernel_ext.cards import LiveCards
from himalia.kernel_ext.group_card import MOST_BUNDLES, describe_group
from himalia.util.placement_group import placement_group, remove_placement_group
from himalia.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.kernel_ext.notebook import Cell, Notebook
from tests.kernel_ext.test_cards import Page
from tests.support.leaks import LeakGuard


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
        yield
        himalia.shutdown()


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def cards(cluster: None, page: Page, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveCards]:
    shell, cells = SimpleNamespace(display_pub=object()), SimpleNamespace(current=lambda: None)
    made = LiveCards(shell, page, cells)  # type: ignore[arg-type]
    monkeypatch.setattr(made.buttons, "open", lambda: None)
    made.attach(current.get_core())
    yield made
    made.detach()


class Holder:
    """An actor."""

    def ping(self) -> str:
        return "here"


def test_a_group_is_followed_from_its_wait_to_its_removal(cards: LiveCards, page: Page) -> None:
    first = placement_group([{"CPU": 2}, {"CPU": 1}], name="trainers")
    cards.show_group(first)
    page.wait_for(lambda: page.last.startswith("Placement group trainers: created"))
    assert re.search(r"strategy +PACK", page.last)
    assert re.search(r"bundle 0 +0 of 2 CPU in use, on this node", page.last)
    assert page.actions == "remove"
    first_id, first_token = list(page.texts)[-1], page.token

    actor = (
        himalia.remote(Holder)
        .options(num_cpus=1, scheduling_strategy=PlacementGroupSchedulingStrategy(first, 0))
        .remote()
    )
    assert himalia.get(actor.ping.remote()) == "here"
    page.wait_for(lambda: re.search(r"bundle 0 +1 of 2 CPU in use, on this node, 1 actor", page.texts[first_id]))

    second = placement_group([{"CPU": 3}], strategy="STRICT_PACK")
    cards.show_group(second)
    page.wait_for(lambda: re.search(r": pending\n", page.last) and "It waits for room" in page.last)
    assert re.search(r"bundle 0 +3 CPU: not in place", page.last)
    assert re.search(r"age +.* at ", page.last)
    cards._pressed(first_token, "remove")
    page.wait_for(lambda: "trainers: removed" in page.texts[first_id])
    page.wait_for(lambda: ": created" in page.last and re.search(r"0 of 3 CPU in use", page.last))
    assert "data-actions" not in page.html[first_id]
    remove_placement_group(second)
    page.wait_for(lambda: re.search(r": removed\n", page.last))
    assert re.search(r"removed +\d\d:\d\d:\d\d", page.last)


def test_a_group_that_can_never_be_placed_says_so_at_once(cards: LiveCards, page: Page) -> None:
    group = placement_group([{"CPU": 64}] + [{"CPU": 1}] * MOST_BUNDLES)
    text = describe_group(group).bundle()["text/plain"]
    assert ": pending: it can never be placed\n" in text
    assert "asks for 64 CPU" in text
    assert re.search(r"1 more +0 of them in place", text)
    cards.show_group(group)
    del group
    gc.collect()
    page.wait_for(lambda: "nothing in this kernel refers to it" in page.last)
    assert "when last seen" in page.last


def test_what_does_not_change_is_asked_for_seldom() -> None:
    rhythm = Rhythm(0.0)
    assert rhythm.is_due(0.0)
    assert not rhythm.is_due(10.0)  # it was asked, and there is no answer
    rhythm.answered(10.0, changed=True)
    assert not rhythm.is_due(10.0 + ASK_BUSY / 2)
    assert rhythm.is_due(10.0 + ASK_BUSY)
    rhythm.answered(10.0 + QUIET, changed=False)
    assert not rhythm.is_due(10.0 + QUIET + ASK_BUSY)
    rhythm.hurry()
    assert rhythm.is_due(10.0 + QUIET + ASK_BUSY)
    rhythm.answered(10.0 + QUIET, changed=False)
    assert rhythm.is_due(10.0 + QUIET + ASK_IDLE)


def shown(cell: Cell, kind: str) -> list[dict[str, Any]]:
    return [m["content"]["data"] for m in cell.messages if m["msg_type"] == kind]


def test_a_group_at_the_end_of_a_cell_is_live_there(kernel: Notebook) -> None:
    cell = kernel.run(
        "from himalia.util.placement_group import placement_group, remove_placement_group\n"
        "group = placement_group([{'CPU': 2}], name='<b>pair</b>')\ngroup"
    )
    assert not cell.error, cell.traceback
    cell.wait_for(lambda cell: "pair</b>: created" in str([*shown(cell, "display_data"), *updates(cell)]))
    other = kernel.run("remove_placement_group(group)\nprint([group])")
    assert re.fullmatch(r"\[PlacementGroup\([0-9a-f]+\)\]\n", other.stream())
    cell.wait_for(lambda cell: any("pair</b>: removed" in data["text/plain"] for data in updates(cell)))
    last = updates(cell)[-1]
    assert "&lt;b&gt;pair&lt;/b&gt;" in last["text/html"]
    assert re.search(r"made +In \[\d+\], line 2 at \d\d:\d\d:\d\d", last["text/plain"])
    assert "<button" not in last["text/html"]


def updates(cell: Cell) -> list[dict[str, Any]]:
    return shown(cell, "update_display_data")
