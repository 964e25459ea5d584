"""Pictures of the dashboard's pages in the documentation: a pipeline at work, in light and dark.

Usage: python -m tools.record_dashboard [page …]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

import himalia
from tests.browser.board import Board, board_page, browser_context, connection
from tests.browser.lab import chromium

__all__ = ["PAGES", "main", "record"]

IMAGES: Final = Path(__file__).resolve().parent.parent / "docs/images"
_SIZE: Final = {"width": 1280, "height": 800}
_SEEN: Final = 15.0
"""Seconds of work that the plots show: enough for a rate to settle."""

PAGES: Final = {"overview": "train", "task_graph": "Task graph", "task_stream": "train", "objects": "load"}
"""Pages, and what stands there when they show the work."""


@contextmanager
def _pipeline() -> Iterator[None]:
    """Tables are loaded, cleaned, trained upon and merged, until the block ends."""

    @himalia.remote
    def load(part: int) -> Any:
        time.sleep(0.1)
        return np.random.default_rng(part).normal(size=(1000, 200))

    @himalia.remote
    def clean(table: Any) -> Any:
        time.sleep(0.15)
        return table[np.abs(table).max(axis=1) < 3.5]

    @himalia.remote
    def train(rate: float, *tables: Any) -> float:
        time.sleep(0.3 + rate)
        return float(sum(table.mean() for table in tables) + rate)

    @himalia.remote
    def choose(*scores: float) -> float:
        return max(scores)

    @himalia.remote
    class Board:
        def __init__(self) -> None:
            self.best: list[float] = []

        def note(self, score: float) -> None:
            self.best.append(score)

    over = threading.Event()
    board = Board.options(name="best", num_cpus=0).remote()

    def work() -> None:
        while not over.is_set():
            tables = [clean.remote(load.remote(part)) for part in range(6)]
            best = choose.remote(*[train.remote(rate / 10, *tables) for rate in range(4)])
            himalia.get(board.note.remote(best))

    thread = threading.Thread(target=work, name="pipeline")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def record(images: Path, pages: Sequence[str], seen: float = _SEEN) -> None:
    """Write ``dashboard_PAGE.png`` and ``dashboard_PAGE-dark.png`` of pages into a folder."""
    images.mkdir(parents=True, exist_ok=True)
    himalia.init(num_cpus=2, log_to_driver=False)
    try:
        with browser_context() as context, _pipeline(), board_page(context, connection()) as board:
            board.page.set_viewport_size(_SIZE)
            for page in pages:
                board.show(page)
                board.wait_for(PAGES[page])
                board.page.wait_for_timeout(1000 * seen)  # to be seen, not to be sure of
                _take(board, images, page)
    finally:
        himalia.shutdown()


def _take(board: Board, images: Path, page: str) -> None:
    for theme in ("light", "dark"):
        if board.page.locator("body").get_attribute("data-theme") != theme:
            board.page.locator("#menu .bottom button").click()
        board.page.locator(f"#page[data-theme={theme}]").wait_for()
        board.page.wait_for_timeout(1000)
        board.page.screenshot(path=str(images / f"dashboard_{page}{'-dark' if theme == 'dark' else ''}.png"))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.record_dashboard", description=__doc__.partition("\n")[0])
    parser.add_argument("pages", nargs="*", metavar="page", help=", ".join(PAGES))
    chosen = parser.parse_args(arguments).pages or list(PAGES)
    if unknown := set(chosen) - set(PAGES):
        parser.error(f"there is no picture of {', '.join(sorted(unknown))}, but of {', '.join(PAGES)}")
    if chromium() is None:
        parser.error("no Chromium is installed (Debian: apt install chromium)")
    record(IMAGES, chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
