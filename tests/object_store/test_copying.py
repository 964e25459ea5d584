"""Copying with several threads: the bytes are those of one, and the threads end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from himalia.cluster.object_store.copying import PARALLEL_FROM, PIECE, Copier


@pytest.fixture
def copier() -> Iterator[Copier]:
    made = Copier(cores=3)
    yield made
    made.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("himalia-copy")]


@pytest.mark.parametrize("size", [0, 1, PIECE, PARALLEL_FROM - 1, PARALLEL_FROM, PARALLEL_FROM + 1, 7 * PIECE + 12345])
def test_every_byte_arrives_and_no_other_changes(copier: Copier, size: int) -> None:
    source = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    target = bytearray(b"\xaa" * (size + 100))
    assert copier.copy(memoryview(target), 64, memoryview(source)) == 64 + size
    assert target[:64] == b"\xaa" * 64
    assert target[64 : 64 + size] == source.tobytes()
    assert target[64 + size :] == b"\xaa" * 36


def test_many_threads_may_copy_at_once(copier: Copier) -> None:
    size = 3 * PARALLEL_FROM
    targets = [bytearray(size) for _ in range(6)]

    def run(number: int) -> None:
        copier.copy(memoryview(targets[number]), 0, bytes([number + 1]) * size)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [set(target) for target in targets] == [{number + 1} for number in range(6)]


def test_small_buffers_and_single_cores_start_no_thread() -> None:
    for copier, size in ((Copier(cores=4), PARALLEL_FROM - 1), (Copier(cores=1), PARALLEL_FROM)):
        before = threading.active_count()
        target = bytearray(size)
        copier.copy(memoryview(target), 0, b"x" * size)
        assert target == b"x" * size
        assert threading.active_count() == before
        copier.close()


def test_buffers_are_let_go_when_they_are_copied(copier: Copier) -> None:
    target, source = bytearray(PARALLEL_FROM), np.zeros(PARALLEL_FROM, np.uint8)
    copier.copy(memoryview(target), 0, memoryview(source))
    copier.close()
    target.append(1)  # BufferError while somebody has a view of it


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_copies_alone(copier: Copier) -> None:
    source = b"y" * PARALLEL_FROM
    copier.copy(memoryview(bytearray(PARALLEL_FROM)), 0, source)
    child = os.fork()
    if child == 0:
        target = bytearray(PARALLEL_FROM)
        copier.copy(memoryview(target), 0, source)
        os._exit(0 if target == source else 1)
    assert os.waitpid(child, 0)[1] == 0
