"""Batches are decoded or refused; errors become a line of text."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.protocol.common import Cell
from himalia.cluster.telemetry.events import (
    ERROR_TEXT,
    Batch,
    Source,
    decode_batch,
    describe_error,
)

OWNER, WORKER, NODE = b"\x01owner__", b"\x01worker_", b"\x01node___"
F = Source("f", OWNER, b"\0\0\0\1", cell=Cell(b"\0\0\0\1", 3, "m"))


def test_an_error_is_described_in_one_bounded_line_of_text() -> None:
    assert describe_error(ValueError("no")) == "ValueError: no"
    assert len(describe_error(ValueError("x" * 10_000))) == len("ValueError: ") + ERROR_TEXT


def test_an_error_whose_text_fails_is_still_described() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe_error(Broken()) == "Broken: (its text cannot be shown)"


def batch_with(**fields: Any) -> bytes:
    good: dict[str, Any] = {
        "format": 2,
        "is_owner": False,
        "worker_id": WORKER,
        "node_id": NODE,
        "pid": 7,
        "sequence": 1,
        "clock": 0.0,
        "sources": [F],
        "counters": [1],
        "attempts": 0,
        "source_of": 0,
        "states": b"\4",
        "begins": [1.0],
        "spans": [1.0],
        "extras": {},
    }
    return msgspec.msgpack.encode(Batch(**{**good, **fields}))


def test_another_format_is_refused() -> None:
    assert list(decode_batch(batch_with()).rows()) == [(1, 0, 0, 4, 1.0, 1.0)]
    with pytest.raises(msgspec.DecodeError, match="format 99"):
        decode_batch(batch_with(format=99))


@pytest.mark.parametrize(
    "fields",
    [
        {"counters": [1, 2]},
        {"source_of": []},
        {"source_of": [1]},
        {"source_of": [-1]},
        {"sources": []},
        {"states": b"\7"},
        {"totals": [(1, 4, 1, 0.0)]},
        {"waiting": [(1, 1, 1)]},
        {"children": [(1, 1, 1, 2)]},
        {"links": [(0, 1)]},
    ],
)
def test_columns_that_do_not_fit_together_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(batch_with(**fields))


@given(st.binary(max_size=200))
def test_rubbish_is_refused(blob: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_batch(blob)
