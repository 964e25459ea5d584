"""The installed package does its main job.

CI runs this in the checkout and once more on the wheel, away from the sources.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import himalia
from tests.support.source_tree import OPTIONAL_LIBRARIES


@pytest.fixture
def cluster() -> Iterator[None]:
    himalia.init(num_cpus=2)
    yield
    himalia.shutdown()


@pytest.mark.usefixtures("cluster")
def test_tasks_actors_and_objects_work_together() -> None:
    @himalia.remote
    def scale(array: np.ndarray, factor: int) -> np.ndarray:
        return array * factor

    @himalia.remote
    class Sum:
        def __init__(self) -> None:
            self.total = 0.0

        def add(self, array: np.ndarray) -> float:
            self.total += float(array.sum())
            return self.total

    ones = himalia.put(np.ones(1_000_000))
    total = Sum.remote()
    refs = [total.add.remote(scale.remote(ones, factor)) for factor in (1, 2, 3)]
    ready, pending = himalia.wait(refs, num_returns=3, timeout=30)
    assert not pending
    assert himalia.get(ready) == [1e6, 3e6, 6e6]


@pytest.mark.usefixtures("cluster")
def test_an_exception_arrives_as_its_own_type() -> None:
    @himalia.remote
    def parse(text: str) -> int:
        return int(text)

    with pytest.raises(ValueError, match="invalid literal"):
        himalia.get(parse.remote("seven"))


def test_every_module_was_installed_and_imports() -> None:
    for found in pkgutil.walk_packages(himalia.__path__, "himalia."):
        if found.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in OPTIONAL_LIBRARIES:
                raise


def test_the_package_declares_its_types() -> None:
    assert Path(himalia.__file__).with_name("py.typed").is_file()


@pytest.mark.parametrize(
    "command",
    [[os.path.join(sysconfig.get_path("scripts"), "himalia")], [sys.executable, "-m", "himalia"]],
    ids=["script", "module"],
)
def test_the_command_explains_itself(command: list[str]) -> None:
    run = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=30)
    assert "start" in run.stdout
    assert "status" in run.stdout


def test_the_extension_loads_in_ipython() -> None:
    code = "get_ipython().run_line_magic('load_ext', 'himalia'); assert get_ipython().find_line_magic('cluster')"
    run = subprocess.run(
        [sys.executable, "-m", "IPython", "--quick", "--colors=NoColor", "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Error" not in run.stdout + run.stderr
