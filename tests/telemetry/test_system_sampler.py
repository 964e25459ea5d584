"""Rates out of counters, and samples of the real machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from himalia.cluster.telemetry.system_sampler import (
    STALE,
    ProcessCounters,
    Sampler,
    SystemCounters,
    process_rates,
    system_rates,
)


def test_rates_are_differences_over_the_time_between() -> None:
    before = SystemCounters(10.0, ((1.0, 10.0), (5.0, 10.0)), 0, 1000, 50, 0)
    after = SystemCounters(12.0, ((2.0, 12.0), (7.0, 12.0)), 400, 1000, 250, 20)
    rates = system_rates(before, after)
    assert rates["cpu_percents"] == [50.0, 100.0]
    assert rates["cpu_percent"] == 75.0
    assert (rates["disk_read"], rates["disk_written"]) == (200.0, 0.0)
    assert (rates["net_received"], rates["net_sent"]) == (100.0, 10.0)
    assert rates["interval"] == 2.0


def test_counters_that_went_back_are_no_negative_rate() -> None:
    before = SystemCounters(10.0, ((5.0, 10.0),), 500, 500, 500, 500)
    rates = system_rates(before, SystemCounters(11.0, ((4.0, 10.0),), 0, 0, 0, 0))
    assert rates["cpu_percent"] == rates["disk_read"] == rates["net_sent"] == 0.0


def test_a_process_that_began_meanwhile_counts_since_it_began() -> None:
    assert process_rates(None, ProcessCounters(12.0, 10.0, 1.0)) == 50.0


def test_another_process_of_the_same_id_is_another() -> None:
    before = ProcessCounters(10.0, 1.0, 9.0)
    assert process_rates(before, ProcessCounters(12.0, 11.0, 0.5)) == 50.0


def test_a_process_may_use_more_than_one_cpu() -> None:
    assert process_rates(ProcessCounters(10.0, 1.0, 0.0), ProcessCounters(11.0, 1.0, 3.0)) == pytest.approx(300.0)


def test_a_busy_process_is_seen_as_busy_and_one_that_ended_not_at_all(tmp_path: Path) -> None:
    spinning = subprocess.Popen([sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    try:
        assert spinning.stdout is not None
        spinning.stdout.readline()
        sampler = Sampler([str(tmp_path), str(tmp_path / "later"), "s3://bucket"])
        machine, processes = sampler.sample([spinning.pid, ended.pid, os.getpid()])
    finally:
        spinning.kill()
        spinning.communicate()
    assert processes[spinning.pid]["cpu_percent"] > 10.0  # it shares its CPU with whatever else runs here
    assert processes[os.getpid()]["rss"] > processes[os.getpid()]["uss"] > 1 << 20
    assert processes[os.getpid()]["threads"] >= 1
    assert ended.pid not in processes
    assert len(machine["cpu_percents"]) == os.cpu_count()
    assert 0 < machine["memory_used"] < machine["memory_total"]
    (disk,) = machine["disks"]
    assert 0 < disk["used"] <= disk["total"]


def test_a_sample_that_follows_soon_needs_no_second_reading() -> None:
    now, slept = [1000.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    sampler = Sampler([], lambda: now[0], sleep)
    sampler.sample([])
    assert len(slept) == 1
    now[0] += 1.0
    machine, _ = sampler.sample([])
    assert len(slept) == 1
    assert machine["interval"] == pytest.approx(1.0)
    now[0] += STALE + 1.0
    machine, _ = sampler.sample([])
    assert len(slept) == 2
    assert machine["interval"] == pytest.approx(slept[1])
