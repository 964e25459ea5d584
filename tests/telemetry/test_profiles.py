"""Stacks and profiles: read from what py-spy writes, merged, and written for others."""

from __future__ import annotations

import json

import pytest

from himalia.cluster.protocol.stack_messages import FoldedStack, Frame, Profile, Stacks, ThreadStack
from himalia.cluster.telemetry.profiles import (
    folded_text,
    frame_text,
    merge_profiles,
    parse_dump,
    parse_recording,
    rename_files,
    speedscope,
    stacks_text,
)

OUTER, WORK, LEAF = (
    Frame("main", "/app/a.py", 1),
    Frame("work", "/tmp/ipykernel_7/12.py", 3),
    Frame("leaf", "/app/b.py", 9),
)


def is_internal(file: str) -> bool:
    return file.startswith("/himalia/")


def one(*stacks: tuple[str, list[int], int], frames: list[Frame] | None = None, pid: int = 1) -> Profile:
    return Profile(
        [pid], 2.0, 100, frames or [OUTER, WORK, LEAF], [FoldedStack(*stack) for stack in stacks], ["py-spy"]
    )


def test_a_dump_of_py_spy_has_its_outermost_frame_first() -> None:
    frames = [
        {"name": "f", "filename": "/app/a.py", "line": 4},
        {"name": "run", "filename": "/himalia/x.py", "line": 2},
    ]
    thread = {"thread_name": None, "os_thread_id": 5, "active": True, "frames": frames, "pid": 1, "owns_gil": False}
    found = parse_dump(json.dumps([thread]).encode(), 1, is_internal)
    (parsed,) = found.threads
    assert [frame.name for frame in parsed.frames] == ["run", "f"]
    assert [frame.internal for frame in parsed.frames] == [True, False]
    assert (parsed.name, parsed.active, parsed.thread_id, found.by) == ("", True, 5, "py-spy")


def test_a_recording_of_py_spy_is_folded_by_thread() -> None:
    frames = [{"name": "main", "file": "/app/a.py", "line": 1, "col": None}, {"name": "native", "file": None}]
    profiles = [
        {"name": 'Thread 12 "Main; \\"x\\""', "samples": [[0], [0, 1], [0]], "unit": "seconds", "weights": [0.01] * 3},
        {"name": "Thread 0x7F", "samples": [[0]]},
    ]
    data = json.dumps({"profiles": profiles, "shared": {"frames": frames}}).encode()
    found = parse_recording(data, 3, 100, False, 2.0, is_internal)
    assert found.frames == [Frame("main", "/app/a.py", 1), Frame("native", "", 0)]
    assert [(stack.thread, stack.frames, stack.count) for stack in found.stacks] == [
        ('Main; \\"x\\"', [0], 2),
        ('Main; \\"x\\"', [0, 1], 1),
        ("", [0], 1),
    ]


def test_profiles_of_several_processes_add_up_though_their_frames_have_other_numbers() -> None:
    other = one(("t", [1, 0], 4), ("u", [1], 1), frames=[WORK, OUTER], pid=2)
    merged = merge_profiles([one(("t", [0, 1], 3), ("t", [0, 1, 2], 2)), other])
    named = {(s.thread, tuple(merged.frames[n].name for n in s.frames)): s.count for s in merged.stacks}
    assert named == {("t", ("main", "work")): 7, ("t", ("main", "work", "leaf")): 2, ("u", ("main",)): 1}
    assert (merged.pids, merged.seconds, merged.rate, merged.by) == ([1, 2], 2.0, 100, ["py-spy"])


def test_profiles_of_different_rates_are_not_merged() -> None:
    slow = one(("t", [0], 1))
    slow.rate = 10
    with pytest.raises(ValueError, match=r"\[10, 100\]"):
        merge_profiles([one(("t", [0], 1)), slow])


def test_a_frame_in_a_cell_is_named_by_the_cell() -> None:
    renamed = rename_files([OUTER, WORK], {WORK.file: "In [3]"})
    assert [frame_text(frame) for frame in renamed] == ["main (app/a.py:1)", "work (In [3], line 3)"]


def test_folded_stacks_are_a_line_each_whatever_names_contain() -> None:
    odd = Frame("<lambda; \n>", "/a/b.py", 2)
    text = folded_text(one(("main;thread", [0, 1], 3), ("", [0], 1), frames=[OUTER, odd]))
    assert text == "main:thread;main (app/a.py:1);<lambda:  > (a/b.py:2) 3\nmain (app/a.py:1) 1\n"


def test_speedscope_gets_seconds_for_each_stack() -> None:
    value = json.loads(speedscope(one(("t", [0, 1], 30), ("t", [0], 10), ("u", [0], 5))))
    assert [profile["name"] for profile in value["profiles"]] == ["t", "u"]
    assert value["profiles"][0]["samples"] == [[0, 1], [0]]
    assert value["profiles"][0]["weights"] == [0.3, 0.1]
    assert value["profiles"][0]["endValue"] == pytest.approx(0.4)
    assert [frame["name"] for frame in value["shared"]["frames"]] == ["main", "work", "leaf"]


def test_stacks_as_text_begin_with_the_innermost_frame_and_count_what_is_ours() -> None:
    ours = Frame("run", "/himalia/executor.py", 5, internal=True)
    stacks = Stacks(7, [ThreadStack("MainThread", [ours, WORK, LEAF], True, 8)], "the process itself", "no py-spy")
    assert stacks_text(stacks).splitlines() == [
        "Process 7, seen by the process itself (no py-spy)",
        '  Thread 8 "MainThread", active',
        "    leaf (app/b.py:9)",
        "    work (ipykernel_7/12.py:3)",
        "    … 1 frame of Himalia itself",
    ]
    assert "run (himalia/executor.py:5)" in stacks_text(stacks, engine=True)
