"""A world of one node, unless a module makes its own."""

from __future__ import annotations

import pytest

from tests.object_store.world import Node, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def node(world: World) -> Node:
    return world[0]
