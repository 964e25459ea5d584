"""The source folders as pyproject.toml declares them: which exist, which are listed, what lies in them."""

from __future__ import annotations

import dataclasses
import fnmatch
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]

#: Top-level folders whose Python files are not part of the installed package.
NOT_PACKAGES = frozenset({"bench", "build", "deploy", "dist", "docs", "node_modules", "notebooks", "tests", "tools"})

#: Libraries that only some extras install: a module that needs one is not imported where that is missing.
OPTIONAL_LIBRARIES = frozenset({"asyncssh", "fsspec", "greenlet", "kubernetes", "matplotlib", "ray", "redis", "torch"})


@dataclasses.dataclass(frozen=True, slots=True)
class SourceTree:
    """A repository and what its pyproject.toml says about packages.

    Attributes
    ----------
    mapping
        Package to folder, for the packages that have a folder of their own: ``{"himalia.cluster": "cluster"}``.
    listed
        The packages a wheel contains.
    data_patterns
        File name patterns of what a wheel contains besides Python files.
    left_out
        By package, file name patterns of what it leaves out on purpose.
    """

    root: Path
    mapping: dict[str, str]
    listed: list[str]
    data_patterns: list[str]
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, root: Path = ROOT) -> SourceTree:
        with (root / "pyproject.toml").open("rb") as file:
            setuptools = tomllib.load(file)["tool"]["setuptools"]
        patterns = setuptools.get("package-data", {}).get("*", [])
        left_out = setuptools.get("exclude-package-data", {})
        return cls(root, setuptools["package-dir"], setuptools["packages"], patterns, left_out)

    def folder_of(self, package: str) -> Path:
        """The folder of a package, by the longest mapped prefix of its name."""
        prefix = package
        while prefix not in self.mapping:
            prefix = prefix.rpartition(".")[0]
        rest = package.removeprefix(prefix).strip(".")
        return self.root.joinpath(self.mapping[prefix], *filter(None, rest.split(".")))

    def packages_on_disk(self) -> set[str]:
        """The packages there should be: each mapped folder, and each below it, that contains Python files."""
        return {module.package for module in self.modules()}

    def modules(self) -> Iterator[Module]:
        """Every Python file of the mapped folders, in a stable order."""
        for root_package, folder in self.mapping.items():
            base = self.root / folder
            for path in sorted(base.rglob("*.py")):
                inside = path.relative_to(base)
                if {"__pycache__", "node_modules"} & set(inside.parts):
                    continue
                package = ".".join([root_package, *inside.parts[:-1]])
                yield Module(path, PurePosixPath(folder, *inside.parts), package)

    def unmapped_folders(self) -> set[str]:
        """Top-level folders with an ``__init__.py`` that pyproject.toml does not know."""
        found = {init.parent.name for init in self.root.glob("*/__init__.py")}
        return {name for name in found - set(self.mapping.values()) - NOT_PACKAGES if not name.startswith(".")}

    def packages_without_init(self) -> set[str]:
        return {p for p in self.packages_on_disk() if not (self.folder_of(p) / "__init__.py").is_file()}

    def unpackaged_files(self) -> set[str]:
        """Files next to Python files that no pattern of ``package-data`` would put into a wheel."""
        missing = set()
        for package in self.packages_on_disk():
            known = [*self.data_patterns, *self.left_out.get(package, [])]
            for path in self.folder_of(package).iterdir():
                if not path.is_file() or path.suffix in (".py", ".pyc") or path.name.startswith("."):
                    continue
                if not any(fnmatch.fnmatch(path.name, pattern) for pattern in known):
                    missing.add(str(path.relative_to(self.root)))
        return missing


@dataclasses.dataclass(frozen=True, slots=True)
class Module:
    """One Python file: where it is, its path in the repository, and the package it belongs to."""

    path: Path
    place: PurePosixPath
    package: str

    @property
    def name(self) -> str:
        """The name it is imported by."""
        return self.package if self.path.stem == "__init__" else f"{self.package}.{self.path.stem}"

    @property
    def is_public(self) -> bool:
        """Whether users import it: it belongs to the front door and no part of its name is private."""
        return self.place.parts[0] == "himalia" and not any(part.startswith("_") for part in self.name.split("."))
