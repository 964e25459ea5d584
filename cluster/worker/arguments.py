"""What a task gets: its function and its arguments, out of what its owner sent.

A value in an object store is read in place. What the task keeps of its arguments must not end with the submitter's hold
on them: `settle_arguments` sees to that when the task has ended.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.borrowing import TASK_COVER
from ..core.refs import STORE, Extra, ObjectRef
from ..protocol.core_messages import ARG_ERROR, ARG_INLINE, ARG_LOCAL, Dep, Result
from ..protocol.ids import object_counter, object_index
from ..serialization.error_values import deserialize_error
from ..serialization.functions import import_function
from ..serialization.layout import PICKLE, parts_of, unpack
from ..serialization.reloading import AdoptedCode
from ..serialization.values import deserialize, deserialize_args
from .peers import Job, Loaded
from .results import ResultMaker

if TYPE_CHECKING:
    from ..core.runtime import Core

__all__ = ["Inputs", "LocalGone"]


class LocalGone(Exception):
    """A result of an earlier task that this one needs is not here any more: its owner has it by now."""


class Inputs:
    """Functions and arguments: the part of an executor that makes them."""

    core: Core
    results: ResultMaker
    functions: dict[bytes, bytes]  # payloads, by hash
    loaded_functions: dict[bytes, Any]
    code: AdoptedCode

    def load(self, loaded: Loaded) -> Any:
        """Unpickle a function, once for all templates that name it."""
        if loaded.cell is not None:
            self.core.adopt_job(loaded.cell.job_id)
        if "code" in loaded.template.options:
            self.adopt(loaded.template.options["code"])
        key = loaded.template.function
        function = self.loaded_functions.get(key)
        if function is None:
            payload = self.functions.get(key)
            if payload is None:
                payload = self.core.fetch_function(key)
            function = self.loaded_functions[key] = import_function(payload)
        loaded.function = function
        loaded.is_generator = loaded.num_returns < 0
        return function

    def adopt(self, code: Any) -> None:
        """Run edited modules from now on, and have our children run them."""
        changed = set(self.code.adopt(code))
        if changed:
            self.core.code = self.code.code
            for key, function in list(self.loaded_functions.items()):
                if getattr(function, "__module__", None) in changed:
                    del self.loaded_functions[key]  # it may have been replaced

    def arguments(self, job: Job) -> tuple[tuple[Any, ...], dict[str, Any], list[weakref.ref[ObjectRef]] | None]:
        """Unpickle the arguments and put resolved references in place."""
        task = job.task
        data = task.args
        if task.deps is None and task.refs is None:
            if data[0] == PICKLE:
                args, kwargs = deserialize_args(data)
            else:
                args, kwargs = deserialize_args(*unpack(memoryview(data)))
            return args, kwargs, None
        made: list[Any] = []
        self.core.context.cover = TASK_COVER
        try:
            args, kwargs = deserialize_args(*parts_of(data), made)
            if task.deps is not None:
                values = list(args)
                for dep in task.deps:
                    value = self.dependency(job, dep, made)
                    if isinstance(dep.slot, int):
                        values[dep.slot] = value
                    else:
                        kwargs[dep.slot] = value
                args = tuple(values)
        finally:
            self.core.context.cover = None
        return args, kwargs, [weakref.ref(ref) for ref in made if isinstance(ref, ObjectRef)]

    def dependency(self, job: Job, dep: Dep, made: list[Any]) -> Any:
        """The value of a reference among the arguments."""
        kind = dep.kind
        if kind == ARG_INLINE:
            return load_value(dep.data, made)
        if kind == ARG_LOCAL:
            data = job.peer.recent.get(object_counter(dep.object_id))
            if data is None:
                raise LocalGone
            return load_value(data, made)
        if kind == ARG_ERROR:
            raise deserialize_error(dep.data)
        return self.stored(job, dep, made)

    def stored(self, job: Job, dep: Dep, made: list[Any]) -> Any:
        """A value in an object store: read in place under its submitter's pin, or fetched to this node."""
        core, owner = self.core, job.peer.address
        assert owner is not None
        if dep.offset >= 0 and owner.node_id == core.node_id:
            core.covered[dep.object_id] = core.covered.get(dep.object_id, 0) + 1
            released = partial(core._releases.append, dep.object_id)
            view = core.arena().reader(dep.offset, dep.size, "", released, dep.object_id)
            return deserialize(*unpack(view), made)
        address = dep.owner or owner
        ref = core.references.borrowed.get(dep.object_id)
        if ref is None:
            counter, index = object_counter(dep.object_id), object_index(dep.object_id)
            extra = Extra(address.worker_id, counter, index, owner=address, nodes=dep.nodes, size=dep.size)
            ref = core.references.borrowed.add(ObjectRef(address.worker_id, counter, index, STORE, None, None, extra))
            core.ensure_connected(address)
        return core._value(ref)

    def settle_arguments(self, job: Job, watched: list[weakref.ref[ObjectRef]], result: Result) -> None:
        """See that what the task keeps of its arguments outlives the submitter's hold."""
        if watched:
            self.results.borrows(job, watched, result)
        core = self.core
        if core.covered and job.task.deps is not None:
            core.drain_releases()
            for dep in job.task.deps:
                if core.covered.get(dep.object_id):
                    core.pin_covered(dep.object_id)


def load_value(data: bytes, made: list[Any]) -> Any:
    """A value out of inline bytes."""
    return deserialize(*parts_of(data), made)
