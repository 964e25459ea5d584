"""What was written is there for the next GCS."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from himalia.cluster.gcs.storage import MemoryStorage, SqliteStorage, StorageError, open_storage


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    storage = open_storage("", str(tmp_path))
    storage.write([("a", b"1", b"x"), ("b", b"1", b"y"), ("a", b"2", b"z")])
    storage.write([("a", b"1", b"new"), ("b", b"1", None)])
    storage.close()
    again = open_storage("", str(tmp_path))
    assert again.load() == {"a": {b"1": b"new", b"2": b"z"}}
    again.close()


def test_records_are_loaded_in_the_order_they_came(tmp_path: Path) -> None:
    storage = open_storage("", str(tmp_path))
    storage.write([("a", key, b"") for key in (b"3", b"1", b"2")])
    storage.write([("a", b"3", b"changed")])
    assert list(storage.load()["a"]) == [b"3", b"1", b"2"]
    storage.close()


def test_a_process_that_is_killed_has_lost_nothing(tmp_path: Path) -> None:
    storage = SqliteStorage(str(tmp_path / "db"), survives_power_loss=False)
    storage.write([("a", b"1", b"x")])
    # A copy of the files is what a kill leaves behind: nothing is closed, nothing is checkpointed.
    for file in tmp_path.glob("db*"):
        (tmp_path / f"copy{file.name[2:]}").write_bytes(file.read_bytes())
    again = SqliteStorage(str(tmp_path / "copy"), survives_power_loss=False)
    assert again.load() == {"a": {b"1": b"x"}}
    again.close()
    storage.close()


def test_a_batch_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    storage = open_storage("", str(tmp_path))

    def changes() -> object:
        yield "a", b"1", b"x"
        raise RuntimeError("encoding failed")

    with pytest.raises(RuntimeError):
        storage.write(changes())  # type: ignore[arg-type]
    storage.write([("a", b"2", b"y")])
    assert storage.load() == {"a": {b"2": b"y"}}
    storage.close()


def test_two_clusters_do_not_share_a_file(tmp_path: Path) -> None:
    first = open_storage(f"sqlite:{tmp_path}/state", "")
    with pytest.raises(StorageError, match="is another cluster using it"):
        open_storage(f"sqlite:{tmp_path}/state", "")
    first.close()


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "state")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StorageError, match="format 99"):
        open_storage(f"sqlite:{tmp_path}/state", "")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="cannot be used"):
        open_storage(f"sqlite:{tmp_path}/state", "")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        open_storage(f"sqlite:{tmp_path}/nowhere/state", "")


def test_memory_keeps_nothing() -> None:
    storage = open_storage("memory:", "")
    storage.write([("a", b"1", b"x")])
    assert isinstance(storage, MemoryStorage)
    assert not storage.durable
    assert storage.load() == {}
    storage.close()


@pytest.mark.parametrize("url", ["redis://localhost:6379", "rediss://host"])
def test_redis_is_refused_by_name(url: str) -> None:
    with pytest.raises(StorageError, match="Redis is not in this version: use sqlite"):
        open_storage(url, "")


@pytest.mark.parametrize("url", ["postgres://x", "sqlite:", "/tmp/file"])
def test_another_storage_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="no such GCS storage"):
        open_storage(url, "")
