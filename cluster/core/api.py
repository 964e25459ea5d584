"""The public API: functions whose names and arguments are Ray's."""

from __future__ import annotations

import inspect
import os
from typing import Any

from ..launchers.boot import NodeOptions
from . import current, session
from .actor_class import ActorClass, ActorHandle, method
from .api_core import require_engine
from .engine import find_engine, scheme_of
from .log_setup import configure_logger, level_name
from .refs import ObjectRef
from .remote_function import RemoteFunction
from .runtime_context import RuntimeContext
from .session import ClientContext

__all__ = [
    "available_resources",
    "cancel",
    "cluster_resources",
    "exit_actor",
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
    "wait",
]

_UNSUPPORTED_INIT = {
    "_node_ip_address",
    "_driver_object_store_memory",
    "_memory",
    "_redis_username",
    "_redis_password",
    "_temp_dir",
    "_metrics_export_port",
    "_system_config",
    "_tracing_startup_hook",
    "_node_name",
    "_enable_object_reconstruction",
    "_plasma_directory",
}


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    dashboard_certificate: str | None = None,
    dashboard_key: str | None = None,
    job_config: Any = None,
    configure_logging: bool = True,
    logging_level: int | str = "info",
    logging_format: str | None = None,
    logging_config: Any = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: dict[str, Any] | None = None,
    enable_resource_isolation: bool = False,
    cgroup_path: str | None = None,
    system_reserved_cpu: float | None = None,
    system_reserved_memory: int | None = None,
    **kwargs: Any,
) -> ClientContext:
    """Start a cluster on this machine, or attach to one that runs.

    Parameters
    ----------
    address
        None or ``"local"``: a new cluster, which ends with this process. ``"auto"``: the newest that runs on this
        machine. A connection file, a session folder or ``"host:port"``: that one. ``$HIMALIA_ADDRESS`` stands in for
        None.
    include_dashboard, dashboard_host, dashboard_port
        The dashboard of a new cluster. None: it is started when somebody opens its URL. True: at once, or an error says
        why it can not be. False: there is none. ``dashboard_host`` is the address to listen on; without a port it is
        8265 or the first free one after it. ``dashboard_certificate`` and ``dashboard_key`` are PEM files, with which
        it speaks TLS (also ``$HIMALIA_DASHBOARD_CERTIFICATE``, ``$HIMALIA_DASHBOARD_KEY``).
    num_cpus, num_gpus, resources, labels
        What the new node has; what the machine has if left out.
    object_store_memory
        Bytes of shared memory for objects, at most; 30 % of the machine's memory if left out.
    ignore_reinit_error
        Do nothing, rather than raise, when this process is connected already.
    configure_logging, logging_level, logging_format
        Whether, from which level on and in which form the logger ``himalia`` of this process shows its messages. The
        level is that of the cluster's own logs too.
    log_to_driver
        Show here what tasks print.
    namespace
        In which names of actors are looked up.
    runtime_env
        ``env_vars`` and ``working_dir`` for all tasks and actors of this job.

    Raises
    ------
    RuntimeError
        This process is connected already.
    ConnectionError
        No cluster runs at ``address``.
    ValueError
        An argument is not supported, or does not apply when attaching.
    """
    if current.find_engine() is not None:
        if ignore_reinit_error:
            live = session.current_session()
            return ClientContext(session.context_info(live)) if live is not None else ClientContext({"address": ""})
        raise RuntimeError(
            "himalia.init() was called twice: this process is connected already. "
            "Use himalia.shutdown() first, or ignore_reinit_error=True"
        )
    _refuse_unsupported(
        local_mode=local_mode,
        job_config=job_config,
        logging_config=logging_config,
        enable_resource_isolation=enable_resource_isolation,
        cgroup_path=cgroup_path,
        system_reserved_cpu=system_reserved_cpu,
        system_reserved_memory=system_reserved_memory,
    )
    for name in kwargs:
        if name not in _UNSUPPORTED_INIT:
            raise TypeError(f"init() got an unexpected keyword argument {name!r}")
    extra = {name: value for name, value in kwargs.items() if value is not None}
    memory = extra.pop("_memory", None)
    if extra:
        raise ValueError(f"init(): {', '.join(sorted(extra))} is not supported in this version")
    if configure_logging:
        configure_logger(logging_level, logging_format)
    attaching = address not in (None, "local")
    if attaching:
        given = {
            "num_cpus": num_cpus,
            "num_gpus": num_gpus,
            "resources": resources,
            "labels": labels,
            "object_store_memory": object_store_memory,
            "include_dashboard": include_dashboard or None,
            "dashboard_host": dashboard_host if dashboard_host != "127.0.0.1" else None,
            "dashboard_port": dashboard_port,
            "dashboard_certificate": dashboard_certificate,
            "dashboard_key": dashboard_key,
        }
        for name, value in given.items():
            if value is not None:
                raise ValueError(f"{name} is a property of a new cluster: it can not be given with address={address!r}")
    options = NodeOptions(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        memory=memory,
        resources=resources or {},
        labels=labels or {},
        object_store_memory=object_store_memory,
        log_level=level_name(logging_level),
        owner_pid=os.getpid(),
        include_dashboard=include_dashboard,
        dashboard_host=dashboard_host,
        dashboard_port=dashboard_port,
        dashboard_certificate=dashboard_certificate or "",
        dashboard_key=dashboard_key or "",
    )
    config = {"namespace": namespace, "runtime_env": runtime_env, "log_to_driver": log_to_driver is not False}
    if address is not None and (scheme := scheme_of(address)):
        return session.init_foreign(find_engine(scheme), address, config)
    return session.init(options, address, config)


