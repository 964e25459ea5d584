"""Failures that a program does not ask for."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import himalia

@himalia.remote
def bad(number):
    raise ValueError(f"no good: {number}")

himalia.init(num_cpus=2, OPTIONS)
got = bad.options(name="got").remote(1)
try:
    himalia.get(got)
except ValueError:
    pass
kept = [bad.options(name="kept").remote(number) for number in range(30)]
himalia.wait(kept, num_returns=30)
"""


def errors_of(options: str) -> str:
    program = PROGRAM.replace("OPTIONS", options)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr


def test_a_program_tells_at_its_end_of_the_failures_that_it_did_not_ask_for() -> None:
    told = errors_of("")
    assert told.count("Traceback (most recent call last)") == 1
    assert "task `kept` failed: ValueError: no good: " in told
    assert "Task `kept` failed 29 more times" in told
    assert "`got`" not in told


def test_a_program_that_wants_no_output_of_tasks_is_told_nothing() -> None:
    assert errors_of("log_to_driver=False") == ""
