"""`ActorClass`: what ``@remote`` makes of a class; `ActorHandle` and `ActorMethod`: how an actor is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..protocol.common import Cell
from ..protocol.errors import ActorAlreadyExistsError
from ..protocol.gcs_messages import ActorSpec
from ..serialization.signature import CallSignature
from ..serialization.values import deserialize, dumps_by_value
from .api_core import require_engine
from .exports import Exports
from .groups import choose_strategy
from .id_types import ActorID
from .options import (
    ACTOR_OPTIONS,
    METHOD_OPTIONS,
    actor_resources,
    check_options,
    encode_runtime_env,
)
from .refs import ObjectRef
from .requests import RequestFailed

if TYPE_CHECKING:
    from ..serialization.reloading import Code
    from .native import EngineOps
    from .records import Plan

__all__ = ["ActorClass", "ActorHandle", "ActorMethod", "method"]

_UNSET = object()
_OPTIONS_ATTRIBUTE = "__himalia_method_options__"
BUILTIN_METHODS: Final = frozenset({"__ray_ready__", "__ray_terminate__", "__ray_call__"})


def method(*args: Any, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a method of an actor options of its own: ``@method(num_returns=2)``.

    Raises
    ------
    ValueError
        There is no such option, or the value is wrong.
    """
    if args or not options:
        raise ValueError("use it with options: @himalia.method(num_returns=2)")
    check_options(options, METHOD_OPTIONS, "a method")

    def annotate(function: Callable[..., Any]) -> Callable[..., Any]:
        setattr(function, _OPTIONS_ATTRIBUTE, options)
        return function

    return annotate


