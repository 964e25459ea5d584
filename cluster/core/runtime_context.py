"""`RuntimeContext`: where the calling code runs."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from ..protocol.common import from_units
from ..protocol.constraints import membership
from ..protocol.ids import make_task_id
from .groups import current_member
from .id_types import ActorID, JobID, NodeID, PlacementGroupID, TaskID, WorkerID
from .tasks import task_var

if TYPE_CHECKING:
    from .native import EngineOps

__all__ = ["RuntimeContext"]


class RuntimeContext:
    """What `get_runtime_context()` returns. Ids are hexadecimal strings."""

    def __init__(self, core: EngineOps) -> None:
        self._core = core

    def get(self) -> dict[str, Any]:
        """The context as a dict of id objects."""
        context: dict[str, Any] = {"job_id": self.job_id, "node_id": self.node_id, "namespace": self.namespace}
        if (task := self._task_id()) is not None:
            context["task_id"] = TaskID(task)
        if self._core.actor_id:
            context["actor_id"] = ActorID(self._core.actor_id)
        return context

    @property
    def job_id(self) -> JobID:
        """The job that this code belongs to."""
        return self._core.job_id_object()

    @property
    def node_id(self) -> NodeID:
        """The node that it runs on."""
        return NodeID(self._core.node_id)

    @property
    def worker_id(self) -> WorkerID:
        """The process that it runs in."""
        return WorkerID(self._core.worker_id)

    @property
    def task_id(self) -> TaskID | None:
        """The task that it is part of."""
        task = self._task_id()
        return None if task is None else TaskID(task)

    @property
    def actor_id(self) -> ActorID | None:
        """The actor that it is part of."""
        return ActorID(self._core.actor_id) if self._core.actor_id else None

    def get_job_id(self) -> str:
        """The job's id."""
        return self.job_id.hex()

    def get_node_id(self) -> str:
        """The node's id."""
        return self._core.node_id.hex()

    def get_node_labels(self) -> dict[str, str]:
        """The labels of the node that it runs on."""
        core = self._core
        # A worker may begin its first task before it has heard of the nodes.
        core.wait_until(lambda: core.node_id in core.nodes, time.monotonic() + 10)
        return dict(core.nodes[core.node_id].labels)

    def get_worker_id(self) -> str:
        """The process's id."""
        return self._core.worker_id.hex()

    def get_task_id(self) -> str | None:
        """The task's id; None in a driver."""
        task = self._task_id()
        return None if task is None else task.hex()

    def get_task_name(self) -> str | None:
        """The task's name; None in a driver."""
        job = task_var.get()
        if job is None:
            return None
        return f"{self._core.actor_name}.{job.loaded.method}" if job.loaded.method else str(job.loaded.name)

    def is_canceled(self) -> bool:
        """Whether somebody cancelled the running task or call: it should end soon."""
        job = task_var.get()
        return job is not None and bool(job.cancelled)

    def get_task_function_name(self) -> str | None:
        """The task's function as ``module.name``, whatever the task is called; None in a driver."""
        job = task_var.get()
        function = job.loaded.function if job is not None else None
        if function is None:
            return self.get_task_name()
        name = getattr(function, "__qualname__", type(function).__name__).rsplit("<locals>.", 1)[-1]
        return f"{getattr(function, '__module__', None) or '__main__'}.{name}"

    def get_actor_id(self) -> str | None:
        """The actor's id; None outside an actor."""
        return self._core.actor_id.hex() or None

    def get_actor_name(self) -> str | None:
        """The name the actor was created with; empty if none was; None outside an actor."""
        actor = self._actor()
        return None if actor is None else actor.spec.name

    @property
    def namespace(self) -> str:
        """In which names of actors are looked up."""
        return self._core.namespace

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether this actor was restarted."""
        return self._core.actor_restarts > 0

    @property
    def current_actor(self) -> Any:
        """A handle of the actor that this code is part of.

        Raises
        ------
        RuntimeError
            This is not an actor.
        """
        actor = self._actor()
        if actor is None:
            raise RuntimeError("current_actor is for code that runs in an actor")
        return self._core.own_handle(actor.actor_id, actor.spec)

    def get_assigned_resources(self) -> dict[str, float]:
        """What the running task or actor holds."""
        actor = self._actor()
        if actor is not None:
            return from_units(actor.spec.resources)
        job = task_var.get()
        return from_units(job.loaded.template.resources) if job is not None else {}

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """Instance numbers of the accelerators held, by kind."""
        held = self._core.accelerators
        return {kind: [str(index) for index in held.get(kind, [])] for kind in {"GPU", *held}}

    def get_resource_ids(self) -> dict[str, list[str]]:
        """Same as `get_accelerator_ids`."""
        return self.get_accelerator_ids()

    def get_runtime_env_string(self) -> str:
        """The runtime environment of this task or actor, or of the job, as JSON."""
        return self._core.job_runtime_env or "{}"

    @property
    def runtime_env(self) -> dict[str, Any]:
        """The runtime environment of this task or actor, or of the job."""
        return dict(json.loads(self.get_runtime_env_string()))

    @property
    def gcs_address(self) -> str:
        """Where the GCS serves."""
        gcs = self._core.options.gcs
        return gcs.tcp.removeprefix("tcp://") or gcs.ipc

    def get_placement_group_id(self) -> str | None:
        """The placement group that this code runs in; None outside of any."""
        group_id = self.current_placement_group_id
        return None if group_id.is_nil() else group_id.hex()

    @property
    def current_placement_group_id(self) -> PlacementGroupID:
        """The placement group that this code runs in; the nil id outside of any."""
        member = current_member(self._core)
        found = membership(member[0]) if member is not None else None
        return PlacementGroupID.nil() if found is None else PlacementGroupID(found[0])

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether what this code submits runs in its placement group, too."""
        member = current_member(self._core)
        return member is not None and member[1]

    def _actor(self) -> Any:
        executor = self._core.executor
        return executor.actor if executor is not None else None

    def _task_id(self) -> bytes | None:
        job = task_var.get()
        return None if job is None else make_task_id(job.peer.worker_id, job.task.counter)
