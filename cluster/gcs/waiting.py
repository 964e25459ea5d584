"""The actors that no node has room for, by class."""

from __future__ import annotations

from ..protocol.common import Resources
from ..protocol.gcs_messages import ActorSpec
from .actor_record import Actor

__all__ = ["WaitingActors"]

ClassKey = tuple[frozenset[tuple[str, int]], frozenset[tuple[str, int]], str, frozenset[tuple[str, str]]]


def _class_of(spec: ActorSpec) -> ClassKey:
    return (
        frozenset(spec.resources.items()),
        frozenset(spec.placement.items()),
        spec.strategy,
        frozenset(spec.labels.items()),
    )


class WaitingActors:
    """First come, first served within a class; classes do not block each other."""

    def __init__(self) -> None:
        self._classes: dict[ClassKey, dict[bytes, Actor]] = {}
        self._warned: set[ClassKey] = set()

    def add(self, actor: Actor) -> None:
        self._classes.setdefault(_class_of(actor.spec), {})[actor.actor_id] = actor

    def remove(self, actor: Actor) -> None:
        key = _class_of(actor.spec)
        members = self._classes.get(key)
        if members is not None and members.pop(actor.actor_id, None) is not None and not members:
            del self._classes[key]
            self._warned.discard(key)

    def __contains__(self, actor: Actor) -> bool:
        return actor.actor_id in self._classes.get(_class_of(actor.spec), {})

    def __len__(self) -> int:
        return sum(len(members) for members in self._classes.values())

    def heads(self) -> list[bytes]:
        """The first of each class."""
        return [next(iter(members)) for members in self._classes.values()]

    def following(self, actor: Actor) -> bytes | None:
        """Who is first in the class of an actor that left it."""
        return next(iter(self._classes.get(_class_of(actor.spec), {})), None)

    def is_warned(self, actor: Actor) -> bool:
        """Whether the user was told that its class fits nowhere: once while it waits, not once for each actor."""
        return _class_of(actor.spec) in self._warned

    def set_warned(self, actor: Actor) -> None:
        self._warned.add(_class_of(actor.spec))

    def demand(self) -> list[tuple[Resources, int]]:
        """What they will hold, and how many of each."""
        return [(next(iter(members.values())).spec.resources, len(members)) for members in self._classes.values()]
