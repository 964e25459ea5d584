"""Values to bytes and back: pickle 5 with buffers out of band.

Strategy, by the exact type of the value, cheapest first:

1. Plain values (None, bool, int, float, complex, str, small bytes) and short flat tuples, lists and dicts of them go to
   the C pickler directly: nothing in them can come from ``__main__`` or hold a reference.
2. Large bytes and bytearrays become one buffer out of band and a constant stream.
3. Numpy arrays without objects go to the C pickler, with their memory out of band when it is large.
4. Everything else goes to cloudpickle, which carries functions and classes of the notebook by value. Our subclass
   adds exceptions (rebuilt without their constructor), registered serializers, and arrays.

Looking into large or nested containers to find that they are plain was rejected: cloudpickle's pickler costs only one
microsecond more than the C pickler, less than the look.

Values are immutable once they are objects. Arrays therefore come back read-only whatever their size, not only those
that are views of shared memory.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterable, Sequence
from io import BytesIO
from itertools import islice
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import cloudpickle
import msgspec

from ..protocol.errors import SerializationError
from ..protocol.exception_state import can_rebuild, reduce_exception
from .context import state

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "INLINE_BUFFER_LIMIT",
    "LARGE_BYTES",
    "Serialized",
    "deregister_serializer",
    "deserialize",
    "deserialize_args",
    "dumps_by_value",
    "register_serializer",
    "serialize",
    "serialize_args",
]

INLINE_BUFFER_LIMIT: Final = 4096
"""Buffers below this stay in the stream: a frame and a page-aligned place of their own cost more than the copy."""

LARGE_BYTES: Final = 64 * 1024
"""Bytes from here on go out of band: pickle would copy them into its stream, and the store copies them once more."""

# Beyond this length the look at every element costs more than cloudpickle's start.
_FLAT_LIMIT: Final = 12

_ATOMS: Final = frozenset({type(None), bool, int, float, complex, str})
_BYTES_TYPES: Final = frozenset({bytes, bytearray})

# Large bytes in a container are looked for among so many members: long containers hold things of one kind.
_LOOKED_AT: Final = 32

_dumps: Final = pickle.dumps
_loads: Final = pickle.loads

_NO_BUFFERS: Final[tuple[memoryview, ...]] = ()
_NO_REFS: Final[tuple[Any, ...]] = ()


class Serialized(msgspec.Struct, frozen=True, gc=False):
    """A value as bytes.

    Attributes
    ----------
    data
        The pickle stream.
    buffers
        What the stream names by number: flat, read-only views of the value's own memory, not copied.
    refs
        The `ObjectRef`s and actor handles that the value contains, as objects.
    nbytes
        Size of the stream and all buffers.
    """

    data: bytes
    buffers: Sequence[memoryview]
    refs: Sequence[Any]
    nbytes: int


class _LargeBytes:
    """Pickles as ``bytes(buffer)`` with the buffer out of band."""

    def __init__(self, kind: type[bytes | bytearray], content: bytes | bytearray) -> None:
        self.kind = kind
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return self.kind, (pickle.PickleBuffer(self.content),)


def _stream_of(kind: type[bytes | bytearray]) -> bytes:
    return _dumps(_LargeBytes(kind, b""), 5, buffer_callback=lambda _: None)


# These do not depend on the content, so that large bytes cost no pickling at all.
_BYTES_STREAM: Final = _stream_of(bytes)
_BYTEARRAY_STREAM: Final = _stream_of(bytearray)

_custom: dict[type, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {}


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Let `serializer` turn instances of exactly `cls` into something picklable, and `deserializer` turn it back.

    The registration is this process's; the deserializer travels with each value.
    """
    _custom[cls] = (serializer, deserializer)


def deregister_serializer(cls: type) -> None:
    """Forget the serializer of `cls`; nothing happens if there is none."""
    _custom.pop(cls, None)


def _apply(deserializer: Callable[[Any], Any], content: Any) -> Any:
    return deserializer(content)


# Numpy's class, once a value has brought it: importing numpy takes longer than importing all of Himalia.
_ndarray: type | None = None


def _is_array(cls: type) -> bool:
    """Whether this is numpy's array class; remembers it."""
    global _ndarray
    if _ndarray is None and cls.__name__ == "ndarray" and cls.__module__ == "numpy":
        _ndarray = cls
    return cls is _ndarray


# Large arrays are pickled as read-only ones, which they are when they are read: so the stream of a value that was read
# and is passed on is that of the original, byte for byte (see `object_store.client.ArenaClient.source_of`).
def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = array.view()
    view.flags.writeable = False
    return view


