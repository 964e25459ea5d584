"""A value lies flat in a region and is read from there without a copy; damage is found, not followed."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.cluster.serialization import layout
from himalia.cluster.serialization.layout import (
    ALIGNMENT,
    Kind,
    LayoutError,
    copy_bytes,
    kind_of,
    pack,
    pack_into,
    pack_size,
    unpack,
)
from himalia.cluster.serialization.values import Serialized, deserialize, serialize


def serialized(data: bytes, *buffers: bytes) -> Serialized:
    return Serialized(data, [memoryview(each) for each in buffers], (), len(data) + sum(map(len, buffers)))


@settings(deadline=None)
@given(st.binary(), st.lists(st.binary(max_size=300)), st.sampled_from(Kind), st.integers(0, 200))
def test_stream_and_buffers_come_back_from_a_region_of_exactly_that_size_or_more(
    data: bytes, buffers: list[bytes], kind: Kind, more: int
) -> None:
    value = serialized(data, *buffers)
    region = memoryview(bytearray(b"\xff" * (pack_size(value) + more)))
    assert pack_into(region, value, kind) == pack_size(value)
    assert bytes(region[pack_size(value) :]) == b"\xff" * more
    stream, views = unpack(region)
    assert bytes(stream) == data
    assert [bytes(view) for view in views] == buffers
    assert kind_of(region) is kind


@pytest.mark.parametrize("value", [1, "x" * 1000, np.arange(100_000), [np.arange(5000), bytes(100_000)], {"a": None}])
def test_values_are_read_from_the_region(value: Any) -> None:
    stream, buffers = unpack(memoryview(pack(serialize(value))).toreadonly())
    np.testing.assert_equal(deserialize(stream, buffers), value)


def test_arrays_are_aligned_read_only_views_of_the_region() -> None:
    value = serialize([np.arange(1000 + extra, dtype=np.uint8).repeat(5) for extra in range(5)])
    memory = np.zeros(pack_size(value) + ALIGNMENT, dtype=np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    region = memory[start : start + pack_size(value)]
    pack_into(memoryview(region), value)
    arrays = deserialize(*unpack(memoryview(region).toreadonly()))
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in arrays)
    assert all(np.shares_memory(array, memory) for array in arrays)
    assert not any(array.flags.writeable for array in arrays)


def test_gaps_between_buffers_do_not_keep_what_was_in_the_region_before() -> None:
    value = serialized(b"d", b"b1", b"b2")
    region = bytearray(b"secret" * 100)
    pack_into(memoryview(region), value)
    assert b"secret" not in region[: pack_size(value)]


@settings(deadline=None)
@given(st.binary(max_size=80))
def test_a_region_without_a_value_is_refused(junk: bytes) -> None:
    with pytest.raises(LayoutError):
        unpack(memoryview(junk))


@pytest.mark.parametrize("cut", [10, 23, 30, 40, 90])
def test_a_truncated_region_is_refused(cut: int) -> None:
    region = pack(serialized(b"d" * 20, b"b" * 50))
    with pytest.raises(LayoutError, match=r"region"):
        unpack(memoryview(region)[:cut])


def test_other_versions_and_kinds_are_refused() -> None:
    region = pack(serialized(b"d"))
    region[4] = 9
    with pytest.raises(LayoutError, match="layout version 9, this process knows 1"):
        unpack(memoryview(region))
    region[4] = 1
    region[6] = 7
    with pytest.raises(LayoutError, match="unknown kind 7"):
        kind_of(memoryview(region))


def test_the_layout_on_disk_and_on_the_wire_does_not_change_unnoticed() -> None:
    region = pack(serialized(b"stream", b"buffer"), Kind.ERROR)
    header = "48494d56 0100 01 00 01000000 00000000 0600000000000000"  # magic, version, kind, buffers, stream's length
    assert bytes(region[:38]) == bytes.fromhex(header) + (6).to_bytes(8, "little") + b"stream"
    assert bytes(region[64:]) == b"buffer"


def test_copying_goes_at_the_speed_of_memory() -> None:
    source = np.ones(100_000_000, dtype=np.uint8)
    target = np.zeros_like(source)
    bare, ours = [], []
    for _ in range(4):
        start = time.perf_counter()
        np.copyto(target, source)
        bare.append(time.perf_counter() - start)
        start = time.perf_counter()
        copy_bytes(memoryview(target), 0, memoryview(source))
        ours.append(time.perf_counter() - start)
    assert min(ours) < 2 * min(bare)
    assert (target == 1).all()


def test_other_threads_run_while_a_large_value_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_COPY_CHUNK", 64 * 1024)
    ran = threading.Event()
    source = bytes(64_000_000)
    target = bytearray(len(source))
    thread = threading.Thread(target=ran.set)
    thread.start()
    copy_bytes(memoryview(target), 0, source)
    thread.join()
    assert ran.is_set()
    assert target == source
