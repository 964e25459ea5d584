"""Take an exception apart and put it together again without calling its constructor.

Python pickles an exception as ``(class, args)`` and calls the class with them, which fails for every class whose
constructor takes other arguments than it hands to ``Exception.__init__``, and loses ``__cause__``. Here the object is
made by the ``__new__`` of its innermost built-in base and its state is put back: instance dictionary, slots, the
members of built-in layouts (``errno``, ``start``, ``value``, …) and the explicit cause. Classes that define how they
are reduced, and classes made in C outside Python itself, keep their own way.
"""

from __future__ import annotations

from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any, Final

__all__ = [
    "can_make",
    "can_rebuild",
    "copy_state",
    "new_exception",
    "rebuild_exception",
    "reduce_exception",
    "set_state",
]

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: the class was made at run time

_SET: Final = BaseException.__setattr__  # a class may forbid that its instances be changed

_NO_STATE: Final = frozenset({BaseException, Exception, object})

# `AttributeError.obj` is the object that lacked the attribute: any size, often not picklable. Python drops it as well.
_LEFT_OUT: Final = frozenset({"__dict__", "__weakref__", "obj"})

_HOOKS: Final = ("__reduce__", "__reduce_ex__", "__setstate__", "__getnewargs__", "__getnewargs_ex__", "__getstate__")


def can_make(cls: type[BaseException]) -> bool:
    """Whether `new_exception` may make instances of `cls`: all its layers are Python's own or written in Python."""
    return all(
        base.__module__ == "builtins"
        or (base.__flags__ & _HEAP_TYPE and not isinstance(_unwrapped(vars(base).get("__new__")), BuiltinFunctionType))
        for base in cls.__mro__
    )


def can_rebuild(cls: type[BaseException]) -> bool:
    """Whether `reduce_exception` may reduce instances of `cls`: it does not say itself how that is done."""
    return can_make(cls) and not any(
        hook in vars(base) for base in cls.__mro__ if base.__module__ != "builtins" for hook in _HOOKS
    )


def _unwrapped(member: Any) -> Any:
    return member.__func__ if isinstance(member, staticmethod) else member


def new_exception(cls: type[BaseException], like: BaseException | None, args: tuple[Any, ...]) -> BaseException:
    """Make an instance of `cls` with `args`, calling no Python code of the class.

    `like` lends a group's message and exceptions, which can only be given when it is made.
    """
    if issubclass(cls, BaseExceptionGroup):
        group = (like.message, like.exceptions) if isinstance(like, BaseExceptionGroup) else args
        made: BaseException = BaseExceptionGroup.__new__(cls, *group)
    else:
        base = next(base for base in cls.__mro__ if not base.__flags__ & _HEAP_TYPE)
        made = base.__new__(cls, *args)
    _SET(made, "args", args)
    return made


def _members(exc: BaseException) -> dict[str, Any]:
    """Values of the slots and C members of an exception, those that are set."""
    found: dict[str, Any] = {}
    for base in type(exc).__mro__:
        if base in _NO_STATE:
            continue
        for name, member in vars(base).items():
            if not isinstance(member, MemberDescriptorType | GetSetDescriptorType) or name in _LEFT_OUT:
                continue
            try:
                value = member.__get__(exc)
            except AttributeError:  # a slot without a value
                continue
            if value is not None:
                found.setdefault(name, value)
    return found


def _set_members(exc: BaseException, members: dict[str, Any]) -> None:
    for name, value in members.items():
        try:
            _SET(exc, name, value)
        except (AttributeError, TypeError):  # read-only, and set by __new__ already (those of a group)
            continue


def copy_state(source: BaseException, target: BaseException) -> None:
    """Give `target` all attributes of `source`, its notes and its explicit cause."""
    _set_members(target, _members(source))
    target.__dict__.update(source.__dict__)
    _SET(target, "__cause__", source.__cause__)
    _SET(target, "__suppress_context__", source.__suppress_context__)


def reduce_exception(exc: BaseException, *, chain: bool = True) -> tuple[Any, ...]:
    """Reduce an exception for which `can_rebuild` holds, as ``__reduce__`` does; `chain`: with its explicit cause."""
    members = _members(exc)
    group = None
    if isinstance(exc, BaseExceptionGroup):
        group = (exc.message, exc.exceptions)
        members.pop("message", None)
        members.pop("exceptions", None)
    cause = exc.__cause__ if chain else None
    state = (exc.__dict__.copy(), members, cause, exc.__suppress_context__)
    return rebuild_exception, (type(exc), exc.args, group), state, None, None, set_state


def rebuild_exception(
    cls: type[BaseException], args: tuple[Any, ...], group: tuple[str, Any] | None = None
) -> BaseException:
    """Make the bare exception again; its state follows by `set_state`, so that it may refer to the exception."""
    like = None if group is None else BaseExceptionGroup(*group)
    return new_exception(cls, like, args)


def set_state(exc: BaseException, state: tuple[dict[str, Any], dict[str, Any], BaseException | None, bool]) -> None:
    """Put back what `reduce_exception` took: attributes, members, explicit cause."""
    attributes, members, cause, suppress = state
    _set_members(exc, members)
    exc.__dict__.update(attributes)
    _SET(exc, "__cause__", cause)
    _SET(exc, "__suppress_context__", suppress)
