"""What is kept of a failed task's frames."""

from __future__ import annotations

from typing import Any

import numpy as np

import himalia.cluster.worker.snapshot as module
from himalia.cluster.protocol.frames import FrameSnapshot, unpack_frames
from himalia.cluster.serialization.values import deserialize
from himalia.cluster.worker.snapshot import ALIKE, FAILURE_BYTES, PERIOD, PERIOD_BYTES, Allowance, snapshot_frames


def frames_of(function: Any, *arguments: Any, limit: int = FAILURE_BYTES) -> list[FrameSnapshot]:
    try:
        function(*arguments)
    except Exception as error:
        return unpack_frames(snapshot_frames(error, limit))[1:]  # without the frame of this function
    raise AssertionError("it did not fail")


def inner(rows: list[int]) -> float:
    total = sum(rows)
    return total / (len(rows) - 3)


def outer(rows: list[int]) -> float:
    doubled = [2 * row for row in rows]
    return inner(doubled)


def test_frames_tell_where_and_with_what() -> None:
    first, second = frames_of(outer, [1, 2, 3])
    assert (first.function, second.function) == ("outer", "inner")
    assert first.filename == __file__
    assert second.source[second.line - second.source_from].strip() == "return total / (len(rows) - 3)"
    kept = {variable.name: deserialize(variable.data) for variable in second.variables}
    assert kept == {"rows": [2, 4, 6], "total": 12}
    assert [variable.name for variable in first.names] == ["inner"]


def test_a_value_too_large_is_kept_as_text() -> None:
    def fails() -> None:
        large = np.zeros(1_000_000)
        many = list(range(1_000_000))
        few = [1, 2]
        raise ValueError(len(large) + len(many) + len(few))

    (frame,) = frames_of(fails)
    by_name = {variable.name: variable for variable in frame.variables}
    assert by_name["large"].data == b""
    assert "more than" in by_name["large"].reason
    assert by_name["large"].text.startswith("array([0., 0.")
    assert by_name["many"].data == b""
    assert by_name["many"].text == "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...]"
    assert deserialize(by_name["few"].data) == [1, 2]


def test_what_can_not_be_pickled_or_shown_says_so() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError("no")

        def __reduce__(self) -> Any:
            raise RuntimeError("neither")

    def fails() -> None:
        shy = Shy()
        raise ValueError(id(shy))

    (frame,) = frames_of(fails)
    (variable,) = [variable for variable in frame.variables if variable.name == "shy"]
    assert variable.text.startswith("<Shy instance at ")
    assert "neither" in variable.reason


def test_all_together_stay_within_the_budget() -> None:
    def fails() -> None:
        a, b, c = (bytes(3_000) for _ in range(3))
        raise ValueError(a + b + c)

    (frame,) = frames_of(fails, limit=7_000)
    assert [bool(variable.data) for variable in frame.variables] == [True, True, False]


def test_the_engine_s_own_frames_are_left_out() -> None:
    from himalia.cluster.serialization.values import serialize

    def fails() -> None:
        value = 1
        serialize((value, lambda: (_ for _ in ()), (x for x in [])))

    frames = frames_of(fails)
    assert [frame.function.rpartition(".")[2] for frame in frames] == ["fails"]


def test_of_a_deep_recursion_the_innermost_frames_are_kept() -> None:
    def deep(n: int) -> int:
        return 1 // n if n == 0 else deep(n - 1)

    frames = frames_of(deep, 100)
    assert len(frames) == module.FRAMES - 1
    assert [v.text for v in frames[-1].variables if v.name == "n"] == ["0"]


def test_of_failures_that_are_alike_only_some_are_kept() -> None:
    allowance = Allowance()
    for _ in range(ALIKE):
        assert allowance.may_keep("a", 0.0) == FAILURE_BYTES
        allowance.kept("a", 100, 0.0)
    assert allowance.may_keep("a", 1.0) == 0
    assert allowance.may_keep("b", 1.0) == FAILURE_BYTES
    assert allowance.may_keep("a", PERIOD) == FAILURE_BYTES


def test_all_failures_of_a_while_share_a_budget() -> None:
    allowance = Allowance()
    allowance.kept("a", PERIOD_BYTES - 1000, 0.0)
    assert allowance.may_keep("b", 1.0) == 1000
    allowance.kept("b", 1000, 1.0)
    assert allowance.may_keep("c", 2.0) == 0
