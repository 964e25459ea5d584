"""Runtime environments as objects that check themselves; a plain dict does as well everywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from himalia.cluster.core.options import encode_runtime_env

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is set up.

    Parameters
    ----------
    setup_timeout_seconds
        How long that may take; -1 for no limit.
    eager_install
        Whether it is set up when the job starts rather than when it is first needed.
    log_files
        Further log files.
    """

    def __init__(
        self, setup_timeout_seconds: int = 600, eager_install: bool = True, log_files: list[str] | None = None
    ) -> None:
        if setup_timeout_seconds <= 0 and setup_timeout_seconds != -1:
            raise ValueError(f"setup_timeout_seconds must be positive, or -1 for no limit, got {setup_timeout_seconds}")
        super().__init__(
            setup_timeout_seconds=setup_timeout_seconds, eager_install=eager_install, log_files=log_files or []
        )

    def to_dict(self) -> dict[str, Any]:
        """A plain dict of it."""
        return dict(self)


class RuntimeEnv(dict[str, Any]):
    """The environment of a job, a task or an actor.

    Parameters
    ----------
    env_vars
        Environment variables.
    working_dir
        The folder that the code runs in.
    config
        How it is set up.
    **fields
        Other fields are refused, by name.

    Raises
    ------
    ValueError
        A field is not supported, or its value is wrong.
    """

    def __init__(
        self,
        *,
        env_vars: dict[str, str] | None = None,
        working_dir: str | None = None,
        config: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        given = {"env_vars": env_vars, "working_dir": working_dir, "config": config, **fields}
        super().__init__({name: value for name, value in given.items() if value is not None})
        encode_runtime_env(dict(self))

    def env_vars(self) -> dict[str, str]:
        """The environment variables."""
        return dict(self.get("env_vars", {}))

    def working_dir(self) -> str:
        """The folder that the code runs in; empty for the job's own."""
        return str(self.get("working_dir", ""))

    def has_working_dir(self) -> bool:
        """Whether a folder is given."""
        return bool(self.get("working_dir"))

    def to_dict(self) -> dict[str, Any]:
        """A plain dict of it."""
        return dict(self)

    def serialize(self) -> str:
        """It as JSON, which `deserialize` reads."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """Make it of what `serialize` returned."""
        return cls(**json.loads(serialized_runtime_env))
