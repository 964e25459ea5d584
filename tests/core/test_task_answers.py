"""What an owner shows of a task's arguments."""

from __future__ import annotations

import os

import numpy as np

from himalia.cluster.core.task_answers import plain_arguments
from himalia.cluster.serialization.values import serialize_args


def shown(*args: object, **kwargs: object) -> list[tuple[str, str]]:
    return plain_arguments(bytes(serialize_args(args, kwargs).data))


class Noisy:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo never",)


def test_plain_values_are_shown() -> None:
    assert shown(1, "text", [2.5, None], y={"a": 1}) == [
        ("0", "1"),
        ("1", "'text'"),
        ("2", "[2.5, None]"),
        ("y", "{'a': 1}"),
    ]
    assert plain_arguments(b"") == []


def test_nothing_of_the_users_runs_because_somebody_looks() -> None:
    assert shown(Noisy()) == [("0", "<posix.system>")]


def test_what_is_large_or_no_plain_value_is_described() -> None:
    ((slot, text),) = shown(np.zeros(3))
    assert slot in ("", "0")
    assert "numpy" in text or "bytes of arguments" in text
    assert shown("x" * 500)[0][1].endswith("…")
    assert "bytes of arguments" in shown("x" * 100_000)[0][1]
    assert "bytes of arguments" in plain_arguments(b"\x80\x05broken")[0][1]
