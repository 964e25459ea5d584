"""Actors that take a newer definition of their class, and keep their state."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

import himalia
from himalia.cluster.core.upgrade import move_state, redefinition
from himalia.util import upgrade

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands for the notebook's main module."""
    made = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", made)
    return made


def define(notebook: ModuleType, text: str) -> Any:
    exec(f"import asyncio, himalia\n@himalia.remote\n{text}", notebook.__dict__)
    return notebook.Counter


OLD = """class Counter:
    def __init__(self, n): self.n = n
    def add(self): self.n += 1; return self.n
    def gone(self): return 'old'
"""
NEW = """class Counter:
    step = 100
    def __init__(self, n): raise RuntimeError('not run')
    def add(self, times=1): self.n += self.step * times; return self.n
    def fresh(self): return type(self).__name__
"""


def test_an_upgraded_actor_keeps_its_state_and_has_the_new_methods(notebook: ModuleType) -> None:
    actor = define(notebook, OLD).remote(5)
    assert himalia.get([actor.add.remote(), actor.add.remote()]) == [6, 7]
    assert "defined anew" not in repr(actor)
    define(notebook, NEW)
    assert "its class was defined anew since, .upgrade() moves it there" in repr(actor)
    before = [actor.add.remote() for _ in range(3)]
    upgrade(actor)
    assert himalia.get(before) == [8, 9, 10]
    assert himalia.get(actor.add.remote(times=2)) == 210
    assert himalia.get(actor.fresh.remote()) == "Counter"
    assert "defined anew" not in repr(actor)
    with pytest.raises(AttributeError, match="gone"):
        actor.gone.remote()


def test_a_cell_that_is_executed_again_unchanged_is_no_new_definition(notebook: ModuleType) -> None:
    actor = define(notebook, OLD).remote(5)
    define(notebook, OLD)
    assert redefinition(actor) is None
    with pytest.raises(ValueError, match="no newer definition of Counter"):
        upgrade(actor)


def test_upgrade_is_an_attribute_unless_the_actor_has_such_a_method(notebook: ModuleType) -> None:
    actor = define(notebook, OLD).remote(5)
    define(notebook, NEW)
    actor.upgrade()
    assert himalia.get(actor.add.remote()) == 105
    own = define(notebook, "class Counter:\n    def upgrade(self): return 'own'").remote()
    assert himalia.get(own.upgrade.remote()) == "own"


def test_a_named_actor_is_found_with_its_new_methods_and_restarts_as_the_new_class(notebook: ModuleType) -> None:
    actor = define(notebook, OLD).options(name="upgraded", max_restarts=1).remote(5)
    himalia.get(actor.add.remote())
    new = define(notebook, NEW.replace("raise RuntimeError('not run')", "self.n = -n"))
    found = himalia.get_actor("upgraded")
    with pytest.raises(ValueError, match="made elsewhere: give the new class"):
        upgrade(found)
    upgrade(found, new)
    assert himalia.get(himalia.get_actor("upgraded").fresh.remote()) == "Counter"
    himalia.kill(actor, no_restart=False)
    assert himalia.get(found.add.remote()) == 95


def test_other_handles_reach_the_new_methods_of_old_names(notebook: ModuleType) -> None:
    actor = define(notebook, OLD).remote(5)

    @himalia.remote
    def use(handle: Any) -> Any:
        return himalia.get(handle.add.remote())

    assert himalia.get(use.remote(actor)) == 6
    define(notebook, NEW)
    upgrade(actor)
    assert himalia.get(use.remote(actor)) == 106


def test_an_asynchronous_actor_goes_on_with_what_it_runs(notebook: ModuleType) -> None:
    text = """class Counter:
    def __init__(self): self.gate, self.n = asyncio.Event(), 0
    async def wait(self):
        await self.gate.wait()
        self.n += 1
        return '{0}'
    async def open(self): self.gate.set(); return self.n
    async def count(self): return self.n
"""
    actor = define(notebook, text.format("old")).remote()
    waiting = actor.wait.remote()
    himalia.get(actor.count.remote())
    define(notebook, text.format("new"))
    upgrade(actor)
    himalia.get(actor.open.remote())
    assert himalia.get([waiting, actor.wait.remote()]) == ["old", "new"]
    assert himalia.get(actor.count.remote()) == 2


def test_what_can_not_be_upgraded_says_why_and_goes_on(notebook: ModuleType) -> None:
    actor = define(notebook, OLD).remote(5)
    define(notebook, "class Counter:\n    async def add(self): ...")
    with pytest.raises(TypeError, match="the new Counter has coroutine methods, the running actor has none"):
        upgrade(actor)
    define(notebook, "class Counter:\n    def __setstate__(self, state): raise KeyError('no such state')")
    with pytest.raises(KeyError, match="no such state"):
        upgrade(actor)
    assert himalia.get(actor.add.remote()) == 6
    with pytest.raises(TypeError, match="takes an actor handle, got a int"):
        upgrade(3)  # type: ignore[arg-type]


# What a state is ------------------------------------------------------------------------------------------------------


def test_attributes_are_shared_not_copied() -> None:
    class Old:
        def __init__(self) -> None:
            self.a = 1

    class New: ...

    old = Old()
    new = move_state(old, New)
    old.a = 2
    assert (type(new), new.a) == (New, 2)


def test_getstate_and_setstate_are_used_where_there_are_any() -> None:
    class Old:
        value = 3

        def __getstate__(self) -> Any:
            return {"v": self.value}

    class New:
        def __setstate__(self, state: Any) -> None:
            self.given = state

    class Plain: ...

    assert move_state(Old(), New).given == {"v": 3}
    assert move_state(Old(), Plain).v == 3


def test_slots_go_into_slots_and_attributes() -> None:
    class Old:
        __slots__ = ("a", "b")

    class New:
        __slots__ = ("__dict__", "b")

    old = Old()
    old.a, old.b = 1, 2  # type: ignore[attr-defined]
    new = move_state(old, New)
    assert (new.a, new.b) == (1, 2)
    assert new.__dict__ == {"a": 1}