def _refuse_unsupported(**given: Any) -> None:
    reasons = {
        "local_mode": "it hides what goes wrong only in parallel; use num_cpus=1 to run one task at a time",
        "job_config": "use the arguments of init",
        "logging_config": "configure `logging` as usual",
        "enable_resource_isolation": "control groups are not managed",
        "cgroup_path": "control groups are not managed",
        "system_reserved_cpu": "control groups are not managed",
        "system_reserved_memory": "control groups are not managed",
    }
    for name, value in given.items():
        if value is not None and value is not False:
            raise ValueError(f"init(): {name} is not supported in this version: {reasons[name]}")


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """Leave the cluster, and end it if this process started it. Harmless when not connected.

    Parameters
    ----------
    wait_for_processes
        Return when all processes of the cluster have ended. They always have: it takes some milliseconds.
    """
    session.shutdown()


def is_initialized() -> bool:
    """Whether this process is connected to a cluster."""
    return session.is_initialized()


def remote(*args: Any, **options: Any) -> Any:
    """Make a function a remote function, or a class an actor class.

    ``@remote`` as it stands, or with options: ``@remote(num_cpus=2, max_retries=0)``.

    Raises
    ------
    TypeError
        What it decorates is neither a function nor a class.
    ValueError
        An option does not exist, or has a wrong value.
    """
    if len(args) == 1 and not options and (callable(args[0]) or isinstance(args[0], ObjectRef)):
        return _make_remote(args[0], {})
    if args:
        raise TypeError("use @himalia.remote as it stands, or with keyword options: @himalia.remote(num_cpus=2)")
    if not options:
        raise TypeError("use @himalia.remote without parentheses, or with options: @himalia.remote(num_cpus=2)")
    from .options import ACTOR_OPTIONS, TASK_OPTIONS, check_options

    check_options(options, TASK_OPTIONS | ACTOR_OPTIONS, "a task or actor")
    return lambda target: _make_remote(target, options)


def _make_remote(target: Any, options: dict[str, Any]) -> Any:
    if inspect.isclass(target):
        return ActorClass(target, options)
    if inspect.iscoroutinefunction(target):
        raise ValueError(
            f"`{target.__name__}` is a coroutine function: a task is not. Make it a method of an actor, or call "
            "asyncio.run inside a plain function"
        )
    if inspect.isfunction(target) or inspect.isbuiltin(target) or _is_cython(target):
        return RemoteFunction(target, options)
    raise TypeError(f"@himalia.remote decorates a function or a class, not a {type(target).__name__}")


def _is_cython(target: Any) -> bool:
    return type(target).__name__ == "cython_function_or_method"


def put(value: Any, *, _owner: Any = None, _tensor_transport: Any = None) -> ObjectRef:
    """Store a value where tasks can read it without a copy; its reference.

    Raises
    ------
    TypeError
        The value is a reference already, or can not be pickled.
    ObjectStoreFullError
        There is no room.
    """
    if _owner is not None or _tensor_transport is not None:
        raise ValueError("put(): _owner and _tensor_transport are not supported: the caller owns what it puts")
    ref: ObjectRef = require_engine().put_value(value)
    return ref


