"""Writing and reading the arena in a process: no copies, and a pin as long as the last buffer."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from himalia.cluster.object_store.arena import Arena
from himalia.cluster.object_store.client import ArenaClient, Source
from himalia.cluster.serialization.layout import pack_into, pack_size, unpack
from himalia.cluster.serialization.values import deserialize, serialize

MB = 1 << 20


@pytest.fixture
def client() -> Iterator[ArenaClient]:
    arena = Arena(64 * MB)
    arena.extend(64 * MB)
    client = ArenaClient(arena.path, arena.capacity)
    client.writer(0, 1)
    yield client
    client.close()
    arena.close()


def test_what_is_written_is_read_without_a_copy(client: ArenaClient) -> None:
    with client.writer(4096, 1000) as target:
        target[:] = bytes(range(250)) * 4
    view = client.reader(4096, 1000, "", list)
    assert view.readonly
    assert view.format == "B"
    assert bytes(view) == bytes(range(250)) * 4
    with client.writer(4096, 1) as target:
        target[0] = 99
    assert view[0] == 99


def test_a_large_range_is_populated_once_and_written(client: ArenaClient) -> None:
    for _ in range(2):
        with client.writer(MB // 2, 40 * MB) as target:
            target[:] = b"x" * (40 * MB)
    view = client.reader(MB // 2, 40 * MB, "", list)
    assert bytes(view[-3:]) == b"xxx"


def test_the_pin_is_released_when_the_last_buffer_is_gone(client: ArenaClient) -> None:
    client.writer(0, 800)[:] = np.arange(100).tobytes()
    released: deque[str] = deque()
    view = client.reader(0, 800, "", lambda: released.append("gone"))
    part = view[80:160]
    array = np.frombuffer(part, np.int64)
    arrow = pa.py_buffer(view[:8])
    head = array[:2]
    del view, part
    gc.collect()
    assert not released
    assert client.open_readers == 1
    del array
    assert not released
    assert head.tolist() == [10, 11]
    del head
    assert not released
    del arrow
    assert list(released) == ["gone"]
    assert client.open_readers == 0


def test_each_reader_is_released_for_itself(client: ArenaClient) -> None:
    released: deque[int] = deque()
    views = [client.reader(0, 100, "", lambda number=number: released.append(number)) for number in range(3)]
    del views[1]
    assert list(released) == [1]
    views.clear()
    assert sorted(released) == [0, 1, 2]


def test_arrays_from_the_arena_refuse_writing(client: ArenaClient) -> None:
    array = np.frombuffer(client.reader(0, 80, "", list), np.int64)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        array.flags.writeable = True


def test_a_file_stands_in_for_the_arena(client: ArenaClient, tmp_path: Path) -> None:
    path = tmp_path / "fallback"
    path.write_bytes(bytes(5 * MB))
    with client.writer(0, 5 * MB, str(path)) as target:
        target[:3] = b"abc"
    released: list[int] = []
    view = client.reader(0, 5 * MB, str(path), lambda: released.append(1))
    assert bytes(view[:4]) == b"abc\0"
    path.unlink()
    assert bytes(view[:4]) == b"abc\0"
    del view
    assert released


def test_buffers_outlive_the_client_and_tell_nobody(client: ArenaClient) -> None:
    client.writer(0, 5)[:] = b"hello"
    released: list[int] = []
    view = client.reader(0, 5, "", lambda: released.append(1))
    client.close()
    assert bytes(view) == b"hello"
    del view
    assert not released


def test_reading_a_large_object_takes_microseconds(client: ArenaClient) -> None:
    rounds = []
    for _ in range(50):
        start = time.perf_counter()
        for _ in range(20):
            client.reader(0, 60 * MB, "", list)
        rounds.append((time.perf_counter() - start) / 20)
    assert min(rounds) < 15e-6


# Whoever imports numpy after this is found out.
WITHOUT_NUMPY = """
import sys
import himalia  # the front door decides for itself what it imports
sys.modules.pop("numpy", None)
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            raise AssertionError("numpy is imported")
refuse = Refuse()
sys.meta_path.insert(0, refuse)
"""


def test_numpy_is_imported_only_to_read() -> None:
    code = (
        WITHOUT_NUMPY
        + """
from himalia.cluster.object_store.arena import Arena
from himalia.cluster.object_store.client import ArenaClient, Source
from himalia.cluster.serialization.layout import pack_into, pack_size, unpack
from himalia.cluster.serialization.values import deserialize, serialize
arena = Arena(1 << 20)
arena.extend(1 << 20)
client = ArenaClient(arena.path, 1 << 20)
client.writer(0, 5)[:] = b"hello"
try:
    client.reader(0, 5, "", list)
except AssertionError as error:
    print(error)
"""
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "numpy is imported\n"


def test_the_server_side_needs_no_numpy() -> None:
    code = WITHOUT_NUMPY + "import himalia.cluster.object_store.server"
    subprocess.run([sys.executable, "-c", code], check=True)


def stored(client: ArenaClient, offset: int, value: object, object_id: bytes) -> object:
    """Write a value into the arena and read it as an object."""
    packed = serialize(value)
    with client.writer(offset, pack_size(packed)) as target:
        pack_into(target, packed)
    return deserialize(*unpack(client.reader(offset, pack_size(packed), "", list, object_id)))


def test_a_value_that_lies_in_an_object_is_recognized(client: ArenaClient) -> None:
    values = {"a": np.arange(100_000), "b": np.ones((300, 200)), "c": "text"}
    back = stored(client, 4096, values, b"first")
    assert client.source_of(serialize(back)) == Source(b"first", 4096)


def test_another_value_over_the_same_memory_is_not(client: ArenaClient) -> None:
    array = stored(client, 4096, np.arange(100_000), b"first")
    assert isinstance(array, np.ndarray)
    assert client.source_of(serialize(array)) == Source(b"first", 4096)
    assert client.source_of(serialize(array[::2])) is None
    assert client.source_of(serialize(array[:50_000])) is None
    assert client.source_of(serialize(array.reshape(100, 1000))) is None
    assert client.source_of(serialize(array.copy())) is None
    assert client.source_of(serialize([array])) is None


def test_values_of_two_objects_together_are_not_either_of_them(client: ArenaClient) -> None:
    first = stored(client, 4096, [np.arange(100_000), np.zeros(50_000)], b"first")
    second = stored(client, 8 * MB, [np.arange(100_000), np.zeros(50_000)], b"second")
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert client.source_of(serialize([first[0], second[1]])) is None
    assert client.source_of(serialize(second)) == Source(b"second", 8 * MB)


def test_what_is_not_read_any_more_is_no_source(client: ArenaClient) -> None:
    array = stored(client, 4096, np.arange(100_000), b"first")
    packed = serialize(array)
    assert client.source_of(packed) is not None
    copy = serialize(np.array(array))
    del array, packed
    assert client.open_readers == 0
    assert client.source_of(copy) is None
