"""Tracebacks show the user's frames, not those of the engine around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from threading import Lock
from typing import Any

import pytest

from himalia.cluster.protocol import traceback_text
from himalia.cluster.protocol.traceback_text import last_user_frame, remote_traceback
from himalia.cluster.serialization.values import serialize
from himalia.exceptions import HimaliaError

ENGINE = traceback_text._ENGINE


def engine_function(source: str, name: str, **space: Any) -> Callable[..., Any]:
    """Define a function as if in a file of the engine."""
    exec(compile(source, f"{ENGINE}worker/executor.py", "exec"), space)
    made: Callable[..., Any] = space[name]
    return made


execute = engine_function("def execute(task): return task()", "execute")
caught = engine_function(
    "def caught(task):\n    try: task()\n    except BaseException as exc: return exc",
    "caught",
)


def text_of(task: Callable[[], Any], **options: Any) -> str:
    return remote_traceback(caught(task), **options)


def test_the_executors_frames_are_left_out() -> None:
    def task() -> None:
        raise ValueError("boom")

    text = text_of(task)
    assert "executor.py" not in text
    assert "in task" in text
    assert text.endswith("ValueError: boom\n")


def test_the_engines_frames_within_its_own_error_are_left_out() -> None:
    get = engine_function("def get(): raise Error('not ready')", "get", Error=HimaliaError)

    def task() -> None:
        get()

    text = text_of(task)
    assert "executor.py" not in text
    assert "get()" in text


def test_the_engines_frames_within_another_error_stay() -> None:
    get = engine_function("def get(): raise ValueError('inside')", "get")
    assert "executor.py" in text_of(lambda: get())


def test_a_fault_of_the_engine_alone_keeps_its_frames() -> None:
    fails = engine_function("def fails(): raise ValueError('inside')", "fails")
    assert "executor.py" in text_of(fails)


def test_what_the_engine_says_of_a_result_has_no_frames() -> None:
    pack = engine_function("def pack(): serialize(Lock(), 'the result')", "pack", serialize=serialize, Lock=Lock)
    text = text_of(pack)
    assert text.startswith("himalia.exceptions.SerializationError: The result can not be pickled")
    assert "executor.py" not in text
    assert "cloudpickle" not in text


def test_what_the_users_own_reduce_raised_is_shown() -> None:
    class Broken:
        def __reduce__(self) -> Any:
            raise LookupError("no state today")

    pack = engine_function("def pack(): serialize(Broken(), 'the result')", "pack", serialize=serialize, Broken=Broken)
    text = text_of(pack)
    assert 'raise LookupError("no state today")' in text
    assert text.count("SerializationError") == 1


def test_chains_and_groups_are_cleaned_too() -> None:
    def first() -> None:
        raise KeyError("first")

    def chained() -> None:
        try:
            execute(first)
        except KeyError as error:
            raise ValueError("second") from error

    text = text_of(chained)
    assert "KeyError: 'first'" in text
    assert "ValueError: second" in text

    def grouped() -> None:
        errors = []
        try:
            execute(first)
        except KeyError as error:
            errors.append(error)
        raise ExceptionGroup("several", errors)

    text = text_of(grouped)
    assert "several (1 sub-exception)" in text
    assert "KeyError: 'first'" in text


def test_the_stack_can_be_had_alone() -> None:
    def task() -> None:
        raise ValueError("boom")

    text = text_of(task, stack_only=True)
    assert text.startswith("Traceback")
    assert "ValueError: boom" not in text


def decode(text: str) -> object:
    return json.loads(text)


def test_the_last_frame_of_the_user_is_told_where_a_library_raised() -> None:
    try:
        decode("{")
    except ValueError as error:
        found = last_user_frame(error.__traceback__)
    assert found == (__file__, decode.__code__.co_firstlineno + 1, "decode")


def test_code_that_a_notebook_made_up_a_file_for_is_the_users() -> None:
    scope: dict[str, Any] = {}
    exec(compile("def cell():\n    1 / 0\n", "/tmp/ipykernel_7/123.py", "exec"), scope)
    try:
        scope["cell"]()
    except ZeroDivisionError as error:
        found = last_user_frame(error.__traceback__)
    assert found == ("/tmp/ipykernel_7/123.py", 2, "cell")


def test_without_code_of_the_user_the_innermost_frame_is_told() -> None:
    with pytest.raises(ValueError) as caught:
        json.loads("{")
    file, _, name = last_user_frame(caught.tb.tb_next)
    assert (file, name) == (json.decoder.__file__, "JSONDecoder.raw_decode")


def test_without_a_traceback_there_is_no_place() -> None:
    assert last_user_frame(None) == ("", 0, "")
