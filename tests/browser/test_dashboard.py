"""Every page of the dashboard in a real browser, while a cluster works. Pictures: see pictures.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

import himalia
from himalia.cluster.launchers.boot import NodeOptions
from himalia.cluster.launchers.local import start_head
from himalia.dashboard.pages import PAGES
from himalia.util import state
from tests.browser.board import EVIL, Board, Workload, board_page, browser_context, connection
from tests.support.leaks import LeakGuard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SHOWN: Final = {
    "overview": ("CPUs in use", EVIL, "the-counter", "joined with"),
    "progress": ("simulate", EVIL),
    "task_graph": ("Task graph",),
    "task_stream": ("Functions", "simulate", EVIL),
    "objects": ("4.0 MB", "put", "driver", "Counter"),
    "actors": ("the-counter", "alive", "Counter.count"),
    "nodes": ("raylet", "gcs", "dashboard", "simulate"),
    "gpus": ("GPUs", "Utilization"),
    "placement_groups": ("the-group", "created", "PACK", "too-large", "never fits", "Remove"),
    "jobs": ("00000001", "running", "Stop"),
    "scheduling": ("too_large", "can never run", "of the 1000 asked for"),
    "autoscaler": ("Nothing was changed yet", "joined with"),
    "logs": (f"hello from a task {EVIL}", "the counter counts"),
    "errors": ("ValueError", EVIL),
}
"""What each page shows of `Workload`."""


@pytest.fixture(scope="module")
def context(leak_guard: LeakGuard) -> Iterator[Any]:
    """A browser beside a cluster that works."""
    with leak_guard.shared("the cluster and the browser of this module"):
        himalia.init("local", num_cpus=2, log_to_driver=False, dashboard_port=0)
        try:
            with Workload() as work, browser_context() as context:
                context.work = work
                yield context
        finally:
            himalia.shutdown()


@pytest.fixture
def board(context: Any) -> Iterator[Board]:
    """A tab that has logged in; at its end it has shown no script of a task's, and its console is empty."""
    with board_page(context, connection()) as shown:
        yield shown
        assert not shown.was_taken()
        assert shown.errors == []


def test_what_each_page_of_the_menu_shows_is_known() -> None:
    assert set(SHOWN) == {name for name, page in PAGES.items() if page.IN_MENU}


@pytest.mark.parametrize("name", SHOWN)
def test_a_page_shows_what_the_cluster_does(board: Board, name: str) -> None:
    board.show(name)
    board.wait_for(PAGES[name].title, *SHOWN[name])
    board.page.wait_for_function(
        "() => [...document.querySelectorAll('.hm-plot')]"
        ".every(plot => plot.innerText || plot.querySelector('.bk-Figure'))"
    )
    board.pictures(name)


def test_numbers_are_those_of_the_cluster(board: Board) -> None:
    board.show("actors")
    board.wait_for("the-counter")
    living = [actor for actor in state.list_actors() if actor.state == "ALIVE"]
    for actor in living:
        assert board.row(actor.name).locator("td", has_text=str(actor.pid)).count() == 1
    assert board.page.locator(".hm-number-card", has_text="Alive").locator(".hm-value").inner_text() == str(len(living))


def test_an_actor_is_opened_by_the_keyboard_and_killed_after_a_question(board: Board, context: Any) -> None:
    himalia.get(context.work.victims[0].count.remote(0))
    board.show("actors")
    row = board.row("victim-0")
    row.wait_for()
    row.press("Enter")
    board.wait_for("Methods of its class", "the counter counts", "Kill")
    board.pictures("actor")
    board.press("Kill")
    dialog = board.page.locator("dialog")
    assert "Counter" in dialog.inner_text()
    dialog.locator("button", has_text="Leave it").click()
    assert dialog.count() == 0
    board.press("Kill")
    dialog.locator("button", has_text="Kill").click()
    board.wait_for("dead")


def test_a_process_shows_its_stack_and_where_its_time_goes(board: Board) -> None:
    board.show("nodes")
    board.row("worker", "simulate").click()
    board.wait_for("Memory of its own", "hello from a task")
    board.press("Stack dump")
    board.wait_for("told by")
    board.pictures("worker-stack")
    board.press("CPU profile")
    board.wait_for("Functions that took most", "s of CPU")
    board.page.wait_for_selector(".himalia-flame-box")
    board.pictures("worker-profile")


def test_an_object_says_who_keeps_it_alive_and_by_what_name(board: Board) -> None:
    board.show("objects")
    board.row("4.0 MB", "driver").click()
    board.wait_for("What keeps it alive", "self.kept[0]")
    board.pictures("object")


def test_an_error_has_its_traceback_as_text(board: Board) -> None:
    board.show("errors")
    board.row("ValueError").click()
    board.wait_for("Traceback of one of them", f"ValueError: {EVIL}", "board.py")
    board.pictures("error")


def test_a_placement_group_shows_its_actors_and_is_removed_after_a_question(board: Board, context: Any) -> None:
    board.show("placement_groups")
    board.row("the-group").click()
    board.wait_for("Actors in it", "member", "its job")
    board.pictures("placement_group")
    board.press("Remove")
    dialog = board.page.locator("dialog")
    assert "2 bundles" in dialog.inner_text()
    assert "1 actors are ended (Counter)" in dialog.inner_text()
    dialog.locator("button", has_text="Remove").click()
    board.wait_for("removed", "nothing is reserved")


def test_a_log_is_searched(board: Board) -> None:
    board.show("logs")
    board.wait_for("the counter counts")
    board.page.get_by_label("Search").fill("COUNTER counts")
    board.page.get_by_label("Search").press("Enter")
    board.page.wait_for_function(
        "() => { const lines = [...document.querySelectorAll('.hm-line')];"
        " return lines.length > 0 && lines.every(line => line.innerText.includes('the counter counts')); }"
    )


def test_a_page_goes_on_when_the_process_behind_it_was_killed(board: Board) -> None:
    board.show("jobs")
    board.wait_for("00000001")
    [process] = [row for row in state.list_worker_stats(detail=True) if row.process == "dashboard"]
    os.kill(process.pid, signal.SIGKILL)
    board.wait_for("not connected")
    board.wait_for("live")
    before = board.page.locator("tbody tr td").nth(7).inner_text()
    board.page.wait_for_function(
        "before => { const cell = document.querySelectorAll('tbody tr td')[7];"
        " return cell && cell.innerText !== before; }",
        arg=before,
    )


def test_a_page_says_that_its_cluster_has_ended_and_shows_the_next_one(context: Any) -> None:
    first = start_head(NodeOptions(num_cpus=1, dashboard_port=0))
    try:
        where = first.connection
        with board_page(context, where) as board:
            board.show("jobs")
            board.wait_for("No driver has connected yet")
            first.stop()
            board.wait_for("The dashboard does not answer")
            second = start_head(NodeOptions(num_cpus=1, dashboard_port=urlsplit(where.dashboard_url).port))
            try:
                board.page.wait_for_url("**/login*")  # by itself: it was another cluster's token
                board.page.goto(f"{where.dashboard_url}/page/nodes?token={second.connection.dashboard_token}")
                board.wait_for("live", "raylet")
                assert board.errors == []
            finally:
                second.stop()
    finally:
        first.stop()
