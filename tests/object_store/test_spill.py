"""Files of spilled objects, and files in place of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.cluster.object_store.spill import DiskSpill, FallbackFolder, RemoteSpill, copy_range, open_spill

MB = 1 << 20


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[int]:
    """An open file of 8 MB that stands for the arena."""
    path = tmp_path / "memory"
    path.write_bytes(os.urandom(8 * MB))
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs rights that are not there")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_what_is_saved_is_loaded_elsewhere(memory: int, tmp_path: Path) -> None:
    spill = DiskSpill(tmp_path / "spill")
    size = 2 * MB + 17
    before = os.pread(memory, size, 100)
    uri = spill.save(memory, 100, size)
    assert Path(uri).stat().st_mode & 0o777 == 0o600
    spill.load(uri, memory, 4 * MB, size)
    assert os.pread(memory, size, 4 * MB) == before
    spill.delete(uri)
    spill.delete(uri)
    assert not list((tmp_path / "spill").iterdir())


def test_closing_deletes_all_files(memory: int, tmp_path: Path) -> None:
    spill = DiskSpill(tmp_path / "spill")
    spill.close()
    for _ in range(3):
        spill.save(memory, 0, 100)
    spill.close()
    assert not (tmp_path / "spill").exists()


def test_a_full_disk_is_an_error_and_leaves_no_file(memory: int, small_disk: Path) -> None:
    spill = DiskSpill(small_disk / "spill")
    spill.save(memory, 0, MB)
    with pytest.raises(OSError, match="No space left"):
        spill.save(memory, 0, 4 * MB)
    assert len(list((small_disk / "spill").iterdir())) == 1
    with pytest.raises(OSError, match="No space left"):
        FallbackFolder(small_disk / "fallback").make(4 * MB)


def test_a_file_that_is_too_short_is_an_error(memory: int, tmp_path: Path) -> None:
    spill = DiskSpill(tmp_path / "spill")
    uri = spill.save(memory, 0, 1000)
    os.truncate(uri, 10)
    with pytest.raises(EOFError):
        spill.load(uri, memory, 0, 1000)


def test_a_place_is_a_folder_or_a_url(tmp_path: Path, memory: int) -> None:
    for place in ("", str(tmp_path / "a"), f"file://{tmp_path}/b"):
        spill = open_spill(place, tmp_path / "session", "node1")
        uri = Path(spill.save(memory, 0, 10))
        assert uri.parent.name == "node1"
        assert uri.is_relative_to(tmp_path)
        spill.close()


def test_a_url_works_through_fsspec(memory: int) -> None:
    spill = RemoteSpill("memory://bucket/spilled", "node1")
    size = 3 * MB + 1
    before = os.pread(memory, size, 0)
    uri = spill.save(memory, 0, size)
    spill.load(uri, memory, 4 * MB, size)
    assert os.pread(memory, size, 4 * MB) == before
    with pytest.raises(EOFError, match="ends after"):
        spill.load(uri, memory, 0, 2 * size)
    spill.delete(uri)
    spill.delete(uri)
    spill.save(memory, 0, 10)
    spill.close()
    spill.close()


def test_a_url_without_fsspec_is_refused_with_what_to_do() -> None:
    code = """
import sys
sys.modules["fsspec"] = None
from pathlib import Path
from himalia.cluster.object_store.spill import open_spill
try:
    open_spill("s3://bucket", Path("/tmp"), "node1")
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "spilling to s3://bucket needs the package fsspec" in done.stdout
    assert "himalia[storage]" in done.stdout


def test_a_url_whose_file_system_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ModuleNotFoundError, match=r"s3://bucket is not possible: Install s3fs.*local folder"):
        RemoteSpill("s3://bucket", "node1")


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null", "file:///proc"])
def test_a_folder_that_can_not_be_written_to_is_refused_at_once(place: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"spilling to {place} is not possible: .+; name a folder of yours"):
        open_spill(place, tmp_path, "node1")


def test_fallback_files_are_told_from_spilled_ones(tmp_path: Path) -> None:
    fallback = FallbackFolder(tmp_path / "fallback")
    path = fallback.make(MB)
    assert Path(path).stat().st_size == MB
    assert fallback.holds(path)
    assert not fallback.holds(str(tmp_path / "spill" / "1"))
    fallback.delete(path)
    fallback.make(1)
    fallback.close()
    assert not (tmp_path / "fallback").exists()


def test_ranges_are_copied_whole(memory: int, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    path.write_bytes(bytes(4 * MB))
    target = os.open(path, os.O_RDWR)
    copy_range(memory, 5, target, 7, 3 * MB)
    assert os.pread(target, 3 * MB, 7) == os.pread(memory, 3 * MB, 5)
    os.close(target)
