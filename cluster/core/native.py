"""The native engine as the API sees it: checks what users pass, then hands it to the parts that do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.common import from_units
from .actor_class import ActorClass, ActorHandle, ActorMethod
from .actors import ActorOps
from .generator import ObjectRefGenerator
from .queries import QueryOps
from .refs import PENDING, ObjectRef
from .runtime_context import RuntimeContext

if TYPE_CHECKING:
    from .remote_function import RemoteFunction

__all__ = ["EngineOps"]


class EngineOps(ActorOps, QueryOps):
    """Part of `Core`: the `Engine` protocol."""

    def submit_function(self, function: RemoteFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit a task; its reference, list of references, or generator."""
        cell = self.current_cell()
        if self is not function.core or cell is not function.cell or function.plan is None:
            return self.submit(function.plan_for(self, cell), args, kwargs)
        return self.submit(function.plan, args, kwargs)

    def make_actor(self, actor_class: ActorClass, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle:
        """Create an actor, or find the one of that name; its handle."""
        return actor_class.create_in(self, args, kwargs)

    def call_method(self, method: ActorMethod, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Submit a call; its reference, list of references, or generator."""
        cell = self.current_cell()
        if self is not method.core or cell is not method.cell or method.plan is None:
            return self.call_actor(method.plan_for(self, cell), args, kwargs, method.limit)
        return self.call_actor(method.plan, args, kwargs, method.limit)

    def put_value(self, value: Any) -> ObjectRef:
        """Store a value; its reference."""
        if type(value) is ObjectRef:
            raise TypeError(
                "put() of an ObjectRef is not allowed: it is a reference already; put it inside a list to nest it"
            )
        return self.put(value)

    def get_values(self, refs: Any, timeout: float | None) -> Any:
        """The value of a reference, or the list of those of a list."""
        if type(refs) is ObjectRef:
            return self.get(refs, timeout)
        if isinstance(refs, ObjectRefGenerator):
            raise ValueError("get() of a generator is not possible: iterate over it, and get each reference")
        if not isinstance(refs, list | tuple):
            raise ValueError(f"get() takes an ObjectRef or a list of them, not a {type(refs).__name__}")
        for ref in refs:
            if type(ref) is not ObjectRef:
                raise TypeError(f"get() takes ObjectRefs; the list holds a {type(ref).__name__}")
        return self.get(refs, timeout) if refs else []

    def wait_for(self, refs: Any, num_returns: int, timeout: float | None, fetch_local: bool) -> Any:
        """Split references into ready and not ready."""
        if isinstance(refs, ObjectRef | ObjectRefGenerator):
            raise TypeError("wait() takes a list of ObjectRefs, got a single one")
        if not isinstance(refs, list):
            raise TypeError(f"wait() takes a list of ObjectRefs, got a {type(refs).__name__}")
        plain = True
        for ref in refs:
            if type(ref) is not ObjectRef:
                if not isinstance(ref, ObjectRefGenerator):
                    raise TypeError(f"wait() takes ObjectRefs; the list holds a {type(ref).__name__}")
                plain = False
        if not refs:
            return [], []
        if len(set(refs)) != len(refs):
            raise ValueError("wait() takes each reference once; the list has duplicates")
        if num_returns <= 0:
            raise ValueError(f"num_returns must be positive, got {num_returns}")
        if num_returns > len(refs):
            raise ValueError(f"num_returns={num_returns} is more than the {len(refs)} references given")
        if plain:
            return self.wait(refs, num_returns, timeout, fetch_local)
        return self.wait_mixed(refs, num_returns, timeout)

    def cancel_task(self, ref: Any, force: bool, recursive: bool) -> None:
        """Cancel a task."""
        if isinstance(ref, ObjectRefGenerator):
            ref = ref._generator_ref
        if type(ref) is not ObjectRef:
            raise TypeError(f"cancel() takes an ObjectRef, got a {type(ref).__name__}")
        record = ref._data
        if force and ref._state == PENDING and getattr(getattr(record, "plan", None), "actor", None) is not None:
            raise ValueError("force=True is not possible for a call of an actor: use himalia.kill to end the actor")
        self.cancel(ref, force, recursive)

    def kill(self, actor: Any, no_restart: bool) -> None:
        """End an actor."""
        if not isinstance(actor, ActorHandle):
            raise ValueError(f"kill() takes an actor handle, got a {type(actor).__name__}; use cancel() for a task")
        if actor._ref is not None:
            self.check_handle(actor._ref, actor._class_name)
        self.kill_actor(actor._id, no_restart)

    def node_table(self) -> list[dict[str, Any]]:
        """What `nodes()` shows."""
        shown = []
        for node in self.list_nodes():
            port = int(node.raylet.tcp.rpartition(":")[2] or 0) if node.raylet.tcp else 0
            shown.append(
                {
                    "NodeID": node.node_id.hex(),
                    "Alive": node.alive,
                    "NodeManagerAddress": node.host,
                    "NodeManagerHostname": node.extra.get("hostname", node.host),
                    "NodeManagerPort": port,
                    "ObjectManagerPort": port,
                    "ObjectStoreSocketName": node.extra.get("arena_path", ""),
                    "RayletSocketName": node.raylet.ipc,
                    "MetricsExportPort": 0,
                    "NodeName": node.host,
                    "RuntimeEnvAgentPort": 0,
                    "DeathReason": int(node.death.kind) if node.death else 0,
                    "DeathReasonMessage": node.death.detail if node.death else "",
                    "alive": node.alive,
                    "Resources": from_units(node.total) if node.alive else {},
                    "Labels": dict(node.labels),
                }
            )
        return shown

    def disconnect(self) -> None:
        """Leave the cluster."""
        from . import session

        session.shutdown()

    def runtime_context(self) -> RuntimeContext:
        """Where the calling code runs."""
        return RuntimeContext(self)
