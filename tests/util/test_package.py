"""`himalia.util` as a package: what it names, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import himalia.util


@pytest.mark.parametrize("name", himalia.util.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(himalia.util, name) is not None
    assert name in dir(himalia.util)


@pytest.mark.parametrize("name", ["executor", "multiprocessing", "queue", "scheduling_strategies", "state"])
def test_the_modules_are_found_as_attributes(name: str) -> None:
    assert getattr(himalia.util, name).__all__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = himalia.util.no_such_name


def test_importing_the_front_door_imports_no_utility() -> None:
    script = (
        "import sys, himalia; print([name for name in sys.modules if name.startswith('himalia.util')]); "
        "import himalia.util; print([name for name in ('joblib', 'tqdm', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


def test_a_message_is_logged_once_a_period() -> None:
    log_once = himalia.util.log_once
    assert log_once("a key of this test")
    assert not log_once("a key of this test")
    assert log_once("a key of this test", period=0.0)
