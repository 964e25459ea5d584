"""The browser's modules, put together."""

from __future__ import annotations

import re

from himalia.dashboard.bundle import MODULES, bokeh_js, bundled, static_text
from himalia.dashboard.themes import THEME

_IMPORTED = re.compile(r'^import \{([^}]*)\} from "\./(\w+\.js)";', re.MULTILINE)
_TOP = re.compile(r"^(?:export )?(?:async )?(?:const|let|class|function) (\w+)", re.MULTILINE)


def test_modules_come_after_those_that_they_import() -> None:
    for place, name in enumerate(MODULES):
        for _, other in _IMPORTED.findall(static_text(name)):
            assert MODULES.index(other) < place, f"{name} imports {other}, which comes later"


def test_no_two_modules_have_a_name_in_common() -> None:
    names = [name for module in (*MODULES, "report.js") for name in _TOP.findall(static_text(module))]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)


def test_what_a_module_imports_is_there_and_exported() -> None:
    for module in MODULES:
        for imported, other in _IMPORTED.findall(static_text(module)):
            for name in imported.split(","):
                assert re.search(
                    rf"^export (?:const|class|function) {name.strip()}\b", static_text(other), re.MULTILINE
                )


def test_a_bundle_imports_and_exports_nothing() -> None:
    text = bundled()
    assert not re.search(r"^(import|export)\b", text, re.MULTILINE)
    assert "function mount(" in text


def test_every_stand_in_for_a_colour_has_one_in_both_themes() -> None:
    text = static_text("theme.js")
    for colour in (THEME.text, THEME.faint, THEME.grid, THEME.ground):
        assert text.count(f'"{colour}":') == 2


def test_bokeh_js_is_there() -> None:
    assert b"Bokeh" in bokeh_js()[:4000]
