"""Spilled objects on disk, and files that stand in for memory. All of it blocks, and runs on the server's threads.

Strategy: one file an object, named by a running number, so that freeing is deleting and nothing has to be compacted;
objects in the store are large (those of a few kilobytes live in their owners), so there are not many files. Space is
reserved before it is written: a full disk is found out at once, and leaves no half-written file. A restored object's
file is kept until the object is freed, so that it can be dropped again without being written again.

A URL of another file system (``s3://…``) works through fsspec, where that is installed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol

from .arena import read_range, write_range

__all__ = ["DiskSpill", "FallbackFolder", "RemoteSpill", "Spill", "copy_range", "open_spill"]

_STEP: Final = 1 << 20  # bytes copied at a time: stays in the processor's cache between read and write


def copy_range(source: int, source_offset: int, target: int, target_offset: int, size: int) -> None:
    """Copy bytes between two open files, without the GIL for most of it."""
    done = 0
    while done < size:
        step = min(_STEP, size - done)
        write_range(target, read_range(source, step, source_offset + done), target_offset + done)
        done += step


def _make_file(path: Path, size: int) -> int:
    """Open a new file of ``size`` reserved bytes; OSError, and no file, when the disk has no room."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, max(size, 1))
    except OSError:
        os.close(descriptor)
        path.unlink(missing_ok=True)
        raise
    return descriptor


class Spill(Protocol):
    """Where objects go when memory is short."""

    def save(self, source: int, offset: int, size: int) -> str:
        """Copy ``size`` bytes at ``offset`` of an open file; returns the copy's URI. OSError when there is no room."""

    def load(self, uri: str, target: int, offset: int, size: int) -> None:
        """Copy what was saved into an open file. OSError or EOFError when it cannot be read."""

    def delete(self, uri: str) -> None:
        """Delete what was saved; no error if it is gone."""

    def close(self) -> None:
        """Delete everything."""


class _Folder:
    """A folder of numbered files that is made when first used and removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)

    def new_path(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.folder / str(next(self._numbers))

    def remove(self) -> None:
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # something of somebody else's is in it
                self.folder.rmdir()


class DiskSpill:
    """Spills into a folder of a local disk, which belongs to this store alone."""

    def __init__(self, folder: Path) -> None:
        self._files = _Folder(folder)

    def save(self, source: int, offset: int, size: int) -> str:
        path = self._files.new_path()
        descriptor = _make_file(path, size)
        try:
            copy_range(source, offset, descriptor, 0, size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return str(path)

    def load(self, uri: str, target: int, offset: int, size: int) -> None:
        descriptor = os.open(uri, os.O_RDONLY | os.O_CLOEXEC)
        try:
            copy_range(descriptor, 0, target, offset, size)
        finally:
            os.close(descriptor)

    def delete(self, uri: str) -> None:
        Path(uri).unlink(missing_ok=True)

    def close(self) -> None:
        self._files.remove()


class RemoteSpill:
    """Spills to any file system that fsspec knows.

    Parameters
    ----------
    url
        A folder: ``s3://bucket/spilled``. The store makes a folder ``name`` in it.
    """

    def __init__(self, url: str, name: str) -> None:
        try:
            import fsspec
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"spilling to {url} needs the package fsspec, which is not installed: "
                "pip install 'himalia[storage]' and the package of that file system, or name a local folder"
            ) from error
        self._fs: Any
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:  # it says what to install for this kind of URL
            raise ModuleNotFoundError(f"spilling to {url} is not possible: {error}, or name a local folder") from error
        self._root = f"{root.rstrip('/')}/{name}"
        self._numbers = itertools.count(1)
        self._fs.makedirs(self._root, exist_ok=True)

    def save(self, source: int, offset: int, size: int) -> str:
        uri = f"{self._root}/{next(self._numbers)}"
        with self._fs.open(uri, "wb") as file:
            for start in range(0, size, _STEP):
                file.write(read_range(source, min(_STEP, size - start), offset + start))
        return uri

    def load(self, uri: str, target: int, offset: int, size: int) -> None:
        with self._fs.open(uri, "rb") as file:
            done = 0
            while done < size:
                data = file.read(min(_STEP, size - done))
                if not data:
                    raise EOFError(f"{uri} ends after {done} of {size} bytes")
                write_range(target, data, offset + done)
                done += len(data)

    def delete(self, uri: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(uri)

    def close(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(self._root, recursive=True)


def open_spill(place: str, default: Path, name: str) -> Spill:
    """Spill to ``place``: a folder, a URL, or, where it is empty, ``default``; within it to a folder ``name``.

    Raises
    ------
    OSError
        ``place`` can not be written to: told now, and not when memory is full.
    ModuleNotFoundError
        A package for this kind of URL is missing.
    """
    if "://" in place and not place.startswith("file://"):
        return RemoteSpill(place, name)
    if not place:
        return DiskSpill(default / name)
    folder = Path(place.removeprefix("file://"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.rmdir(tempfile.mkdtemp(prefix=name, dir=folder))
    except OSError as error:
        raise OSError(f"spilling to {place} is not possible: {error.strerror}; name a folder of yours") from error
    return DiskSpill(folder / name)


class FallbackFolder:
    """Files that processes map in place of arena memory."""

    def __init__(self, folder: Path) -> None:
        self._files = _Folder(folder)

    def make(self, size: int) -> str:
        """Path of a new file of ``size`` reserved bytes; OSError when the disk has no room."""
        path = self._files.new_path()
        os.close(_make_file(path, size))
        return str(path)

    def holds(self, place: str) -> bool:
        """Whether a path is one of these files."""
        return Path(place).parent == self._files.folder

    def delete(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def close(self) -> None:
        self._files.remove()
