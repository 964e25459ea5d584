"""Pictures that tests take, to be looked at: under a folder that git ignores, and CI keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "take"]

FOLDER = Path(__file__).resolve().parents[2] / "build" / "screenshots"


def take(page: Any, name: str, *, whole: bool = False) -> Path:
    """Take a picture of a page of Playwright's, or of the whole of it beyond the window; where it lies."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.png"
    page.screenshot(path=str(file), full_page=whole)
    return file
