"""An actor that runs, and a newer definition of its class.

Strategy: an actor keeps the class that it was made of until it is told otherwise. `upgrade` has it do so by a call, so
between two calls of a plain actor: it makes an instance of the new class without its constructor and gives it the
state of the old one. Attributes are not copied but shared, so that a coroutine or thread that still runs in an old
method sees what the new ones do. Then the GCS learns the class, for restarts and for handles that are asked for by
name.

Rejected: setting the old instance's ``__class__``. Python refuses it where the layout differs, and ``__setstate__``,
where the class has one, would have no fresh instance to fill.
"""

from __future__ import annotations

import sys
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from ..protocol.gcs_messages import ReplaceClass
from .actor_class import ActorClass, ActorHandle, ActorMethod
from .current import find_core, get_core

if TYPE_CHECKING:
    from ..serialization.reloading import Code

__all__ = ["move_state", "redefinition", "take_class", "upgrade"]

_BESIDE: Final = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__firstlineno__"})


def redefinition(handle: ActorHandle) -> ActorClass | None:
    """The class that now has the name of an actor's class, if that has another definition than the actor.

    None also for handles that came from elsewhere: what their actors were made of is not known here.
    """
    shared = handle.__dict__.get("_shared")
    if shared is None:
        return None
    module = sys.modules.get(shared.cls.__module__)
    found = getattr(module, shared.cls.__name__, None)
    if isinstance(found, type):
        found = ActorClass(found, {})
    if not isinstance(found, ActorClass) or found._shared is shared:
        return None
    core, name = find_core(), shared.cls.__module__
    edited = core is not None and core.code.get(name) != handle._code.get(name)
    return found if edited or not _same_definition(found._cls, shared.cls) else None


def _same_definition(one: type, other: type) -> bool:
    """Whether a cell was only executed again. Attributes that can not be compared count as changed."""
    if one is other:
        return True
    here, there = vars(one), vars(other)
    if here.keys() - _BESIDE != there.keys() - _BESIDE:
        return False
    return all(_same(here[name], there[name]) for name in here.keys() - _BESIDE)


def _same(one: Any, other: Any) -> bool:
    one, other = getattr(one, "__func__", one), getattr(other, "__func__", other)
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        parts = ("__code__", "__defaults__", "__kwdefaults__")
        return all(_equal(getattr(one, part), getattr(other, part)) for part in parts)
    if isinstance(one, property) and isinstance(other, property):
        return _same(one.fget, other.fget) and _same(one.fset, other.fset)
    return _equal(one, other)


def _equal(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # noqa: BLE001 - a comparison of the user's, as that of arrays
        return False


def upgrade(actor: ActorHandle, actor_class: ActorClass | type | None = None) -> None:
    """Have an actor go on as an instance of a newer definition of its class, with the state that it has.

    The state is the instance's attributes; or what ``__getstate__`` returns and ``__setstate__`` takes, where the
    classes define these. The constructor does not run: attributes that only the new one sets are missing, unless
    ``__setstate__`` or the class itself provides them. Calls that were submitted before are run by the old definition,
    those that follow by the new one. A restart makes an instance of the new class.

    Parameters
    ----------
    actor
        Its handle, which knows the new methods from then on. Other handles keep those that they know.
    actor_class
        The new definition; left out, the one that now has the name of the actor's class where that was defined.

    Raises
    ------
    TypeError
        ``actor`` is no handle, or one class has coroutine methods and the other has not.
    ValueError
        There is no newer definition, or it is not known where to look for one.
    RayTaskError
        ``__getstate__`` or ``__setstate__`` raised; the actor goes on as it was.
    """
    if not isinstance(actor, ActorHandle):
        raise TypeError(f"upgrade() takes an actor handle, got a {type(actor).__name__}")
    new = ActorClass(actor_class, {}) if isinstance(actor_class, type) else actor_class or redefinition(actor)
    if new is None:
        raise ValueError(
            f"there is no newer definition of {actor._class_name} than the actor's"
            if actor.__dict__.get("_shared") is not None
            else f"this handle of {actor._class_name} was made elsewhere: give the new class, upgrade(actor, NewClass)"
        )
    core, shared = get_core(), new._shared
    exported = shared.exports.current(core, core.current_cell())
    core.store_function(shared.name, exported)
    content = exported.content_hash
    core.get(actor.__ray_call__.remote(take_class, content, shared.name, shared.is_async, core.code), None)
    core.gcs_call(ReplaceClass(actor._id, content, shared.name, shared.methods, core.code))
    for name, method in list(vars(actor).items()):
        if isinstance(method, ActorMethod):
            del actor.__dict__[name]
    actor._class_name, actor._methods, actor._signatures = shared.name, shared.methods, shared.signatures
    actor._shared, actor._code = shared, core.code


# -- in the actor's process -------------------------------------------------------------------------------------------


def take_class(instance: Any, class_hash: bytes, class_name: str, is_async: bool, code: Code) -> None:
    """Make the actor of this process an instance of another class. `instance` is the one it is now."""
    from ..serialization.functions import import_function

    core = get_core()
    host = core.executor.actor
    if is_async != host.spec.is_async:
        words = ("has coroutine methods", "has none")
        raise TypeError(
            f"the new {class_name} {words[not is_async]}, the running actor {words[is_async]}: that decides how an "
            "actor runs; start a new one"
        )
    if code:
        core.executor.adopt(code)
    host.instance = move_state(instance, import_function(core.fetch_function(class_hash)))
    core.actor_name = class_name
    for peer in core.executor.peers.values():
        for loaded in peer.templates.values():
            if loaded.method not in ("", "__ray_call__"):
                loaded.function = None  # a method of the old instance: calls that follow look again


def move_state(old: Any, cls: Any) -> Any:
    """An instance of a class with the state of another instance."""
    new = cls.__new__(cls)
    kind: Any = type(old)
    own_state = kind.__getstate__ is not object.__getstate__
    if hasattr(cls, "__setstate__"):
        new.__setstate__(old.__getstate__())
    elif own_state:
        _set_state(new, old.__getstate__())
    else:
        attributes = getattr(old, "__dict__", None)
        if attributes is not None and hasattr(new, "__dict__"):
            new.__dict__, attributes = attributes, None
        _set_state(new, (attributes, _slots_of(old)))
    return new


def _slots_of(instance: Any) -> dict[str, Any]:
    state: Any = object.__getstate__(instance)
    return dict(state[1]) if isinstance(state, tuple) else {}


def _set_state(instance: Any, state: Any) -> None:
    """As pickle does for a class without ``__setstate__``."""
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        setattr(instance, name, value)
