"""Cards that are kept up to date, on a front that remembers them, and in real kernels."""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import himalia
from himalia.cluster.core import current
from himalia.kernel_ext import cards as cards_module
from himalia.kernel_ext.cards import LiveCards, refresh_after
from himalia.kernel_ext.own_tasks import in_leader
from tests.kernel_ext.notebook import PATIENCE, Cell, Notebook
from tests.support.leaks import LeakGuard


class Page:
    """A front that keeps what each display shows."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.html: dict[str, str] = {}
        self.updates: list[str] = []
        self._changed = threading.Condition()

    def display(
        self, cell: Any, data: dict[str, Any], metadata: dict[str, Any], display_id: str, *, update: bool
    ) -> None:
        with self._changed:
            assert update == (display_id in self.texts)
            self.texts[display_id], self.html[display_id] = data["text/plain"], data["text/html"]
            self.updates.append(display_id)
            self._changed.notify_all()

    def wait_for(self, what: Callable[[], Any]) -> None:
        with self._changed:
            assert self._changed.wait_for(what, PATIENCE), self.texts

    @property
    def last(self) -> str:
        """The text of the card that was made last."""
        return list(self.texts.values())[-1]

    @property
    def token(self) -> str:
        return list(self.texts)[-1].removeprefix("himalia-card-")

    @property
    def actions(self) -> str:
        found = re.search(r'data-actions="([^"]*)"', list(self.html.values())[-1])
        return found[1] if found is not None else ""


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=1, object_store_memory=80_000_000)
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


@pytest.fixture
def wait_for_file() -> Any:
    def wait_for_file(path: str) -> str:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        return path

    return himalia.remote(wait_for_file)


def test_a_task_is_followed_from_pending_to_ready(
    cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path
) -> None:
    ref = wait_for_file.remote(str(tmp_path / "go"))
    cards.show_ref(ref)
    assert "pending" in page.last or "running" in page.last
    assert page.actions == "cancel"
    page.wait_for(lambda: ": running" in page.last and " s at " in page.last)
    (tmp_path / "go").touch()
    page.wait_for(lambda: ": ready" in page.last)
    assert re.search(r"function +wait_for_file", page.last)
    assert re.search(r"took +about", page.last)
    assert page.actions == "release"
    drawn = len(page.updates)
    himalia.get(ref)
    cards._tick(0.0)
    assert len(page.updates) == drawn


def test_showing_a_reference_does_not_keep_its_value(cards: LiveCards, page: Page) -> None:
    ref = himalia.put(bytes(5_000_000))
    gone = weakref.ref(ref)
    cards.show_ref(ref)
    del ref
    gc.collect()
    page.wait_for(lambda: "nothing in this kernel refers to it" in page.last)
    assert "ready, when last seen" in page.last
    assert page.actions == ""
    assert gone() is None


def test_buttons_cancel_a_task_and_free_a_value(
    cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path
) -> None:
    ref = wait_for_file.remote(str(tmp_path / "never"))
    cards.show_ref(ref)
    cards._pressed(page.token, "cancel")
    page.wait_for(lambda: "failed: TaskCancelledError" in page.last)
    assert page.actions == ""
    value = himalia.put(bytes(5_000_000))
    cards.show_ref(value)
    cards._pressed(page.token, "release")
    page.wait_for(lambda: "freed" in page.last)
    with pytest.raises(himalia.exceptions.ObjectFreedError):
        himalia.get(value)


def test_a_button_that_is_not_there_does_nothing(
    cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path
) -> None:
    ref = wait_for_file.remote(str(tmp_path / "go"))
    cards.show_ref(ref)
    cards._pressed(page.token, "release")
    cards._pressed("another", "cancel")
    (tmp_path / "go").touch()
    assert himalia.get(ref) == str(tmp_path / "go")


def test_an_actor_is_followed_until_it_is_dead(cards: LiveCards, page: Page) -> None:
    class Named:
        pass

    actor = himalia.remote(Named).options(name="followed").remote()
    cards.show_actor(actor)
    page.wait_for(lambda: ": alive" in page.last)
    assert re.search(r"where +this node", page.last)
    assert page.actions == "kill"
    cards._pressed(page.token, "kill")
    page.wait_for(lambda: ": dead" in page.last)
    assert re.search(r"reason +it was ended by himalia.kill", page.last)


def test_the_cluster_shows_what_is_in_use_now(cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path) -> None:
    cards.show_cluster()
    page.wait_for(lambda: re.search(r"CPUs +0 of 1 in use", page.last))
    ref = wait_for_file.remote(str(tmp_path / "go"))
    page.wait_for(lambda: re.search(r"CPUs +1 of 1 in use", page.last))
    first = page.token
    cards.show_cluster()
    assert "shown again further down" in page.texts[f"himalia-card-{first}"]
    (tmp_path / "go").touch()
    himalia.get(ref)


def test_the_oldest_cards_stay_as_they_are_when_there_are_many(
    cards: LiveCards, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards_module, "MOST", 2)
    refs = [himalia.put(i) for i in range(3)]
    for ref in refs:
        cards.show_ref(ref)
    assert ["many others are shown" in text for text in page.texts.values()] == [True, False, False]


def test_a_tick_that_has_no_time_left_goes_on_at_the_next_one(
    cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards_module, "BUDGET", -1.0)
    refs = [wait_for_file.remote(str(tmp_path / "go")) for _ in range(3)]
    for ref in refs:
        cards.show_ref(ref)
    (tmp_path / "go").touch()
    page.wait_for(lambda: all(": ready" in text for text in page.texts.values()))


def test_a_tick_draws_no_more_than_what_a_page_can_take(
    cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards_module, "AT_ONCE", 2)
    monkeypatch.setattr(cards_module, "refresh_after", lambda age: 0.0)  # each is always out of date
    refs = [wait_for_file.remote(str(tmp_path / "go")) for _ in range(5)]
    for ref in refs:
        cards.show_ref(ref)
    in_leader(current.get_core(), lambda: None)
    del page.updates[:]

    def tick() -> int:
        before = len(page.updates)
        cards._tick(0.0)
        return len(page.updates) - before

    drawn = [in_leader(current.get_core(), tick) for _ in range(5)]
    assert drawn == [2] * 5
    assert len(set(page.updates)) == 5
    (tmp_path / "go").touch()
    himalia.get(refs)


def test_the_end_of_the_session_is_the_last_thing_that_is_said(
    cards: LiveCards, page: Page, wait_for_file: Any, tmp_path: Path
) -> None:
    ref, value = wait_for_file.remote(str(tmp_path / "go")), himalia.put(1)
    cards.show_ref(ref)
    cards.show_ref(value)
    cards._session_ends()
    first, second = page.texts.values()
    assert "when last seen" in first
    assert "since then  the session has ended" in first
    assert ": ready\n" in second
    assert not any("data-himalia" in html for html in page.html.values())
    with pytest.raises(NotImplementedError):  # IPython then shows it as it is
        cards.show_ref(ref)
    (tmp_path / "go").touch()
    himalia.get(ref)


def test_a_captured_cell_gets_what_ipython_makes_of_it(cards: LiveCards) -> None:
    cards._shell.display_pub = SimpleNamespace(outputs=[])
    with pytest.raises(NotImplementedError):
        cards.show_ref(himalia.put(1))


@pytest.mark.parametrize(("age", "seconds"), [(0.0, 1.0), (59.0, 1.0), (61.0, 10.0), (3600.0, 60.0)])
def test_the_age_of_what_takes_long_is_drawn_seldom(age: float, seconds: float) -> None:
    assert refresh_after(age) == seconds


# In kernels -----------------------------------------------------------------------------------------------------------

DEFINE = """
@himalia.remote
def wait_for_file(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return path
"""


def texts(cell: Cell) -> list[str]:
    kinds = ("display_data", "update_display_data")
    return [m["content"]["data"]["text/plain"] for m in cell.messages if m["msg_type"] in kinds]


def html(cell: Cell) -> str:
    return next(m["content"]["data"]["text/html"] for m in cell.messages if m["msg_type"] == "display_data")


def token_in(cell: Cell) -> str:
    found = re.search(r'data-himalia="([^"]+)" data-actions="cancel"', html(cell))
    assert found is not None
    return found[1]


def buttons_of(notebook: Notebook) -> str:
    """The comm of the widget that puts buttons into the page; it is made by a thread."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [
            message["content"]["comm_id"]
            for messages in notebook.by_parent.values()
            for message in messages
            if message["msg_type"] == "comm_open" and "prefix" in message["content"]["data"].get("state", {})
        ]
        return bool(found)

    notebook.read_until(look)
    return found[-1]


