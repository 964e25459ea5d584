"""Errors as results: whatever was raised arrives as something that can be raised.

The exception travels in a stream of its own inside the error's stream. Where it can not be pickled, or can not be
unpickled by the receiver (whose process may lack its module), an `UnserializableException` stands for it and says why,
and everything else about the failure, its traceback above all, arrives nonetheless.
"""

from __future__ import annotations

from typing import Any, Final

from ..protocol.error_task import TaskErrorInfo
from ..protocol.errors import RayTaskError, UnserializableException
from ..protocol.exception_state import can_rebuild, copy_state, new_exception
from .context import state
from .values import Serialized, deserialize, dumps_by_value

__all__ = ["deserialize_error", "serialize_error", "traceback_text"]

# A chain of tasks may be as long as a recursion; pickling it one inside the other would overflow the stack.
_CHAIN_KEPT: Final = 50


def _describe(exc: BaseException) -> tuple[str, str]:
    try:
        text = str(exc)
    except Exception as failure:  # noqa: BLE001 - a broken __str__ must not hide the error that it belongs to
        text = f"<its str() raised {type(failure).__name__}: {failure}>"
    return type(exc).__qualname__, text


def _without_chain(exc: BaseException) -> BaseException | None:
    """Copy an exception without its cause, which may be what can not be pickled."""
    if exc.__cause__ is None or not can_rebuild(type(exc)):
        return None
    copy = new_exception(type(exc), exc, exc.args)
    copy_state(exc, copy)
    copy.__cause__ = None
    return copy


def _pickle_exception(exc: BaseException, traceback_text: str) -> tuple[bytes, str, str]:
    """Pickle an exception, or what stands for it; with its type's name and its text, should unpickling fail."""
    name, text = _describe(exc)
    try:
        return dumps_by_value(exc), name, text
    except Exception as failure:  # noqa: BLE001 - pickling runs code of the user's: anything may come
        bare = _without_chain(exc)
        if bare is not None:
            try:
                return dumps_by_value(bare), name, text
            except Exception:  # noqa: BLE001, S110 - as above; the first failure is the one to explain
                pass
        from .inspect import explain_unpicklable  # rare, and that module needs this package

        where = explain_unpicklable(exc, "exception")
        reason = f"can not pickle {where or 'it'} ({type(failure).__name__}: {_describe(failure)[1]})"
        stand_in = UnserializableException(traceback_text, type_name=name, text=text, reason=reason)
        return dumps_by_value(stand_in), name, text


def _unpickle_exception(
    data: bytes, name: str, text: str, traceback_text: str, refs_out: list[Any] | None
) -> BaseException:
    try:
        exc = deserialize(data, (), refs_out)
    except Exception as failure:  # noqa: BLE001 - as when pickling
        reason = f"unpickling it here raised {type(failure).__name__}: {_describe(failure)[1]}"
        return UnserializableException(traceback_text, type_name=name, text=text, reason=reason)
    if isinstance(exc, BaseException):
        return exc
    reason = f"it was unpickled as a {type(exc).__qualname__}"
    return UnserializableException(traceback_text, type_name=name, text=text, reason=reason)


def serialize_error(exc: BaseException) -> Serialized:
    """Turn an exception into a result that `deserialize_error` turns back; this never fails.

    A `RayTaskError` is taken apart into the chain of tasks and the exception at its end. There are no buffers: an
    error is `data` alone.
    """
    refs: list[Any] = []
    outer = state.refs_out
    state.refs_out = refs
    try:
        data = _pickle_error(exc)
    finally:
        state.refs_out = outer
    return Serialized(data, (), refs, len(data))


def _pickle_error(exc: BaseException) -> bytes:
    hops: list[TaskErrorInfo] = []
    root = exc
    while isinstance(root, RayTaskError):
        hops.append(root._info)
        root = root._cause
    if len(hops) > _CHAIN_KEPT:
        hops = hops[: _CHAIN_KEPT // 2] + hops[-_CHAIN_KEPT // 2 :]
    innermost = hops[-1].traceback_str if hops else ""
    packed = _pickle_exception(root, innermost)
    return dumps_by_value((hops, *packed))


def deserialize_error(data: bytes | memoryview, buffers: Any = (), refs_out: list[Any] | None = None) -> BaseException:
    """Make the exception again. Raise a `RayTaskError` by its ``as_instanceof_cause()``."""
    hops, pickled, name, text = deserialize(data, buffers, refs_out)
    innermost = hops[-1].traceback_str if hops else ""
    error = _unpickle_exception(pickled, name, text, innermost, refs_out)
    for info in reversed(hops):
        error = RayTaskError._from_info(info, error)
    return error


def traceback_text(data: bytes) -> str:
    """The tracebacks in an error, the innermost first, without making the exception: no code of the user's runs."""
    hops = deserialize(data)[0]
    return "\n".join(info.traceback_str for info in reversed(hops))
