"""Pages and who looks at them: each is computed and encoded once, for all its viewers.

Strategy: a view is a page with its parameters. While somebody looks at it, it is brought up to date some times a
second, and what changed is one text that goes to all of them. A viewer that comes later gets the page and all its data
once, then the same texts. Nobody looks: nothing is asked, computed, or kept. Who a viewer is (a websocket, a notebook's
widget, a file) is not known here: text goes out by a function.

Rejected: a Bokeh server session for each browser. It computes, compares and encodes for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import math
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from .pages import PAGES, menu
from .pages.base import BadParamsError, Page
from .pages.panels import Panel, Plot
from .state import State, StateFeed
from .themes import THEME

__all__ = ["Hub", "UnknownPageError", "Viewer", "describe", "make_page"]

_log = logging.getLogger("himalia.dashboard")
_encode: Final = msgspec.json.Encoder().encode

INTERVAL: Final = 0.1  # seconds between rounds: senders flush four times a second, each at its own time
STEP: Final = 0.1  # seconds between two texts to a viewer, also while there is more to read


_JOB: Final = re.compile("(?:[0-9a-f]{2})*")
_PRESENT: Final = "Only tasks, and how busy nodes were, are recorded: what else is here is of the present."


class UnknownPageError(LookupError):
    """There is no page of that name."""


class _View:
    """A page and who looks at it.

    Attributes
    ----------
    at
        The moment that it shows, in seconds since the epoch; None: the present. What is past does not change.
    is_settled
        All was known that tells of that moment.
    """

    def __init__(self, key: tuple[str, str, str, str], page: Page, at: float | None = None) -> None:
        self.key = key
        self.page = page
        self.at = at
        self.is_settled = False
        self.viewers: list[Viewer] = []
        self.broken = ""
        self._opening = ""
        self._jobs: list[tuple[str, str]] = []

    @property
    def job(self) -> str:
        """The id of the job that it is of; empty: all."""
        return self.page.job

    def opening(self) -> str:
        """The page itself, as text."""
        if not self._opening:
            self._opening = _text(describe(self.page) | {"at": self.at, "job": self.job})
        return self._opening

    def snapshot(self, state: State) -> str:
        """All data, as text."""
        message: dict[str, Any] = {"type": "data", "at": self.at, "record": state.record, "jobs": state.jobs}
        message["over"] = state.is_over
        if self.at is not None:
            message["error"] = self.broken or (_PRESENT if self.page.needs() else "")
        elif self.broken:
            message["error"] = self.broken
        return _text(message | {"ops": [source.snapshot() for source in self.page.sources.values()]})

    def step(self, state: State, note: str = "") -> str:
        """Bring the page up to date: what changed, as text; empty if nothing did."""
        try:
            self.page.update(state)
        except Exception as error:  # noqa: BLE001 one page that breaks leaves the others
            _log.exception("the page %s could not be brought up to date", self.page.name)
            return self._break(f"{type(error).__name__}: {error}")
        ops = [op for source in self.page.sources.values() for op in source.changes()]
        message: dict[str, Any] = {"type": "data", "ops": ops, "record": state.record}
        if state.jobs != self._jobs:
            self._jobs = message["jobs"] = state.jobs
        if state.is_over:
            message["over"] = True
        missing = [state.failed[name] for name in self.page.needs() if name in state.failed]
        text = f"The cluster could not tell all of this page: {'; '.join(sorted(set(missing)))}" if missing else note
        if self.broken != text:
            self.broken = message["error"] = text
        return _text(message) if ops or "error" in message or "jobs" in message else ""

    def _break(self, text: str) -> str:
        if text == self.broken:
            return ""
        self.broken = text
        return _text({"type": "data", "ops": [], "error": f"This page could not be brought up to date: {text}"})


class Viewer:
    """Somebody who looks at a page; made by `Hub.open`."""

    def __init__(self, hub: Hub, send: Callable[[str], None]) -> None:
        self._hub = hub
        self._view: _View | None = None
        self.send = send

    def change(self, params: Mapping[str, str], page: str = "") -> None:
        """Look at the page with other parameters, or at another page, from now on.

        Raises
        ------
        UnknownPageError, BadParamsError
            There is no such page, or it has no such parameters. The viewer stays where it is.
        ImportError
            The page has a plot, and Bokeh is not installed. The viewer stays where it is.
        """
        name = page or (self._view.page.name if self._view is not None else "")
        view, before = self._hub.view(name, params), self._view
        # Another moment of the same page is only other data: plots take a hundred times as long to make.
        is_page = before is None or before.at == view.at or before.key[:3] != view.key[:3]
        try:
            opening = view.opening() if is_page else ""
        except Exception:
            self._hub.forget(view)
            raise
        view.viewers.append(self)  # first: it may be the same one, which would be forgotten
        self.close()
        self._view = view
        self._hub.wake()
        if is_page:
            self.send(opening)
        self.send(view.snapshot(self._hub.feed.present(view.job)))

    def opening(self) -> list[str]:
        """The page and all its data once more, as two texts; nothing is sent."""
        if self._view is None:
            return []
        return [self._view.opening(), self._view.snapshot(self._hub.feed.present(self._view.job))]

    def close(self) -> None:
        """Look no more."""
        if self._view is not None:
            self._view.viewers.remove(self)
            self._hub.forget(self._view)
            self._view = None


class Hub:
    """All views of one cluster.

    Parameters
    ----------
    feed
        Keeps the state that pages read.
    """

    def __init__(self, feed: StateFeed) -> None:
        self.feed = feed
        self._views: dict[tuple[str, str, str, str], _View] = {}
        self._wanted = asyncio.Event()

    @property
    def viewers(self) -> int:
        """How many look."""
        return sum(len(view.viewers) for view in self._views.values())

    def open(self, page: str, params: Mapping[str, str], send: Callable[[str], None], /) -> Viewer:
        """Have somebody look at a page, who is sent the page and all its data now and what changes later.

        Parameters
        ----------
        page, params
            Its name, and what it is to show; see `Page.PARAMS`.
        send
            Called with JSON, in the thread of the hub. It must not block.

        Raises
        ------
        UnknownPageError, BadParamsError
            There is no such page, or the page has no such parameters.
        """
        viewer = Viewer(self, send)
        viewer.change(params, page)
        return viewer

    def view(self, name: str, params: Mapping[str, str]) -> _View:
        """The view of a page with these parameters; see `make_page`."""
        page, at = make_page(name, params)
        key = (name, _text(dict(sorted(page.params.items()))), page.job, str(at))
        view = self._views.get(key)
        if view is None:
            view = _View(key, page, at)
            self._bring(view)
            self._views[key] = view
        return view

    def _bring(self, view: _View) -> str:
        """Have a view show what is known by now: what changed, as text."""
        at, job = view.at, view.job
        view.is_settled = at is not None and self.feed.is_settled(at, job)
        return view.step(
            self.feed.present(job) if at is None else self.feed.past(at, job),
            "" if self.feed.knows(job) else f"No task of the job {job} is recorded, or not any more.",
        )

    def forget(self, view: _View) -> None:
        """Keep a view no longer if nobody looks at it."""
        if not view.viewers:
            self._views.pop(view.key, None)
        if not self._views:
            self._wanted.clear()

    def wake(self) -> None:
        """Somebody looks."""
        self._wanted.set()

    def needs(self) -> set[str]:
        """Rows that open pages read."""
        needs = {name for view in self._views.values() for name in view.page.needs()}
        if self.feed.has_choice or any(view.job for view in self._views.values()):
            needs.add("jobs")  # what they are called, and which have ended
        return needs

    def step(self) -> None:
        """The state has changed: bring all views up to date and tell their viewers."""
        for view in list(self._views.values()):
            text = "" if view.is_settled else self._bring(view)
            if text:
                for viewer in list(view.viewers):
                    viewer.send(text)

    def tell_all(self, message: Mapping[str, Any]) -> None:
        """Send every viewer a message."""
        text = _text(message)
        for view in list(self._views.values()):
            for viewer in list(view.viewers):
                viewer.send(text)

    async def run(self) -> None:
        """Ask and show, for as long as somebody looks, until cancelled.

        Raises
        ------
        ConnectionError
            The cluster is gone; viewers have been told.
        """
        loop = asyncio.get_running_loop()
        shown = float("-inf")
        changed = False
        with ThreadPoolExecutor(1, thread_name_prefix="himalia-hub") as thread:
            while True:
                await self._wanted.wait()
                try:
                    read = await loop.run_in_executor(thread, self.feed.read, self.needs())
                except ConnectionError as error:
                    self.tell_all({"type": "gone", "reason": f"The cluster has ended or does not answer: {error}"})
                    raise
                changed = self.feed.apply(read) or changed
                if changed and loop.time() - shown >= STEP:
                    shown, changed = loop.time(), False
                    self.step()
                await asyncio.sleep(0 if self.feed.state.is_behind else INTERVAL)


def describe(page: Page) -> dict[str, Any]:
    """A page without its data, as the message that opens it."""
    panels = page.panels()
    return {
        "type": "page",
        "name": page.name,
        "title": page.title,
        "about": page.about,
        "params": page.params,
        "panels": panels,
        "controls": page.controls(),
        "plots": [_plot(panel, page) for panel in panels],
        "menu": menu(),
    }


def _plot(panel: Panel, page: Page) -> Any:
    """A plot's Bokeh document, with sources that are empty; None for another panel.

    Bokeh is imported with the first plot: a dashboard that nobody has looked at does without its 60 MB.
    """
    if not isinstance(panel, Plot):
        return None
    from .plots.embedding import embedded

    module, _, function = panel.draw.partition(":")
    draw = getattr(importlib.import_module(f".plots.{module}", __package__), function)
    columns = {name: list(page.sources[name].snapshot()["data"]) for name in panel.sources}
    return embedded(draw, columns, THEME, panel.options, panel.height)


def make_page(name: str, params: Mapping[str, str]) -> tuple[Page, float | None]:
    """A page by its name and parameters, and the moment that it shows (None: the present).

    Every page has two parameters besides its own: ``at``, a moment of the past, and ``job``, the one to show alone.

    Raises
    ------
    UnknownPageError, BadParamsError
        There is no such page, or it has no such parameters.
    """
    if name not in PAGES:
        raise UnknownPageError(f"There is no page {name!r}, but {', '.join(PAGES)}")
    given = {key: value for key, value in params.items() if value}
    at, job = _moment(given.pop("at", "")), given.pop("job", "")
    if not _JOB.fullmatch(job):
        raise BadParamsError(f"a job is named by its id, as the page Jobs has it, not {job!r}")
    page = PAGES[name](given)
    page.job = job
    return page, at


def _moment(text: str) -> float | None:
    with contextlib.suppress(ValueError):
        if not text or math.isfinite(float(text)):
            return float(text) if text else None
    raise BadParamsError(f"a moment is in seconds since the epoch, not {text!r}")


def _text(message: Mapping[str, Any]) -> str:
    return _encode(message).decode()
