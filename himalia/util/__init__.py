"""What programs use beside the core: pools, queues, results as they come, and the state API.

The names are those of `ray.util` where Ray has them. Little is imported before it is used, so that ``import himalia``
stays quick; `himalia.util.queue`, `.multiprocessing`, `.joblib` and `.state` are modules of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

# Module and function have the same name, as in Ray. The function is to win, whoever imports the module, and when.
from himalia.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

if TYPE_CHECKING:
    from himalia.cluster.core.upgrade import upgrade
    from himalia.cluster.serialization import deregister_serializer, inspect_serializability, register_serializer
    from himalia.util.actor_pool import ActorPool
    from himalia.util.executor import TaskExecutor
    from himalia.util.inspection import get_node_ip_address, list_named_actors, log_once
    from himalia.util.iteration import as_completed, map, map_unordered  # noqa: A004 - it is the parallel `map`
    from himalia.util.keeping import forget, keep, kept

__all__ = [
    "ActorPool",
    "TaskExecutor",
    "as_completed",
    "deregister_serializer",
    "forget",
    "get_current_placement_group",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "keep",
    "kept",
    "list_named_actors",
    "log_once",
    "map",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "register_serializer",
    "remove_placement_group",
    "upgrade",
]

_HOMES = {
    "ActorPool": "himalia.util.actor_pool",
    "TaskExecutor": "himalia.util.executor",
    "as_completed": "himalia.util.iteration",
    "deregister_serializer": "himalia.cluster.serialization",
    "forget": "himalia.util.keeping",
    "get_node_ip_address": "himalia.util.inspection",
    "inspect_serializability": "himalia.cluster.serialization",
    "keep": "himalia.util.keeping",
    "kept": "himalia.util.keeping",
    "list_named_actors": "himalia.util.inspection",
    "log_once": "himalia.util.inspection",
    "map": "himalia.util.iteration",
    "map_unordered": "himalia.util.iteration",
    "register_serializer": "himalia.cluster.serialization",
    "upgrade": "himalia.cluster.core.upgrade",
}
_MODULES = frozenset(
    {
        "executor",
        "joblib",
        "metrics",
        "multiprocessing",
        "progress",
        "queue",
        "scheduling_strategies",
        "state",
        "tracing",
    }
)


def __getattr__(name: str) -> Any:
    import importlib

    home = _HOMES.get(name)
    if home is not None:
        value = getattr(importlib.import_module(home), name)
        globals()[name] = value  # the next access does not come here
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
