"""The arena's file: nameless, private, and never promising memory that is not there."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.cluster.object_store.arena import Arena, read_range, write_range

MB = 1 << 20


@pytest.fixture
def arena() -> Iterator[Arena]:
    arena = Arena(256 * MB)
    yield arena
    arena.close()


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    """Shared memory of 80 MB."""
    folder = tmp_path / "shm"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs rights that are not there")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_the_file_has_no_name_and_is_private(arena: Arena) -> None:
    status = os.fstat(arena.descriptor)
    assert status.st_nlink == 0
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == 256 * MB


def test_it_takes_no_memory_before_it_is_extended(arena: Arena) -> None:
    assert os.fstat(arena.descriptor).st_blocks == 0
    assert arena.extend(65 * MB) == (65 * MB, "")
    assert os.fstat(arena.descriptor).st_blocks * 512 == 65 * MB
    assert arena.extend(10 * MB) == (65 * MB, "")
    assert arena.extend(300 * MB) == (256 * MB, "")


def test_other_processes_open_it_by_its_path(arena: Arena) -> None:
    arena.extend(MB)
    arena.write(b"from the raylet", 100)
    code = f"f = open({arena.path!r}, 'r+b', buffering=0); f.seek(100); print(f.read(15)); f.seek(0); f.write(b'hello')"
    done = subprocess.run(["python3", "-c", code], capture_output=True, check=True)
    assert done.stdout == b"b'from the raylet'\n"
    assert arena.read(0, 5) == b"hello"


def test_full_shared_memory_is_an_error_that_says_how_far_it_got(small_tmpfs: Path) -> None:
    arena = Arena(256 * MB, small_tmpfs)
    try:
        limit, error = arena.extend(200 * MB)
        assert limit == 64 * MB
        assert "No space left on device" in error
        arena.write(b"x" * MB, limit - MB)
        (small_tmpfs / "other").write_bytes(b"")
        assert arena.extend(64 * MB) == (64 * MB, "")
    finally:
        arena.close()


def test_an_arena_without_a_tmpfs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Arena(MB, tmp_path / "nowhere")


def test_ranges_are_read_and_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    descriptor = os.open(path, os.O_RDWR)
    try:
        write_range(descriptor, memoryview(b"0123456789"), 5)
        assert read_range(descriptor, 12, 4) == b"\x000123456789\x00"
        with pytest.raises(EOFError, match="10 bytes expected at 95, got 5"):
            read_range(descriptor, 10, 95)
    finally:
        os.close(descriptor)
