"""`init` sets up the logger `himalia`, and leaves alone what a program set up itself."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

import pytest

from himalia.cluster.core.log_setup import configure_logger, level_name


@contextlib.contextmanager
def alone() -> Iterator[logging.Logger]:
    """The logger out of sight of pytest's handlers, which come when a test begins; and as it was afterwards."""
    logger = logging.getLogger("himalia")
    handlers, level = logger.handlers[:], logger.level
    logger.handlers.clear()
    logger.propagate = False
    try:
        yield logger
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = True


@pytest.mark.parametrize(
    ("level", "name"),
    [("info", "INFO"), ("WARNING", "WARNING"), (logging.DEBUG, "DEBUG"), (25, "INFO"), (0, "DEBUG"), (99, "CRITICAL")],
)
def test_a_level_has_the_name_of_the_one_below(level: int | str, name: str) -> None:
    assert level_name(level) == name


@pytest.mark.parametrize("level", ["loud", None, True, 1.5])
def test_what_is_no_level_is_refused_with_its_value(level: object) -> None:
    with pytest.raises(ValueError, match=repr(level)):
        level_name(level)  # type: ignore[arg-type]


def test_messages_of_the_level_and_above_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with alone():
        configure_logger("info", None)
        configure_logger("warning", None)
        logging.getLogger("himalia.core").info("too low")
        logging.getLogger("himalia.core").warning("shown")
    written = capsys.readouterr().err
    assert written.count("shown") == 1
    assert "WARNING" in written
    assert "too low" not in written


def test_the_format_is_the_latest_that_was_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with alone() as logger:
        configure_logger("info", "first %(message)s")
        configure_logger(logging.INFO, "second %(message)s")
        logger.info("hello")
    assert capsys.readouterr().err == "second hello\n"


def test_a_program_with_handlers_of_its_own_gets_records_once(capsys: pytest.CaptureFixture[str]) -> None:
    with alone() as logger:
        logger.addHandler(logging.StreamHandler())
        configure_logger("info", None)
        logger.warning("once")
    assert capsys.readouterr().err == "once\n"
