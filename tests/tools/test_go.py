"""The script behind README's commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT


def _go(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["./go", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=20)


def test_it_explains_its_commands() -> None:
    run = _go("--help")
    assert run.returncode == 0
    assert all(command in run.stdout for command in ("notebook", "test", "lint", "types", "docs", "pictures", "hub"))


def test_it_refuses_a_command_it_does_not_know() -> None:
    run = _go("everything")
    assert run.returncode == 2
    assert "usage: ./go" in run.stderr


def test_it_says_which_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2"\nexit 1\n')
    old.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HIMALIA_VENV": str(tmp_path / "venv")}
    run = subprocess.run(["./go", "lint"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stderr == "Python 3.11 or later is needed; python3 is Python 3.9.2\n"


@pytest.mark.parametrize("script", ["go", ".ci/run"])
def test_scripts_are_valid_and_executable(script: str) -> None:
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)
    assert (ROOT / script).stat().st_mode & 0o100
