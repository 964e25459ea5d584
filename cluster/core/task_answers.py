"""What an owner can tell of one of its tasks, when somebody asks.

Strategy: nothing is kept for this. A task that has not ended is in the owner's queues, and one that ended is lineage
as long as its results may have to be made again. Arguments are shown as far as that is safe: an unpickler that builds
no object but plain ones reads them, so that no code of the user's runs because somebody looks.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any, Final, Self

from ..protocol.held_messages import DescribeTask, TaskArgument, TaskDescribed
from ..serialization.error_values import traceback_text
from .holdings import all_references, held_object
from .records import Record
from .refs import ERROR

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["describe_task", "plain_arguments"]

_TEXT: Final = 200  # characters of a value
_READ: Final = 1 << 16  # bytes of arguments: larger ones are described by their size
_MOST: Final = 100  # arguments
_TRACEBACK: Final = 20_000  # characters
_PICKLE: Final = b"\x80"


class _Named:
    """Stands for an object that is not plain: it can be made and filled, and does nothing."""

    name = "object"

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Named:
        return self

    def __repr__(self) -> str:
        return f"<{self.name}>"


class _Reader(pickle.Unpickler):
    """Builds plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        return type("_Shown", (_Named,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        return _Named()


def plain_arguments(data: bytes) -> list[tuple[str, str]]:
    """Slots and texts of pickled arguments, as far as they are plain."""
    if not data:
        return []
    if data[:1] != _PICKLE or len(data) > _READ:
        return [("", f"{len(data):,} bytes of arguments")]
    try:
        call = _Reader(io.BytesIO(data), buffers=iter(lambda: b"", None)).load()
        args, kwargs = (call, {}) if isinstance(call, tuple) else call
        found = [(str(place), value) for place, value in enumerate(args)] + list(kwargs.items())
        return [(str(slot), _shown(value)) for slot, value in found[:_MOST]]
    except Exception:  # noqa: BLE001 what can not be read is not shown
        return [("", f"{len(data):,} bytes of arguments")]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"


def describe_task(core: Core, message: DescribeTask) -> TaskDescribed:
    """The answer to a `DescribeTask`. In the leader."""
    record = next((one for one in core.cells.pending() if one.task.counter == message.counter), None)
    is_pending = record is not None
    refs, extras = all_references()
    if record is None:
        lineage = (extra.lineage for extra in extras if extra.counter == message.counter)
        record = next((one for one in lineage if isinstance(one, Record) and one.plan.actor is None), None)
    mine = [ref for ref in refs if ref._n == message.counter and ref._w == core.worker_id and ref._i]
    results = {ref._i: held_object(core, ref, set(), set()) for ref in mine}
    failed = next((ref._data for ref in mine if ref._state == ERROR and isinstance(ref._data, bytes)), b"")
    traceback = traceback_text(failed)[-_TRACEBACK:] if failed else ""
    told = TaskDescribed(message.request, bool(results) or record is not None, traceback=traceback)
    told.results = [results[index] for index in sorted(results)]
    if record is not None:
        site = record.plan.site
        told.is_pending, told.missing, told.retries = is_pending, record.waiting, record.retries
        told.resources = record.plan.template.resources
        told.site = site.text() if site is not None else ""
        told.arguments = _arguments(record)
    return told


def _arguments(record: Record) -> list[TaskArgument]:
    deps = record.task.deps or []
    slots = {str(dep.slot) for dep in deps}
    shown = [TaskArgument(slot, text) for slot, text in plain_arguments(record.task.args) if slot not in slots]
    holds = record.holds or []
    for place, dep in enumerate(deps[:_MOST]):
        data = holds[place]._data if place < len(holds) else None
        maker = data.plan.name or data.plan.template.name if isinstance(data, Record) else ""
        shown.append(TaskArgument(str(dep.slot), "a reference", dep.object_id, maker))
    return shown
