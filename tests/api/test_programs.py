"""Whole programs as Ray's documentation has them: they run here once their import says `himalia`.

Each is a script of its own, written for Ray: `import ray`, `from ray.util import …`. It prints "ok" at its end.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api import programs_more, programs_tasks

PROGRAMS = {**programs_tasks.PROGRAMS, **programs_more.PROGRAMS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_written_for_ray_runs_after_its_import_was_replaced(name: str, engine: Any, run_program: Any) -> None:
    source = PROGRAMS[name]
    if engine.name != "ray":
        source = re.sub(r"^import ray$", f"import {engine.name} as ray", source, flags=re.MULTILINE)
        source = re.sub(r"^from ray\.", f"from {engine.name}.", source, flags=re.MULTILINE)
    assert run_program(f"{source}\nprint('ok')\n").stdout.splitlines()[-1] == "ok"
