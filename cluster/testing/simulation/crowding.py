"""Stores with more in them than there is room for: values that are read in place, kept, passed on and given up.

What somebody reads in place is looked at again and again: memory that was recycled too early has somebody else's
numbers in it. That all of it comes back in the end is seen to by `checks`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.actor_class import ActorClass
from ...core.refs import ObjectRef
from ...protocol.errors import (
    ActorDiedError,
    ActorUnavailableError,
    NodeDiedError,
    ObjectLostError,
    OwnerDiedError,
    RayTaskError,
    WorkerCrashedError,
)
from .api import attempt, get, outcome, put, sleep, submit
from .book import value_of
from .cluster import active
from .workloads import Context, close, judge

__all__ = ["CROWDING"]

_NUMBERS = 15_000
"""Of eight bytes: more than travels inside a message."""

Array = np.ndarray[Any, np.dtype[np.int64]]

_LOST = (
    ObjectLostError,
    OwnerDiedError,
    WorkerCrashedError,
    NodeDiedError,
    ActorDiedError,
    ActorUnavailableError,
    RayTaskError,
)


def numbers(key: str) -> Array:
    """An array that tells whose it is, wherever one looks; it is read in place."""
    return np.full(_NUMBERS, value_of(key), np.int64)


def look(name: str, array: Array) -> None:
    assert array.shape == (_NUMBERS,), f"{name} has another shape"
    assert array[0] == array[-1] == array[_NUMBERS // 2] == value_of(name), f"{name} has other numbers in it"


def make(key: str, seconds: float) -> Array:
    """Return what goes into the store."""
    attempt(key)
    sleep(seconds)
    return numbers(key)


def read(key: str, seconds: float, names: list[str], *arrays: Array) -> int:
    """Read arguments in place, for some time."""
    attempt(key)
    for name, array in zip(names, arrays, strict=True):
        look(name, array)
    sleep(seconds)
    for name, array in zip(names, arrays, strict=True):
        look(name, array)
    return value_of(key, *names)


def same(key: str, seconds: float, array: Array) -> Array:
    """Return the argument: one block of memory for two objects."""
    attempt(key)
    sleep(seconds)
    return array


class Shelf:
    """Keeps the last values that it was given, by themselves and by reference."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.kept: list[tuple[str, Array]] = []

    def add(self, name: str, array: Array | None, box: list[ObjectRef]) -> int:
        if array is not None:
            self.kept.append((name, array))
        self.kept += [(name, value) for value in get(list(box))]
        del self.kept[: -self.room]
        for one, value in self.kept:
            look(one, value)
        return len(self.kept)


def crowd(context: Context) -> None:
    """Make, read, keep, share and drop more than the store has room for."""
    chance = context.random
    alive: list[tuple[str, str, ObjectRef]] = []  # key of the task, name of the value
    kept: list[tuple[str, Array]] = []
    readers: list[tuple[str, list[str], ObjectRef]] = []
    shelved: list[ObjectRef] = []
    shelf = ActorClass(Shelf, {"num_cpus": 0}).remote(chance.randint(1, 3))
    for number in range(context.scale + 6):
        key = f"{context.name}/{number}"
        kind = chance.choice(("make", "make", "put", "read", "read", "keep", "shelve", "same", "drop"))
        some = chance.sample(alive, min(len(alive), chance.randint(1, 3)))
        if kind == "make":
            alive.append((key, key, submit(make, key, context.seconds() / 4, retries=-1)))
        elif kind == "put":
            alive.append(("", key, put(numbers(key))))
        elif kind == "read" and some:
            names = [name for _, name, _ in some]
            made = submit(read, key, context.seconds(), names, *[ref for _, _, ref in some], retries=-1)
            readers.append((key, names, made))
        elif kind == "keep" and some:
            _keep(kept, some[0][1], some[0][2])
        elif kind == "shelve" and some:
            name, ref = some[0][1:]
            shelved.append(shelf.add.remote(name, *chance.choice(((ref, []), (None, [ref]), (ref, [ref])))))
        elif kind == "same" and some:
            alive.append((key, some[0][1], submit(same, key, context.seconds() / 4, some[0][2], retries=-1)))
        elif kind == "drop" and alive:
            _drop(alive, chance.randrange(len(alive)))
        del some
        del kept[: -chance.randint(1, 4)]
        for name, array in kept:
            look(name, array)
        if chance.random() < 0.3:
            sleep(context.seconds())
    while alive:
        _drop(alive, 0)
    for key, names, made in readers:
        found = outcome(key, made)
        if isinstance(found, Exception):
            _excuse(key, found)
        else:
            assert found == value_of(key, *names)
    for ref in shelved:
        try:
            get(ref)
        except _LOST as error:
            _excuse("the shelf", error)
    for name, array in kept:
        look(name, array)
    close(context.name)


def _keep(kept: list[tuple[str, Array]], name: str, ref: ObjectRef) -> None:
    try:
        kept.append((name, get(ref)))
    except _LOST as error:
        _excuse(name, error)


def _drop(alive: list[tuple[str, str, ObjectRef]], index: int) -> None:
    key, _, _ = alive.pop(index)
    if key:
        active().book.ended(key, "dropped")


def _excuse(name: str, error: Exception) -> None:
    if isinstance(error, _LOST):
        assert active().book.kills, f"{name} was lost, and nothing was killed: {error!r}"
    else:
        judge(name, error, depends=True)


CROWDING = {"crowd": crowd}
