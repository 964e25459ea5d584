"""What pip installs is what the repository holds."""

from __future__ import annotations

import importlib
import importlib.metadata
from pathlib import Path, PurePosixPath

import pytest

from tests.support.source_tree import OPTIONAL_LIBRARIES, Module, SourceTree

TREE = SourceTree.read()
MODULES = [module for module in TREE.modules() if module.path.stem != "__main__"]


def test_every_package_folder_is_listed() -> None:
    missing = TREE.packages_on_disk() - set(TREE.listed)
    assert not missing, f"add to [tool.setuptools] packages in pyproject.toml: {sorted(missing)}"


def test_every_listed_package_exists() -> None:
    gone = set(TREE.listed) - TREE.packages_on_disk()
    assert not gone, f"remove from [tool.setuptools] packages in pyproject.toml: {sorted(gone)}"


def test_every_package_folder_has_an_init() -> None:
    assert not TREE.packages_without_init()


def test_every_top_level_package_is_mapped_to_its_import_path() -> None:
    unmapped = TREE.unmapped_folders()
    assert not unmapped, f"add to [tool.setuptools.package-dir] in pyproject.toml: {sorted(unmapped)}"


def test_every_file_beside_the_code_gets_into_the_wheel() -> None:
    missing = TREE.unpackaged_files()
    assert not missing, f"no pattern of [tool.setuptools.package-data] matches: {sorted(missing)}"


def test_import_path_is_himalia_and_the_path_in_the_repository() -> None:
    for module in MODULES:
        parts = module.place.with_suffix("").parts
        expected = [part for part in ("himalia", *parts) if part != "__init__"]
        if parts[0] == "himalia":
            expected = expected[1:]
        assert module.name == ".".join(expected)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.place))
def test_module_exports_what_it_names(module: Module) -> None:
    try:
        imported = importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in OPTIONAL_LIBRARIES:
            pytest.skip(f"{error.name} is not installed")
        raise
    names = getattr(imported, "__all__", None)
    if names is None:
        assert not module.is_public, f"{module.name} is public and has no __all__"
        return
    assert len(set(names)) == len(names), "a name appears twice"
    unresolved = [name for name in names if not hasattr(imported, name)]
    assert not unresolved


def test_installed_version_is_that_of_the_repository() -> None:
    import tomllib

    with (TREE.root / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["version"]
    assert importlib.metadata.version("himalia") == declared


# The checker itself ---------------------------------------------------------------------------------------------------


def _repository(root: Path, *files: str, packages: tuple[str, ...] = ("himalia",)) -> SourceTree:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return SourceTree(root, {"himalia": "himalia", "himalia.cluster": "cluster"}, list(packages), ["py.typed", "*.js"])


def test_checker_finds_a_package_below_a_mapped_folder(tmp_path: Path) -> None:
    tree = _repository(tmp_path, "himalia/__init__.py", "cluster/gcs/storage/sqlite.py")
    assert tree.packages_on_disk() == {"himalia", "himalia.cluster.gcs.storage"}
    assert tree.folder_of("himalia.cluster.gcs.storage") == tmp_path / "cluster/gcs/storage"


def test_checker_finds_a_missing_init(tmp_path: Path) -> None:
    tree = _repository(tmp_path, "himalia/__init__.py", "cluster/gcs/server.py")
    assert tree.packages_without_init() == {"himalia.cluster.gcs"}


def test_checker_finds_an_unmapped_folder(tmp_path: Path) -> None:
    tree = _repository(tmp_path, "himalia/__init__.py", "libraries/__init__.py", "tests/__init__.py")
    assert tree.unmapped_folders() == {"libraries"}


def test_checker_finds_a_file_a_wheel_would_leave_out(tmp_path: Path) -> None:
    tree = _repository(tmp_path, "himalia/__init__.py", "himalia/py.typed", "himalia/view.js", "himalia/table.csv")
    assert tree.unpackaged_files() == {"himalia/table.csv"}


def test_checker_names_modules_by_their_path(tmp_path: Path) -> None:
    tree = _repository(tmp_path, "cluster/__init__.py", "cluster/core/refs.py", "himalia/util/_pool.py")
    modules = {module.place: module for module in tree.modules()}
    assert modules[PurePosixPath("cluster/__init__.py")].name == "himalia.cluster"
    assert modules[PurePosixPath("cluster/core/refs.py")].name == "himalia.cluster.core.refs"
    assert not modules[PurePosixPath("cluster/core/refs.py")].is_public
    assert not modules[PurePosixPath("himalia/util/_pool.py")].is_public
