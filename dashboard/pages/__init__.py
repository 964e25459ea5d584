"""The dashboard's pages, in the order of the menu."""

from __future__ import annotations

from typing import Any, Final

from .actors import ActorPage, Actors
from .base import Page
from .errors import ErrorPage, Errors
from .events import Autoscaler
from .gpus import Gpus
from .jobs import Jobs
from .logs import Logs
from .nodes import Nodes
from .objects import ObjectPage, Objects
from .overview import Overview
from .placement_groups import PlacementGroupPage, PlacementGroups
from .progress import Progress
from .scheduling import Scheduling
from .task import Task
from .task_graph import TaskGraph
from .task_stream import TaskStream
from .tasks import Tasks
from .worker import WorkerPage

__all__ = ["PAGES", "menu"]

PAGES: Final[dict[str, type[Page]]] = {
    page.name: page
    for page in (
        Overview,
        Progress,
        TaskGraph,
        TaskStream,
        Objects,
        Actors,
        Nodes,
        Gpus,
        PlacementGroups,
        Jobs,
        Scheduling,
        Autoscaler,
        Logs,
        Errors,
        ActorPage,
        ErrorPage,
        ObjectPage,
        PlacementGroupPage,
        Task,
        Tasks,
        WorkerPage,
    )
}


def menu() -> list[dict[str, Any]]:
    """Pages that can be chosen, as data."""
    return [{"name": page.name, "title": page.title, "about": page.about} for page in PAGES.values() if page.IN_MENU]
