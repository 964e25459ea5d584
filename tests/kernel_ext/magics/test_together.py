"""Magics where they meet others: a second notebook on the same cluster, and IPython in a terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel_ext.notebook import Notebook, notebook
from tests.support.leaks import LeakGuard

LOAD = "%load_ext himalia\nimport himalia, time\n"
SLOW = "@himalia.remote\ndef {name}():\n    time.sleep(60)\nrefs = [{name}.remote() for _ in range(2)]"


@pytest.fixture(scope="module")
def two(leak_guard: LeakGuard, environments: Path) -> Iterator[tuple[Notebook, Notebook]]:
    """Two kernels on one cluster, which the first started."""
    first_folder, second_folder = environments / "1", environments / "2"
    first_folder.mkdir()
    second_folder.mkdir()
    with leak_guard.shared("two kernels"), notebook(first_folder) as first, notebook(second_folder) as second:
        assert not first.run(f"{LOAD}%cluster start --cpus 4").error
        address = first.value("from himalia.kernel_ext.status import address_of\naddress_of()").strip("'")
        assert "of 4 in use" in second.run(f"{LOAD}%cluster connect {address}").text
        yield first, second


def test_each_sees_its_own_tasks_and_all_when_asked(two: tuple[Notebook, Notebook]) -> None:
    first, second = two
    first.run(SLOW.format(name="mine"))
    second.run(SLOW.format(name="theirs"))
    assert first.run("%tasks").text.startswith("Tasks: 2 tasks")
    assert "theirs" not in first.run("%tasks").text
    second.run("while 'mine' not in str(himalia.util.state.list_tasks()): time.sleep(0.05)")
    everything = second.run("%tasks --all-jobs").text
    assert "mine" in everything
    assert "theirs" in everything


def test_cancelling_all_spares_the_other(two: tuple[Notebook, Notebook]) -> None:
    first, second = two
    assert second.run("%cancel --all").text == "Cancelled 2 tasks: 2 `theirs`."
    assert first.value("len(himalia.wait(refs, num_returns=2, timeout=0)[0])") == "0"
    assert first.run("%cancel --all").text == "Cancelled 2 tasks: 2 `mine`."


def test_what_tasks_print_and_how_they_fail_stands_in_their_own_notebook(two: tuple[Notebook, Notebook]) -> None:
    first, second = two
    speak = "@himalia.remote\ndef speak():\n    print({who!r})\n    raise ValueError({who!r})\nref = speak.remote()"
    cells = {who: kernel.run(speak.format(who=who)) for who, kernel in (("first", first), ("second", second))}
    for who, cell in cells.items():
        cell.wait_for(lambda cell: "Traceback" in cell.stream("stderr"))
        assert cell.lines == [who]
        assert f"ValueError: {who}" in cell.stream("stderr")
        (other,) = set(cells) - {who}
        assert other not in cell.stream() + cell.stream("stderr")


def test_an_interrupt_ends_ones_own_tasks_only(two: tuple[Notebook, Notebook]) -> None:
    first, second = two
    first.run(SLOW.format(name="mine"))
    cell = second.send(f"{SLOW.format(name='theirs')}\nprint('waits', flush=True)\nhimalia.get(refs)")
    cell.wait_for(lambda cell: "waits" in cell.stream())
    second.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"
    assert second.value("len(himalia.wait(refs, num_returns=2, timeout=30)[0])") == "2"
    assert first.value("len(himalia.wait(refs, num_returns=2, timeout=0)[0])") == "0"
    assert first.run("%cancel --all").text == "Cancelled 2 tasks: 2 `mine`."


def test_engines_and_variables_are_each_ones_own(two: tuple[Notebook, Notebook]) -> None:
    first, second = two
    first.run("%%every --targets 0\nsecret = 1")
    assert second.run("%%every --targets 0\n'secret' in globals()").text == "engine 0: False"
    assert second.run("%every --stop").text == "Ended 4 engines."
    assert first.run("%%every --targets 0\nsecret").text == "engine 0: 1"


def test_both_see_a_change_of_scale_and_leaving_ends_nothing(two: tuple[Notebook, Notebook]) -> None:
    first, second = two
    second.run("%cluster scale 2")
    assert "of 2 in use" in first.run("%cluster status").text
    assert "goes on" in second.run("%cluster stop").text
    assert first.run("%%task --wait\n1 + 1").shown[-1]["text/plain"] == "2"


def test_a_notebook_that_is_killed_takes_its_own_tasks_along_and_nothing_else(environments: Path) -> None:
    folders = [environments / name for name in ("stays", "goes")]
    for folder in folders:
        folder.mkdir()
    with notebook(folders[0]) as stays:
        stays.run(f"{LOAD}%cluster start --cpus 2")
        address = stays.value("from himalia.kernel_ext.status import address_of\naddress_of()").strip("'")
        stays.run(
            "@himalia.remote\nclass Count:\n    n = 0\n    def up(self):\n        self.n += 1\n        return self.n"
        )
        assert stays.value("counter = Count.options(num_cpus=0).remote()\nhimalia.get(counter.up.remote())") == "1"
        with notebook(folders[1]) as goes:
            goes.run(f"{LOAD}%cluster connect {address}")
            goes.run(SLOW.format(name="theirs"))
            stays.run("while himalia.available_resources()['CPU'] != 0: time.sleep(0.01)")
            os.kill(int(goes.value("import os\nos.getpid()")), signal.SIGKILL)
            assert stays.value("while himalia.available_resources()['CPU'] != 2: time.sleep(0.01)\n'free'") == "'free'"
        assert stays.value("himalia.get(counter.up.remote())") == "2"


TERMINAL = r"""
%load_ext himalia
%cluster start --cpus 2
import himalia
base = 20

shell = get_ipython()
_ = shell.run_cell("%%task named\ntwice = 2 * base\ntwice + 2")
print("result:", named.result(), himalia.get(twice))
_ = shell.run_cell("%%every\nengine_id")
_ = shell.run_cell("%%task --wait\n1 / 0")
%tasks --limit 3
%cluster status
%cancel nothing_such
%timeline
%cluster stop
"""


def test_a_terminal_gets_text(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "IPython",
        "--simple-prompt",
        "--no-banner",
        "--colors=NoColor",
        "--no-confirm-exit",
    ]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "IPYTHONDIR": str(tmp_path), "TERM": "dumb"}
    run = subprocess.run(
        command, input=TERMINAL, text=True, capture_output=True, cwd=tmp_path, env=environment, timeout=100, check=False
    )
    shown = run.stdout
    assert run.returncode == 0, shown + run.stderr
    assert "result: 42 40" in shown
    assert "Task named" in shown
    assert "engine 0: 0" in shown
    assert "engine 1: 1" in shown
    assert "line 2, in <module>\n    1 / 0" in shown
    assert "Tasks: " in shown
    assert "  function" in shown
    assert "CPUs" in shown
    assert "no variable and no function with unfinished tasks is called 'nothing_such'" in shown + run.stderr
    assert "Timeline: " in shown
    assert "The cluster has ended" in shown
    assert "<div" not in shown
