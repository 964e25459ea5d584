"""What every magic does where something is wrong: no cluster, a dead one, an unknown option, no widgets, no kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.kernel_ext.magics import families
from tests.kernel_ext.notebook import Notebook, notebook
from tests.support.leaks import LeakGuard

#: A cell for each magic, named as it is written in it.
CELLS = {
    "%actors": "%actors",
    "%cancel": "%cancel --all",
    "%cluster": "%cluster status",
    "%dashboard": "%dashboard",
    "%every": "%every",
    "%explain": "%explain",
    "%logs": "%logs",
    "%memory": "%memory",
    "%objects": "%objects",
    "%rdebug": "%rdebug",
    "%tasks": "%tasks",
    "%timeline": "%timeline",
    "%%every": "%%every\n1 + 1",
    "%%explain": "%%explain\n1 + 1",
    "%%task": "%%task --wait\n1 + 1",
}


def test_there_is_a_cell_for_every_magic() -> None:
    lines = {f"%{name}" for family in families() for name in family.magics["line"]}
    cells = {f"%%{name}" for family in families() for name in family.magics["cell"]}
    assert set(CELLS) == lines | cells


@pytest.fixture(scope="module")
def bare(leak_guard: LeakGuard, environments: Path) -> Iterator[Notebook]:
    """A kernel with the extension and without what widgets and plots need."""
    folder = environments / "bare"
    folder.mkdir()
    with leak_guard.shared("a kernel without widgets"), notebook(folder) as opened:
        opened.run(
            "import sys\nfor name in ('ipywidgets', 'anywidget', 'bokeh', 'matplotlib'): sys.modules[name] = None\n"
            "%load_ext himalia\nimport himalia, os, signal, time"
        )
        yield opened


@pytest.fixture(scope="module")
def dead(leak_guard: LeakGuard, environments: Path) -> Iterator[Notebook]:
    """A kernel whose cluster was killed."""
    folder = environments / "dead"
    folder.mkdir()
    with leak_guard.shared("a kernel whose cluster was killed"), notebook(folder) as opened:
        opened.run("%load_ext himalia\n%cluster start --cpus 1\nimport himalia, os, signal")
        opened.run("from himalia.cluster.core.session import current_session\npid = current_session().cluster.pid")
        opened.run("os.kill(pid, signal.SIGKILL)\nhimalia.wait([himalia.remote(lambda: 1).remote()])")
        yield opened


@pytest.mark.parametrize("name", CELLS)
def test_without_a_cluster_one_is_started_and_that_is_said(bare: Notebook, name: str) -> None:
    cell = bare.run(CELLS[name])
    assert "No cluster ran: started one with all of this machine. %cluster stop ends it." in cell.text
    assert not cell.error, cell.traceback
    assert "Traceback" not in cell.stream("stderr")
    assert bare.run("himalia.get(himalia.remote(lambda: 7).remote())").text == "7"
    assert "has ended" in bare.run("%cluster stop").text


@pytest.mark.parametrize("name", CELLS)
def test_an_unknown_option_is_named_and_the_known_ones_told(bare: Notebook, name: str) -> None:
    _, newline, body = CELLS[name].partition("\n")
    cell = bare.run(f"{name} --colour{newline}{body}")
    told = cell.stream("stderr")
    assert told.startswith("UsageError: ")
    assert "--colour" in told
    assert re.search(rf"\nusage: %%?{name.strip('%')} ", told)
    assert "Traceback" not in told
    assert cell.text == ""
    assert bare.value("himalia.is_initialized()") == "False"


@pytest.mark.parametrize("name", CELLS)
def test_of_a_cluster_that_is_gone_is_said_why_and_what_to_do(dead: Notebook, name: str) -> None:
    cell = dead.run(CELLS[name])
    said = cell.stream("stderr") + cell.text
    assert not cell.error, cell.traceback
    assert "its host was killed by SIGKILL" in said
    assert "%cluster stop, then %cluster start" in said
    assert "Traceback" not in said


def test_plain_ipython_has_a_text_for_each(tmp_path: Path) -> None:
    """Each in one session of a terminal, with a task that has run and one that has failed."""
    script = [
        "%load_ext himalia",
        "%cluster start --cpus 2",
        "import himalia",
        "shell = get_ipython()",
        "ref = himalia.remote(lambda: 1 / 0).options(name='divides').remote()",
        "done = himalia.wait([ref])",
        *(f"print('== {name}'); _ = shell.run_cell({cell!r})" for name, cell in CELLS.items()),
        "print('== end')",
        "%cluster stop",
    ]
    (tmp_path / "script.ipy").write_text("\n".join(script))
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "script.ipy"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # so that both streams come in order
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=55,
        check=False,
    )
    shown = done.stdout
    assert done.returncode == 0, shown
    for markup in ("<div", "<span", "<IPython.core.display", "\x1b["):
        assert markup not in shown
    parts = {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in shown.split("== ")[1:]}
    assert set(parts) == {*CELLS, "end"}
    assert all(parts.values()), [name for name, text in parts.items() if not text]
    assert "divides" in parts["%tasks"]
    assert "ZeroDivisionError" in parts["%rdebug"]
    assert "http://" in parts["%dashboard"]
    assert "kernel_ext" not in shown  # in a traceback of ours
