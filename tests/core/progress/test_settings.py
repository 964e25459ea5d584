"""When bars appear."""

from __future__ import annotations

import pytest

from himalia.cluster.core.progress.watching import Settings


@pytest.mark.parametrize(("value", "enabled"), [(None, True), ("1", True), ("0", False)])
def test_the_environment_can_turn_bars_off(monkeypatch: pytest.MonkeyPatch, value: str | None, enabled: bool) -> None:
    monkeypatch.delenv("HIMALIA_PROGRESS", raising=False)
    if value is not None:
        monkeypatch.setenv("HIMALIA_PROGRESS", value)
    assert Settings().enabled is enabled
