"""The type checker sees the folders as the package that users import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.source_tree import ROOT
from tools.typecheck import build_tree, folder_mapping

MAPPING = {"himalia": "himalia", "himalia.cluster": "cluster", "himalia.dashboard": "dashboard"}


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_folders_are_linked_where_their_import_path_says(tmp_path: Path) -> None:
    _write(tmp_path, himalia__api="", cluster__core__refs="")
    prefixes = build_tree(tmp_path, tmp_path / "tree", MAPPING)
    assert (tmp_path / "tree/himalia/api.py").resolve() == tmp_path / "himalia/api.py"
    assert (tmp_path / "tree/himalia/cluster/core/refs.py").resolve() == tmp_path / "cluster/core/refs.py"
    assert prefixes == {"himalia/": "himalia/", "himalia/cluster/": "cluster/"}


def test_a_folder_without_code_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path, himalia__api="")
    (tmp_path / "dashboard").mkdir()
    build_tree(tmp_path, tmp_path / "tree", MAPPING)
    assert not (tmp_path / "tree/himalia/dashboard").exists()


def test_the_tree_follows_the_sources(tmp_path: Path) -> None:
    _write(tmp_path, himalia__old="")
    build_tree(tmp_path, tmp_path / "tree", MAPPING)
    (tmp_path / "himalia/old.py").rename(tmp_path / "himalia/new.py")
    build_tree(tmp_path, tmp_path / "tree", MAPPING)
    assert [path.name for path in (tmp_path / "tree/himalia").iterdir()] == ["new.py"]


def test_the_mapping_is_that_of_pyproject() -> None:
    assert folder_mapping(ROOT / "pyproject.toml")["himalia.cluster"] == "cluster"


def test_an_error_is_found_across_folders_and_named_by_its_real_path(tmp_path: Path) -> None:
    _write(
        tmp_path,
        himalia____init__="",
        himalia__api="from himalia.cluster.refs import size\n\nname: str = size(1)\n",
        cluster____init__="",
        cluster__refs="def size(of: int) -> int:\n    return of + 'one'\n",
        tools__typecheck=(ROOT / "tools/typecheck.py").read_text(),
    )
    (tmp_path / "pyproject.toml").write_text(
        "[tool.setuptools.package-dir]\nhimalia = 'himalia'\n'himalia.cluster' = 'cluster'\n"
        "[tool.mypy]\nstrict = true\n"
    )
    run = subprocess.run(
        [sys.executable, "tools/typecheck.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "himalia/api.py:3: error: Incompatible types in assignment" in run.stdout
    assert "\ncluster/refs.py:2: error" in "\n" + run.stdout
