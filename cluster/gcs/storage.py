"""Where the state of the GCS outlives it.

Strategy: one flat table (subject, key, value), written in batches: the server collects what a turn of its loop
changed, sends the answers first, and then writes the batch in one transaction. So a change costs nobody a wait, and
what a crash can lose is what happened within the last turn; raylets and owners say that again with their hellos.

In the session folder SQLite does not wait for the disk: the kernel has the bytes when a commit returns, which
outlives the process, and a machine that loses power loses the session with it. A database that was asked for by path
does wait at its checkpoints. The file is opened for this process alone, so two GCS on one file is an error and not a
mixture.

Rejected: a table for each subject with columns, since nothing here ever asks but for everything at a start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

__all__ = ["MemoryStorage", "SqliteStorage", "Storage", "StorageError", "Tables", "open_storage"]

Tables = dict[str, dict[bytes, bytes]]
Change = tuple[str, bytes, bytes | None]
"""Table, key, and value; None deletes."""

FILE_NAME: Final = "gcs.sqlite"
_FORMAT: Final = 1  # raised when stored records can no longer be read as they are


class StorageError(Exception):
    """The storage that was asked for cannot be used; the text says why and what to do."""


class Storage(Protocol):
    """What the server needs of a storage."""

    durable: bool

    def load(self) -> Tables:
        """Everything, at the start."""
        ...

    def write(self, changes: Iterable[Change]) -> None:
        """Make a batch durable, all of it or nothing."""
        ...

    def close(self) -> None: ...


class MemoryStorage:
    """Keeps nothing: for clusters that end with their GCS."""

    durable = False

    def load(self) -> Tables:
        return {}

    def write(self, changes: Iterable[Change]) -> None:
        return

    def close(self) -> None:
        return


class SqliteStorage:
    """One file (and its write-ahead log beside it)."""

    durable = True

    def __init__(self, path: str, *, survives_power_loss: bool) -> None:
        import sqlite3  # not needed by a GCS that keeps its state in memory

        self.path = path
        self._error = sqlite3.Error
        try:
            self._db = sqlite3.connect(path, isolation_level=None)
            # A lock held by another process is not going to be released soon: fail at once.
            self._db.execute("PRAGMA busy_timeout = 0")
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA synchronous = {'NORMAL' if survives_power_loss else 'OFF'}")
            self._open()
        except sqlite3.Error as error:
            raise StorageError(f"the database {path} cannot be used ({error}): is another cluster using it?") from error

    def _open(self) -> None:
        (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found not in (0, _FORMAT):
            raise StorageError(
                f"the database {self.path} has format {found}, this version writes {_FORMAT}:"
                " use the version of Himalia that wrote it, or another file"
            )
        self._db.execute("BEGIN IMMEDIATE")  # takes the lock now, even where there is nothing to write yet
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS records (subject TEXT, key BLOB, value BLOB, PRIMARY KEY (subject, key))"
        )
        self._db.execute(f"PRAGMA user_version = {_FORMAT}")
        self._db.execute("COMMIT")

    def load(self) -> Tables:
        tables: Tables = {}
        for subject, key, value in self._db.execute("SELECT subject, key, value FROM records ORDER BY rowid"):
            tables.setdefault(subject, {})[key] = value
        return tables

    def write(self, changes: Iterable[Change]) -> None:
        db = self._db
        db.execute("BEGIN")
        try:
            for subject, key, value in changes:
                if value is None:
                    db.execute("DELETE FROM records WHERE subject = ? AND key = ?", (subject, key))
                else:
                    # An upsert keeps the row's number, and so the order in which things came to be.
                    db.execute(
                        "INSERT INTO records VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                        (subject, key, value),
                    )
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


def open_storage(url: str, session_dir: str) -> Storage:
    """The storage that a URL names.

    Parameters
    ----------
    url
        Empty (SQLite in the session folder), ``memory:``, or ``sqlite:<path>``.

    Raises
    ------
    StorageError
        If it cannot be used, or is of a kind that this version does not have.
    """
    scheme, _, rest = url.partition(":")
    if not url:
        return SqliteStorage(f"{session_dir}/{FILE_NAME}", survives_power_loss=False)
    if scheme == "memory":
        return MemoryStorage()
    if scheme == "sqlite" and rest:
        return SqliteStorage(rest.removeprefix("//"), survives_power_loss=True)
    if scheme in ("redis", "rediss"):
        raise StorageError(
            "GCS storage in Redis is not in this version: use sqlite:<path> on a disk that outlives the head node"
        )
    raise StorageError(
        f"no such GCS storage: {url!r} (there are memory: and sqlite:<path>; empty: in the session folder)"
    )
