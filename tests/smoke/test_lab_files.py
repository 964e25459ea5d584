"""A wheel brings the JupyterLab extension, and has it enabled, without a step more."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

import himalia

FILES = (
    "share/jupyter/labextensions/himalia/package.json",
    "share/jupyter/labextensions/himalia/install.json",
    "etc/jupyter/jupyter_server_config.d/himalia.json",
)


@pytest.mark.skipif(
    "site-packages" not in himalia.__file__, reason="a checkout: tests/kernel_ext/lab compares its files"
)
def test_the_files_of_the_extension_are_where_jupyter_looks() -> None:
    assert not [name for name in FILES if not (Path(sys.prefix) / name).is_file()]
    recorded = [str(path) for path in importlib.metadata.files("himalia") or ()]
    assert any("labextensions/himalia/static/remoteEntry." in path for path in recorded)
    assert not [path for path in recorded if path.endswith(("yarn.lock", ".ts", ".tsx", "tsconfig.json"))]
