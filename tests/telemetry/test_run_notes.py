"""What a worker notes in its page, and what is read of it at any moment."""

from __future__ import annotations

from himalia.cluster.telemetry.run_notes import (
    NOTES_AT,
    PAGE_BYTES,
    FunctionMemory,
    Notes,
    Running,
    decode_notes,
    encode_notes,
    merge_memory,
    write_notes,
)

RUNNING = Running(b"\x01owner!!", 7, "train", 3, b"job1", 1000.0, 2)


def page_with(*notes: Notes) -> bytearray:
    page = bytearray(PAGE_BYTES)
    for one in notes:
        write_notes(memoryview(page), encode_notes(one))
    return page


def test_notes_are_read_as_they_were_written() -> None:
    notes = Notes(RUNNING, [FunctionMemory("train", 100, 5, 2)])
    assert decode_notes(bytes(page_with(notes))) == notes


def test_later_notes_replace_longer_ones() -> None:
    long = Notes(RUNNING, [FunctionMemory(f"f{i}") for i in range(20)])
    assert decode_notes(bytes(page_with(long, Notes()))) == Notes()


def test_the_counter_of_the_task_stays_where_it_is() -> None:
    page = bytearray(PAGE_BYTES)
    page[:NOTES_AT] = b"\x07" * NOTES_AT
    write_notes(memoryview(page), encode_notes(Notes(RUNNING)))
    assert page[:NOTES_AT] == b"\x07" * NOTES_AT


def test_a_page_without_notes_or_with_half_of_them_has_none() -> None:
    assert decode_notes(b"") is None
    assert decode_notes(bytes(8)) is None
    assert decode_notes(bytes(PAGE_BYTES)) is None
    page = page_with(Notes(RUNNING))
    page[NOTES_AT : NOTES_AT + 4] = bytes(4)  # at this moment
    assert decode_notes(bytes(page)) is None
    page = page_with(Notes(RUNNING))
    page[NOTES_AT + 4 :] = b"\xc1" * (PAGE_BYTES - NOTES_AT - 4)
    assert decode_notes(bytes(page)) is None


def test_of_more_functions_than_fit_those_with_the_largest_peaks_are_kept() -> None:
    memory = [FunctionMemory("ö" * 120 + str(i), i) for i in range(500)]
    data = encode_notes(Notes(RUNNING, memory))
    assert len(data) <= PAGE_BYTES - NOTES_AT
    page = bytearray(PAGE_BYTES)
    write_notes(memoryview(page), data)
    notes = decode_notes(bytes(page))
    assert notes is not None
    assert notes.running == RUNNING
    assert [one.peak for one in notes.memory] == list(range(499, 499 - len(notes.memory), -1))
    assert len(notes.memory) >= 30


def test_memory_of_several_workers_is_put_together() -> None:
    known: dict[str, FunctionMemory] = {}
    merge_memory(known, [FunctionMemory("f", 100, 10, 1), FunctionMemory("g", 50, 0, 1)])
    merge_memory(known, [FunctionMemory("f", 70, 5, 3)])
    assert known == {"f": FunctionMemory("f", 100, 15, 4), "g": FunctionMemory("g", 50, 0, 1)}


def test_merging_changes_nothing_of_what_is_merged() -> None:
    one = FunctionMemory("f", 1, 1, 1)
    known: dict[str, FunctionMemory] = {}
    merge_memory(known, [one])
    merge_memory(known, [one])
    assert one.samples == 1


def test_of_too_many_functions_the_smallest_are_forgotten() -> None:
    known: dict[str, FunctionMemory] = {}
    merge_memory(known, [FunctionMemory(f"f{i}", i) for i in range(10)], limit=3)
    assert sorted(known) == ["f7", "f8", "f9"]
