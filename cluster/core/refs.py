"""`ObjectRef`: the name of a value that is here, elsewhere, or not yet.

Strategy: the reference is the owner's entry. State and value lie in the object that the user holds, so `get` of
something ready looks nothing up, and the local reference count is CPython's own: who needs an object (a task's
arguments, a value that contains it, a borrower's registration) holds the `ObjectRef`. When the last of them goes,
`__del__` leaves a note for the core if there is anything to do elsewhere (store memory, a registration at the owner);
for an inline value there is not. An explicit count in a table was rejected: it cost three dictionary operations a task.

In a process there is at most one `ObjectRef` for an object, so identity is equality.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, final

import msgspec

from ..protocol.common import Address
from ..protocol.ids import make_object_id, make_task_id, object_counter, object_index
from ..serialization import context

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = [
    "BUFFERS",
    "ERROR",
    "FREED",
    "INLINE",
    "IN_USE",
    "PENDING",
    "STORE",
    "Extra",
    "ObjectRef",
    "drops",
    "leave_note",
    "ref_from_id",
    "set_drop_hook",
]

PENDING: Final = 0
INLINE: Final = 1  # `_data` is bytes: a pickle stream, or a packed region (see serialization/layout)
BUFFERS: Final = 2  # `_data` is (stream, [buffer, …]) of this process
STORE: Final = 3  # in object stores; `_x` says where
ERROR: Final = 4  # `_data` is a pickled error, or the exception itself
FREED: Final = 5

IN_USE: Final = float("inf")

drops: Final[deque[Extra]] = deque()
"""What `__del__` leaves for the core. A destructor may run anywhere, at any time: it only appends."""


_drop_hook: Callable[[], None] | None = None


def set_drop_hook(hook: Callable[[], None] | None) -> None:
    """Install what wakes the core after a drop; None takes it away."""
    global _drop_hook
    _drop_hook = hook


def leave_note(extra: Extra) -> None:
    """Tell the core that a reference is gone. From wherever that happens."""
    drops.append(extra)
    if _drop_hook is not None:
        _drop_hook()


class Extra(msgspec.Struct, eq=False):
    """What only some objects need: a place in stores, an owner elsewhere, lineage."""

    worker_id: bytes
    counter: int
    index: int
    owner: Address | None = None  # elsewhere; None: this process
    nodes: list[bytes] = []  # whose stores hold it
    offset: int = -1  # in the arena of this node, valid while `pins` > 0
    size: int = 0
    path: str = ""  # of a fallback file instead of the arena
    pins: int = 0  # of this process, at its raylet
    readers: int = 0  # buffers alive in this process, and tasks at workers
    queued: int = 0  # tasks that are to read it, if it is there still when they leave
    last_used: float = 0.0  # IN_USE: by a task, since the last tick
    lineage: Any = None  # the record that makes it again
    made: Any = None  # by whom: the Plan of its task, or what `put` left (sites.Made); for what is in a store
    contained: list[ObjectRef] | None = None
    asked: bool = False  # the owner was asked for its state
    registered: bool = False  # the owner knows us as a borrower
    actor: Any = None  # the reference stands for an actor's life
    freed: bool = False  # nobody refers to it here any more: its pins go with the last reader
    wanted: bool = False  # the raylet is short of memory: as if it were freed
    unplaced: bool = False  # a task was sent without its place

    def object_id(self) -> bytes:
        """Full id, as other processes name it."""
        return make_object_id(self.worker_id, self.counter, self.index)


@final
class ObjectRef(msgspec.Struct, eq=False, weakref=True):
    """A reference to an object: the result of a task, or what `put` stored.

    Pass it to `get`, `wait`, `cancel` or as an argument of tasks; ``await`` it; ask for a
    ``concurrent.futures.Future``.
    """

    _w: bytes  # worker id of its owner
    _n: int  # counter at the owner
    _i: int = 1  # which return; 0: a put
    _state: int = PENDING
    _data: Any = None  # while pending: the Record that makes it
    _wait: list[Any] | None = None  # Records and callables to be told
    _x: Extra | None = None

    def __del__(self, leave_note: Callable[[Extra], None] = leave_note) -> None:  # at exit the global may be gone
        if self._x is not None and self._x.owner is None:  # else see borrowed.py
            leave_note(self._x)

    def __class_getitem__(cls, item: Any) -> type[ObjectRef]:
        return cls

    def binary(self) -> bytes:
        """The 20 bytes of its id."""
        return make_object_id(self._w, self._n, self._i)

    def hex(self) -> str:
        """Its id in hexadecimal digits."""
        return self.binary().hex()

    def task_id(self) -> Any:
        """Id of the task that makes it."""
        from .id_types import TaskID

        return TaskID(make_task_id(self._w, self._n))

    def job_id(self) -> Any:
        """Id of the job that this process works for."""
        from .current import get_core

        return get_core().job_id_object()

    def is_nil(self) -> bool:
        """Whether it names nothing (never, for one that the API gave)."""
        return self._w == b""

    @classmethod
    def nil(cls) -> ObjectRef:
        """A reference that names nothing."""
        return cls(b"", 0, 0, FREED)

    @staticmethod
    def size() -> int:
        """Length of an id in bytes."""
        return 20

    def future(self) -> Future[Any]:
        """A ``concurrent.futures.Future`` of the value."""
        from .current import get_core

        return get_core().future(self)

    def as_future(self) -> Any:
        """An ``asyncio.Future`` of the value, on the running loop."""
        from .current import get_core

        return get_core().async_future(self)

    def __await__(self) -> Generator[Any, None, Any]:
        awaiting: Generator[Any, None, Any] = self.as_future().__await__()
        return awaiting

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        from .current import get_core

        core = get_core()
        owner = core.owner_of(self)
        is_ours = context.note_ref(self)
        # Where nobody collects references, this may be read anywhere: also in a process of another cluster.
        return context.rebuild_ref, (self.binary(), owner) if is_ours else (self.binary(), owner, core.cluster_id)

    def __copy__(self) -> ObjectRef:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ObjectRef:
        return self

    def __iter__(self) -> Any:
        raise TypeError('an ObjectRef is not iterable: `get` it first, or use num_returns="streaming"')

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    def __rich_repr__(self) -> Any:
        yield self.hex()


def ref_from_id(object_id: bytes, owner: Address) -> ObjectRef:
    """A reference to an object of another process, not yet registered there."""
    worker_id, counter, index = owner.worker_id, object_counter(object_id), object_index(object_id)
    return ObjectRef(worker_id, counter, index, PENDING, None, None, Extra(worker_id, counter, index, owner=owner))
