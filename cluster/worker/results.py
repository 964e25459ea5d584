"""From what a function returned, or raised, to the message its owner gets."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..core.objects import INLINE_LIMIT
from ..core.refs import ObjectRef
from ..protocol.core_messages import R_CANCELLED, R_ERROR, R_INLINE, R_MANY, RefInfo, Result, ReturnValue
from ..protocol.error_base import Origin
from ..protocol.errors import RayTaskError, TaskCancelledError
from ..protocol.ids import make_object_id, make_task_id
from ..protocol.raylet_messages import FreeObjects
from ..serialization.error_values import serialize_error
from ..serialization.layout import pack
from ..serialization.values import Serialized, serialize
from .peers import Job

if TYPE_CHECKING:
    from ..core.runtime import Core

__all__ = ["ResultMaker"]


class ResultMaker:
    """Makes results of one worker's tasks."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def of_value(self, job: Job, value: Any) -> Result:
        """The function returned."""
        loaded, task = job.loaded, job.task
        if loaded.num_returns == 1:
            packed = serialize(value, f"the result of task `{loaded.name}`")
            if not packed.buffers and not packed.refs and packed.nbytes <= INLINE_LIMIT:
                return Result(task.counter, R_INLINE, packed.data, None, None, task.attempt)
            returned = self.returned(job, 1, packed)
            if returned.size == 0 and returned.refs is None:
                return Result(task.counter, R_INLINE, returned.data, None, None, task.attempt)
            return Result(task.counter, R_MANY, b"", [returned], None, task.attempt)
        values = self._several(job, value)
        several = [serialize(item, f"return {index} of task `{loaded.name}`") for index, item in enumerate(values, 1)]
        returns: list[ReturnValue] = []
        try:
            for index, packed in enumerate(several, 1):
                returns.append(self.returned(job, index, packed))
        except BaseException:
            self._take_back(job, returns)
            raise
        return Result(task.counter, R_MANY, b"", returns, None, task.attempt)

    @staticmethod
    def _several(job: Job, value: Any) -> list[Any]:
        count = job.loaded.num_returns
        if count == 0:
            return []
        try:
            values = list(value)
        except TypeError:
            raise ValueError(
                f"task `{job.loaded.name}` has num_returns={count}, but it returned a {type(value).__name__}, "
                "which can not be split into several values"
            ) from None
        if len(values) != count:
            raise ValueError(f"task `{job.loaded.name}` has num_returns={count}, but it returned {len(values)} values")
        return values

    def returned(self, job: Job, index: int, packed: Serialized) -> ReturnValue:
        """One value on its way: inline, or written to the object store; references in it registered for the owner."""
        peer = job.peer
        assert peer.address is not None
        refs = self._register_for(job, packed.refs) if packed.refs else None
        if packed.nbytes <= INLINE_LIMIT:
            data = bytes(pack(packed)) if packed.buffers else packed.data
            return ReturnValue(data, b"", -1, 0, 0, refs)
        object_id = make_object_id(peer.worker_id, job.task.counter, index)
        same_node = peer.address.node_id == self.core.node_id
        pin_for = peer.worker_id if same_node else b""
        try:
            offset, size, path = self.core.write_object(object_id, packed, peer.address, pin_for)
        except BaseException:
            self._unregister(job, refs or ())
            raise
        return ReturnValue(b"", self.core.node_id, -1 if path or not same_node else offset, size, 0, refs)

    def _take_back(self, job: Job, returns: list[ReturnValue]) -> None:
        """A later one of several values could not be sent, so that none will be."""
        for index, value in enumerate(returns, 1):
            self._unregister(job, value.refs or ())
            if value.size:
                object_id = make_object_id(job.peer.worker_id, job.task.counter, index)
                self.core.raylet_send(FreeObjects([object_id]))

    def _register_for(self, job: Job, refs: Any) -> list[RefInfo]:
        """Make the owner of the result a borrower of the references in it, before it learns of them."""
        core, owner = self.core, job.peer.address
        assert owner is not None
        infos = [RefInfo(ref.binary(), core.owner_of(ref)) for ref in refs]
        told: list[bool] = []
        done: list[bool] = []

        def act() -> None:
            told.append(True)
            others: list[ObjectRef] = []
            for ref in refs:
                if ref._w == core.worker_id:
                    core.references.export(ref)
                    core.references.add_borrower(ref.binary(), owner.worker_id)
                else:
                    others.append(ref)
            if not others or not core.references.register(others, owner, lambda: done.append(True)):
                done.append(True)

        try:
            core.post(act)
            core.wait_until(lambda: done, None)
        except BaseException:  # cancelled meanwhile
            core.post(lambda: self._unregister(job, infos) if told else None)
            raise
        return infos

    def _unregister(self, job: Job, infos: Sequence[RefInfo]) -> None:
        """The value with these references is not sent after all."""
        core, receiver = self.core, job.peer.worker_id

        def act() -> None:
            for info in infos:
                if info.owner.worker_id == core.worker_id:
                    core.references.remove_borrower(info.object_id, receiver)
                else:
                    core.references.handovers.take_back(info.owner, [info.object_id], receiver)

        if infos:
            core.post(act)

    def borrows(self, job: Job, watched: list[weakref.ref[ObjectRef]], result: Result) -> None:
        """Register what the task's arguments brought and this worker still holds."""
        kept = [ref for ref in (watch() for watch in watched) if ref is not None]
        kept = [ref for ref in kept if ref._x is not None and ref._x.owner is not None and not ref._x.registered]
        if not kept:
            return
        mine = [ref for ref in kept if ref._w == job.peer.worker_id]
        others = [ref for ref in kept if ref._w != job.peer.worker_id]
        for ref in mine:
            assert ref._x is not None
            ref._x.registered = True
        result.borrows = [ref.binary() for ref in mine] or None
        if others:
            core = self.core
            done: list[bool] = []

            def act() -> None:
                if not core.references.register(others, core.address, lambda: done.append(True)):
                    done.append(True)

            core.post(act)
            core.wait_until(lambda: done, None)

    def origin(self, job: Job) -> Origin:
        """Which task of which cell, for errors."""
        core, cell = self.core, job.loaded.cell
        return Origin(
            task_name=job.loaded.name,
            task_id=make_task_id(job.peer.worker_id, job.task.counter).hex(),
            worker_id=core.worker_id.hex(),
            node_id=core.node_id.hex(),
            pid=core.pid,
            cell=cell,
        )

    def of_error(
        self, job: Job, error: BaseException, actor: Any = None, actor_id: bytes = b"", frames: bytes = b""
    ) -> Result:
        """The function raised. ``frames`` are what was kept of its frames."""
        task = job.task
        if isinstance(error, TaskCancelledError) and job.cancelled:
            return Result(task.counter, R_CANCELLED, b"", None, None, task.attempt)
        described = RayTaskError.from_exception(
            job.loaded.name,
            error,
            origin=self.origin(job),
            proctitle=f"himalia::{job.loaded.name}",
            actor_repr=_safe_repr(actor) if actor is not None else None,
            actor_id=actor_id.hex() or None,
            frames=frames,
        )
        return Result(task.counter, R_ERROR, serialize_error(described).data, None, None, task.attempt)


def _safe_repr(actor: Any) -> str:
    try:
        return repr(actor)
    except Exception:  # noqa: BLE001 a broken __repr__ must not hide the error
        return object.__repr__(actor)
