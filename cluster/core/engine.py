"""The seam behind the public API: everything it does goes through one `Engine`.

The native engine is `runtime.Core` (its `native.EngineOps`). An adapter to an existing cluster implements the same
protocol and registers a factory under the entry point group ``himalia.engines`` by the scheme of its addresses, so that
``init("ray://host:10001")`` finds it. The API checks nothing that depends on the engine: references and handles are the
engine's own. The test suite of the public API takes the engine as a parameter and specifies all with the same tests.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .actor_class import ActorClass, ActorMethod
    from .remote_function import RemoteFunction

__all__ = ["Engine", "EngineFactory", "find_engine", "scheme_of"]


@runtime_checkable
class Engine(Protocol):
    """What executes the API. Errors are those of `himalia.exceptions`."""

    def submit_function(self, function: RemoteFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit a task; its reference, list of references, or generator."""

    def make_actor(self, actor_class: ActorClass, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Create an actor, or find the one of that name; its handle."""

    def call_method(self, method: ActorMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit a call; its reference, list of references, or generator."""

    def find_actor(self, name: str, namespace: str | None) -> Any:
        """The handle of a named actor; ValueError if there is none."""

    def put_value(self, value: Any) -> Any:
        """Store a value; its reference."""

    def get_values(self, refs: Any, timeout: float | None) -> Any:
        """The value of a reference, or the list of those of a list."""

    def wait_for(self, refs: Any, num_returns: int, timeout: float | None, fetch_local: bool) -> Any:
        """Split references into ready and not ready."""

    def cancel_task(self, ref: Any, force: bool, recursive: bool) -> None:
        """Cancel a task."""

    def kill(self, actor: Any, no_restart: bool) -> None:
        """End an actor."""

    def node_table(self) -> list[dict[str, Any]]:
        """What `nodes()` shows."""

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """What all living nodes have together, and what of it is free."""

    def runtime_context(self) -> Any:
        """Where the calling code runs."""

    def task_records(self) -> Any:
        """Records of the tasks that ran, for `timeline`."""

    def disconnect(self) -> None:
        """Leave the cluster."""


EngineFactory = Callable[[str, dict[str, Any]], Engine]
"""Makes a connected engine of an address and the arguments of `init` (namespace, runtime_env, log_to_driver)."""


def scheme_of(address: str) -> str:
    """The scheme of an address that names another engine; empty for the native one's addresses."""
    scheme, separator, _ = address.partition("://")
    return scheme if separator and scheme not in ("tcp", "ipc", "file") else ""


def find_engine(scheme: str) -> EngineFactory:
    """The factory registered for an address scheme.

    Raises
    ------
    ValueError
        None is installed.
    """
    from importlib.metadata import entry_points

    known = []
    for point in entry_points(group="himalia.engines"):
        known.append(f"{point.name}://")
        if point.name == scheme:
            factory: EngineFactory = point.load()
            return factory
    raise ValueError(
        f"no engine is installed for {scheme}:// addresses (installed: {', '.join(known) or 'none'}); "
        "a package registers one under the entry point group himalia.engines"
    )
