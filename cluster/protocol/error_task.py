"""The error of a task: what user code raised, where, with the traceback from there.

`RayTaskError` is what travels. What `get` raises is `as_instanceof_cause()`: an instance of a class made for the
purpose that derives from `RayTaskError` and from the class of the exception, so that ``except ValueError`` works as if
the function had been called here. Where such a class can not exist or would do harm, the `RayTaskError` is raised
itself and says why:

- classes that refuse to be derived from, or whose instances C code of others lays out;
- `BaseException`s that are no `Exception`: a task's ``KeyboardInterrupt`` or ``SystemExit`` must not stop the notebook;
- ``StopIteration`` and its kin: raised by `get` inside ``map`` they would end the loop without a word.

A task that fails because a `get` in it raised the error of another task gives a chain of `RayTaskError`s. It prints
innermost first, each with its own part of the traceback, and is an instance of the innermost class.

The attributes of a `RayTaskError` are read from one private record by descriptors that an instance's own attributes
hide, so that an exception of the user's that has a ``pid`` or a ``message`` keeps them.
"""

from __future__ import annotations

from functools import lru_cache
from types import new_class
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .error_base import HimaliaError, Origin
from .error_system import UnserializableException
from .exception_state import can_make, can_rebuild, copy_state, new_exception, reduce_exception
from .traceback_text import remote_traceback

__all__ = ["RayTaskError", "TaskErrorInfo"]

_SHOWN_HOPS: Final = 6  # of a chain of tasks: enough to follow it, and a recursion of a thousand stays readable

_NEVER_RAISED: Final = (StopIteration, StopAsyncIteration)


class TaskErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the failure of one task, apart from the exception."""

    message: str
    function_name: str
    traceback_str: str
    proctitle: str = ""
    pid: int = 0
    ip: str = ""
    actor_repr: str | None = None
    actor_id: str | None = None
    origin: Origin | None = None
    hint: str = ""
    frames: bytes = b""  # see `frames.unpack_frames`


class _Field:
    """Reads an attribute of the record; no data descriptor, so an instance's own attribute of that name wins."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, error: RayTaskError | None, owner: type) -> Any:
        return self if error is None else getattr(error._info, self.name)


