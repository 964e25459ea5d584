"""Failures that nobody asks for: which are told, when, and in how many words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from himalia.cluster.core.refs import ERROR, ObjectRef
from himalia.cluster.core.unseen_machine import GRACE, IN_FULL, WATCHED, Folding, Told, Watched, Watching, kind_of
from himalia.cluster.protocol.common import Cell

CELL = Cell(b"job", 3, "message")


def record(name: str = "f", cell: Cell | None = CELL, stream: Any = None) -> Any:
    return SimpleNamespace(plan=SimpleNamespace(name=name, cell=cell), stream=stream)


def ref(error: Any, counter: int = 1) -> ObjectRef:
    return ObjectRef(b"owner001", counter, 1, ERROR, error)


def taken(watching: Watching, now: float, **options: Any) -> list[tuple[str, int]]:
    return [(entry.task, entry.count) for entry in watching.take(now, **options)]


def test_an_error_is_told_once_its_references_are_gone() -> None:
    watching, error = Watching(), b"error one"
    first, second = ref(error), ref(error, 2)
    watching.failed(record(), error, [first, second])
    assert taken(watching, 0.0) == []
    del first
    assert taken(watching, 100.0) == []
    del second
    assert taken(watching, 100.0) == [("f", 1)]
    assert taken(watching, 200.0) == []


def test_an_error_that_somebody_got_is_not_told() -> None:
    watching, error = Watching(), b"error one"
    held = ref(error)
    watching.failed(record(), error, [held])
    entry = watching.seen(error)
    assert isinstance(entry, Watched)
    assert entry.task == "f"
    assert watching.seen(error) is None
    del held
    assert taken(watching, 100.0) == []


def test_tasks_that_fail_for_their_argument_count_with_it() -> None:
    watching, error = Watching(), b"error one"
    held, after = ref(error), ref(error, 2)
    watching.failed(record("f"), error, [held])
    watching.failed(record("g"), error, [after])
    del held
    assert taken(watching, 0.0) == []
    del after
    assert taken(watching, 0.0) == [("f", 1)]


def test_what_a_cell_that_is_over_has_left_is_told_after_a_while_though_there_are_references() -> None:
    over: set[Cell | None] = set()
    watching, error = Watching(lambda cell: cell in over), b"error one"
    held = ref(error)
    watching.failed(record(), error, [held])
    assert taken(watching, 0.0) == []
    assert taken(watching, GRACE + 1) == []
    over.add(CELL)
    assert taken(watching, GRACE + 1) == [("f", 1)]
    later, other = ref(error, 2), b"error two"
    watching.failed(record("g"), error, [later])  # one more of the same error
    fresh = ref(other, 3)
    watching.failed(record("h"), other, [fresh])
    assert taken(watching, 10.0) == []
    assert taken(watching, 10.0 + GRACE) == [("h", 1)]
    del held, later, fresh


def test_the_end_of_the_session_tells_all() -> None:
    watching, error = Watching(), b"error one"
    held = ref(error)
    watching.failed(record(), error, [held])
    assert taken(watching, 0.0, all_of_them=True) == [("f", 1)]
    del held


def test_a_generator_gives_its_error_to_a_reference_that_is_not_known_yet() -> None:
    watching, error = Watching(), b"error one"
    watching.failed(record(stream=object()), error, [ref(error)])
    assert taken(watching, 100.0) == []
    assert taken(watching, 100.0, all_of_them=True) == [("f", 1)]


def test_more_than_can_be_watched_are_counted() -> None:
    watching, one = Watching(), record()
    errors = [str(number).encode() for number in range(WATCHED + 500)]
    for number, error in enumerate(errors):
        watching.failed(one, error, [ref(error, number)])
    told = taken(watching, 0.0)
    assert len(told) == WATCHED
    assert sum(count for _, count in told) == WATCHED + 500


def failure(task: str = "f", kind: str = "ValueError", text: str = "whole traceback", count: int = 1) -> Told:
    return Told(CELL, task, kind, "ValueError: bad", text, count)


def test_the_first_of_a_kind_is_told_in_full_and_the_others_are_counted_at_growing_distances() -> None:
    folding = Folding()
    assert [told.text for told in folding.add(failure(), 0.0)] == ["whole traceback"]
    distances, last, said = [], 0.0, 0
    for step in range(1, 400):
        now = step / 4
        assert folding.add(failure(), now) == []
        for told in folding.tick(now):
            assert (told.text, told.last) == ("", "ValueError: bad")
            said += told.count
            distances.append(now - last)
            last = now
    assert distances == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert said + sum(told.count for told in folding.tick(1_000.0)) == 399
    assert not folding.restless


def test_what_is_left_is_told_at_the_end() -> None:
    folding = Folding()
    folding.add(failure(count=5), 0.0)
    assert [told.count for told in folding.tick(0.0, at_end=True)] == [4]


def test_nothing_is_said_of_failures_like_one_that_the_user_got() -> None:
    folding = Folding()
    folding.known(CELL, "f", "ValueError")
    assert folding.add(failure(), 0.0) == []
    assert folding.tick(100.0, at_end=True) == []
    assert len(folding.add(failure(task="g"), 0.0)) == 1


def test_a_cell_shows_a_few_tracebacks_and_then_only_lines() -> None:
    folding = Folding()
    in_full = [told for kind in "abcdefgh" for told in folding.add(failure(kind=kind), 0.0)]
    assert len(in_full) == IN_FULL
    assert [(told.kind, told.text, told.count) for told in folding.tick(2.0)] == [
        (kind, "", 1) for kind in "abcdefgh"[IN_FULL:]
    ]


def test_failures_alike_come_from_one_line_with_whatever_values() -> None:
    text = 'Traceback:\n  File "a.py", line 3, in f\n  File "b.py", line {}, in g\nValueError: {}'
    assert kind_of(text.format(7, "bad 1"), "ValueError: bad 1") == kind_of(
        text.format(7, "bad 2"), "ValueError: bad 2"
    )
    assert kind_of(text.format(7, "x"), "ValueError: x") != kind_of(text.format(8, "x"), "ValueError: x")
    assert kind_of(text.format(7, "x"), "ValueError: x") != kind_of(text.format(7, "x"), "KeyError: x")


def test_an_actor_that_could_not_be_made_is_told_as_such_unless_a_call_has_said_it() -> None:
    watching, folding = Watching(), Folding()
    handle = ref(b"", 7)
    watching.actor_failed(record("Model").plan, b"error one", handle)
    assert taken(watching, 100.0) == []
    del handle
    (entry,) = watching.take(100.0)
    assert entry.is_actor
    told = Told(CELL, "Model", "kind", "ValueError: no", "traceback", 3, "Model")
    assert [one.actor for one in (*folding.add(told, 0.0), *folding.tick(9.0))] == ["Model", "Model"]
    watching.actor_failed(record("Model").plan, error := b"error two", None)
    assert watching.seen(error) is not None
    assert taken(watching, 200.0) == []
