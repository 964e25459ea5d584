"""Actions that are asked for in a widget: those of the dashboard, over this kernel's connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from himalia.util.state._source import Source

from ...cluster.gcs.client import GcsClient, Reachable
from ...dashboard.actions import ACTIONS

__all__ = ["act"]

_TIMEOUT: Final = 10.0


def act(where: Reachable, name: str, args: Mapping[str, Any], dry_run: bool) -> dict[str, str]:
    """Say what an action would hit, or take it.

    Parameters
    ----------
    where
        The cluster.
    dry_run
        Only say.

    Returns
    -------
    dict
        ``text`` for people, or ``error``: why it can not be.
    """
    action = ACTIONS.get(name)
    if action is None:
        return {"error": f"there is no action {name!r}, but {', '.join(ACTIONS)}"}
    try:
        wanted = msgspec.convert(dict(args), action.arguments)
        with GcsClient(where) as client:
            plan = action.plan(Source(client, where, _TIMEOUT), wanted)
            return {"text": plan.text if dry_run else plan.carry_out()}
    except (ValueError, LookupError, ConnectionError, RuntimeError) as error:
        return {"error": str(error.args[0] if isinstance(error, LookupError) and error.args else error)}
    except Exception as error:  # noqa: BLE001 an error of ours: who pressed the button would wait for ever
        return {"error": f"{type(error).__name__}: {error}"}
