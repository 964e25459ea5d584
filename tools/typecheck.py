"""Run the type checker over the package as users import it.

The folders of the repository are not nested the way their import paths are (`cluster/` is `himalia.cluster`), and a
type checker follows folders. So this builds `.typecheck/himalia/` out of symbolic links in the shape of the installed
package, reading the mapping from pyproject.toml, and points mypy at it. Paths in messages are translated back.

Usage: python tools/typecheck.py [mypy arguments]
"""

from __future__ import annotations

import contextlib
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

    Links that are right already stay, as another run may be reading them at this moment.

    Returns the prefixes to translate in messages: path within the tree to path within the repository.
    """
    links: dict[Path, Path] = {}
    prefixes: dict[str, str] = {}
    for package, folder in mapping.items():
        source = root / folder
        if not any(source.rglob("*.py")):
            continue
        place = tree.joinpath(*package.split("."))
        prefixes[f"{place.relative_to(tree)}/"] = f"{folder}/"
        if any(other.startswith(package + ".") for other in mapping):
            # Other folders go inside this one, so it is a real folder there and its entries are the links.
            links |= {place / entry.name: entry for entry in source.iterdir() if entry.name != "__pycache__"}
        else:
            links[place] = source
    for link in [path for path in tree.rglob("*") if path.is_symlink()]:
        if links.get(link) != link.readlink():
            link.unlink(missing_ok=True)
    for link, target in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            link.symlink_to(target)
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