# Kinds of element that numpy exports as a buffer. It refuses dates, structures with dates in them and the types of
# extensions (bfloat16), and pickles those within the stream.
_EXPORTED: Final = frozenset("biufcSU")


def _with_type(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return array.view(dtype)


def _reduce_array(array: np.ndarray[Any, Any]) -> Any:
    """Reduce an array without objects so that it is read-only, with a large one's memory out of band."""
    import numpy as np  # it is there: the value is one of its arrays

    dtype = array.dtype
    bare = dtype.kind in _EXPORTED or (dtype.type is np.void and dtype.names is None)
    if not bare and dtype.itemsize:
        return _with_type, (array.view(np.dtype((np.void, dtype.itemsize))), dtype)
    return _read_only(array).__reduce_ex__(5)


class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Cloudpickle's pickler, and what it does not do: arrays, exceptions, registered serializers."""

    def reducer_override(self, obj: Any) -> Any:
        cls = type(obj)
        if _custom and (pair := _custom.get(cls)) is not None:
            return _apply, (pair[1], pair[0](obj))
        if cls is _ndarray or (_ndarray is None and _is_array(cls)):
            return NotImplemented if obj.dtype.hasobject else _reduce_array(obj)
        if cls is not FunctionType and issubclass(cls, BaseException) and can_rebuild(cls):
            return reduce_exception(obj)
        return super().reducer_override(obj)


def dumps_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> bytes:
    """Pickle with cloudpickle's rules and ours, raising whatever the objects raise."""
    file = BytesIO()
    ValuePickler(file, 5, buffer_callback=buffer_callback).dump(value)
    return file.getvalue()


def _pickle_any(value: Any) -> Serialized:
    """Pickle by cloudpickle's rules, collecting buffers and references; raises what the objects raise."""
    buffers: list[memoryview] = []
    refs: list[Any] = []

    def keep(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw().toreadonly()
        if view.nbytes < INLINE_BUFFER_LIMIT:
            return True
        buffers.append(view)
        return False

    outer = state.refs_out
    state.refs_out = refs
    try:
        data = dumps_by_value(value, keep)
    finally:
        state.refs_out = outer
    nbytes = len(data)
    for view in buffers:
        nbytes += view.nbytes
    return Serialized(data, buffers, refs, nbytes)


def _explained(failure: Exception, what: str, **values: Any) -> SerializationError:
    from .inspect import explain_failure  # rare, and that module needs this one

    return explain_failure(failure, what, values)


def _serialize_any(value: Any, what: str) -> Serialized:
    try:
        return _pickle_any(_lighten(value))
    except Exception as failure:  # pickling runs code of the user's: anything may come
        raise _explained(failure, what, value=value) from failure


def _serialize_bytes(value: bytes | bytearray, stream: bytes) -> Serialized:
    return Serialized(stream, (memoryview(value).toreadonly(),), _NO_REFS, len(stream) + len(value))


def _serialize_array(value: np.ndarray[Any, Any], what: str) -> Serialized:
    if value.dtype.kind not in _EXPORTED or _custom:
        return _serialize_any(value, what)
    if value.nbytes < INLINE_BUFFER_LIMIT:
        data = _dumps(_read_only(value), 5)
        return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
    return _dump_with_buffers(_read_only(value))


def _dump_with_buffers(value: Any) -> Serialized:
    """Pickle what consists of atoms and arrays by the C pickler, all memory that numpy exports out of band."""
    buffers: list[pickle.PickleBuffer] = []
    data = _dumps(value, 5, buffer_callback=buffers.append)
    views = [buffer.raw().toreadonly() for buffer in buffers]
    return Serialized(data, views, _NO_REFS, len(data) + sum(view.nbytes for view in views))


def _serialize_with_arrays(values: tuple[Any, ...] | list[Any]) -> Serialized | None:
    """Serialize a short flat container of atoms and large arrays; None if it holds anything else."""
    views: dict[int, Any] = {}  # by id, so that an array that stands there twice does so in what is read, too
    for value in values:
        cls = type(value)
        if cls is _ndarray or (_ndarray is None and _is_array(cls)):
            if value.nbytes < INLINE_BUFFER_LIMIT or value.dtype.kind not in _EXPORTED:
                return None
            if id(value) not in views:
                views[id(value)] = _read_only(value)
        elif cls not in _ATOMS:
            return None
    return None if _custom else _dump_with_buffers(type(values)(views.get(id(value), value) for value in values))


def _flat(values: Iterable[Any]) -> bool:
    """Whether all are atoms, or bytes so small that they may stay in the stream."""
    return all((cls := type(value)) in _ATOMS or (cls is bytes and len(value) < LARGE_BYTES) for value in values)


def serialize(value: Any, what: str = "value") -> Serialized:
    """Turn a value into bytes, without copying large buffers.

    Parameters
    ----------
    value
        Anything that pickle or cloudpickle can carry.
    what
        How an error message names it: ``the result of task `f```.

    Returns
    -------
    Serialized
        Its buffers are views of the value's memory: the value must not change until they are used.

    Raises
    ------
    SerializationError
        It can not be pickled; the message names the member.
    """
    cls = type(value)
    if cls in _ATOMS:
        data = _dumps(value, 5)
        return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
    if cls is tuple or cls is list:
        if len(value) <= _FLAT_LIMIT and (_ATOMS.issuperset(map(type, value)) or _flat(value)):
            data = _dumps(value, 5)
            return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
        if len(value) <= _FLAT_LIMIT and (done := _serialize_with_arrays(value)) is not None:
            return done
    elif cls is dict:
        if (
            len(value) <= _FLAT_LIMIT
            and _ATOMS.issuperset(map(type, value))
            and (_ATOMS.issuperset(map(type, value.values())) or _flat(value.values()))
        ):
            data = _dumps(value, 5)
            return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
    elif cls is _ndarray or (_ndarray is None and _is_array(cls)):
        return _serialize_array(value, what)
    elif cls is bytes:
        if len(value) >= LARGE_BYTES:
            return _serialize_bytes(value, _BYTES_STREAM)
        data = _dumps(value, 5)
        return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
    elif cls is bytearray and len(value) >= LARGE_BYTES:
        return _serialize_bytes(value, _BYTEARRAY_STREAM)
    return _serialize_any(value, what)


def deserialize(data: bytes | memoryview, buffers: Sequence[Any] = (), refs_out: list[Any] | None = None) -> Any:
    """Turn bytes into the value again.

    Parameters
    ----------
    data, buffers
        As `serialize` made them, or views of where they were written to. Arrays stay views of the buffers.
    refs_out
        Is given the `ObjectRef`s and actor handles that were made.

    Raises
    ------
    Exception
        Whatever unpickling raises: a module that is missing here, or what a class's own methods raise.
    """
    if refs_out is None and state.refs_in is None:
        return _loads(data, buffers=buffers)
    outer = state.refs_in
    state.refs_in = refs_out
    try:
        return _loads(data, buffers=buffers)
    finally:
        state.refs_in = outer


def serialize_args(args: tuple[Any, ...], kwargs: dict[str, Any], what: str = "the arguments") -> Serialized:
    """Turn the arguments of a call into bytes; `deserialize_args` is the way back.

    A call without keywords is pickled as the tuple alone, which is most calls and the cheaper form.
    """
    if len(args) + len(kwargs) <= _FLAT_LIMIT and (_ATOMS.issuperset(map(type, args)) or _flat(args)):
        if not kwargs:
            data = _dumps(args, 5)
            return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
        if _flat(kwargs.values()):
            data = _dumps([args, kwargs], 5)
            return Serialized(data, _NO_BUFFERS, _NO_REFS, len(data))
    elif not kwargs and len(args) <= _FLAT_LIMIT and (done := _serialize_with_arrays(args)) is not None:
        return done
    try:
        return _pickle_any([_lighten(args), _lighten(kwargs)] if kwargs else _lighten(args))
    except Exception as failure:  # as in _serialize_any
        raise _explained(failure, what, args=args, **kwargs) from failure


def deserialize_args(
    data: bytes | memoryview, buffers: Sequence[Any] = (), refs_out: list[Any] | None = None
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn the bytes of `serialize_args` into positional and keyword arguments."""
    call = deserialize(data, buffers, refs_out)
    if type(call) is tuple:
        return call, {}
    args, kwargs = call
    return args, kwargs


def _lighten(value: Any) -> Any:
    """Put large bytes directly in a tuple, list or dict out of band: pickle asks nobody about bytes."""
    cls = type(value)
    if cls is tuple or cls is list:
        if _has_bytes(value):
            return cls(_wrapped(member) for member in value)
    elif cls is dict and _has_bytes(value.values()):
        return {key: _wrapped(member) for key, member in value.items()}
    return value


def _has_bytes(values: Collection[Any]) -> bool:
    """Look for bytes; of many members only at the first, since the look would cost more than the pickle."""
    return not _BYTES_TYPES.isdisjoint(map(type, values if len(values) <= _LOOKED_AT else islice(values, _LOOKED_AT)))


def _wrapped(value: Any) -> Any:
    cls = type(value)
    return _LargeBytes(cls, value) if cls in _BYTES_TYPES and len(value) >= LARGE_BYTES else value
