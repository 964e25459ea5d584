"""Run the type checker over the package as users import it.

The folders of the repository are not nested the way their import paths are (`cluster/` is `himalia.cluster`), and a
type checker follows folders. So this builds `.typecheck/himalia/` out of symbolic links in the shape of the installed
package, reading the mapping from pyproject.toml, and points mypy at it. Paths in messages are translated back.

Usage: python tools/typecheck.py [mypy arguments]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / ".typecheck"


def folder_mapping(pyproject: Path) -> dict[str, str]:
    """The packages pyproject.toml gives a folder of their own, as ``{"himalia.cluster": "cluster", ...}``."""
    with pyproject.open("rb") as file:
        mapping: dict[str, str] = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    return mapping


def build_tree(root: Path, tree: Path, mapping: dict[str, str]) -> dict[str, str]:
    """Link the source folders into ``tree`` as the installed package has them.

    Returns the prefixes to translate in messages: path within the tree to path within the repository.
    """
    shutil.rmtree(tree, ignore_errors=True)
    prefixes: dict[str, str] = {}
    # Parents first: `himalia` must exist before `himalia.cluster` is linked into it.
    for package, folder in sorted(mapping.items()):
        if not any((root / folder).rglob("*.py")):
            continue
        place = tree.joinpath(*package.split("."))
        prefixes[f"{place.relative_to(tree)}/"] = f"{folder}/"
        if any(other.startswith(package + ".") for other in mapping):
            # Other folders go inside this one, so it is a real folder here and its entries are the links.
            place.mkdir(parents=True)
            for entry in (root / folder).iterdir():
                if entry.name != "__pycache__":
                    (place / entry.name).symlink_to(entry)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(root / folder, target_is_directory=True)
    return prefixes


def main(arguments: list[str]) -> int:
    prefixes = build_tree(ROOT, TREE, folder_mapping(ROOT / "pyproject.toml"))
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    run = subprocess.run(
        [sys.executable, "-m", "mypy", *config, "-p", "himalia", *arguments],
        cwd=TREE,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    # The longest prefix first: `himalia/cluster/` is also below `himalia/`.
    longest_first = sorted(prefixes.items(), key=lambda item: -len(item[0]))
    for line in run.stdout.splitlines():
        for inside, outside in longest_first:
            if line.startswith(inside):
                line = outside + line.removeprefix(inside)
                break
        print(line)
    return run.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
