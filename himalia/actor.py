"""Actors: what is needed beyond `himalia.remote`."""

from __future__ import annotations

from himalia.cluster.core.actor_class import ActorClass, ActorHandle, ActorMethod, method
from himalia.cluster.core.api import exit_actor

__all__ = ["ActorClass", "ActorHandle", "ActorMethod", "exit_actor", "method"]
