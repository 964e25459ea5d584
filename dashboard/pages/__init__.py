"""The dashboard's pages, in the order of the menu."""

from __future__ import annotations

from typing import Any, Final

from .actors import ActorPage, Actors
from .base import Page
from .jobs import Jobs
from .logs import Logs
from .overview import Overview
from .progress import Progress
from .task import Task
from .task_graph import TaskGraph
from .task_stream import TaskStream
from .tasks import Tasks

__all__ = ["PAGES", "menu"]

PAGES: Final[dict[str, type[Page]]] = {
    page.name: page for page in (Overview, Progress, TaskGraph, TaskStream, Actors, Jobs, Logs, ActorPage, Tasks, Task)
}


def menu() -> list[dict[str, Any]]:
    """Pages that can be chosen, as data."""
    return [{"name": page.name, "title": page.title, "about": page.about} for page in PAGES.values() if page.IN_MENU]
