"""Something runs after a module was imported, and only then."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from himalia.cluster.worker.import_hooks import ImportHooks


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with a module in it, not imported."""
    name = "hooked_package"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("value = 1\n")
    (tmp_path / name / "part.py").write_text("from . import value\nvalue += 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for module in (name, f"{name}.part"):
        sys.modules.pop(module, None)


@pytest.fixture
def seen() -> list[Any]:
    return []


def test_a_hook_is_called_once_after_the_module_has_run(package: str, seen: list[Any]) -> None:
    hooks = ImportHooks({f"{package}.part": lambda module: seen.append(module.value)})
    hooks.install()
    try:
        importlib.import_module(package)
        assert seen == []
        part = importlib.import_module(f"{package}.part")
        assert seen == [2]
        importlib.reload(part)
        assert seen == [2]
        assert part.__loader__ is part.__spec__.loader
        assert part.__loader__.get_source(part.__name__).startswith("from")  # type: ignore[union-attr]
    finally:
        hooks.remove()
    assert hooks not in sys.meta_path


def test_what_is_imported_already_is_adapted_at_once(package: str, seen: list[Any]) -> None:
    importlib.import_module(package)
    hooks = ImportHooks({package: lambda module: seen.append(module.__name__)})
    hooks.install()
    hooks.remove()
    assert seen == [package]


def test_a_module_that_is_not_there_can_come_later(package: str, seen: list[Any], tmp_path: Path) -> None:
    hooks = ImportHooks({f"{package}.late": lambda module: seen.append(module.__name__)})
    hooks.install()
    try:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"{package}.late")
        (tmp_path / package / "late.py").write_text("")
        importlib.invalidate_caches()
        importlib.import_module(f"{package}.late")
        assert seen == [f"{package}.late"]
    finally:
        hooks.remove()
        sys.modules.pop(f"{package}.late", None)
