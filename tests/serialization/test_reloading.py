"""Modules executed again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from himalia.cluster.serialization.reloading import AdoptedCode, ModuleText, hash_of, reload_module

NAME = "himalia_test_edited"


@pytest.fixture
def module() -> Iterator[ModuleType]:
    made = ModuleType(NAME)
    sys.modules[NAME] = made
    yield made
    sys.modules.pop(NAME, None)


def load(module: ModuleType, text: str) -> None:
    """Execute a text in it for the first time."""
    exec(compile(text, "edited.py", "exec"), module.__dict__)


def edit(module: ModuleType, text: str) -> None:
    reload_module(module, ModuleText(NAME, "edited.py", False, text.encode()))


def test_a_function_is_changed_in_place(module: ModuleType) -> None:
    load(module, "def f(a, b=1): return a + b")
    f = module.f
    edit(module, "def f(a, b=2, *, c=10): return a + b + c")
    assert module.f is f
    assert f(1) == 13


def test_a_decorated_function_calls_what_it_wraps_now(module: ModuleType) -> None:
    text = (
        "import functools\ndef twice(g):\n    @functools.wraps(g)\n    def wrapper(): return g() * 2\n"
        "    return wrapper\n@twice\ndef f(): return {0}\n"
    )
    load(module, text.format(1))
    f = module.f
    edit(module, text.format(5))
    assert f() == module.f() == 10


def test_instances_subclasses_and_super_follow(module: ModuleType) -> None:
    text = (
        "class A:\n    kind = '{0}'\n    def name(self): return '{0}'\n"
        "class B(A):\n    def name(self): return super().name() + __class__.__name__\n"
        "    @classmethod\n    def make(cls): return cls()\n    @property\n    def p(self): return super().name()\n"
        "single = B()\n"
    )
    load(module, text.format("old"))
    cls, instance = module.B, module.B()
    edit(module, text.format("new"))
    assert module.B is cls
    assert (instance.name(), instance.kind, instance.p, cls.make().name()) == ("newB", "new", "new", "newB")
    assert type(module.single) is cls


def test_members_that_are_gone_go_and_new_bases_come(module: ModuleType) -> None:
    load(module, "class M:\n    def extra(self): return 1\nclass A:\n    def gone(self): ...\nclass B(A): ...")
    instance = module.B()
    edit(module, "class M:\n    def extra(self): return 1\nclass A: ...\nclass B(A, M): ...")
    assert not hasattr(instance, "gone")
    assert instance.extra() == 1


def test_what_can_not_be_changed_in_place_is_replaced(module: ModuleType) -> None:
    text = "from enum import Enum\nclass E(Enum):\n    A = {0}\nclass S:\n    __slots__ = ('{1}',)\nname = {0}\n"
    load(module, text.format(1, "x"))
    old = module.E, module.S
    edit(module, text.format(2, "y"))
    assert module.E is not old[0]
    assert module.E.A.value == 2
    assert module.S.__slots__ == ("y",)
    assert module.name == 2


def test_names_that_are_gone_go_and_a_packages_modules_stay(module: ModuleType) -> None:
    load(module, "old = 1")
    module.part = sys.modules[f"{NAME}.part"] = ModuleType(f"{NAME}.part")  # type: ignore[attr-defined]
    try:
        edit(module, "new = 1")
        assert not hasattr(module, "old")
        assert module.part is sys.modules[f"{NAME}.part"]
        assert module.__name__ == NAME
    finally:
        del sys.modules[f"{NAME}.part"]


@pytest.mark.parametrize("text", ["def f(: pass", "f = 2\nraise ValueError('in the middle')"])
def test_a_text_that_fails_changes_nothing(module: ModuleType, text: str) -> None:
    load(module, "def f(): return 1")
    f = module.f
    with pytest.raises((SyntaxError, ValueError)):
        edit(module, text)
    assert module.f is f
    assert f() == 1


class Store:
    """Texts by hash, as the key-value store has them."""

    def __init__(self) -> None:
        self.payloads: dict[bytes, bytes] = {}
        self.asked = 0

    def put(self, text: str, path: str = "edited.py") -> str:
        payload = ModuleText(NAME, path, False, text.encode()).payload()
        self.payloads[bytes.fromhex(hash_of(payload))] = payload
        return hash_of(payload)

    def fetch(self, content: bytes) -> bytes:
        self.asked += 1
        return self.payloads[content]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def adopted(store: Store) -> Iterator[AdoptedCode]:
    finder = AdoptedCode(store.fetch)
    yield finder
    if finder in sys.meta_path:
        sys.meta_path.remove(finder)


def test_versions_only_go_up(module: ModuleType, store: Store, adopted: AdoptedCode) -> None:
    load(module, "x = 0")
    first, second = store.put("x = 1"), store.put("x = 2")
    assert adopted.adopt({NAME: (2, second)}) == [NAME]
    assert adopted.adopt({NAME: (1, first)}) == []
    assert adopted.adopt({NAME: (2, second)}) == []
    assert (module.x, store.asked) == (2, 1)
    assert adopted.code == {NAME: (2, second)}


def test_a_module_that_is_imported_later_comes_from_the_text(
    tmp_path: Path, store: Store, adopted: AdoptedCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"{NAME}.py"
    path.write_text("x = 'file'")
    monkeypatch.syspath_prepend(str(tmp_path))
    adopted.adopt({NAME: (1, store.put("x = 'text'", str(path)))})
    try:
        imported = __import__(NAME)
        assert imported.x == "text"
        assert imported.__file__ == str(path)
    finally:
        sys.modules.pop(NAME, None)


def test_a_text_that_fails_is_tried_again(module: ModuleType, store: Store, adopted: AdoptedCode) -> None:
    load(module, "x = 0")
    broken = store.put("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            adopted.adopt({NAME: (1, broken)})
    assert adopted.code == {}
    adopted.adopt({NAME: (2, store.put("x = 3"))})
    assert module.x == 3
