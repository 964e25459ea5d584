"""A picture that is taken while its cells run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.record_pictures import record_scene
from tools.scenes import Scene

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


def test_a_scene_is_pictured_in_both_themes_while_its_last_cell_runs(tmp_path: Path) -> None:
    file = tmp_path / "ended"
    late = f"import time\nprint('begun', flush=True)\ntime.sleep(60)\nopen({str(file)!r}, 'w').close()"
    record_scene(Scene("tiny", ("print('first')", late), 1, ("first", "begun"), 700, 400), tmp_path)
    light, dark = (tmp_path / name for name in ("tiny.png", "tiny-dark.png"))
    assert light.read_bytes()[:4] == dark.read_bytes()[:4] == b"\x89PNG"
    assert light.read_bytes() != dark.read_bytes()
    assert not file.exists()
