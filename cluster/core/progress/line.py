"""The last line of the terminal, where bars are drawn. Whoever writes other text there makes room first.

Apart from what draws, so that those who only print import nothing for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final
from weakref import WeakSet

__all__ = ["Drawing", "drawings", "erase"]


class Drawing(ABC):
    """Something that draws in the last line."""

    @abstractmethod
    def clear(self) -> None:
        """Take it away, until it is drawn again."""


drawings: Final[WeakSet[Drawing]] = WeakSet()


def erase() -> None:
    """Make room for other text: to be called before it is written, so that it stands above bars, not behind them."""
    for drawing in list(drawings):
        drawing.clear()