def get(object_refs: Any, *, timeout: float | None = None, _use_object_store: bool = False) -> Any:
    """The value of a reference, or a list of the values of a list of references.

    Parameters
    ----------
    object_refs
        An `ObjectRef`, or a list of them.
    timeout
        Seconds to wait at most; None or -1: as long as it takes.

    Raises
    ------
    GetTimeoutError
        Not all were ready in time.
    RayTaskError
        The task raised: an instance of its exception's class too.
    """
    if timeout is not None and timeout < 0:
        if timeout != -1:
            raise ValueError(f"timeout must be at least 0, or -1 for no limit, got {timeout}")
        timeout = None
    if _use_object_store:
        raise ValueError("get(): _use_object_store is not supported: values come through the object store anyway")
    return require_engine().get_values(object_refs, timeout)


def wait(
    ray_waitables: list[Any],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Wait until some references are ready.

    Parameters
    ----------
    ray_waitables
        `ObjectRef` and generators of them, each once.
    num_returns
        How many to wait for.
    timeout
        Seconds to wait at most; None: as long as it takes. With 0 it only looks.
    fetch_local
        Whether a value has to have arrived on this node to count as ready.

    Returns
    -------
    ready, rest
        ``num_returns`` references at most that are ready, in the order given, and the others.

    Raises
    ------
    ValueError
        The list is empty or has duplicates, or ``num_returns`` does not fit it.
    """
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must not be negative, got {timeout}")
    ready, rest = require_engine().wait_for(ray_waitables, num_returns, timeout, fetch_local)
    return ready, rest


def cancel(ray_waitable: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Cancel a task: not to be run if it waits, interrupted (KeyboardInterrupt) if it runs.

    Parameters
    ----------
    ray_waitable
        The reference of the task's return, or its generator.
    force
        End the worker process that runs it. Not for actor calls.
    recursive
        Cancel what the task has submitted too.
    """
    require_engine().cancel_task(ray_waitable, force, recursive)


def kill(actor: Any, *, no_restart: bool = True) -> None:
    """End an actor's process at once. With ``no_restart=False`` it starts again if it has restarts left.

    Raises
    ------
    ValueError
        ``actor`` is not an actor handle.
    ActorHandleNotFoundError
        It is one of a session that is over.
    """
    require_engine().kill(actor, no_restart)


def get_actor(name: str, namespace: str | None = None) -> ActorHandle:
    """The handle of a named actor.

    Raises
    ------
    ValueError
        There is none of this name.
    """
    if not name:
        raise ValueError("get_actor() takes the name that the actor was created with")
    if namespace == "":
        raise ValueError('"" is not a valid namespace: leave it out for the default one')
    handle: ActorHandle = require_engine().find_actor(name, namespace)
    return handle


def nodes() -> list[dict[str, Any]]:
    """All nodes there are or were, with their resources."""
    return require_engine().node_table()


def cluster_resources() -> dict[str, float]:
    """What all nodes together have."""
    return require_engine().resources()[0]


def available_resources() -> dict[str, float]:
    """What all nodes together have free."""
    return require_engine().resources()[1]


def get_runtime_context() -> RuntimeContext:
    """Where the calling code runs: job, node, worker, task, actor."""
    context: RuntimeContext = require_engine().runtime_context()
    return context


def get_gpu_ids() -> list[int] | list[str]:
    """The GPUs that this worker may use, by number."""
    core = current.find_core()
    return list(core.accelerators.get("GPU", [])) if core is not None else []


def timeline(filename: str | None = None) -> Any:
    """What ran when, in Chrome's trace format: a list of events, or written to a file."""
    import json

    from ..telemetry.timeline import chrome_trace

    events = chrome_trace(require_engine().task_records())
    if filename is None:
        return events
    with open(filename, "w") as file:
        json.dump(events, file)
    return None


def exit_actor() -> None:
    """Leave the actor in whose method this is called: no call after this one runs.

    Raises
    ------
    TypeError
        This is not an actor's method.
    """
    core = current.find_core()
    if core is None or core.executor is None or core.executor.actor is None:
        raise TypeError("exit_actor() is for methods of actors")
    raise core.actor_exit(0)
