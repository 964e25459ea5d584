"""Pictures of the dashboard's pages in the documentation: a pipeline at work, in light and dark."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

import himalia
from himalia.util.placement_group import placement_group
from himalia.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from tests.browser.board import Board, board_page, browser_context, connection

__all__ = ["PICTURES", "record_board"]

_SIZE: Final = {"width": 1280, "height": 800}
_SEEN: Final = 15.0
"""Seconds of work that the plots show: enough for a rate to settle."""

_SHOWN: Final = {
    "overview": "train",
    "task_graph": "Task graph",
    "task_stream": "train",
    "objects": "load",
    "placement_groups": "never fits",
}
"""Pages, and what stands there when they show the work."""

PICTURES: Final = {f"dashboard_{page}": page for page in _SHOWN}
"""Names of the pictures, and which page each shows."""


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

    class Scores:
        def __init__(self) -> None:
            self.best: list[float] = []

        def note(self, score: float) -> None:
            self.best.append(score)

    scores: Any = himalia.remote(Scores)
    over = threading.Event()
    board = scores.options(name="best", num_cpus=0).remote()
    kept = placement_group([{"CPU": 0.25}] * 2, name="evaluation")
    placement_group([{"CPU": 8, "GPU": 1}], name="fine-tuning")  # more than there is
    in_group = PlacementGroupSchedulingStrategy(kept, 0)
    judge = scores.options(name="judge", num_cpus=0.25, scheduling_strategy=in_group).remote()
    himalia.get(judge.note.remote(0.0))

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


def record_board(images: Path, names: Sequence[str], seen: float = _SEEN) -> None:
    """Write some of `PICTURES`, light and dark, into a folder."""
    images.mkdir(parents=True, exist_ok=True)
    himalia.init(num_cpus=2, log_to_driver=False)
    try:
        with browser_context() as context, _pipeline(), board_page(context, connection()) as board:
            board.page.set_viewport_size(_SIZE)
            for name in names:
                page = PICTURES[name]
                board.show(page)
                board.wait_for(_SHOWN[page])
                board.page.wait_for_timeout(1000 * seen)  # to be seen, not to be sure of
                _take(board, images, name)
    finally:
        himalia.shutdown()


def _take(board: Board, images: Path, name: str) -> None:
    for theme in ("light", "dark"):
        if board.page.locator("body").get_attribute("data-theme") != theme:
            board.page.locator("#menu .bottom button").click()
        board.page.locator(f"#page[data-theme={theme}]").wait_for()
        board.page.wait_for_timeout(1000)
        board.page.screenshot(path=str(images / f"{name}{'-dark' if theme == 'dark' else ''}.png"))
