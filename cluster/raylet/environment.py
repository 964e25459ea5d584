"""What of a runtime environment the start of a process decides: variables, and a working directory that is there.

One that the GCS keeps (``kv:…``, see core/working_dir.py) is the worker's to fetch. A field nobody knows is an error
that names it, since a task that silently lacks its environment fails much later and elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

__all__ = ["process_environment"]

_KNOWN: Final = ("env_vars", "working_dir")


def process_environment(runtime_env: str) -> tuple[dict[str, str], str]:
    """Variables and working directory of a runtime environment in JSON. An empty one stays, or the worker fetches it.

    Raises
    ------
    ValueError
        If it cannot be provided; the text is for the user.
    """
    if not runtime_env:
        return {}, ""
    try:
        fields: dict[str, Any] = msgspec.json.decode(runtime_env, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"the runtime environment is not a JSON object: {error}") from error
    unknown = sorted(set(fields) - set(_KNOWN))
    if unknown:
        raise ValueError(f"runtime_env has {', '.join(map(repr, unknown))}, and this node provides {', '.join(_KNOWN)}")
    variables = fields.get("env_vars") or {}
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise ValueError("runtime_env['env_vars'] must map names to strings")
    folder = fields.get("working_dir") or ""
    if not isinstance(folder, str):
        raise ValueError("runtime_env['working_dir'] must be a path")
    return variables, "" if folder.startswith("kv:") else folder
