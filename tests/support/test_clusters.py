"""What tests of clusters share does what it says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support import clusters
from tests.support.clusters import took_less_than, unhindered


def test_what_takes_too_long_fails_however_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_hindered", lambda: 0.0)
    with took_less_than(60):
        pass
    with pytest.raises(AssertionError, match="which was to be less than 0 s"), took_less_than(0):
        raise ValueError


def test_time_that_the_machine_had_not_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unhindered() <= time.monotonic()
    passed = [0.0]
    monkeypatch.setattr(clusters, "_hindered", lambda: passed[0])
    with took_less_than(60):
        passed[0] = 100.0
    with pytest.raises(AssertionError, match="took"), took_less_than(60):
        passed[0] = 0.0


def test_a_machine_that_does_not_measure_it_has_all_its_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(clusters, "_PRESSURE", tmp_path / "missing")
    monkeypatch.setattr(clusters, "_STATISTICS", tmp_path / "stat")
    (tmp_path / "stat").write_text("cpu  1 2 3 4 5 6 7 200 0 0\ncpu0 1 2\n")
    assert clusters._hindered() == pytest.approx(2.0, rel=0.9)  # of so many ticks a second as this machine has
    (tmp_path / "pressure").write_text("some avg10=9.00 avg60=5.21 avg300=3.81 total=3000000\nfull total=0\n")
    monkeypatch.setattr(clusters, "_PRESSURE", tmp_path / "pressure")
    assert 3.0 < clusters._hindered() < 6.0
