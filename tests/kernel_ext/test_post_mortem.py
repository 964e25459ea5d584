"""Walking frames that are gone."""

from __future__ import annotations

import pytest

from himalia.cluster.protocol.frames import FrameSnapshot, Variable
from himalia.cluster.serialization.values import serialize
from himalia.kernel_ext.post_mortem import PostMortem, UnknownCommand


def variable(name: str, value: object) -> Variable:
    return Variable(name, repr(value), serialize(value).data)


@pytest.fixture
def walk() -> PostMortem:
    source = ["def outer(rows):", "    half = len(rows) // 2", "    return inner(rows[:half])"]
    frames = [
        FrameSnapshot("outer", "job.py", 3, 1, source, [variable("rows", [1, 2]), variable("half", 1)]),
        FrameSnapshot(
            "inner",
            "job.py",
            6,
            5,
            ["def inner(part):", "    return 1 / (len(part) - LIMIT)"],
            [variable("part", [1]), Variable("large", "array([...])", b"", "its pickle has more than 5 bytes")],
            [variable("LIMIT", 1)],
        ),
    ]
    return PostMortem([("job", frame) for frame in frames], "task `job` failed: ZeroDivisionError: division by zero")


def test_one_begins_at_the_innermost_frame(walk: PostMortem) -> None:
    assert walk.run("where").splitlines() == [
        "task `job` failed: ZeroDivisionError: division by zero",
        "in task `job`:",
        "  job.py(3)outer()",
        "  -> return inner(rows[:half])",
        "> job.py(6)inner()",
        "  -> return 1 / (len(part) - LIMIT)",
    ]


def test_expressions_see_locals_and_the_module_s_names(walk: PostMortem) -> None:
    assert walk.run("p len(part) - LIMIT") == "0"
    assert walk.run("part") == "[1]"
    assert walk.run("[x + LIMIT for x in [1, 2]]") == "[2, 3]"
    assert walk.run("whatis part") == "<class 'list'>"


def test_up_and_down_end_at_the_ends(walk: PostMortem) -> None:
    assert walk.run("up").startswith("> job.py(3)outer()")
    assert walk.run("p rows, half") == "([1, 2], 1)"
    assert "none above" in walk.run("u")
    assert walk.run("down").startswith("> job.py(6)inner()")
    assert "none below" in walk.run("d 3")
    assert walk.run("up 5").startswith("> job.py(3)outer()")


def test_the_source_shows_where_it_failed(walk: PostMortem) -> None:
    assert walk.run("list").splitlines() == [
        "    5    def inner(part):",
        "    6 ->     return 1 / (len(part) - LIMIT)",
    ]


def test_what_was_not_kept_says_so(walk: PostMortem) -> None:
    assert walk.run("large") == "<not kept: its pickle has more than 5 bytes; it was array([...])>"
    assert walk.run("locals").splitlines() == ["part = [1]", "large = array([...])"]


def test_a_variable_can_be_assigned(walk: PostMortem) -> None:
    assert walk.run("part = [1, 2, 3]") == ""
    assert walk.run("p sum(part)") == "6"
    assert "part = [1, 2, 3]" in walk.run("locals")


def test_what_the_expression_raises_is_raised(walk: PostMortem) -> None:
    with pytest.raises(ZeroDivisionError):
        walk.run("p 1 / (len(part) - LIMIT)")
    with pytest.raises(NameError):
        walk.run("p unknown")


def test_a_typing_error_says_what_there_is(walk: PostMortem) -> None:
    with pytest.raises(UnknownCommand, match="did you mean 'where'"):
        walk.run("wher now")
    with pytest.raises(UnknownCommand, match="needs a task that runs"):
        walk.run("next")
    with pytest.raises(UnknownCommand, match="expression is missing"):
        walk.run("p")
    with pytest.raises(UnknownCommand, match="no number"):
        walk.run("up x")


def test_tasks_that_waited_for_each_other_are_told_apart() -> None:
    frames = [("outer", FrameSnapshot("f", "a.py", 1)), ("inner", FrameSnapshot("g", "b.py", 2))]
    shown = PostMortem(frames, "failed").run("w").splitlines()
    assert [line for line in shown if line.startswith("in task")] == ["in task `outer`:", "in task `inner`:"]
