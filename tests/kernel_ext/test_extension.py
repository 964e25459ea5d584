"""Loading, unloading, and where there is no notebook at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.kernel_ext.notebook import Notebook
from tests.support.clusters import eventually, is_running, node_processes

TIMED = """
import time, himalia
begin = time.process_time()
get_ipython().run_line_magic("load_ext", "himalia")
elapsed = time.process_time() - begin
"""


def test_it_loads_in_under_150_ms_and_without_ipywidgets_and_starts_nothing(fresh: Notebook) -> None:
    fresh.run("import sys\nsys.modules['ipywidgets'] = sys.modules['anywidget'] = sys.modules['bokeh'] = None")
    cell = fresh.run(TIMED)
    assert not cell.error, cell.traceback
    assert float(fresh.value("elapsed")) < 0.150
    assert fresh.value("himalia.is_initialized()") == "False"


def test_loading_twice_says_so_and_changes_nothing(fresh: Notebook) -> None:
    fresh.run("%load_ext himalia")
    assert "already loaded" in fresh.run("%load_ext himalia").stream()
    fresh.run("%reload_ext himalia")
    assert (
        fresh.value("len([f for f in get_ipython().events.callbacks['pre_run_cell'] if 'himalia' in f.__module__])")
        == "1"
    )
    assert fresh.value("import himalia.cluster.core.session as s\nlen(s.on_connect)") == "1"


def test_unloading_leaves_nothing_but_the_cluster(fresh: Notebook) -> None:
    fresh.run("before = dict(get_ipython().events.callbacks)\nbefore = {k: list(v) for k, v in before.items()}")
    fresh.run("%load_ext himalia\n%cluster start --cpus 1\nimport himalia, threading")
    cell = fresh.run("%unload_ext himalia")
    assert not cell.error, cell.traceback
    assert fresh.value("{k: list(v) for k, v in get_ipython().events.callbacks.items()} == before") == "True"
    assert fresh.value("threading.Thread.start.__module__") == "'threading'"
    assert "not found" in fresh.run("%cluster status").stream("stderr")
    assert fresh.value("himalia.put(1)").startswith("ObjectRef(")
    printed = fresh.run("@himalia.remote\ndef f():\n    print('still')\nhimalia.get(f.remote())")
    assert "still" in printed.stream()
    assert "not loaded" in fresh.run("%unload_ext himalia").stream()


def test_a_cluster_of_before_is_taken_over(fresh: Notebook) -> None:
    fresh.run("import himalia\nhimalia.init(num_cpus=1)\n@himalia.remote\ndef f():\n    print('text')")
    fresh.run("%load_ext himalia")
    first = fresh.run("ref = f.remote()")
    fresh.run("himalia.wait([ref])")
    assert first.wait_for(lambda cell: cell.lines).lines == ["text"]


def test_log_to_driver_false_stays_silent(fresh: Notebook) -> None:
    fresh.run("%load_ext himalia\nimport himalia\nhimalia.init(num_cpus=1, log_to_driver=False)")
    cell = fresh.run("@himalia.remote\ndef f():\n    print('text')\nhimalia.get(f.remote())")
    assert not cell.error, cell.traceback
    assert cell.lines == []


def test_a_cluster_that_died_is_called_gone_and_can_be_replaced(fresh: Notebook) -> None:
    fresh.run("%load_ext himalia\n%cluster start --cpus 1\nimport himalia, os, signal")
    fresh.run("import himalia.cluster.core.session as s\nref = himalia.put(1)\npid = s.current_session().cluster.pid")
    fresh.run("os.kill(pid, signal.SIGKILL)\nhimalia.wait([himalia.remote(lambda: 1).remote()])")
    status = fresh.run("%cluster status")
    assert not status.error, status.traceback
    assert "gone" in status.text
    assert "%cluster stop" in status.text
    assert "gone" in fresh.run("%cluster start").text
    assert "ended" in fresh.run("%cluster stop").text
    assert "running" in fresh.run("%cluster start --cpus 1").text


def test_a_kernel_that_is_killed_leaves_no_process_and_no_file(fresh: Notebook) -> None:
    fresh.run("%load_ext himalia\n%cluster start --cpus 2\nimport himalia, os, time")
    fresh.run("@himalia.remote\ndef rest():\n    print('rests')\n    time.sleep(60)\n")
    cell = fresh.run("refs = [rest.remote() for _ in range(5)]")
    cell.wait_for(lambda cell: len(cell.lines) >= 2)
    pid = int(fresh.value("os.getpid()"))
    session_dir = Path(fresh.run("print(himalia.init(ignore_reinit_error=True)['session_dir'])").stream().strip())
    processes = [pid for group in node_processes(str(session_dir)).values() for pid in group]
    assert len(processes) >= 5
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not session_dir.exists(), "its session folder to go")
    eventually(lambda: not any(is_running(pid) for pid in processes), "its node to end")


def test_a_cell_with_a_syntax_error_does_no_harm(fresh: Notebook) -> None:
    fresh.run("%load_ext himalia")
    assert fresh.run("def (").error == "SyntaxError"
    assert fresh.value("1 + 1") == "2"


def test_plain_ipython_in_a_terminal_prints_and_shows_text(folder: Path) -> None:
    (folder / "script.ipy").write_text(
        "%load_ext himalia\n"
        "%cluster start --cpus 1\n"
        "import himalia\n"
        "@himalia.remote\n"
        "def f():\n"
        "    print('from a task')\n"
        "    return 5\n"
        "print('value', himalia.get(f.remote()))\n"
        "from IPython.display import display\n"
        "display(himalia.put(1))\n"
        "%cluster stop\n"
    )
    command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "script.ipy"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    assert "Himalia cluster: running" in done.stdout
    assert "pid=" in done.stdout
    assert "from a task" in done.stdout
    assert "value 5" in done.stdout
    assert "ready" in done.stdout
    assert "has ended" in done.stdout
