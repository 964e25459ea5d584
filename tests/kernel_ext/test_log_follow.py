"""What ``%logs --follow`` shows, step by step, with logs that are made up."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.protocol.log_messages import LogLine
from himalia.kernel_ext import log_follow
from himalia.kernel_ext.kernels import KernelFront, TerminalFront
from himalia.kernel_ext.log_follow import FollowView, follow
from himalia.util.state import LogPage


class Terminal(TerminalFront):
    def __init__(self) -> None:
        self.text = ""

    def write(self, cell: Any, number: int, text: str) -> None:
        self.text += text


class Kernel(KernelFront):
    def __init__(self) -> None:
        self.shown: list[tuple[str, str, bool]] = []

    def display(self, cell: Any, data: dict[str, Any], metadata: Any, display_id: str, *, update: bool) -> None:
        self.shown.append((display_id, data["text/plain"], update))


class Log:
    """Stands for a `Follower`: a page for each look; after the last one it is what happens then."""

    def __init__(self, *pages: LogPage | BaseException) -> None:
        self.pages = list(pages)

    def next_page(self) -> LogPage:
        page = self.pages.pop(0)
        if isinstance(page, BaseException):
            raise page
        return page


def page(*texts: str, at: float = 0.0, **more: Any) -> LogPage:
    lines = [LogLine(text, "w", 0, at + number, name="f", pid=7, stream=1) for number, text in enumerate(texts)]
    return LogPage(lines, "", **{"is_end": True, **more})


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_follow, "_LOOK", 0.0)


def test_a_kernel_shows_the_last_lines_in_one_place_until_the_user_interrupts() -> None:
    front = Kernel()
    log: Any = Log(page("a", "b"), page(), page("c", "d\r\x1b[31me"), KeyboardInterrupt())
    follow(FollowView("Cell 3", 3, front), [log], lambda: False)
    assert [text for _, text, _ in front.shown] == [
        "Cell 3: 2 lines; interrupt the cell to stop\n(f pid=7) a\n(f pid=7) b",
        "Cell 3: the last 3 of 4 lines; interrupt the cell to stop\n(f pid=7) b\n(f pid=7) c\n(f pid=7) e",
        "Cell 3: the last 3 of 4 lines\n(f pid=7) b\n(f pid=7) c\n(f pid=7) e",
    ]
    assert [update for _, _, update in front.shown] == [False, True, True]
    assert len({name for name, _, _ in front.shown}) == 1


def test_a_terminal_gets_each_line_once() -> None:
    front = Terminal()
    log: Any = Log(page("a"), page("b", "c"), KeyboardInterrupt())
    follow(FollowView("ref", 100, front), [log], lambda: False)
    assert front.text == "(f pid=7) a\n(f pid=7) b\n(f pid=7) c\nref: 3 lines\n"


def test_following_ends_with_the_tasks_and_with_all_that_they_printed() -> None:
    front = Kernel()
    done = iter([False, True, True])
    log: Any = Log(page("a"), page("b", is_end=False), page("c"))
    follow(FollowView("ref", 100, front), [log], lambda: next(done))
    assert front.shown[-1][1] == "ref: 3 lines\n(f pid=7) a\n(f pid=7) b\n(f pid=7) c"


def test_several_logs_are_merged_by_time_and_what_is_missing_is_named() -> None:
    front = Kernel()
    first: Any = Log(page("a", "d", at=1.0, dropped=1_000))
    second: Any = Log(page("b", at=1.5, missing=["node 1: gone"]))
    follow(FollowView("refs", 100, front), [first, second], lambda: True)
    head, *lines = front.shown[-1][1].splitlines()
    assert head == "refs: 3 lines; 1,000 bytes before are kept no more; node 1: gone"
    assert lines == ["(f pid=7) a", "(f pid=7) b", "(f pid=7) d"]