def press(notebook: Notebook, comm: str, token: str, subshell: str | None = None) -> None:
    """Say what the page says when "cancel" is pressed."""
    data = {"method": "custom", "content": {"token": token, "action": "cancel"}}
    message = notebook.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
    if subshell is not None:
        message["header"]["subshell_id"] = subshell
    notebook.client.shell_channel.send(message)


def test_a_card_changes_under_its_cell_while_others_run(any_kernel: Notebook, tmp_path: Path) -> None:
    assert not any_kernel.run(DEFINE).error
    cell = any_kernel.run(f"ref = wait_for_file.remote({str(tmp_path / 'go')!r})\nref")
    assert len([m for m in cell.messages if m["msg_type"] == "display_data"]) == 1
    blocking = any_kernel.send("himalia.get(ref)")
    cell.wait_for(lambda cell: ": running" in texts(cell)[-1])
    (tmp_path / "go").touch()
    cell.wait_for(lambda cell: ": ready" in texts(cell)[-1])
    blocking.wait_for(lambda cell: cell.done)
    assert not [text for text in texts(blocking) if "ObjectRef" in text]
    assert any_kernel.value("_ is not None and 'go' in _") == "True"


def test_the_page_can_cancel_a_task(any_kernel: Notebook, tmp_path: Path) -> None:
    assert not any_kernel.run(DEFINE).error
    cell = any_kernel.run(f"ref = wait_for_file.remote({str(tmp_path / 'never')!r})\nref")
    press(any_kernel, buttons_of(any_kernel), token_in(cell))
    cell.wait_for(lambda cell: "failed: TaskCancelledError" in texts(cell)[-1])


