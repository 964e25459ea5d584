"""How ``%logs`` looks."""

from __future__ import annotations

from himalia.cluster.protocol.log_messages import LogPiece, LogSource
from himalia.kernel_ext.log_view import lines_bundle, lines_of, sources_bundle


def piece(data: bytes, name: str = "f", stream: int = 1) -> LogPiece:
    return LogPiece("00", name, stream, 7, 0, 0.0, data)


def test_lines_are_joined_over_the_borders_of_pieces() -> None:
    assert lines_of([piece(b"a\nhal"), piece(b"f\nb\n")]) == [
        ("f pid=7", 1, "a"),
        ("f pid=7", 1, "half"),
        ("f pid=7", 1, "b"),
    ]


def test_lines_of_others_are_not_joined() -> None:
    assert [text for *_, text in lines_of([piece(b"a"), piece(b"b\n", "g"), piece(b"c\n", "g", 2)])] == ["a", "b", "c"]


def test_of_a_line_that_was_drawn_over_the_last_state_is_shown_without_control_characters() -> None:
    assert lines_of([piece(b"\r 10%\r\x1b[32m100%\x1b[0m\ndos\r\n")]) == [("f pid=7", 1, "100%"), ("f pid=7", 1, "dos")]


def test_everything_is_escaped() -> None:
    bundle = lines_bundle("<title>", [("<f>", 2, "<b>")])
    assert "<title>" not in bundle["text/html"]
    assert "<f>" not in bundle["text/html"]
    assert "&lt;b&gt;" in bundle["text/html"]
    assert bundle["text/plain"] == "<title>\n(<f>) <b>"


def test_sources_are_added_up_by_cell_and_function() -> None:
    def source(name: str, pid: int, at: float) -> LogSource:
        return LogSource(name, "00", 3, "m", pid, 2, 500, at)

    text = sources_bundle([source("f", 1, 1.0), source("g", 1, 2.0), source("f", 2, 3.0)])["text/plain"]
    rows = [line.split() for line in text.splitlines()]
    assert rows[1] == ["3", "g", "2", "1", "500", "bytes"]
    assert rows[2] == ["3", "f", "4", "2", "1.0", "kB"]
