"""List every public name and option of Ray's core API, as the installed Ray has it.

docs/ray-compatibility.md says of each what Himalia does about it, and tests/compat compares the two. The names are read
from Ray, not kept here, so that a new release of Ray shows what it brought.

Usage: python tools/ray_api.py            prints all names, by the section of the page they belong to
       python tools/ray_api.py --missing  prints the rows that the page lacks, and those that Ray does not have
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ray-compatibility.md"

STATUSES = ("same", "differs", "absent")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One row of the page.

    Attributes
    ----------
    section
        The heading above it.
    name
        What its first cell has in backticks: ``ray.get``, or an option's name.
    status
        ``same``, ``differs`` or ``absent``.
    note
        How it differs, or why it is absent.
    """

    section: str
    name: str
    status: str
    note: str


_ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<status>\w+) \|(?P<note>.*)\|\s*$")


def read_page(path: Path = PAGE) -> list[Row]:
    """Read the rows of all tables of the page."""
    rows: list[Row] = []
    section = ""
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        elif match := _ROW.match(line):
            rows.append(Row(section, match["name"], match["status"], match["note"].strip()))
    return rows


# What Ray has ---------------------------------------------------------------------------------------------------------

Names = dict[str, Any]
"""Names of one section to what Ray has under them; None for an option, which is only a name."""


def _members(owner: Any, prefix: str, *, own: bool = False) -> Names:
    """Public members of a class; with `own`, without those of built-in bases such as dict and Exception."""
    inherited = {name for base in (dict, Exception, object) if issubclass(owner, base) for name in dir(base)}
    hidden = inherited if own else set()
    return {
        f"{prefix}.{name}": inspect.getattr_static(owner, name)
        for name in sorted(dir(owner))
        if not name.startswith("_") and name not in hidden
    }


def _functions(module: str, *names: str) -> Names:
    home = importlib.import_module(module)
    return {f"{module}.{name}": getattr(home, name) for name in names}


def _parameters(function: Callable[..., Any]) -> Names:
    return {
        each.name: None
        for each in inspect.signature(function).parameters.values()
        if not each.name.startswith("_") and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }


