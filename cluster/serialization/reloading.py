"""Modules of the user's that were edited while processes that imported them go on.

Strategy: a module is executed again in place, and what it defines keeps its identity: functions and classes that there
were are changed into what the new text says, and stay in the module. So ``from module import f`` elsewhere, instances
that exist, functions that a worker has unpickled, and `isinstance` all follow. What can not be changed in place
(another kind of thing under the name, other slots, an Enum) is replaced.

IPython's autoreload does it the other way round: the new class takes the name, and instances are moved to it. Then a
name that was imported from the module is a class that nothing is an instance of. Rejected also because workers would
have to import IPython.

Workers do not read the file again: they get the text that the driver runs, by its hash, so that both run the same, also
where the file was edited meanwhile or lies on another machine.
"""

from __future__ import annotations

import gc
import importlib.util
import sys
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, Final

import msgspec

__all__ = ["AdoptedCode", "Code", "ModuleText", "reload_module"]

Code = dict[str, tuple[int, str]]
"""For each edited module the version of its text, which grows, and the hash of the `ModuleText`, in hexadecimal."""

_KEPT_CLASS_MEMBERS: Final = frozenset({"__dict__", "__weakref__", "__module__", "__qualname__", "__slots__"})
_FUNCTION_PARTS: Final = ("__code__", "__defaults__", "__kwdefaults__", "__doc__", "__annotations__", "__dict__")


class ModuleText(msgspec.Struct, frozen=True):
    """The text of a module, and where it belongs."""

    name: str
    path: str
    is_package: bool
    text: bytes

    def payload(self) -> bytes:
        """As it travels."""
        return msgspec.msgpack.encode(self)


def hash_of(payload: bytes) -> str:
    """The name of a payload, in hexadecimal digits."""
    return blake2b(payload, digest_size=16).hexdigest()


# -- executing a module again ------------------------------------------------------------------------------------------


def reload_module(module: ModuleType, source: ModuleText) -> None:
    """Execute a new text in a module; what it defined keeps its identity where that is possible.

    Not `importlib.reload`, which takes what was compiled of the file as current if the edit is within the same second.

    Raises
    ------
    Exception
        Whatever the new text raises; then the module is as it was before.
    """
    namespace = module.__dict__
    old = dict(namespace)
    for name in old:
        if not (name.startswith("__") and name.endswith("__")):
            del namespace[name]
    try:
        exec(compile(source.text, source.path, "exec", dont_inherit=True), namespace)
    except BaseException:
        namespace.clear()
        namespace.update(old)
        raise
    _keep_submodules(module, old)
    stand_ins: dict[int, type] = {}  # id of a class that the new text made → the one that stays
    made: list[Any] = []  # alive, so that their ids stay theirs
    for name, before in old.items():
        after = namespace.get(name)
        if after is not None and after is not before and _belongs_to(before, module) and _belongs_to(after, module):
            made.append(after)
            if _changed_into(before, after, stand_ins):
                namespace[name] = before


def _keep_submodules(module: ModuleType, old: dict[str, Any]) -> None:
    """A package's modules are its attributes, whether or not its own text imports them."""
    for name, value in old.items():
        if isinstance(value, ModuleType) and sys.modules.get(f"{module.__name__}.{name}") is value:
            module.__dict__.setdefault(name, value)


def _belongs_to(thing: Any, module: ModuleType) -> bool:
    return getattr(thing, "__module__", None) == module.__name__


def _changed_into(old: Any, new: Any, stand_ins: dict[int, type]) -> bool:
    """Make of an old function or class what the new one is; False if that is not possible."""
    if isinstance(old, FunctionType) and isinstance(new, FunctionType):
        return _function_changed(old, new)
    if isinstance(old, type) and isinstance(new, type):
        return _class_changed(old, new, stand_ins)
    return False


