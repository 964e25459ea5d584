"""A page: state in, tables and a layout of panels out. Pure: no IO, no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar, TypeVar

from ..sources import Source
from .panels import Control, Panel

if TYPE_CHECKING:
    from ..state import State

__all__ = ["BadParamsError", "Page"]

_S = TypeVar("_S", bound=Source)


class BadParamsError(ValueError):
    """A page was asked for with parameters that it does not have."""


class Page:
    """One page as one view shows it.

    Parameters
    ----------
    params
        What the view is of: a task's id, a filter. Text by name, see `PARAMS`.

    Attributes
    ----------
    name, title, about
        For addresses, for people, and what the page is good for: a sentence.
    PARAMS
        Names of parameters that the page knows.
    NEEDS
        What it reads of `State.rows`: asked of the cluster only while such a page is open.
    IN_MENU
        Whether it stands in the menu; the others are reached from another page.
    job
        The id of the job that the view is of; empty: all.
    """

    job = ""  # the one that is shown alone, by its id; empty: all
    name: ClassVar[str]
    title: ClassVar[str]
    about: ClassVar[str] = ""
    PARAMS: ClassVar[tuple[str, ...]] = ()
    NEEDS: ClassVar[tuple[str, ...]] = ()
    IN_MENU: ClassVar[bool] = True

    def __init__(self, params: Mapping[str, str]) -> None:
        unknown = sorted(set(params) - set(self.PARAMS))
        if unknown:
            known = ", ".join(self.PARAMS) or "none"
            raise BadParamsError(f"the page {self.name} has no parameter {', '.join(unknown)}; it has {known}")
        self.params = dict(params)
        self.sources: dict[str, Source] = {}

    def panels(self) -> list[Panel]:
        """What stands on the page, in order. Called once a viewer."""
        raise NotImplementedError

    def controls(self) -> list[Control]:
        """What stands above the panels and changes the parameters."""
        return []

    def needs(self) -> Collection[str]:
        """What this view reads of `State.rows`: `NEEDS`, and what its parameters ask for besides (see questions.py)."""
        return self.NEEDS

    def update(self, state: State) -> None:
        """Bring the sources up to date. Called when the state has changed, some times a second."""
        raise NotImplementedError

    def add(self, source: _S) -> _S:
        """Have a source: to be called while the page is made."""
        self.sources[source.name] = source
        return source
