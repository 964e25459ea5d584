"""The front end that is committed is what its sources give, and an installation has it."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import pytest

from himalia.kernel_ext import lab
from tests.support.source_tree import ROOT
from tools.build_lab import LAB, OUTPUT, built_hash, content, source_hash

MANIFEST = json.loads((OUTPUT / "package.json").read_text())
INSTALLED = Path(sys.prefix)


def test_the_committed_output_was_made_of_the_committed_sources() -> None:
    assert built_hash() == source_hash(), (
        "kernel_ext/lab was changed and not built: run ./go lab, and commit the output"
    )


def test_the_output_holds_what_the_browser_is_told_to_load_and_no_source_maps() -> None:
    files = content(OUTPUT)
    assert MANIFEST["jupyterlab"]["_build"]["load"] in files
    assert not [name for name in files if name.endswith(".map")]
    assert sum(map(len, files.values())) < 200_000


def test_its_version_is_that_of_the_package() -> None:
    assert importlib.metadata.version("himalia").startswith(MANIFEST["version"])


def test_every_command_with_a_shortcut_exists() -> None:
    schema = json.loads((LAB / "schema" / "plugin.json").read_text())
    commands = (LAB / "src" / "commands.ts").read_text()
    shortcuts = schema["jupyter.lab.shortcuts"]
    assert shortcuts
    assert not [one["command"] for one in shortcuts if f"'{one['command']}'" not in commands]


def test_the_installation_has_this_output() -> None:
    installed = INSTALLED / "share/jupyter/labextensions/himalia"
    if not installed.exists():
        pytest.fail(f"{installed} is missing: pip install -e . again, or run ./go test")
    found = content(installed)
    assert json.loads(found.pop("install.json"))["packageName"] == "himalia"
    stale = "this environment has an older front end: pip install -e . again, or run ./go test"
    assert found == content(OUTPUT), stale


def test_the_installation_enables_the_part_of_the_server() -> None:
    file = INSTALLED / "etc/jupyter/jupyter_server_config.d/himalia.json"
    enabled = json.loads(file.read_text())["ServerApp"]["jpserver_extensions"]
    assert enabled == {point["module"]: True for point in lab._jupyter_server_extension_points()}


def test_every_file_of_the_output_is_declared_to_be_installed() -> None:
    import tomllib

    with (ROOT / "pyproject.toml").open("rb") as file:
        places = tomllib.load(file)["tool"]["setuptools"]["data-files"]
    declared = {path for patterns in places.values() for pattern in patterns for path in ROOT.glob(pattern)}
    assert not [path for path in OUTPUT.rglob("*") if path.is_file() and path not in declared]
