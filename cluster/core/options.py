"""The options of tasks and actors: what exists, what values are right, what they mean for the engine.

Wrong names and values are refused where they are written, at the decorator or `.options`, not when the task runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ..protocol.common import Resources, to_units
from .strategies import encode_strategy

__all__ = [
    "ACTOR_OPTIONS",
    "METHOD_OPTIONS",
    "TASK_OPTIONS",
    "actor_resources",
    "check_options",
    "encode_runtime_env",
    "task_resources",
]

_COMMON: Final = {
    "num_cpus",
    "num_gpus",
    "memory",
    "object_store_memory",
    "resources",
    "accelerator_type",
    "runtime_env",
    "scheduling_strategy",
    "label_selector",
    "name",
    "enable_task_events",
}
TASK_OPTIONS: Final = frozenset(
    _COMMON
    | {
        "num_returns",
        "max_calls",
        "max_retries",
        "retry_exceptions",
        "_generator_backpressure_num_objects",
    }
)
ACTOR_OPTIONS: Final = frozenset(
    _COMMON
    | {
        "namespace",
        "lifetime",
        "get_if_exists",
        "max_restarts",
        "max_task_retries",
        "max_concurrency",
        "max_pending_calls",
        "concurrency_groups",
        "allow_out_of_order_execution",
    }
)
METHOD_OPTIONS: Final = frozenset(
    {
        "num_returns",
        "concurrency_group",
        "max_task_retries",
        "retry_exceptions",
        "_generator_backpressure_num_objects",
        "enable_task_events",
        "name",
    }
)

_UNSUPPORTED: Final = {
    "placement_group": "use scheduling_strategy=PlacementGroupSchedulingStrategy(group)",
    "placement_group_bundle_index": "it is an argument of PlacementGroupSchedulingStrategy",
    "placement_group_capture_child_tasks": "it is an argument of PlacementGroupSchedulingStrategy",
    "fallback_strategy": "fallback strategies are not in this version; use a soft node affinity",
    "tensor_transport": "direct transport of tensors is not in this version; values go through the object store",
    "enable_tensor_transport": "direct transport of tensors is not in this version",
}


def check_options(options: Mapping[str, Any], allowed: frozenset[str], what: str) -> None:
    """Refuse unknown names and wrong values.

    Raises
    ------
    ValueError
        A name or a value is wrong; the text says what would be right.
    TypeError
        A value is of the wrong type.
    """
    for name, value in options.items():
        if name not in allowed:
            if name in _UNSUPPORTED:
                raise ValueError(f"option {name!r} is not supported: {_UNSUPPORTED[name]}")
            raise ValueError(f"{name!r} is not an option of {what}; there are: {', '.join(sorted(allowed))}")
        check = _CHECKS.get(name)
        if check is not None and value is not None:
            check(name, value)


def _quantity(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be negative, got {value}")
    if name == "num_gpus" and value > 1 and value != int(value):
        raise ValueError(f"num_gpus above 1 must be a whole number of GPUs, got {value}")


_RESERVED: Final = (
    ("CPU", "num_cpus"),
    ("GPU", "num_gpus"),
    ("memory", "memory"),
    ("object_store_memory", "object_store_memory"),
)


def _resources(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"resources must be a dict of name to quantity, got {value!r}")
    for reserved, option in _RESERVED:
        if reserved in value:
            raise ValueError(f"use {option}= instead of resources={{{reserved!r}: …}}")
    for key, quantity in value.items():
        if not isinstance(key, str):
            raise TypeError(f"names of resources are strings, got {key!r}")
        _quantity(f"resources[{key!r}]", quantity)


def _integer(minimum: int, infinite: bool = False) -> Any:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be an integer, got {value!r}")
        if value < minimum and not (infinite and value == -1):
            raise ValueError(
                f"{name} must be at least {minimum}{' (or -1: no limit)' if infinite else ''}, got {value}"
            )

    return check


def _num_returns(name: str, value: Any) -> None:
    if value == "streaming":
        return
    if value == "dynamic":
        raise ValueError('num_returns="dynamic" is not supported: use "streaming", which gives each item as it comes')
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'num_returns must be an integer or "streaming", got {value!r}')
    if value < 0:
        raise ValueError(f"num_returns must not be negative, got {value}")


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if name in ("name", "namespace") and value == "" and name == "namespace":
        raise ValueError('"" is not a valid namespace: leave it out for the default one')


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, got {value!r}")


def _retry_exceptions(name: str, value: Any) -> None:
    if isinstance(value, bool):
        return
    if not isinstance(value, list | tuple) or not all(
        isinstance(kind, type) and issubclass(kind, BaseException) for kind in value
    ):
        raise TypeError(f"retry_exceptions must be a bool or a list of exception classes, got {value!r}")


def _lifetime(name: str, value: Any) -> None:
    if value not in ("detached", "non_detached"):
        raise ValueError(f'lifetime must be "detached", "non_detached" or None, got {value!r}')


def _groups(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"concurrency_groups must be a dict of name to concurrency, got {value!r}")
    for key, limit in value.items():
        _integer(1)(f"concurrency_groups[{key!r}]", limit)


def _runtime_env(name: str, value: Any) -> None:
    encode_runtime_env(value)


def _strategy(name: str, value: Any) -> None:
    encode_strategy(value)


def _labels(name: str, value: Any) -> None:
    if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise TypeError(f"{name} must be a dict of strings, got {value!r}")


_CHECKS: Final[dict[str, Any]] = {
    "num_cpus": _quantity,
    "num_gpus": _quantity,
    "memory": _quantity,
    "object_store_memory": _quantity,
    "resources": _resources,
    "num_returns": _num_returns,
    "max_calls": _integer(0),
    "max_retries": _integer(0, infinite=True),
    "max_restarts": _integer(0, infinite=True),
    "max_task_retries": _integer(0, infinite=True),
    "max_concurrency": _integer(1),
    "max_pending_calls": _integer(1, infinite=True),
    "retry_exceptions": _retry_exceptions,
    "name": _text,
    "namespace": _text,
    "accelerator_type": _text,
    "concurrency_group": _text,
    "get_if_exists": _flag,
    "allow_out_of_order_execution": _flag,
    "enable_task_events": _flag,
    "lifetime": _lifetime,
    "concurrency_groups": _groups,
    "runtime_env": _runtime_env,
    "scheduling_strategy": _strategy,
    "label_selector": _labels,
    "_generator_backpressure_num_objects": _integer(1, infinite=True),
}

_ENV_SUPPORTED: Final = {"env_vars", "working_dir", "config"}
_ENV_CONFIG: Final = {"setup_timeout_seconds", "eager_install", "log_files"}
"""About what is installed: there is nothing, so these hold whatever they say."""


def encode_runtime_env(env: Any) -> str:
    """A runtime environment as canonical JSON; empty for none.

    Raises
    ------
    ValueError
        It asks for something that is not supported (yet): the field is named.
    """
    if env is None:
        return ""
    if not isinstance(env, Mapping):
        raise TypeError(f"runtime_env must be a dict, got {env!r}")
    if not env:
        return ""
    fields = dict(env)
    for field in fields:
        if field not in _ENV_SUPPORTED:
            raise ValueError(
                f"runtime_env field {field!r} is not supported: this version knows {', '.join(sorted(_ENV_SUPPORTED))}"
            )
    variables = fields.get("env_vars")
    if variables is not None and not (
        isinstance(variables, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in variables.items())
    ):
        raise TypeError(f"runtime_env['env_vars'] must be a dict of strings, got {variables!r}")
    folder = fields.get("working_dir")
    if folder is not None:
        import os

        path = os.path.abspath(os.path.expanduser(os.fspath(folder)))
        if not os.path.isdir(path):
            raise ValueError(f"runtime_env['working_dir'] must be a folder of this machine, got {folder!r}")
        fields["working_dir"] = path
    unknown = set(fields.pop("config", None) or ()) - _ENV_CONFIG
    if unknown:
        raise ValueError(
            f"runtime_env['config'] has {', '.join(sorted(map(repr, unknown)))}; there are: "
            f"{', '.join(sorted(_ENV_CONFIG))}"
        )
    return json.dumps(fields, sort_keys=True) if fields else ""


def _base(options: Mapping[str, Any]) -> dict[str, float]:
    wanted: dict[str, float] = dict(options.get("resources") or {})
    for key, name in _RESERVED[1:]:
        if options.get(name) is not None:
            wanted[key] = options[name]
    if options.get("accelerator_type"):
        wanted[f"accelerator_type:{options['accelerator_type']}"] = 0.001
    return wanted


def task_resources(options: Mapping[str, Any]) -> Resources:
    """What a task holds while it runs: one CPU unless told otherwise."""
    wanted = _base(options)
    cpus = options.get("num_cpus")
    wanted["CPU"] = 1 if cpus is None else cpus
    return to_units(wanted)


def actor_resources(options: Mapping[str, Any]) -> tuple[Resources, Resources]:
    """What an actor holds for life, and what it needs to be placed: no CPU, but one to start, unless told otherwise."""
    wanted = _base(options)
    cpus = options.get("num_cpus")
    if cpus is not None:
        wanted["CPU"] = cpus
        return to_units(wanted), to_units(wanted)
    only_default = not wanted
    held = to_units(wanted)
    placement = to_units({**wanted, "CPU": 1}) if only_default else held
    return held, placement
