"""Small questions to the cluster and this process."""

from __future__ import annotations

import time
from typing import Any

__all__ = ["get_node_ip_address", "list_named_actors", "log_once"]

_seen: dict[str, float] = {}


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """Names of the actors that have one and are not dead.

    Parameters
    ----------
    all_namespaces
        Whether to list those of other namespaces too.

    Returns
    -------
    list
        Names; with ``all_namespaces``, dictionaries with the keys ``name`` and ``namespace``.
    """
    import himalia
    from himalia.util.state import list_actors

    actors = [actor for actor in list_actors(filters=[("state", "!=", "DEAD")], limit=10_000) if actor.name]
    if all_namespaces:
        return [{"name": actor.name, "namespace": actor.ray_namespace} for actor in actors]
    here = himalia.get_runtime_context().namespace
    return [actor.name for actor in actors if actor.ray_namespace == here]


def get_node_ip_address() -> str:
    """The address under which other machines reach this node."""
    import socket

    import himalia

    if himalia.is_initialized():
        here = himalia.get_runtime_context().get_node_id()
        for node in himalia.nodes():
            if node["NodeID"] == here:
                try:
                    return socket.gethostbyname(node["NodeManagerAddress"])
                except OSError:  # a name that only the cluster knows
                    return str(node["NodeManagerAddress"])
    return "127.0.0.1"


def log_once(key: str, period: float | None = None) -> bool:
    """Whether this is the first time that ``key`` is asked about, or ``period`` seconds have gone since it was.

    For messages that would repeat: ``if log_once("no-gpu"): logger.warning(…)``.
    """
    now = time.monotonic()
    last = _seen.get(key)
    if last is not None and (period is None or now - last < period):
        return False
    _seen[key] = now
    return True
