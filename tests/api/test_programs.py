"""Whole programs as Ray's documentation has them: they run here once their import says `himalia`.

Each is a script of its own, written for Ray: `import ray`, `from ray.util import …`. It prints "ok" at its end.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api import programs_more, programs_tasks

PROGRAMS = {**programs_tasks.PROGRAMS, **programs_more.PROGRAMS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_written_for_ray_runs_after_its_import_was_replaced(name: str, engine: Any, tmp_path: Path) -> None:
    source = PROGRAMS[name]
    if engine.name != "ray":
        source = re.sub(r"^import ray$", f"import {engine.name} as ray", source, flags=re.MULTILINE)
        source = re.sub(r"^from ray\.", f"from {engine.name}.", source, flags=re.MULTILINE)
    script = tmp_path / "program.py"
    script.write_text(f"{source}\nprint('ok')\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "HIMALIA_ADDRESS")}
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=engine.patience * 2,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "ok"
