"""What the API asks of the cluster, and small parts of the engine protocol that fit nowhere else."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from ..protocol.common import NodeInfo, from_units
from ..protocol.control_messages import CancelOwned, EndJob
from ..protocol.core_messages import RefInfo
from ..protocol.gcs_messages import ActorInfo, ActorSpec, GetActor, KvPut, ListState
from ..protocol.group_messages import GroupUpdate
from ..protocol.held_messages import ExplainObject
from ..protocol.ids import make_object_id, task_counter
from ..protocol.metric_messages import DescribeMetrics, MetricsHeld
from ..protocol.places import cells_among
from ..protocol.stack_messages import FilesNamed, NameFiles, StackQuestion, StackStop
from .actor_class import ActorHandle, meta_of
from .borrowing import BorrowOps
from .commands import Reply
from .id_types import JobID
from .refs import INLINE, ObjectRef
from .requests import RequestFailed
from .working_dir import archive_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from .generator import ObjectRefGenerator
    from .groups import GroupDesk
    from .holders import Root
    from .own_stacks import OwnStacks

__all__ = ["QueryOps"]

_ALL_TASKS = 1_000_000  # more than the GCS remembers

NONE = b"\x80\x05N."  # the pickle stream of None


class QueryOps(BorrowOps):
    """Part of `Core`.

    Attributes
    ----------
    name_roots
        Tells what has a name in this process, where that is not what the main module has.
    """

    name_roots: Callable[[], list[Root]] | None = None
    _own_stacks: OwnStacks | None = None
    _group_desk: GroupDesk | None = None

    def _install_query_handlers(self) -> None:
        self.handlers[StackQuestion] = lambda peer, message: self._stacks().on_question(peer, message)
        self.handlers[StackStop] = lambda peer, message: self._stacks().on_stop(peer, message)
        self.answer_handlers[GroupUpdate] = self._on_group_update
        self.handlers[NameFiles] = self._on_name_files
        self.handlers[ExplainObject] = self._on_explain
        self.handlers[CancelOwned] = self._on_control
        self.handlers[EndJob] = self._on_control
        self.handlers[DescribeMetrics] = self._on_describe_metrics

    def groups(self) -> GroupDesk:
        """What this process knows of placement groups."""
        if self._group_desk is None:
            from .groups import GroupDesk  # of those who use them

            self._group_desk = GroupDesk(self)  # type: ignore[arg-type]  # the whole core
        return self._group_desk

    def _on_group_update(self, peer: bytes, message: GroupUpdate) -> None:
        if self._group_desk is not None:
            self._group_desk.update(message.info)

    def _fail_requests(self, error: BaseException) -> None:
        super()._fail_requests(error)
        if self._group_desk is not None:
            self._group_desk.fail(error)

    def _stacks(self) -> OwnStacks:
        if self._own_stacks is None:
            from .own_stacks import OwnStacks  # asked for by hand, now and then

            self._own_stacks = OwnStacks(self)  # type: ignore[arg-type]  # the whole core
        return self._own_stacks

    def _on_describe_metrics(self, peer: bytes, message: DescribeMetrics) -> None:
        kept = sys.modules.get("himalia.cluster.telemetry.own_metrics")  # imported by who counts something
        metrics = kept.held_metrics() if kept is not None else []
        self.out.append(Reply(peer, MetricsHeld(message.request, self.worker_id, self.node_id, metrics)))

    def _on_control(self, peer: bytes, message: CancelOwned | EndJob) -> None:
        from .control import cancel_owned, end_job  # asked for by hand, now and then

        if isinstance(message, CancelOwned):
            cancel_owned(self, peer, message)  # type: ignore[arg-type]  # the whole core
        else:
            end_job(self, peer, message)  # type: ignore[arg-type]  # the whole core

    def _on_explain(self, peer: bytes, message: ExplainObject) -> None:
        from .explaining import explain_later  # asked for by hand, now and then

        explain_later(self, peer, message)  # type: ignore[arg-type]  # the whole core

    def _on_name_files(self, peer: bytes, message: NameFiles) -> None:
        self.out.append(Reply(peer, FilesNamed(message.request, cells_among(message.files))))

    def job_id_object(self) -> JobID:
        """The job that this process works for."""
        return JobID(self.job_id) if len(self.job_id) == JobID.size() else JobID.nil()

    @property
    def actor_exit(self) -> type[BaseException]:
        """What `exit_actor` raises."""
        from ..worker.executor import ActorExit

        return ActorExit

    def cluster_state(self, what: str, limit: int = 10_000) -> Any:
        """Nodes, actors, jobs, …: plain data from the GCS."""
        return self.gcs_call(ListState(what, limit))

    def list_nodes(self) -> list[NodeInfo]:
        """All nodes there are or were."""
        return msgspec.convert(self.cluster_state("nodes"), list[NodeInfo])

    def resources(self) -> tuple[dict[str, float], dict[str, float]]:
        """Total and free resources of all living nodes together."""
        answer = self.cluster_state("resources")
        total, free = from_units(answer["total"]), from_units(answer["available"])
        # Tasks that went on after waiting may hold more than there is, for a while.
        return total, {name: max(0.0, quantity) for name, quantity in free.items()}

    def task_records(self) -> Any:
        """Records of all tasks that the GCS remembers."""
        from ..telemetry.records import task_records

        return task_records(self.cluster_state("task_events", _ALL_TASKS))

    def find_actor(self, name: str, namespace: str | None) -> ActorHandle:
        """The handle of a named actor."""
        space = namespace or self.namespace
        try:
            answer = self.gcs_call(GetActor(name, space))
        except RequestFailed:
            raise ValueError(
                f"there is no actor named {name!r} in namespace {space!r}: it was not created, or it is dead"
            ) from None
        info, spec = msgspec.convert(answer, tuple[ActorInfo, ActorSpec])
        return self.handle_of(info.actor_id, spec)

    def handle_of(self, actor_id: bytes, spec: ActorSpec) -> ActorHandle:
        """A handle that does not keep the actor alive."""
        return ActorHandle(actor_id, spec.class_name, spec.methods, None, meta_of(spec))

    def own_handle(self, actor_id: bytes, spec: ActorSpec) -> ActorHandle:
        """A handle of the actor of this process, which counts: its owner knows of it when this returns."""
        if spec.detached:
            return self.handle_of(actor_id, spec)
        owner = spec.owner
        object_id = make_object_id(owner.worker_id, task_counter(actor_id), 1)
        ref = self.references.received(RefInfo(object_id, owner), registered=False)
        ref._state, ref._data = INLINE, NONE
        done: list[bool] = []

        def act() -> None:
            if (
                ref._x is None
                or ref._x.registered
                or not self.references.register([ref], self.address, lambda: done.append(True))
            ):
                done.append(True)

        self.post(act)
        self.wait_until(lambda: done, None)
        return ActorHandle(actor_id, spec.class_name, spec.methods, ref, meta_of(spec))

    def merge_runtime_env(self, env: str) -> str:
        """A task's runtime environment over the job's."""
        env = self.ship_working_dir(env)
        if not env or env == self.job_runtime_env or not self.job_runtime_env:
            return env or self.job_runtime_env
        base, own = json.loads(self.job_runtime_env), json.loads(env)
        merged = {**base, **own}
        if "env_vars" in base or "env_vars" in own:
            merged["env_vars"] = {**base.get("env_vars", {}), **own.get("env_vars", {})}
        return json.dumps(merged, sort_keys=True)

    def ship_working_dir(self, env: str) -> str:
        """An environment whose folder can be had on every node: as it is now, kept by the GCS."""
        if '"working_dir"' not in env:
            return env
        fields = json.loads(env)
        folder = fields["working_dir"]
        if archive_key(folder):
            return env  # inherited
        name, archive = self._folders.pack(folder)
        if archive:
            self.gcs_send(KvPut(archive_key(name), archive))
        return json.dumps({**fields, "working_dir": name}, sort_keys=True)

    def wait_mixed(self, refs: list[Any], num_returns: int, timeout: float | None) -> tuple[list[Any], list[Any]]:
        """`wait` over references and generators; a generator is ready when its next item is."""
        import time

        deadline = None if timeout is None else time.monotonic() + timeout

        def ready(item: ObjectRef | ObjectRefGenerator) -> bool:
            return bool(item._state) if isinstance(item, ObjectRef) else item.next_ready()

        def done() -> bool:
            return sum(1 for item in refs if ready(item)) >= num_returns

        if not done():
            with self.blocking():
                if self.watch is None:
                    self.wait_until(done, deadline)
                else:
                    made_by = [getattr(item, "_generator_ref", item) for item in refs]
                    self.watch.wait(made_by, done, deadline)
        chosen: list[Any] = []
        rest: list[Any] = []
        for item in refs:
            (chosen if len(chosen) < num_returns and ready(item) else rest).append(item)
        return chosen, rest