def _function_changed(old: FunctionType, new: FunctionType) -> bool:
    before, after = old.__closure__ or (), new.__closure__ or ()
    if len(before) != len(after):
        return False
    for part in _FUNCTION_PARTS:
        setattr(old, part, getattr(new, part))
    for cell, fresh in zip(before, after, strict=True):
        try:
            cell.cell_contents = fresh.cell_contents  # of a decorated function: the function that it wraps
        except ValueError:
            continue  # not bound yet
    return True


def _class_changed(old: type, new: type, stand_ins: dict[int, type]) -> bool:
    if type(new) not in (type, ABCMeta) or type(old) is not type(new):
        return False
    if old.__dict__.get("__slots__") != new.__dict__.get("__slots__"):
        return False
    bases = tuple(stand_ins.get(id(base), base) for base in new.__bases__)
    if old.__bases__ != bases:
        try:
            old.__bases__ = bases
        except TypeError:  # of another layout
            return False
    for name in [name for name in vars(old) if name not in vars(new) and name not in _KEPT_CLASS_MEMBERS]:
        delattr(old, name)
    for name, member in list(vars(new).items()):
        if name in _KEPT_CLASS_MEMBERS or isinstance(member, MemberDescriptorType | GetSetDescriptorType):
            continue
        before = vars(old).get(name)
        if not (before is not None and _changed_into(before, member, stand_ins)):
            setattr(old, name, member)
    for function in _functions_of(old):
        _point_super_at(function, old)
    stand_ins[id(new)] = old
    for instance in gc.get_referrers(new):
        if type(instance) is new:  # made while the module was executed
            object.__setattr__(instance, "__class__", old)
    return True


def _functions_of(cls: type) -> Iterator[FunctionType]:
    for member in vars(cls).values():
        parts: tuple[Any, ...] = (member, getattr(member, "__func__", None))
        if isinstance(member, property):
            parts = (member.fget, member.fset, member.fdel)
        yield from (part for part in parts if isinstance(part, FunctionType))


def _point_super_at(function: FunctionType, cls: type) -> None:
    """``super()`` and ``__class__`` in a method mean the class that it was written in."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name == "__class__":
            cell.cell_contents = cls


# -- in a worker -------------------------------------------------------------------------------------------------------


class _Loader(SourceFileLoader):
    """Reads one file's text from memory."""

    def __init__(self, source: ModuleText) -> None:
        super().__init__(source.name, source.path)
        self._text = source.text

    def get_data(self, path: str) -> bytes:
        return self._text if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        raise OSError("what was compiled of the file is not to be used")


class AdoptedCode:
    """The modules of this process that come from a driver's text instead of their files: a finder of the import system.

    Not derived from `importlib.abc.MetaPathFinder`, whose import takes longer than everything else here.

    Attributes
    ----------
    code
        What is in force.
    """

    def __init__(self, fetch: Callable[[bytes], bytes]) -> None:
        self._fetch = fetch
        self._texts: dict[str, ModuleText] = {}
        self.code: Code = {}

    def adopt(self, wanted: dict[str, Any]) -> list[str]:
        """Bring the modules to the versions wanted; returns those that changed. Older versions than ours are ignored:
        who carries them was submitted before.

        Raises
        ------
        Exception
            What a module raises while it is executed.
        """
        newer = {
            name: (version, content)
            for name, (version, content) in wanted.items()
            if name not in self.code or self.code[name][0] < version
        }
        if not newer:
            return []
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        for name, (_, content) in newer.items():
            self._texts[name] = msgspec.msgpack.decode(self._fetch(bytes.fromhex(content)), type=ModuleText)
        for name, stamp in newer.items():
            module = sys.modules.get(name)
            if module is not None:
                reload_module(module, self._texts[name])
            self.code = {**self.code, name: stamp}
        return list(newer)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Part of the import system."""
        source = self._texts.get(fullname)
        if source is None:
            return None
        places = [str(Path(source.path).parent)] if source.is_package else None
        return importlib.util.spec_from_file_location(
            fullname, source.path, loader=_Loader(source), submodule_search_locations=places
        )
