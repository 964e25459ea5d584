"""Check the arguments of a remote call before it travels, as Python itself would check them.

The common call, positional arguments of a fitting number, takes two comparisons. Any other is put to a function that
does nothing and has the same parameters, compiled from the signature when first needed: so the rules and the messages
are exactly those of the interpreter, at its speed. ``inspect.Signature.bind`` was rejected for both reasons.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, Final

__all__ = ["CallSignature"]

_ANY: Final = 1 << 30  # more arguments than a call can have

_STARS: Final[dict[Any, str]] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


class CallSignature:
    """The parameters of a function or method, ready to check calls.

    Attributes
    ----------
    name
        The qualified name, which messages show.

    Notes
    -----
    Some callables written in C do not tell their parameters: then every call passes.
    """

    __slots__ = ("_high", "_low", "_skip", "_stand_in", "_whole", "name")

    def __init__(self, name: str, parameters: tuple[Parameter, ...] | None, skip_self: bool) -> None:
        self.name = name
        self._whole = parameters
        self._skip: tuple[None, ...] = (None,) if skip_self else ()
        self._stand_in: Callable[..., None] | None = None
        self._low, self._high = _positional_range(parameters, len(self._skip))

    @classmethod
    def compile(
        cls, function: Callable[..., Any], *, skip_self: bool = False, name: str | None = None
    ) -> CallSignature:
        """Read the parameters of a callable.

        Parameters
        ----------
        function
            A wrapper made with ``functools.wraps`` is checked by its own parameters, since those are what is called.
        skip_self
            The first parameter is not given by the caller.
        name
            For messages, in place of the qualified name.
        """
        try:
            signature = inspect.signature(function, follow_wrapped=False)
        except (TypeError, ValueError):
            parameters = None
        else:
            parameters = tuple(signature.parameters.values())
        shown = name or getattr(function, "__qualname__", None) or type(function).__qualname__
        return cls(shown, parameters, skip_self)

    @classmethod
    def compile_class(cls, made: type) -> CallSignature:
        """Read what calling a class takes: the parameters of ``__init__``, of ``__new__``, or none at all."""
        if type(made).__call__ is not type.__call__:  # a metaclass decides
            return cls(made.__qualname__, None, False)
        for name in ("__init__", "__new__"):
            constructor = getattr(made, name)
            if constructor is not getattr(object, name):
                return cls.compile(constructor, skip_self=True)
        nothing = cls(made.__qualname__, (), False)
        nothing._stand_in = _takes_nothing(made.__qualname__)
        return nothing

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the `TypeError` that calling with these arguments would raise."""
        if not kwargs and self._low <= len(args) <= self._high:
            return
        stand_in = self._stand_in
        if stand_in is None:
            stand_in = self._stand_in = _make_stand_in(self.name, self._whole)
        stand_in(*self._skip, *args, **kwargs)

    @property
    def parameters(self) -> tuple[Parameter, ...] | None:
        """The parameters that a caller gives, None where the callable does not tell them."""
        if self._whole and self._skip and self._whole[0].kind is not Parameter.VAR_POSITIONAL:
            return self._whole[1:]
        return self._whole

    def __reduce__(self) -> tuple[Any, ...]:
        # Defaults may be anything; a check only asks whether there is one.
        bare = self._whole and tuple(
            Parameter(each.name, each.kind, default=each.default if each.default is Parameter.empty else None)
            for each in self._whole
        )
        return CallSignature, (self.name, bare, bool(self._skip))


def _positional_range(parameters: tuple[Parameter, ...] | None, skipped: int) -> tuple[int, int]:
    """Find how few and how many positional arguments make a valid call without keywords."""
    if parameters is None:
        return 0, _ANY
    low = high = -skipped
    for parameter in parameters:
        required = parameter.default is Parameter.empty
        if parameter.kind is Parameter.VAR_POSITIONAL:
            high = _ANY
        elif parameter.kind is Parameter.KEYWORD_ONLY:
            if required:
                return _ANY, 0  # no call without keywords is valid
        elif parameter.kind is not Parameter.VAR_KEYWORD:
            high += 1
            low += required
    return low, high


def _make_stand_in(name: str, parameters: tuple[Parameter, ...] | None) -> Callable[..., None]:
    """Compile a function that takes these parameters and does nothing."""
    if parameters is None:
        return _takes_anything
    parts: list[str] = []
    positional_only = False
    starred = False
    for parameter in parameters:
        if positional_only and parameter.kind is not Parameter.POSITIONAL_ONLY:
            parts.append("/")
        positional_only = parameter.kind is Parameter.POSITIONAL_ONLY
        if parameter.kind is Parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        starred = starred or parameter.kind is Parameter.VAR_POSITIONAL
        default = "" if parameter.default is Parameter.empty else "=None"
        parts.append(f"{_STARS.get(parameter.kind, '')}{parameter.name}{default}")
    if positional_only:
        parts.append("/")
    space: dict[str, Any] = {}
    # Parameter names are identifiers: inspect.Parameter refuses any other.
    exec(f"def stand_in({', '.join(parts)}): pass", space)
    stand_in: Callable[..., None] = space["stand_in"]
    stand_in.__name__ = name.rpartition(".")[2]
    stand_in.__qualname__ = name
    return stand_in


def _takes_nothing(name: str) -> Callable[..., None]:
    """Stand in for a class without a constructor of its own."""

    def stand_in(*args: Any, **kwargs: Any) -> None:
        if args or kwargs:
            raise TypeError(f"{name}() takes no arguments")

    return stand_in


def _takes_anything(*args: Any, **kwargs: Any) -> None:
    """Stand in for a callable that does not tell its parameters."""