class RayTaskError(HimaliaError):
    """A task or an actor's method raised an exception.

    Parameters
    ----------
    function_name
        Of the task.
    traceback_str
        The traceback in the worker, as text.
    cause
        The exception that was raised.
    proctitle, pid, ip
        The worker process and its node.
    actor_repr, actor_id
        The actor, for the method of one.
    origin
        Task, cell, worker and node, for the message.
    frames
        What was kept of the frames, packed; see `frames.unpack_frames`.

    Attributes
    ----------
    cause
        The exception that the task raised; a `RayTaskError` where a `get` in it raised that.
    root_cause
        The exception at the end of such a chain.
    """

    _info: TaskErrorInfo
    _cause: BaseException

    if TYPE_CHECKING:
        function_name: str
        traceback_str: str
        proctitle: str
        pid: int
        ip: str
        actor_repr: str | None
        actor_id: str | None
    else:
        message = _Field("message")
        function_name = _Field("function_name")
        traceback_str = _Field("traceback_str")
        proctitle = _Field("proctitle")
        pid = _Field("pid")
        ip = _Field("ip")
        actor_repr = _Field("actor_repr")
        actor_id = _Field("actor_id")
        origin = _Field("origin")
        hint = _Field("hint")

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
        *,
        origin: Origin | None = None,
        hint: str = "",
        frames: bytes = b"",
    ) -> None:
        self._cause = cause
        message = f"task `{function_name}` failed: {_one_line(_root(self))}"
        self._info = TaskErrorInfo(
            message=message,
            function_name=function_name,
            traceback_str=traceback_str,
            proctitle=proctitle or "",
            pid=pid or (origin.pid if origin else 0),
            ip=ip or (origin.node_ip if origin else ""),
            actor_repr=actor_repr,
            actor_id=actor_id,
            origin=origin,
            hint=hint,
            frames=frames,
        )
        BaseException.__init__(self, message)

    @classmethod
    def from_exception(
        cls,
        function_name: str,
        cause: BaseException,
        *,
        origin: Origin | None = None,
        proctitle: str = "",
        actor_repr: str | None = None,
        actor_id: str | None = None,
        hint: str = "",
        frames: bytes = b"",
    ) -> RayTaskError:
        """Describe `cause`, just caught in the worker; its traceback is kept as text, without Himalia's own frames."""
        return cls(
            function_name,
            remote_traceback(cause, stack_only=isinstance(cause, RayTaskError)),
            cause,
            proctitle,
            actor_repr=actor_repr,
            actor_id=actor_id,
            origin=origin,
            hint=hint,
            frames=frames,
        )

    @classmethod
    def _from_info(cls, info: TaskErrorInfo, cause: BaseException) -> RayTaskError:
        error = cls(info.function_name, info.traceback_str, cause)
        error._info = info
        error.args = (info.message,)
        return error

    @property
    def cause(self) -> BaseException:
        """The exception that the task raised."""
        return self._cause

    @property
    def root_cause(self) -> BaseException:
        """The exception at the end of a chain of tasks that waited for each other."""
        return _root(self)

    @property
    def root_text(self) -> str:
        """The type and first line of the root cause."""
        return _one_line(_root(self))

    def as_instanceof_cause(self) -> RayTaskError:
        """Make the error that `get` raises: an instance of `RayTaskError` and of the class of the root cause."""
        if type(self) is not RayTaskError:
            return self
        root = _root(self)
        made, _ = _dual_of(root)
        if made is None:
            self.__cause__ = self.__cause__ or root.__cause__
            return self
        dual = new_exception(made, root, root.args)
        assert isinstance(dual, RayTaskError)
        copy_state(root, dual)
        dual.__dict__["_info"] = self._info
        dual.__dict__["_cause"] = self._cause
        return dual

    def make_dual_exception_instance(self) -> RayTaskError:
        """Do as `as_instanceof_cause`."""
        return self.as_instanceof_cause()

    def __str__(self) -> str:
        hops = _hops(self)
        root = _root(self)
        first, last = hops[0]._info, hops[-1]._info
        title = first.message
        if len(hops) > 1:
            title = (
                f"task `{first.function_name}` failed because task `{last.function_name}`, whose result it wanted, "
                f"failed: {_one_line(root)}"
            )
        _, refusal = _dual_of(root)
        if refusal:
            title += f"\n  ({type(root).__qualname__} {refusal}, so this RayTaskError stands for it.)"
        lines = [title]
        if isinstance(root, UnserializableException) and root.reason:
            lines.append(f"  {root.type_name} itself could not be carried over: {root.reason}.")
        innermost_first = [hop._info for hop in reversed(hops)]
        for number, info in enumerate(innermost_first):
            half = _SHOWN_HOPS // 2
            if len(hops) > _SHOWN_HOPS and half <= number < len(hops) - half:
                if number == half:
                    lines.append(f"\n… {len(hops) - _SHOWN_HOPS} more tasks that waited for each other …")
                continue
            who = "In" if number == 0 else "… which was wanted in"
            lines.append(f"\n{who} {_where(info)}:")
            lines.append(info.traceback_str.rstrip("\n") or "(no traceback)")
            if info.hint:
                lines.append(f"  What to do: {info.hint}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._info.function_name!r}, {self.cause!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        dual = type(self) is not RayTaskError
        notes = self.__dict__.get("__notes__") if not dual else None
        return _rebuild, (self._info, _Carrier(self._cause), dual, notes)


class _Carrier:
    """Pickles as the exception it holds, without that one's constructor where possible, for any pickler."""

    def __init__(self, exc: BaseException) -> None:
        self.exc = exc

    def __reduce__(self) -> str | tuple[Any, ...]:
        return reduce_exception(self.exc) if can_rebuild(type(self.exc)) else self.exc.__reduce__()

    def __deepcopy__(self, memo: object) -> _Carrier:
        return self  # many exceptions can not be copied; two errors may share one


def _rebuild(
    info: TaskErrorInfo, cause: BaseException | _Carrier, dual: bool, notes: list[str] | None = None
) -> RayTaskError:
    if isinstance(cause, _Carrier):  # copied, not pickled
        cause = cause.exc
    error = RayTaskError._from_info(info, cause)
    for note in notes or ():
        error.add_note(note)
    return error.as_instanceof_cause() if dual else error


def _hops(error: RayTaskError) -> list[RayTaskError]:
    hops = [error]
    while isinstance(hops[-1]._cause, RayTaskError):
        hops.append(hops[-1]._cause)
    return hops


def _root(error: RayTaskError) -> BaseException:
    return _hops(error)[-1]._cause


def _one_line(exc: BaseException) -> str:
    """Write the exception as the last line of a traceback does, cut at its first line."""
    try:
        text = str(exc)
    except Exception as failure:  # noqa: BLE001 - a broken __str__ must not hide the error that it belongs to
        text = f"<its str() raised {type(failure).__name__}>"
    first, newline, _ = text.partition("\n")
    return f"{type(exc).__qualname__}: {first}{' …' if newline else ''}" if text else type(exc).__qualname__


def _where(info: TaskErrorInfo) -> str:
    origin = info.origin or Origin()
    named = msgspec.structs.replace(
        origin,
        task_name=origin.task_name or info.function_name,
        pid=origin.pid or info.pid,
        node_ip=origin.node_ip or info.ip,
        actor_id=origin.actor_id or info.actor_id or "",
    )
    return f"{named}, {info.actor_repr}" if info.actor_repr else str(named)


def _dual_of(exc: Any) -> tuple[type[BaseException] | None, str]:
    cls: Any = type(exc)
    return _dual_class(cls)


@lru_cache(maxsize=256)
def _dual_class(cls: Any) -> tuple[type[BaseException] | None, str]:
    """Make the class that derives from `RayTaskError` and `cls`; or None, and why there is none.

    Bounded, since a notebook defines its exceptions anew each time that a cell runs.
    """
    if not issubclass(cls, Exception):
        return None, "would stop this process rather than report an error"
    if issubclass(cls, _NEVER_RAISED):
        return None, "would be taken for the end of a loop here"
    if issubclass(cls, RayTaskError):
        return None, ""
    if not can_make(cls):
        return None, "is made by C code and can not be derived from"

    def fill(namespace: dict[str, Any]) -> None:
        namespace["__doc__"] = f"A task raised `{cls.__qualname__}`."
        namespace["__module__"] = RayTaskError.__module__
        namespace["__slots__"] = ()
        for name in _OWN_FIELDS:
            member = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
            if member is not None and not issubclass(cls, HimaliaError):
                namespace[name] = member

    name = f"RayTaskError({cls.__name__})"
    try:
        made = new_class(name, (RayTaskError, cls), {}, fill)
        new_exception(made, ExceptionGroup("", [Exception()]) if issubclass(cls, ExceptionGroup) else None, ())
    except Exception as refusal:  # noqa: BLE001 - whatever a metaclass or __init_subclass__ of the user's raises
        return None, f"can not be derived from ({type(refusal).__name__}: {refusal})"
    return made, ""


_OWN_FIELDS: Final = TaskErrorInfo.__struct_fields__
