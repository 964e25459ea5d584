"""Himalia: a notebook becomes a place to compute.

Tasks, actors and shared objects on all cores of this machine, or of many; the names are Ray's:

>>> import himalia
>>> @himalia.remote
... def square(x):
...     return x * x
>>> himalia.get([square.remote(i) for i in range(4)])
[0, 1, 4, 9]
"""

from __future__ import annotations

from typing import Any

from himalia.cluster.core.actor_class import ActorClass, ActorHandle
from himalia.cluster.core.api import (
    available_resources,
    cancel,
    cluster_resources,
    get,
    get_actor,
    get_gpu_ids,
    get_runtime_context,
    init,
    is_initialized,
    kill,
    method,
    nodes,
    put,
    remote,
    shutdown,
    timeline,
    wait,
)
from himalia.cluster.core.generator import ObjectRefGenerator
from himalia.cluster.core.id_types import (
    ActorID,
    JobID,
    NodeID,
    ObjectID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from himalia.cluster.core.refs import ObjectRef

__version__ = "0.1.0.dev0"

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorID",
    "JobID",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "cluster_utils",
    "exceptions",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "util",
    "wait",
]

_SUBMODULES = frozenset(
    {"actor", "cluster_utils", "exceptions", "remote_function", "runtime_context", "runtime_env", "testing", "util"}
)


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        import importlib

        return importlib.import_module(f"himalia.{name}")
    if name in ("load_ipython_extension", "unload_ipython_extension"):
        from himalia import kernel_ext

        return getattr(kernel_ext, name)
    raise AttributeError(f"module 'himalia' has no attribute {name!r}")
