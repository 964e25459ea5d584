"""The seam behind the public API: everything it does goes through one `Engine`.

The native engine is `runtime.Core`. An adapter to an existing cluster implements the same protocol and registers under the
entry point group ``himalia.engines`` by the scheme of its address (``ray://host:10001``). The test suite of the public API
takes the engine as a parameter and proves both with the same tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

__all__ = ["Engine", "FunctionHandle", "find_engine"]


class FunctionHandle(Protocol):
    """A remote function with its options, as an engine gets it. ``cache`` is the engine's own."""

    function: Any
    name: str
    options: Mapping[str, Any]
    cache: Any


@runtime_checkable
class Engine(Protocol):
    """What executes the API."""

    def submit_task(self, handle: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit a task; its reference, list of references, or generator."""

    def make_actor(self, cls: Any, options: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Create an actor; its handle."""

    def find_actor(self, name: str, namespace: str | None) -> Any:
        """The handle of a named actor."""

    def put(self, value: Any) -> Any:
        """Store a value; its reference."""

    def get(self, refs: Any, timeout: float | None) -> Any:
        """Values of references."""

    def wait(self, refs: list[Any], num_returns: int, timeout: float | None, fetch_local: bool) -> Any:
        """Split references into ready and not ready."""

    def cancel(self, ref: Any, force: bool, recursive: bool) -> None:
        """Cancel a task."""

    def kill_actor(self, actor_id: bytes, no_restart: bool) -> None:
        """End an actor."""

    def free(self, refs: Sequence[Any]) -> None:
        """Delete values."""

    def cluster_state(self, what: str, limit: int = 10_000) -> Any:
        """Nodes, actors, jobs, resources, task events, … as plain data."""


def find_engine(scheme: str) -> Any:
    """The factory registered for an address scheme.

    Raises
    ------
    ValueError
        None is installed.
    """
    from importlib.metadata import entry_points

    for point in entry_points(group="himalia.engines"):
        if point.name == scheme:
            return point.load()
    raise ValueError(f"no engine is installed for {scheme}:// addresses; a package can register one (himalia.engines)")
