"""What `import himalia` and `%load_ext himalia` bring along, and how long that takes.

What is imported is what it costs, so the tests name what may be there. Time is that of the processor, with compiled
files in place, as after an installation: another program on the machine does not change it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT_MS = 150.0
"""Below this a cell feels immediate."""

ALLOWED = {"himalia", "zmq", "msgspec", "cloudpickle", "typing_extensions", "cython_runtime"}
"""Packages beside the standard library: sockets, messages, functions, and what msgspec takes where it is installed."""

SLOW = {"multiprocessing", "sqlite3", "unittest", "pydoc", "http", "urllib.request", "email", "xml", "pdb", "doctest"}
"""Parts of the standard library that cost as much as a package."""

SERVERS = ("himalia.cluster.gcs", "himalia.cluster.raylet", "himalia.cluster.worker", "himalia.cluster.testing")

REPORT = """
import json, sys, time
{before}
known = set(sys.modules)
begin = time.process_time()
{measured}
elapsed = time.process_time() - begin
new = sorted(set(sys.modules) - known)
print(json.dumps({{"ms": elapsed * 1e3, "modules": new, "std": sorted(sys.stdlib_module_names)}}))
"""

IMPORT = {"before": "", "measured": "import himalia"}
LOAD = {
    "before": "import IPython, ipykernel.ipkernel, ipykernel.zmqshell\n"
    "shell = IPython.core.interactiveshell.InteractiveShell.instance()",
    "measured": "shell.run_line_magic('load_ext', 'himalia')",
}


def report(parts: dict[str, str], tmp_path: Path, times: int = 1) -> dict[str, Any]:
    """What a fresh interpreter says; of several the fastest."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    # Compiled files of its own: that the tests write some beside the sources is not for them to say.
    env |= {"PYTHONPYCACHEPREFIX": str(tmp_path / "compiled"), "IPYTHONDIR": str(tmp_path / "ipython")}
    script = REPORT.format(**parts)
    runs = [
        json.loads(subprocess.check_output([sys.executable, "-c", script], env=env, text=True, timeout=50))
        for _ in range(times)
    ]
    best: dict[str, Any] = min(runs, key=lambda run: run["ms"])
    return best


def foreign(modules: list[str], std: list[str]) -> set[str]:
    """The packages among ``modules`` that nobody allowed. An editable install has a finder of its own."""
    roots = {name.partition(".")[0] for name in modules} - set(std) - ALLOWED
    return {root for root in roots if not root.startswith(("__editable__", "_cython_"))}


def test_importing_brings_no_package_but_those_it_needs_at_once(tmp_path: Path) -> None:
    said = report(IMPORT, tmp_path)
    assert "himalia.cluster.core.runtime" in said["modules"], "it is to import the engine, or this asserts nothing"
    assert foreign(said["modules"], said["std"]) == set()
    assert SLOW.isdisjoint(said["modules"])


def test_importing_brings_nothing_that_only_servers_and_workers_need(tmp_path: Path) -> None:
    modules = report(IMPORT, tmp_path)["modules"]
    assert [name for name in modules if name.startswith(SERVERS)] == []


def test_loading_the_extension_brings_no_package_that_draws(tmp_path: Path) -> None:
    said = report(LOAD, tmp_path)
    assert "himalia.kernel_ext.extension" in said["modules"], "it is to load the extension, or this asserts nothing"
    assert foreign([name for name in said["modules"] if not name.startswith("IPython.")], said["std"]) == set()


@pytest.mark.parametrize("parts", [IMPORT, LOAD], ids=["import", "load_ext"])
def test_it_takes_less_than_150_ms(parts: dict[str, str], tmp_path: Path) -> None:
    assert report(parts, tmp_path, times=4)["ms"] < LIMIT_MS
