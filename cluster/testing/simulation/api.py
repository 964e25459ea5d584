"""The public operations as programs and tasks of a simulation use them, with what the book wants to know.

A plan is made once for each process, function and options; the public `remote` keeps one for the process it is in, and
here a hundred processes would take it from each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core import current
from ...core.records import Plan
from ...core.refs import ObjectRef
from ...protocol.common import to_units
from ...protocol.errors import RayTaskError
from ...serialization.functions import Exported, export_function
from .cluster import active
from .process import Process

__all__ = ["Flaky", "attempt", "get", "here", "outcome", "put", "sleep", "stream", "submit", "wait"]

_exported: dict[Callable[..., Any], Exported] = {}


class Flaky(Exception):
    """What a task raises when it is told to."""


def here() -> Process:
    """The process whose code runs."""
    return active().processes[current.get_core().worker_id]


def sleep(seconds: float) -> None:
    here().sleep(seconds)


def put(value: Any) -> ObjectRef:
    return here().core.put(value)


def get(refs: Any, timeout: float | None = None) -> Any:
    return here().core.get(refs, timeout)


def wait(refs: list[ObjectRef], num_returns: int, timeout: float | None) -> tuple[list[ObjectRef], list[ObjectRef]]:
    return here().core.wait(refs, num_returns, timeout, False)


def attempt(key: str) -> int:
    """First statement of every task: it runs now; how often it had begun before."""
    process = here()
    return active().book.started(key, process.kernel.now, process.identity)


def submit(
    function: Callable[..., Any],
    key: str,
    *args: Any,
    retries: int = 3,
    num_returns: int = 1,
    retry_exceptions: bool = False,
    cpus: float = 1.0,
    strategy: str = "DEFAULT",
    backpressure: int = -1,
    **resources: float,
) -> Any:
    """Submit ``function(key, *args)`` as a task."""
    process = here()
    plans: dict[Any, Plan] = process.__dict__.setdefault("plans", {})
    more = tuple(sorted(resources.items()))
    cell = process.core.current_cell()
    if cell is process.core.base_cell:
        # Outside of a cell: none, or a worker would first ask what the job is like, and a task whose worker is killed
        # meanwhile counts as tried, which the book does not know.
        cell = None
    name = (function, retries, num_returns, retry_exceptions, cpus, strategy, backpressure, more, cell)
    plan = plans.get(name)
    if plan is None:
        exported = _exported.get(function)
        if exported is None:
            exported = _exported[function] = export_function(function)
        plan = plans[name] = process.core.make_plan(
            function.__name__,
            exported,
            resources=to_units({"CPU": cpus, **resources}),
            strategy=strategy,
            num_returns=num_returns,
            max_retries=retries,
            retry_exceptions=retry_exceptions,
            backpressure=backpressure,
            options={"backpressure": backpressure} if backpressure > 0 else {},
            cell=cell,
        )
    is_follower = any(type(arg) is ObjectRef for arg in args)
    active().book.submitted(key, retries, is_follower=is_follower)
    return process.core.submit(plan, (key, *args), {})


def stream(function: Callable[..., Any], key: str, *args: Any, **options: Any) -> Any:
    """Submit a generator; the items as they come."""
    return submit(function, key, *args, num_returns=-1, **options)


def outcome(key: str, ref: ObjectRef, *, ends: bool = True) -> Any:
    """The value, or the error as a user would see it; noted as the end of the task."""
    try:
        value: Any = get(ref)
    except AssertionError:
        raise  # of the core itself
    except Exception as error:  # noqa: BLE001 - it is the outcome
        value = error.cause if isinstance(error, RayTaskError) and isinstance(error.cause, Exception) else error
        value.__traceback__ = None
    if ends:
        active().book.ended(key, type(value).__name__ if isinstance(value, Exception) else "value")
    return value
