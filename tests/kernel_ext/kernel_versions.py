"""Environments with other releases of ipykernel than the installed one."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

INSTALLED = "installed"

#: The last release that asks the kernel for a thread's parent, and the one before threads were left to the latest cell.
OTHERS = ("6.29.5", "7.0.1")


class NotAvailableError(Exception):
    """The environment can not be made here; says why."""


@functools.cache
def python_with(release: str, folder: Path) -> str:
    """The interpreter of an environment that has this release, and everything else from the one that runs the tests.

    Raises
    ------
    NotAvailableError
        It could not be made: no network, most likely.
    """
    home = folder / f"ipykernel-{release}"
    _run([sys.executable, "-m", "venv", "--without-pip", str(home)])
    python = home / "bin/python"
    here = sysconfig.get_path("purelib")
    there = subprocess.check_output(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
    ).strip()
    # Behind its own packages, and with this environment's own .pth files (an editable install is one).
    Path(there, "zz_tests.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    packages = [f"ipykernel=={release}", "nest-asyncio"]
    if (uv := shutil.which("uv")) is not None:
        _run([uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), *packages])
    else:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", there, *packages])
    return str(python)


def _run(command: list[str]) -> None:
    # A file takes the output: a pipe would be held open by what the command leaves running.
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(command, stdout=output, stderr=output, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotAvailableError(f"{command[0]} failed: {error}") from None
        if done.returncode:
            output.seek(0)
            raise NotAvailableError(output.read().decode(errors="replace")[-400:])