class ActorClass:
    """A class whose instances live in processes of their own: ``.remote(…)`` creates one and returns its handle."""

    def __init__(self, cls: type, options: dict[str, Any], shared: _SharedClass | None = None) -> None:
        check_options(options, ACTOR_OPTIONS, "an actor")
        self._cls = cls
        self._options = options
        self._shared = shared if shared is not None else _SharedClass(cls)
        self.__name__ = cls.__name__
        self.__qualname__ = cls.__qualname__
        self.__module__ = cls.__module__
        self.__doc__ = cls.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"actor class `{self.__name__}` can not be instantiated directly: use {self.__name__}.remote(…)"
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self._cls,)

    def remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle:
        """Create an actor with these constructor arguments."""
        self._shared.signature.check(args, kwargs)
        handle: ActorHandle = require_engine().make_actor(self, args, kwargs)
        return handle

    def options(self, **options: Any) -> ActorClass:
        """The same class with other options, for this use."""
        return ActorClass(self._cls, {**self._options, **options}, self._shared)

    def create_in(self, core: EngineOps, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle:
        """Create an actor by the native engine."""
        shared, options = self._shared, self._options
        name = options.get("name") or ""
        namespace = options.get("namespace") or core.namespace
        if options.get("name") == "":
            raise ValueError("the name of an actor can not be empty: leave it out for an actor without a name")
        if options.get("get_if_exists") and not name:
            raise ValueError("get_if_exists needs a name: …options(name=…, get_if_exists=True)")
        detached = options.get("lifetime") == "detached"
        held, placement = actor_resources(options)
        is_async = shared.is_async
        concurrency = options.get("max_concurrency")
        cell = core.current_cell()
        need = {**placement, **{key: max(units, placement.get(key, 0)) for key, units in held.items()}}
        strategy, captures = choose_strategy(core, options, need, held, f"actor `{shared.name}`")
        exported = shared.exports.current(core, cell)
        spec = ActorSpec(
            exported.content_hash,
            shared.name,
            core.job_id,
            core.address,
            b"",
            held,
            placement,
            name,
            namespace,
            detached,
            options.get("max_restarts") or 0,
            options.get("max_task_retries") or 0,
            concurrency if concurrency is not None else (1000 if is_async else 1),
            is_async,
            options.get("concurrency_groups") or {},
            options.get("max_pending_calls") or -1,
            strategy,
            options.get("label_selector") or {},
            core.merge_runtime_env(encode_runtime_env(options.get("runtime_env"))),
            cell,
            shared.methods,
            unordered=bool(options.get("allow_out_of_order_execution")),
            code=core.code,
            root=core.output_root(),
            events=options.get("enable_task_events") is not False,
            capture=captures,
        )
        try:
            actor_id, ref = core.create_actor(spec, exported, args, kwargs, bool(options.get("get_if_exists")))
        except RequestFailed as failure:
            if failure.kind == "name_taken":
                raise ActorAlreadyExistsError(failure.text) from None
            raise ValueError(failure.text) from None
        if ref is None and not detached:
            return core.find_actor(name, namespace)
        return ActorHandle(
            actor_id, shared.name, shared.methods, ref, meta_of(spec), shared.signatures, shared, core.code
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"cls": self._cls, "options": self._options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        ActorClass.__init__(self, state["cls"], state["options"])

    def __repr__(self) -> str:
        return f"ActorClass({self.__name__})"


class _SharedClass:
    """What all option variants of one class share."""

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.name = cls.__name__
        self.signature = CallSignature.compile_class(cls)
        self.methods: dict[str, dict[str, object]] = {}
        self.signatures: dict[str, CallSignature] = {}
        self.is_async = False
        for name, function in inspect.getmembers(cls, callable):
            raw = inspect.getattr_static(cls, name)
            if name.startswith("__") and name != "__call__" and not hasattr(raw, "__code__"):
                continue
            if name in ("__init__", "__new__", "__class__", "__init_subclass__", "__subclasshook__"):
                continue
            options = dict(getattr(function, _OPTIONS_ATTRIBUTE, {}))
            if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
                options.setdefault("num_returns", "streaming")
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                self.is_async = True
            if isinstance(options.get("retry_exceptions"), list | tuple):
                options["retry_exceptions"] = dumps_by_value(tuple(options["retry_exceptions"]))
            is_bound = isinstance(raw, classmethod | staticmethod)
            options["parameters"] = describe_parameters(function, not is_bound)
            self.methods[name] = options
            self.signatures[name] = CallSignature.compile(
                function, skip_self=not is_bound, name=f"{cls.__name__}.{name}"
            )
        self.exports = Exports(cls)


def describe_parameters(function: Callable[..., Any], skip_self: bool) -> list[list[Any]] | None:
    """The parameters of a method as plain data (name, kind, has a default), for handles made elsewhere."""
    try:
        parameters = list(inspect.signature(function, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):
        return None
    if inspect.ismethod(function):  # a class method: its first parameter is bound
        skip_self = False
    return [[p.name, int(p.kind), p.default is not p.empty] for p in parameters[1 if skip_self else 0 :]]


def signature_of(name: str, parameters: list[list[Any]] | None) -> CallSignature | None:
    """What `describe_parameters` told, ready to check calls."""
    if parameters is None:
        return None
    kinds = {
        int(kind): kind
        for kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.KEYWORD_ONLY,
            inspect.Parameter.VAR_KEYWORD,
        )
    }
    made = tuple(
        inspect.Parameter(each, kinds[kind], default=None if has_default else inspect.Parameter.empty)
        for each, kind, has_default in parameters
    )
    return CallSignature(name, made, False)


def meta_of(spec: ActorSpec) -> dict[str, Any]:
    """What a handle carries of its actor's options."""
    return {
        "retries": spec.max_task_retries,
        "limit": spec.max_pending_calls,
        "name": spec.name,
        "unordered": spec.unordered,
        "concurrency": spec.max_concurrency,
        "events": spec.events,
    }


class ActorHandle:
    """Calls one actor: ``handle.method.remote(…)``.

    It can be passed to tasks and actors, and is counted: the actor ends when the last handle is gone (unless it is
    detached).
    """

    def __init__(
        self,
        actor_id: bytes,
        class_name: str,
        methods: dict[str, dict[str, object]],
        ref: ObjectRef | None,
        meta: dict[str, Any],
        signatures: dict[str, CallSignature] | None = None,
        shared: _SharedClass | None = None,
        code: Code | None = None,
    ) -> None:
        self._id = actor_id
        self._class_name = class_name
        self._methods = methods
        self._ref = ref
        self._meta = meta
        self._signatures = signatures
        self._shared = shared  # what it was made of, where it was made: a newer definition of that can be told
        self._code = code or {}

    def __getattr__(self, name: str) -> ActorMethod:
        # Found only once a method: then it lies in the instance's dict.
        methods = self.__dict__.get("_methods")
        if methods is None or (name not in methods and name not in BUILTIN_METHODS):
            if name == "upgrade" and methods is not None:
                from .upgrade import upgrade

                return partial(upgrade, self)  # type: ignore[return-value] # the one that is called here, not there
            class_name = self.__dict__.get("_class_name", "?")
            raise AttributeError(f"actor class '{class_name}' has no method '{name}'")
        if self._signatures is not None:
            signature = self._signatures.get(name)
        else:
            signature = signature_of(f"{self._class_name}.{name}", methods.get(name, {}).get("parameters"))
        made = ActorMethod(self._id, self._class_name, name, methods.get(name, {}), self._ref, self._meta, signature)
        self.__dict__[name] = made
        return made

    @property
    def _actor_id(self) -> ActorID:
        return ActorID(self._id)

    def _ray_actor_id_hex(self) -> str:
        return self._id.hex()

    def __dir__(self) -> list[str]:
        return sorted(self._methods)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._id == self._id

    def __hash__(self) -> int:
        return hash(self._id)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_handle, (self._id, self._class_name, self._methods, self._ref, self._meta)

    def __repr__(self) -> str:
        from .upgrade import redefinition

        old = ": its class was defined anew since, .upgrade() moves it there" if redefinition(self) else ""
        return f"Actor({self._class_name}, {self._id.hex()}{old})"


def rebuild_handle(
    actor_id: bytes, class_name: str, methods: dict[str, dict[str, object]], ref: ObjectRef | None, meta: dict[str, Any]
) -> ActorHandle:
    """Make a handle again from what was pickled."""
    return ActorHandle(actor_id, class_name, methods, ref, meta)


class ActorMethod:
    """One method of one actor."""

    __slots__ = (
        "_actor_id",
        "_class_name",
        "_meta",
        "_name",
        "_options",
        "_ref",
        "_signature",
        "cell",
        "core",
        "limit",
        "plan",
    )

    def __init__(
        self,
        actor_id: bytes,
        class_name: str,
        name: str,
        options: dict[str, Any],
        ref: ObjectRef | None,
        meta: dict[str, Any],
        signature: CallSignature | None,
    ) -> None:
        self._actor_id = actor_id
        self._class_name = class_name
        self._name = name
        self._options = options
        self._ref = ref  # not the handle, which holds us: the actor lives while a method of it does
        self._meta = meta
        self._signature = signature
        self.limit: int = meta.get("limit", -1)
        self.core: EngineOps | None = None
        self.cell: Any = _UNSET
        self.plan: Plan | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"actor method `{self._name}` can not be called directly: use handle.{self._name}.remote(…)")

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call; returns an `ObjectRef` (a list for several returns, a generator for streaming)."""
        if self._signature is not None:
            self._signature.check(args, kwargs)
        return require_engine().call_method(self, args, kwargs)

    def plan_for(self, core: EngineOps, cell: Cell | None) -> Plan:
        """Make `plan` fit this core and cell, as `RemoteFunction.plan_for`."""
        options = self._options
        if self._ref is not None:
            core.check_handle(self._ref, self._class_name)
        num_returns = options.get("num_returns", 1)
        retry = options.get("retry_exceptions", False)
        if isinstance(retry, bytes):
            retry = deserialize(retry)
        retries = options.get("max_task_retries")
        more: dict[str, object] = {}
        if options.get("concurrency_group"):
            more["concurrency_group"] = options["concurrency_group"]
        recorded = options.get("enable_task_events")
        if not (self._meta.get("events", True) if recorded is None else recorded):
            more["task_events"] = False
        if options.get("_generator_backpressure_num_objects"):
            more["backpressure"] = options["_generator_backpressure_num_objects"]
        plan = self.plan = core.actor_plan(
            self._actor_id,
            self._class_name,
            self._name,
            self._ref,
            num_returns=-1 if num_returns == "streaming" else (1 if num_returns is None else num_returns),
            max_task_retries=self._meta.get("retries", 0) if retries is None else retries,
            retry_exceptions=tuple(retry) if isinstance(retry, list | tuple) else bool(retry),
            backpressure=options.get("_generator_backpressure_num_objects") or -1,
            options=more,
            cell=cell,
            name=options.get("name") or "",
            unordered=bool(self._meta.get("unordered")),
            concurrency=self._meta.get("concurrency", 1),
        )
        self.core, self.cell = core, cell
        return plan

    def options(self, **options: Any) -> ActorMethod:
        """The same method with other options, for this use."""
        check_options(options, METHOD_OPTIONS, "a method")
        return ActorMethod(
            self._actor_id,
            self._class_name,
            self._name,
            {**self._options, **options},
            self._ref,
            self._meta,
            self._signature,
        )

    def __repr__(self) -> str:
        return f"ActorMethod({self._class_name}.{self._name})"

    def __reduce__(self) -> Any:
        return ActorMethod, (
            self._actor_id,
            self._class_name,
            self._name,
            self._options,
            self._ref,
            self._meta,
            None,
        )