def test_the_page_can_cancel_what_the_running_cell_waits_for(kernel: Notebook, tmp_path: Path) -> None:
    assert not kernel.run(DEFINE).error
    cell = kernel.run(f"ref = wait_for_file.remote({str(tmp_path / 'never')!r})\nref")
    comm = buttons_of(kernel)
    client = kernel.client
    client.control_channel.send(client.session.msg("create_subshell_request"))
    subshell = client.get_control_msg(timeout=PATIENCE)["content"]["subshell_id"]
    blocking = kernel.send("himalia.get(ref)")
    cell.wait_for(lambda cell: ": running" in texts(cell)[-1])
    press(kernel, comm, token_in(cell), subshell)
    blocking.wait_for(lambda cell: cell.done)
    assert blocking.error == "TaskCancelledError"


def test_without_anywidget_cards_are_live_and_have_no_buttons(fresh: Notebook, tmp_path: Path) -> None:
    fresh.run("import sys\nsys.modules['anywidget'] = sys.modules['ipywidgets'] = None")
    cell = fresh.run("%load_ext himalia\n%cluster start --cpus 1\nimport himalia, os, time")
    assert not cell.error, cell.traceback
    assert not fresh.run(DEFINE).error
    cell = fresh.run(f"ref = wait_for_file.remote({str(tmp_path / 'go')!r})\nref")
    (tmp_path / "go").touch()
    cell.wait_for(lambda cell: ": ready" in texts(cell)[-1])
    assert not [m for messages in fresh.by_parent.values() for m in messages if m["msg_type"] == "comm_open"]


def test_what_init_returns_shows_the_cluster(fresh: Notebook) -> None:
    assert not fresh.run("%load_ext himalia\nimport himalia").error
    assert "Himalia cluster: running" in fresh.run("himalia.init(num_cpus=1)").text


def test_references_and_generators_can_be_awaited_at_top_level(any_kernel: Notebook) -> None:
    define = """
    @himalia.remote(num_returns="streaming")
    def count(n):
        for i in range(n):
            yield i
    """
    assert not any_kernel.run("\n".join(line[4:] for line in define.splitlines())).error
    assert any_kernel.value("await himalia.remote(lambda: 7).remote()") == "7"
    cell = any_kernel.run("found = []\nasync for ref in count.remote(4):\n    found.append(await ref)\nfound")
    assert not cell.error, cell.traceback
    assert cell.text == "[0, 1, 2, 3]"
