"""`RemoteFunction`: what ``@remote`` makes of a function."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..protocol.common import Cell
from ..protocol.constraints import membership
from ..serialization.signature import CallSignature
from .api_core import require_engine
from .exports import Exports
from .groups import GROUP, Member, choose_strategy, current_member
from .options import TASK_OPTIONS, check_options, encode_runtime_env, task_resources

if TYPE_CHECKING:
    from .native import EngineOps
    from .records import Plan

__all__ = ["RemoteFunction"]

_log = logging.getLogger("himalia")
_UNSET = object()


class RemoteFunction:
    """A function that runs as a task.

    Call ``.remote(…)`` to get an `ObjectRef`, ``.options(…)`` to change its options.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any], shared: _Shared | None = None) -> None:
        check_options(options, TASK_OPTIONS, "a task")
        self._function = function
        self._options = options
        self._shared = shared if shared is not None else _Shared(function)
        self._signature = self._shared.signature
        self._name = options.get("name") or self._shared.name
        self.core: EngineOps | None = None
        self.cell: Cell | object | None = _UNSET
        self.member: Member | None = None  # of a placement group, for which the plan was made
        self.plan: Plan | None = None
        functools.update_wrapper(self, function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"remote function `{self._name}` can not be called directly: "
            f"use {self._shared.name}.remote(…), or {self._shared.name}._function(…) to run it here"
        )

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a task; returns an `ObjectRef` (a list of them for several returns, a generator for streaming).

        Raises
        ------
        TypeError
            The arguments do not fit the function's signature.
        """
        self._signature.check(args, kwargs)
        return require_engine().submit_function(self, args, kwargs)

    def plan_for(self, core: EngineOps, cell: Cell | None) -> Plan:
        """Make `plan` fit this core and cell. The native engine keeps here what all tasks of one cell share."""
        member = current_member(core)
        if core is self.core and cell == self.cell and member == self.member and self.plan is not None:
            self.cell = cell
            return self.plan
        options = self._options
        env = options.get("runtime_env")
        num_returns = options.get("num_returns", 1)
        if num_returns is None:
            num_returns = 1
        if self._shared.is_generator and "num_returns" not in options:
            num_returns = "streaming"
        retry = options.get("retry_exceptions", False)
        more: dict[str, object] = {}
        max_calls = options.get("max_calls")
        if max_calls is None and options.get("num_gpus"):
            # What a library took of a GPU it gives back at the end of its process only, and another lease may be of
            # another GPU, which a process that has used one does not get to see.
            max_calls = 1
        if max_calls:
            more["max_calls"] = max_calls
        if options.get("enable_task_events") is False:
            more["task_events"] = False
        if options.get("_generator_backpressure_num_objects"):
            more["backpressure"] = options["_generator_backpressure_num_objects"]
        if isinstance(num_returns, int) and num_returns != 1 and self._shared.is_generator:
            more["generator_returns"] = True
        resources = task_resources(options)
        strategy, captures = choose_strategy(core, options, resources, resources, f"task `{self._name}`")
        if membership(strategy) is not None:
            more[GROUP] = (strategy, captures)
        plan = self.plan = core.make_plan(
            self._name,
            self._shared.exports.current(core, cell),
            resources=resources,
            strategy=strategy,
            labels=options.get("label_selector"),
            runtime_env=core.merge_runtime_env(encode_runtime_env(env)),
            num_returns=-1 if num_returns == "streaming" else num_returns,
            max_retries=3 if options.get("max_retries") is None else options["max_retries"],
            retry_exceptions=tuple(retry) if isinstance(retry, list | tuple) else bool(retry),
            backpressure=options.get("_generator_backpressure_num_objects") or -1,
            options=more,
            cell=cell,
        )
        self.core, self.cell, self.member = core, cell, member
        return plan

    def options(self, **options: Any) -> RemoteFunction:
        """The same function with other options, for this use."""
        if "max_calls" in options:
            raise ValueError("max_calls belongs to the function: give it to the decorator, not to .options()")
        return RemoteFunction(self._function, merge_options(self._options, options), self._shared)

    def __getstate__(self) -> dict[str, Any]:
        return {"function": self._function, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        RemoteFunction.__init__(self, state["function"], state["options"])

    def __repr__(self) -> str:
        return f"RemoteFunction({self._shared.name})"


class _Shared:
    """What all option variants of one function share."""

    def __init__(self, function: Callable[..., Any]) -> None:
        import inspect

        self.function = function
        self.name = getattr(function, "__qualname__", None) or type(function).__name__
        self.name = self.name.rsplit("<locals>.", 1)[-1]
        self.signature = CallSignature.compile(function, name=self.name)
        self.is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.exports = Exports(function)


def merge_options(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Options of `.options()` over those of the decorator."""
    return {**old, **new}
