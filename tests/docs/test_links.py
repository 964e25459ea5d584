"""Links between the files of the repository lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
#: The target of `[text](target)` and `![text](target)`, without what follows `#` or a title; of `<img src="target">`
#: and `<source srcset="target">`; and of MyST's ```` ```{image} target ````.
LINK = re.compile(r"""\]\(([^)#\s]+)[^)]*\)|\bsrc(?:set)?="([^"]+)"|^```\{image\} (\S+)""", re.MULTILINE)


def broken_links(page: Path) -> list[str]:
    targets = ["".join(found) for found in LINK.findall(page.read_text())]
    return [target for target in targets if "://" not in target and not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_checker_finds_a_broken_link(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "[here](page.md#top) ![gone](gone.png) [web](https://example.org/x)\n"
        '<img src="lost.png"> <source srcset="away.png">\n```{image} no.png\n```\n'
    )
    assert broken_links(page) == ["gone.png", "lost.png", "away.png", "no.png"]
