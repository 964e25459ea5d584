"""`RuntimeEnv` is a dict that refuses what is not supported."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from himalia.runtime_env import RuntimeEnv, RuntimeEnvConfig


def test_it_is_the_dict_of_what_was_given(tmp_path: Path) -> None:
    env = RuntimeEnv(env_vars={"A": "b"}, working_dir=str(tmp_path))
    assert env == {"env_vars": {"A": "b"}, "working_dir": str(tmp_path)} == env.to_dict()
    assert (env.env_vars(), env.working_dir(), env.has_working_dir()) == ({"A": "b"}, str(tmp_path), True)
    assert (RuntimeEnv().env_vars(), RuntimeEnv().working_dir(), RuntimeEnv().has_working_dir()) == ({}, "", False)


def test_it_survives_json_and_pickling() -> None:
    env = RuntimeEnv(env_vars={"A": "b"}, config=RuntimeEnvConfig(setup_timeout_seconds=5))
    assert RuntimeEnv.deserialize(env.serialize()) == env
    assert pickle.loads(pickle.dumps(env)) == env
    assert type(pickle.loads(pickle.dumps(env))) is RuntimeEnv


@pytest.mark.parametrize(
    ("fields", "error", "named"),
    [
        ({"pip": ["x"]}, ValueError, "pip"),
        ({"conda": "x"}, ValueError, "conda"),
        ({"invented": 1}, ValueError, "invented"),
        ({"env_vars": {"A": 1}}, TypeError, "env_vars"),
        ({"working_dir": "/not/there"}, ValueError, "working_dir"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(fields: dict[str, Any], error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        RuntimeEnv(**fields)


def test_config_checks_its_timeout() -> None:
    assert RuntimeEnvConfig().to_dict() == {"setup_timeout_seconds": 600, "eager_install": True, "log_files": []}
    assert RuntimeEnvConfig(setup_timeout_seconds=-1)["setup_timeout_seconds"] == -1
    with pytest.raises(ValueError, match="setup_timeout_seconds must be positive"):
        RuntimeEnvConfig(setup_timeout_seconds=0)
