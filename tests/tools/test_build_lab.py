"""The hash by which a front end knows its sources."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tools.build_lab import LAB, _write_core, built_hash, source_hash, sources


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for path in sources():
        place = tmp_path / path.relative_to(LAB)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    return tmp_path


def test_a_copy_of_the_sources_has_their_hash(copy: Path) -> None:
    assert source_hash(copy) == source_hash()


@pytest.mark.parametrize("name", ["src/index.ts", "style/base.css", "schema/plugin.json", "package.json", "yarn.lock"])
def test_any_change_gives_another_hash(copy: Path, name: str) -> None:
    file = copy / name
    file.write_bytes(file.read_bytes() + b"\n")
    assert source_hash(copy) != source_hash()


def test_a_file_of_another_name_gives_another_hash(copy: Path) -> None:
    (copy / "src" / "api.ts").rename(copy / "src" / "server.ts")
    assert source_hash(copy) != source_hash()


def test_an_output_that_says_nothing_has_no_hash(tmp_path: Path) -> None:
    assert built_hash(tmp_path) == ""
    (tmp_path / "package.json").write_text("{}")
    assert built_hash(tmp_path) == ""


def test_all_that_the_front_end_uses_of_jupyterlab_is_left_to_jupyterlab(copy: Path) -> None:
    _write_core(copy)
    core = json.loads((copy / "core" / "package.json").read_text())
    used = json.loads((copy / "package.json").read_text())["dependencies"]
    assert core["dependencies"] == used
    assert core["jupyterlab"]["singletonPackages"] == sorted(used)
