"""Build the front end of the JupyterLab extension: kernel_ext/lab/src into kernel_ext/lab/labextension.

The output is committed, so that neither users nor tests need Node. What it was made of is written into its
``package.json`` as a hash, by which a test sees that sources were changed and not built.

It is built in ``.lab-build``, since 200 MB of other people's files have no place in a folder of ours. JupyterLab's own
packages are not bundled but come from the JupyterLab that loads the extension; the versions it must have at least are
those of ``dependencies``, the oldest that we support, and what is checked by the compiler are the ``resolutions``.
Rejected: the core's description from the installed JupyterLab, as ``jupyter labextension build`` takes it, since then
the output would differ with it, and refuse an older one.

Usage: python -m tools.build_lab [--check]    with --check, only say whether the committed output is what comes out
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
LAB: Final = ROOT / "kernel_ext" / "lab"
OUTPUT: Final = LAB / "labextension"
_WORK: Final = ROOT / ".lab-build"
_FILES: Final = (".yarnrc.yml", "package.json", "tsconfig.json", "webpack.config.js", "yarn.lock")
_FOLDERS: Final = ("schema", "src", "style")
_UNAVAILABLE: Final = 3  # exit status: not that something is wrong here


def sources(lab: Path = LAB) -> Iterator[Path]:
    """The files that the output is made of, in a stable order."""
    yield from (lab / name for name in _FILES)
    for folder in _FOLDERS:
        yield from sorted(path for path in (lab / folder).rglob("*") if path.is_file())


def source_hash(lab: Path = LAB) -> str:
    """A hash of the sources, and of their names."""
    digest = hashlib.sha256()
    for path in sources(lab):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(lab).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def built_hash(output: Path = OUTPUT) -> str:
    """The hash of the sources that an output was made of; empty if it does not say."""
    try:
        found: str = json.loads((output / "package.json").read_text())["himalia"]["sources"]
    except (OSError, ValueError, KeyError):
        return ""
    return found


def content(output: Path) -> dict[str, bytes]:
    """The files of an output, by their path in it."""
    return {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}


class UnavailableError(RuntimeError):
    """The packages that are needed could not be had."""


def build(work: Path = _WORK) -> Path:
    """Build; the folder with the output.

    Raises
    ------
    UnavailableError
        Packages could not be had.
    subprocess.CalledProcessError
        The compiler refused the sources, or they could not be bundled.
    """
    work.mkdir(exist_ok=True)
    for name in (*_FOLDERS, "lib", "labextension"):
        shutil.rmtree(work / name, ignore_errors=True)
    for path in sources():
        place = work / path.relative_to(LAB)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    _write_core(work)
    try:
        _run(work, _script("jlpm"), "install", "--immutable", "--mode=skip-build")
    except subprocess.CalledProcessError as error:
        raise UnavailableError("the packages of kernel_ext/lab/yarn.lock could not be installed") from error
    _run(work, _script("jlpm"), "run", "build:lib")
    _run(work, _script("jlpm"), "run", "build:labextension")
    output = work / "labextension"
    _stamp(output / "package.json")
    return output


def _write_core(work: Path) -> None:
    """What the builder takes for JupyterLab itself: our dependencies are all its packages, and none is bundled."""
    ranges: dict[str, str] = json.loads((work / "package.json").read_text())["dependencies"]
    core = {"name": "core", "dependencies": ranges, "jupyterlab": {"singletonPackages": sorted(ranges)}}
    (work / "core").mkdir(exist_ok=True)
    (work / "core" / "package.json").write_text(json.dumps(core, indent=2))


def _stamp(manifest: Path) -> None:
    """Say of what the output was made, and drop from its manifest what is of use for building only."""
    found: dict[str, Any] = json.loads(manifest.read_text())
    for name in ("devDependencies", "files", "resolutions", "scripts"):
        found.pop(name, None)
    found["himalia"] = {"sources": source_hash()}
    manifest.write_text(json.dumps(found, indent=2) + "\n")


def _script(name: str) -> str:
    place = Path(sysconfig.get_path("scripts")) / name
    if not place.exists():
        raise FileNotFoundError(f"{place} is missing: install himalia[lab], or run ./go lab")
    return str(place)


def _run(work: Path, *command: str) -> None:
    # The Node of this environment, for what these start in turn.
    path = f"{Path(_script('node')).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)  # long, and of interest only now
        done.check_returncode()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./go lab", description="Build the front end of the JupyterLab extension.")
    parser.add_argument("--check", action="store_true", help="only say whether the committed output is what comes out")
    check = parser.parse_args(arguments).check
    try:
        output = build()
    except UnavailableError as error:
        print(f"not built: {error}", file=sys.stderr)
        return _UNAVAILABLE
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(error.cmd)} failed", file=sys.stderr)
        return 1
    if check:
        new, old = content(output), content(OUTPUT)
        differing = sorted(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
        print(f"not what the sources give: {', '.join(differing)}" if differing else "as the sources give it")
        return 1 if differing else 0
    shutil.rmtree(OUTPUT, ignore_errors=True)
    shutil.copytree(output, OUTPUT)
    size = sum(map(len, content(OUTPUT).values()))
    print(f"{OUTPUT.relative_to(ROOT)}: {size / 1000:.0f} kB. Install again to use it: ./go does at its next command")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
