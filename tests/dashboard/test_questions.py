"""Questions that pages ask by name."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.dashboard.hub import Hub
from himalia.dashboard.pages import PAGES
from himalia.dashboard.pages.base import Page
from himalia.dashboard.pages.panels import Panel
from himalia.dashboard.questions import answer
from himalia.dashboard.state import State
from tests.dashboard.cluster import PlayedCluster
from tests.dashboard.viewing import Looker


class OfOne(Page):
    """Asks about what its parameter names."""

    name = "of_one"
    title = "Of one"
    PARAMS = ("thing",)

    def panels(self) -> list[Panel]:
        return []

    def needs(self) -> list[str]:
        return [f"thing:{self.params['thing']}"]

    def update(self, state: State) -> None:
        self.seen = state.get(self.needs()[0])


def test_a_view_asks_about_what_its_parameters_name_and_only_while_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "of_one", OfOne)
    played = PlayedCluster()
    rows: dict[str, list[dict[str, Any]]] = {"thing:a": [{"is": "a"}], "thing:b": [{"is": "b"}]}
    played.rows_of.update(rows)
    hub = Hub(played.feed())
    one, other = Looker(hub, "of_one", {"thing": "a"}), Looker(hub, "of_one", {"thing": "b"})
    hub.feed.apply(hub.feed.read(hub.needs()))
    assert hub.feed.state.rows == rows
    one.viewer.close()
    hub.feed.apply(hub.feed.read(hub.needs()))
    assert hub.feed.state.rows == {"thing:b": [{"is": "b"}]}
    other.viewer.close()


def test_a_question_that_there_is_not_names_those_that_there_are() -> None:
    with pytest.raises(LookupError, match=r"no 'colours' to ask for, but actors, .*task_log:"):
        answer(None, "colours")  # type: ignore[arg-type]  # it is not asked
    with pytest.raises(LookupError, match="no 'actors:1'"):
        answer(None, "actors:1")  # type: ignore[arg-type]
