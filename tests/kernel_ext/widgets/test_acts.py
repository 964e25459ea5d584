"""Actions of a widget, without a cluster."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from himalia.dashboard.actions import ACTIONS, Action, NothingThereError, Scale
from himalia.kernel_ext.widgets import acts


@pytest.mark.parametrize(
    ("args", "error", "told"),
    [
        ({"cpus": 2}, NothingThereError("there is no node"), "there is no node"),
        ({"cpus": 2}, TypeError("an error of ours"), "TypeError: an error of ours"),
        ({"cpus": "many"}, None, "Expected `int`, got `str` - at `$.cpus`"),
        ({}, None, "Object missing required field `cpus`"),
    ],
    ids=str,
)
def test_whatever_goes_wrong_is_told_to_the_browser(
    monkeypatch: pytest.MonkeyPatch, args: dict[str, Any], error: Exception | None, told: str
) -> None:
    def plan(source: Any, wanted: Scale) -> Any:
        assert error is not None
        raise error

    monkeypatch.setattr(acts, "GcsClient", contextlib.nullcontext)
    monkeypatch.setitem(ACTIONS, "scale", Action("scale", "", Scale, plan))
    assert acts.act(None, "scale", args, dry_run=True) == {"error": told}  # type: ignore[arg-type]  # nobody is asked
    assert "there is no action 'x', but " in acts.act(None, "x", args, dry_run=True)["error"]  # type: ignore[arg-type]