def _listed_in(function: Callable[..., Any], variable: str) -> Names:
    """The strings of a list that a function assigns to a variable: Ray keeps the options of methods only there."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == variable for t in node.targets):
            return {name: None for name in ast.literal_eval(node.value) if not name.startswith("_")}
    raise LookupError(f"{function.__qualname__} assigns no list to {variable}")


def _options(table: dict[str, Any]) -> Names:
    return {name: None for name in sorted(table) if not name.startswith("_")}


_COVERED_UTIL = (
    "actor_pool",
    "check_serialize",
    "joblib",
    "multiprocessing",
    "placement_group",
    "queue",
    "scheduling_strategies",
    "state",
)
_CORE_MODULES = ("actor", "cluster_utils", "exceptions", "remote_function", "runtime_context", "runtime_env", "util")

_IDS = (
    "ActorClassID",
    "ActorID",
    "FunctionID",
    "JobID",
    "NodeID",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
)


def extract() -> dict[str, Names]:
    """Read all names from the installed Ray, by section of the page."""
    import ray
    import ray.actor
    import ray.cluster_utils
    import ray.exceptions
    import ray.remote_function
    import ray.runtime_context
    import ray.runtime_env
    import ray.util
    import ray.util.multiprocessing.pool
    import ray.util.queue
    import ray.util.state
    from ray._common import ray_option_utils

    # Not getattr: some names are libraries that load when asked for.
    top = {f"ray.{name}": vars(ray).get(name) for name in ray.__all__ if name == "__version__" or name[0] != "_"}
    ids: Names = {}
    for name in _IDS:
        ids |= _members(getattr(ray, name), f"ray.{name}")
    exceptions = {
        f"ray.exceptions.{name}": value
        for name, value in vars(ray.exceptions).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == "ray.exceptions"
    }
    pool = ray.util.multiprocessing.pool
    utilities = {f"ray.util.{name}": vars(ray.util).get(name) for name in ray.util.__all__}
    utilities |= _members(ray.util.ActorPool, "ray.util.ActorPool")
    utilities |= _functions("ray.util.queue", "Empty", "Full", "Queue")
    utilities |= _members(ray.util.queue.Queue, "ray.util.queue.Queue")
    utilities |= _functions("ray.util.multiprocessing", "Pool", "TimeoutError", "JoinableQueue")
    utilities |= _members(pool.Pool, "ray.util.multiprocessing.Pool")
    utilities |= _members(pool.AsyncResult, "ray.util.multiprocessing.pool.AsyncResult")
    utilities |= _members(pool.IMapIterator, "ray.util.multiprocessing.pool.IMapIterator")
    utilities |= _functions("ray.util.joblib", "register_ray")
    groups = _functions("ray.util.placement_group", "PlacementGroup")
    groups |= _members(groups["ray.util.placement_group.PlacementGroup"], "ray.util.placement_group.PlacementGroup")
    strategies = _functions(
        "ray.util.scheduling_strategies",
        *("NodeAffinitySchedulingStrategy", "NodeLabelSchedulingStrategy", "PlacementGroupSchedulingStrategy"),
        *("In", "NotIn", "Exists", "DoesNotExist"),
    )
    environment = _functions("ray.runtime_env", "RuntimeEnv", "RuntimeEnvConfig")
    environment |= _members(ray.runtime_env.RuntimeEnv, "ray.runtime_env.RuntimeEnv", own=True)
    environment |= _members(ray.runtime_env.RuntimeEnvConfig, "ray.runtime_env.RuntimeEnvConfig", own=True)
    clusters = _functions("ray.cluster_utils", "Cluster", "AutoscalingCluster")
    clusters |= _members(ray.cluster_utils.Cluster, "ray.cluster_utils.Cluster")
    actors = _functions("ray.actor", "ActorClass", "ActorHandle", "ActorMethod", "exit_actor")
    actors |= _members(ray.actor.ActorClass, "ray.actor.ActorClass")
    actors |= _members(ray.actor.ActorMethod, "ray.actor.ActorMethod")
    actors |= _functions("ray.remote_function", "RemoteFunction")
    actors |= _members(ray.remote_function.RemoteFunction, "ray.remote_function.RemoteFunction")
    runtime = _functions("ray.runtime_context", "RuntimeContext", "get_runtime_context")
    runtime |= _members(ray.runtime_context.RuntimeContext, "ray.runtime_context.RuntimeContext")
    return {
        "The module `ray`": top,
        "Parameters of `init`": _parameters(ray.init),
        "Options of tasks": _options(ray_option_utils.task_options),
        "Options of actors": _options(ray_option_utils.actor_options),
        "Options of methods": _listed_in(ray.actor.method, "valid_kwargs"),
        "References": {
            **_members(ray.ObjectRef, "ray.ObjectRef"),
            **_members(ray.ObjectRefGenerator, "ray.ObjectRefGenerator"),
        },
        "Ids": ids,
        "Remote functions, actor classes and handles": actors,
        "The runtime context": runtime,
        "Exceptions": exceptions,
        "Utilities": utilities,
        "Placement groups and scheduling strategies": groups | strategies,
        "The state API": _functions("ray.util.state", *ray.util.state.__all__),
        "Runtime environments": environment,
        "Keys of a runtime environment": {
            name: None for name in sorted(ray.runtime_env.RuntimeEnv.known_fields) if not name.startswith("_")
        },
        "Clusters for tests": clusters,
        "Other modules": dict(_other_modules(ray)),
    }


def _other_modules(ray: Any) -> Iterator[tuple[str, None]]:
    """Yield the public modules that have no section of their own."""
    for module in pkgutil.iter_modules(ray.__path__):
        if not module.name.startswith("_") and module.name.isidentifier() and module.name not in _CORE_MODULES:
            yield f"ray.{module.name}", None
    for module in pkgutil.iter_modules(ray.util.__path__):
        if not module.name.startswith("_") and module.name not in _COVERED_UTIL:
            yield f"ray.util.{module.name}", None


# What differs ---------------------------------------------------------------------------------------------------------


def signature_of(thing: Any) -> inspect.Signature | None:
    """Read the parameters of a function, method or class; None if it does not tell."""
    if isinstance(thing, staticmethod | classmethod):
        thing = thing.__func__
    if isinstance(thing, property) or not callable(thing):
        return None
    try:
        return inspect.signature(thing)
    except (TypeError, ValueError):
        return None


def signature_differences(theirs: inspect.Signature, ours: inspect.Signature) -> list[str]:
    """Name the parameters for which a call written for `theirs` could mean something else, or fail, with `ours`.

    Private parameters of theirs are left out; further ones of ours have to be optional.
    """
    found: list[str] = []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    own = ours.parameters
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in own.values())
    takes_more = any(each.kind is inspect.Parameter.VAR_POSITIONAL for each in own.values())
    own_order = [each.name for each in own.values() if each.kind in positional]
    their_order = [each.name for each in theirs.parameters.values() if each.kind in positional]
    for name, parameter in theirs.parameters.items():
        if name.startswith("_") or parameter.kind in variable or name in ("self", "cls"):
            continue
        if name not in own:
            if not takes_any and not (takes_more and parameter.kind in positional):
                found.append(name)
            continue
        if parameter.kind in positional:
            moved = name not in own_order or own_order.index(name) != their_order.index(name)
            if moved and not takes_more:
                found.append(name)
                continue
        if _comparable(parameter.default) and own[name].default != parameter.default:
            found.append(name)
    for name, parameter in own.items():
        required = parameter.default is inspect.Parameter.empty and parameter.kind not in variable
        if required and name not in theirs.parameters:
            found.append(name)
    return found


def _comparable(default: Any) -> bool:
    """Whether it matters that ours is the same: a parameter that theirs requires may be optional here."""
    return isinstance(default, type(None) | bool | int | float | str | tuple)


def main(arguments: list[str]) -> int:
    """Print the names, or what the page lacks."""
    sections = extract()
    if "--missing" not in arguments:
        for section, names in sections.items():
            print(f"## {section}")
            for name in names:
                print(f"| `{name}` |  |  |")
            print()
        return 0
    rows = {(row.section, row.name) for row in read_page()} if PAGE.exists() else set()
    expected = {(section, name) for section, names in sections.items() for name in names}
    for section, name in sorted(expected - rows):
        print(f"the page lacks    {section}: {name}")
    for section, name in sorted(rows - expected):
        print(f"Ray does not have {section}: {name}")
    return int(rows != expected)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
