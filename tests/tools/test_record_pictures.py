"""What the command refuses before it runs anything; tests/browser has it run."""

from __future__ import annotations

import os

import pytest

from tests.support.source_tree import ROOT
from tools import record_pictures


def test_pictures_of_the_documentation_are_those_that_it_makes() -> None:
    made = {f"{picture.name}{kind}.png" for picture in record_pictures.PICTURES for kind in ("", "-dark")}
    assert made <= {path.name for path in record_pictures.IMAGES.iterdir()}
    assert all((ROOT / "notebooks" / picture.notebook).exists() for picture in record_pictures.PICTURES)


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(record_pictures, "chromium", lambda: "chromium")
    monkeypatch.setattr(os, "getloadavg", lambda: (1.7, 0.1, 0.1))
    with pytest.raises(SystemExit):
        record_pictures.main([])
    assert "this machine is busy: 1.7 programs run" in capsys.readouterr().err


def test_a_picture_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        record_pictures.main(["last_steps"])
    assert "there is no picture last_steps" in capsys.readouterr().err
