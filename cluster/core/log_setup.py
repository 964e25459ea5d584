"""What `init` does with Python's logging: the logger ``himalia`` of the driver, and the level of the cluster's logs.

Ours is one handler on one logger, made once and changed by each `init`. It is installed only where nobody has set up
logging: a program that did gets our records by its own handlers, once.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, TextIO

__all__ = ["configure_logger", "level_name"]

_FORMAT: Final = "%(asctime)s %(levelname)s %(message)s"


class _CurrentStderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at the moment: a kernel and a test replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # an attribute there
        return sys.stderr


_handler: Final = _CurrentStderr()


def level_name(level: int | str) -> str:
    """A level as `logging` names it.

    Raises
    ------
    ValueError
        There is no such level.
    """
    if isinstance(level, bool) or not isinstance(level, int | str):
        raise ValueError(f"logging_level must be a level of `logging` or its name, got {level!r}")
    if isinstance(level, int):
        # A process of the cluster is told a name: the next one below, which leaves out nothing that was asked for.
        known = [value for value in logging.getLevelNamesMapping().values() if 0 < value <= level]
        return logging.getLevelName(max(known, default=logging.DEBUG))
    if level.upper() not in logging.getLevelNamesMapping():
        raise ValueError(f'logging_level {level!r} is no level of `logging`: use one like "info" or "warning"')
    return level.upper()


def configure_logger(level: int | str, text_format: str | None) -> None:
    """Have the logger ``himalia`` show what is of this level or above."""
    name = level_name(level)
    logger: Any = logging.getLogger("himalia")
    logger.setLevel(level if isinstance(level, int) else name)
    logger.removeHandler(_handler)
    if text_format is not None or not logger.hasHandlers():
        _handler.setFormatter(logging.Formatter(text_format or _FORMAT))
        logger.addHandler(_handler)
