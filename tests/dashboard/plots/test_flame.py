"""The flame graph: which boxes there are, how wide, and that nothing in a name gets out of its box."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from himalia.cluster.protocol.stack_messages import FoldedStack, Frame, Profile
from himalia.dashboard.plots.flame import CELL, CODE, ENGINE, LIBRARY, flame_html, flame_page, flame_text, flame_tree

RUN = Frame("Executor.run", "/himalia/worker/executor.py", 1, internal=True)
CELL_F = Frame("f", "/tmp/ipykernel_1/1.py", 2, cell="In [3]")
CELL_F9 = Frame("f", "/tmp/ipykernel_1/1.py", 9, cell="In [3]")
GET = Frame("get", "/himalia/core/api.py", 1, internal=True)
WAIT = Frame("wait", "/himalia/core/reactor.py", 1, internal=True)
OWN = Frame("helper", "/home/me/tools.py", 5)
SUM = Frame("sum", "/usr/lib/python3/dist-packages/numpy/core.py", 7)
FRAMES = [RUN, CELL_F, CELL_F9, GET, WAIT, OWN, SUM]


def profile(*stacks: tuple[list[Frame], int], rate: int = 10) -> Profile:
    numbers: dict[Frame, int] = {}
    folded = [
        FoldedStack("t", [numbers.setdefault(frame, len(numbers)) for frame in stack], count) for stack, count in stacks
    ]
    return Profile([1, 2], 2.0, rate, list(numbers), folded, ["py-spy"])


SOME = profile(([RUN, CELL_F, OWN, SUM], 6), ([RUN, CELL_F9], 2), ([RUN, CELL_F, GET, WAIT], 1), ([RUN], 1))


def test_boxes_are_functions_and_begin_with_the_users() -> None:
    root = flame_tree(SOME)
    assert root.count == 10
    assert [(box.name, box.count, box.own) for box in root.children.values()] == [("f", 9, 2), ("Himalia itself", 1, 1)]
    (f, _) = root.children.values()
    assert {box.name: (box.count, box.colour) for box in f.children.values()} == {
        "helper": (6, CODE),
        "get": (1, ENGINE),  # and not what `get` calls
    }
    assert (f.colour, f.lines, f.place()) == (CELL, {2: 7, 9: 2}, "In [3], line 2, 9")
    assert next(iter(f.children.values())).children["sum", SUM.file].colour == LIBRARY


def test_the_frames_of_the_engine_are_drawn_when_asked_for() -> None:
    root = flame_tree(SOME, engine=True)
    assert [box.name for box in root.children.values()] == ["Executor.run"]


def test_a_thread_begins_with_the_users_function_and_ours_are_one_box() -> None:
    run, poll = Frame("Thread.run", "/usr/lib/python3.11/threading.py", 982), Frame("poll", "/zmq/poll.py", 1)
    threads = profile(([run, OWN], 1))
    threads.frames.append(poll)
    threads.stacks.append(FoldedStack("himalia-io", [0, 2], 3))
    assert [box.name for box in flame_tree(threads).children.values()] == ["helper", "Himalia itself"]


class Boxes(HTMLParser):
    """The labels and titles of boxes, and all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        if values.get("class") == "himalia-flame-box":
            self.titles.append(values["title"] or "")


def test_a_box_has_its_share_of_the_one_above_it() -> None:
    html = flame_html(SOME, title="Cell 3")
    titles = Boxes(html).titles
    assert titles[1] == "f  In [3]\nIn [3], line 2, 9\n0.90 s, 90.0 %, 0.20 s in its own code"
    assert [float(width) for width in re.findall(r"div style=.width:([\d.]+)%", html)][:3] == [100.0, 90.0, 66.667]
    assert "2 processes, 2.0 s, 1.0 s of CPU; 10 looks by py-spy" in html


def test_names_are_text_wherever_they_stand() -> None:
    bad = Frame('<img src=x onerror="alert(1)">', '/a/"><script>alert(2)</script>.py', 1)
    evil = profile(([bad], 5))
    evil.notes.append("<script>alert(3)</script>")
    for html in (flame_html(evil, title="<b onclick=x>"), flame_page(evil, title="</title><script>x</script>")):
        parsed = Boxes(html)
        assert "img" not in parsed.tags
        assert parsed.tags.count("script") == (1 if html.startswith("<!doctype") else 0)
        assert bad.name in parsed.titles[1]


def test_what_nobody_could_see_is_left_out_and_the_size_is_bounded() -> None:
    many = profile(*[([Frame(f"f{n}", "/a.py", 1), Frame(f"g{n}", "/a.py", 1)], 1 + n % 7) for n in range(20_000)])
    assert len(Boxes(flame_html(many)).titles) < 2_000
    deep = profile(([Frame(f"f{n}", "/a.py", 1) for n in range(5_000)], 1))
    assert len(Boxes(flame_html(deep)).titles) < 200


def test_a_page_contains_all_that_it_needs() -> None:
    page = flame_page(SOME)
    assert not re.search(r"""(src|href)\s*=|import\s|@import|https?:""", page)
    assert "function himaliaFlame(" in page
    assert "color-scheme:light dark" in page


def test_a_profile_of_nothing_says_so() -> None:
    empty = profile()
    assert "No thread was at work in 2.0 s; with idle=True" in flame_html(empty)
    assert flame_text(empty) == "No thread was at work in 2.0 s; with idle=True, threads that wait are shown, too."


@pytest.mark.parametrize("most", [1, 15])
def test_the_hottest_functions_as_text(most: int) -> None:
    lines = flame_text(SOME, most).splitlines()
    assert lines[2].split("  ")[-1] == "sum (numpy/core.py:7)"
    assert len(lines) == 2 + min(most, 4)
    assert lines[2].split()[:4] == ["0.60", "s", "0.60", "s"]
