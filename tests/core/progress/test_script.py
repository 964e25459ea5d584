"""A program in a terminal, and the same one whose output goes to a file."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import sys, time
import himalia
from himalia.util.progress import configure

configure(after=0.3)
himalia.init(num_cpus=2)

@himalia.remote
def wait_for_file(path):
    import os, time
    print("a task says something")
    while not os.path.exists(path):
        time.sleep(0.01)

himalia.get([wait_for_file.remote(sys.argv[1]) for _ in range(4)])
"""


def in_terminal(path: Path, seen: Callable[[str, int], None]) -> str:
    """Run the program in a terminal of its own; ``seen(text so far, pid)`` is called whenever there is more."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(path)])
    text = ""
    try:
        while True:
            try:
                more = os.read(terminal, 65536)
            except OSError:  # Linux says so when the other end is closed
                break
            if not more:
                break
            text += more.decode()
            seen(text, pid)
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)
    return text


@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_a_terminal_shows_one_line_that_is_drawn_again_and_what_tasks_print_above_it(tmp_path: Path) -> None:
    file = tmp_path / "go"

    def seen(text: str, pid: int) -> None:
        if "wait_for_file, 2 running" in text and text.count("\r\x1b[2K[") >= 2:
            file.touch()

    text = in_terminal(file, seen)
    assert "0/4 in " in text
    assert "wait_for_file, 2 running" in text
    assert text.splitlines()[-1].rpartition("\x1b[2K")[2].startswith("4 tasks of `wait_for_file` done in ")
    printed = [line for line in text.split("\n") if "a task says something" in line]
    assert len(printed) == 4
    assert not [line for line in printed if "[--" in line.rpartition("\x1b[2K")[2]]


@pytest.mark.filterwarnings("ignore:.*forkpty.*:DeprecationWarning")
def test_an_interrupt_in_a_terminal_leaves_a_line(tmp_path: Path) -> None:
    sent: list[int] = []

    def seen(text: str, pid: int) -> None:
        if "2 running" in text and not sent:
            sent.append(pid)
            os.kill(pid, signal.SIGINT)

    text = in_terminal(tmp_path / "never", seen)
    assert sent
    assert "interrupted after " in text
    assert "0 of 4 tasks of `wait_for_file` done" in text
    assert text.index("interrupted after ") < text.index("Traceback")


def test_a_program_without_a_terminal_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    program = PROGRAM.replace("after=0.3", "after=0.0").replace("while not", "time.sleep(0.5)\n    while not")
    command = [sys.executable, "-c", program, str(tmp_path / "go")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stderr == ""
