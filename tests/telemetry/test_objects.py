"""What processes and stores tell of objects becomes rows."""

from __future__ import annotations

from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.core_messages import HeldObject, ObjectsHeld, ReferenceKind
from himalia.cluster.protocol.ids import make_object_id, object_task
from himalia.cluster.telemetry.objects import ObjectRow, Stored, Task, group_rows, merge_reports

OWNER, BORROWER = b"\x01owner__", b"\x01borrow_"
HERE, THERE = b"\x01here___", b"\x01there__"
LOCAL, PENDING = ReferenceKind.LOCAL_REFERENCE, ReferenceKind.USED_BY_PENDING_TASK
CELL = Cell(b"\0\0\0\1", 3, "m")


def result(counter: int) -> bytes:
    return make_object_id(OWNER, counter, 1)


def report(worker: bytes, node: bytes, *held: HeldObject) -> ObjectsHeld:
    return ObjectsHeld(1, worker, node, 7, list(held), len(held))


def test_a_borrower_is_told_what_only_the_owner_knows() -> None:
    owned = HeldObject(result(1), 500, "FINISHED", [LOCAL], [HERE], "make", CELL, "cell:3")
    borrowed = HeldObject(result(1), -1, "PENDING", [PENDING])
    for order in ((owned, borrowed), (borrowed, owned)):
        reports = [report(OWNER if held is owned else BORROWER, HERE, held) for held in order]
        first, second = merge_reports(reports, [Stored(THERE, result(1), 500, "sealed", 2)])
        assert (first.holder, second.holder) == (OWNER, BORROWER)
        assert first.is_owned_here
        assert not second.is_owned_here
        for row in (first, second):
            assert (row.size, row.status, row.maker, row.cell, row.site) == (500, "FINISHED", "make", CELL, "cell:3")
            assert (row.stored, row.pins) == ({THERE: "sealed"}, 2)
        assert (first.kinds, second.kinds) == ([LOCAL], [PENDING])


def test_what_lies_in_stores_and_nobody_holds_is_one_row() -> None:
    (row,) = merge_reports([], [Stored(node, result(1), 500, "sealed", 1) for node in (HERE, THERE)])
    assert (row.owner, row.holder, row.size, row.pins) == (OWNER, b"", 500, 2)
    assert row.stored == {HERE: "sealed", THERE: "sealed"}


def test_small_results_are_named_by_their_task() -> None:
    held = [HeldObject(result(1), 5, "FINISHED", [LOCAL]), HeldObject(make_object_id(OWNER, 1, 0), 5, "NIL", [LOCAL])]
    rows = merge_reports([report(OWNER, HERE, *held)], [], {object_task(result(1)): Task("make", CELL)})
    assert {(row.is_put, row.maker) for row in rows} == {(False, "make"), (True, "")}


def test_the_largest_come_first_and_the_unknown_last() -> None:
    held = [HeldObject(result(n), size, "FINISHED", [LOCAL]) for n, size in ((1, 5), (2, -1), (3, 90))]
    assert [row.size for row in merge_reports([report(OWNER, HERE, *held)], [])] == [90, 5, -1]


def test_groups_count_an_object_once_and_come_by_size() -> None:
    def row(counter: int, size: int, node: bytes) -> ObjectRow:
        return ObjectRow(result(counter), size, "FINISHED", [LOCAL], OWNER, OWNER, 7, node)

    rows = [row(1, 60, HERE), row(1, 60, HERE), row(2, 100, THERE), row(3, -1, THERE)]
    groups = group_rows(rows, lambda one: one.holder_node)
    assert [(node, len(group)) for node, group in groups.items()] == [(THERE, 2), (HERE, 2)]
