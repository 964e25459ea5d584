"""Folders that go along with tasks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from himalia.cluster.core import working_dir
from himalia.cluster.core.working_dir import Folders, archive_key, unpack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    (made / "below/deep").mkdir(parents=True)
    (made / "a.py").write_text("A = 1\n")
    (made / "below/deep/b.txt").write_text("b")
    (made / "run.sh").write_text("#!/bin/sh\n")
    (made / "run.sh").chmod(0o755)
    return made


def contents(folder: Path | str) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in Path(folder).rglob("*") if path.is_file()}


def test_what_is_unpacked_is_what_was_packed(folder: Path, tmp_path: Path) -> None:
    name, archive = Folders().pack(str(folder))
    made = unpack(archive, archive_key(name), str(tmp_path / "session"))
    assert contents(made) == contents(folder)
    assert os.access(Path(made) / "run.sh", os.X_OK)
    assert not os.access(Path(made) / "a.py", os.X_OK)
    assert os.listdir(tmp_path / "session/dirs") == [os.path.basename(made)]


def test_a_folder_is_unpacked_once(folder: Path, tmp_path: Path) -> None:
    name, archive = Folders().pack(str(folder))
    first = unpack(archive, archive_key(name), str(tmp_path))
    assert unpack(b"not needed", archive_key(name), str(tmp_path)) == first


def test_who_comes_second_takes_what_the_first_made(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, archive = Folders().pack(str(folder))
    first = unpack(archive, archive_key(name), str(tmp_path))
    monkeypatch.setattr(os.path, "isdir", lambda path: path != first and Path(path).is_dir())
    assert unpack(archive, archive_key(name), str(tmp_path)) == first
    assert os.listdir(tmp_path / "dirs") == [os.path.basename(first)]


def test_an_archive_that_is_broken_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"gzip|file"):
        unpack(b"broken", b"dir:abc", str(tmp_path))
    assert os.listdir(tmp_path / "dirs") == []


def test_contents_that_did_not_change_are_sent_once(folder: Path) -> None:
    folders = Folders()
    name, archive = folders.pack(str(folder))
    assert archive
    assert folders.pack(str(folder)) == (name, b"")
    (folder / "a.py").write_text("A = 22\n")
    changed, archive = folders.pack(str(folder))
    assert changed != name
    assert archive


def test_the_same_contents_elsewhere_have_the_same_name(folder: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(folder, tmp_path / "other")
    assert Folders().pack(str(folder))[0] == Folders().pack(str(other))[0]
    (other / "a.py").rename(other / "c.py")
    assert Folders().pack(str(folder))[0] != Folders().pack(str(other))[0]


def test_links_are_followed_and_what_no_task_needs_is_left_out(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("outside")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    (folder / "nowhere.txt").symlink_to(tmp_path / "nothing")
    for name in (".git", "__pycache__", ".venv"):
        (folder / name).mkdir()
        (folder / name / "file").write_text("left out")
    name, archive = Folders().pack(str(folder))
    made = contents(unpack(archive, archive_key(name), str(tmp_path)))
    assert made["link.txt"] == "outside"
    assert sorted(made) == ["a.py", "below/deep/b.txt", "link.txt", "run.sh"]


def test_a_folder_too_large_is_refused_with_its_largest_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working_dir, "LIMIT", 1_000_000)
    (folder / "large.bin").write_bytes(bytes(2_000_000))
    with pytest.raises(ValueError, match=r"2\.0 MB(.|\n)*large\.bin \(2\.0 MB\)"):
        Folders().pack(str(folder))


def test_a_folder_of_this_machine_is_no_archive() -> None:
    assert archive_key("/home/me/project") == b""
    assert archive_key("") == b""
