"""`working_dir` of a runtime environment: a folder that goes to where the task runs, as it is when it is submitted.

Strategy: the folder becomes an archive in the GCS under the hash of its contents, and the environment names that. A
worker that is started for the environment unpacks it into the session's folder, once a node, before it says hello: the
raylet needs to know nothing of it, and a failure is one to start. Two folders with the same contents are one, and one
that has changed is another environment, with workers of its own. What was read is looked at by size and time of its
files first, so that a plan for each cell does not read a folder again.

Rejected: to run in the folder itself. It works on the driver's machine only, tasks would write into what the user
edits, and half of them would run with a file changed. Links are followed and not kept: where they lead to may not exist
elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from typing import Final

__all__ = ["LIMIT", "Folders", "archive_key", "unpack"]

LIMIT: Final = 100 << 20
"""Bytes of a folder: the archive is kept by the GCS. Data belong into objects, or into a store of their own."""

SKIPPED: Final = frozenset({".git", ".venv", "venv", "__pycache__"})
"""What no task runs with, and what makes folders large; as with Ray."""

_PREFIX: Final = "kv:"

Signature = tuple[tuple[str, int, int], ...]


class Folders:
    """Folders that this process has sent."""

    def __init__(self) -> None:
        self._sent: dict[str, tuple[Signature, str]] = {}

    def pack(self, folder: str) -> tuple[str, bytes]:
        """The name of a folder's contents, and their archive, empty if it was sent as it is.

        Raises
        ------
        ValueError
            It is too large: the text names the largest files.
        """
        files = [(name, path, os.stat(path)) for name, path in _files(folder)]
        signature = tuple((name, stat.st_size, stat.st_mtime_ns) for name, _, stat in files)
        known = self._sent.get(folder)
        if known is not None and known[0] == signature:
            return known[1], b""
        total = sum(size for _, size, _ in signature)
        if total > LIMIT:
            largest = sorted(signature, key=lambda file: file[1], reverse=True)[:3]
            named = ", ".join(f"{name} ({size / 1e6:.1f} MB)" for name, size, _ in largest)
            raise ValueError(
                f"runtime_env['working_dir'] {folder!r} has {total / 1e6:.1f} MB, more than the {LIMIT / 1e6:.0f} MB "
                f"that can be sent; the largest files are {named}. Leave them out, or put them into objects"
            )
        digest = hashlib.sha256()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as archive:
            for name, path, stat in files:
                with open(path, "rb") as file:
                    content = file.read()
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode, entry.mtime = len(content), stat.st_mode & 0o777, int(stat.st_mtime)
                archive.addfile(entry, io.BytesIO(content))
                digest.update(f"{name}\0{entry.mode}\0{entry.size}\0".encode())
                digest.update(content)
        name = _PREFIX + digest.hexdigest()[:32]
        self._sent[folder] = signature, name
        return name, packed.getvalue()


def _files(folder: str) -> Iterator[tuple[str, str]]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        for name in sorted(names):
            path = os.path.join(place, name)
            if os.path.isfile(path):  # neither a socket nor a link to nowhere
                yield os.path.relpath(path, folder), path


def archive_key(working_dir: str) -> bytes:
    """Where the GCS keeps the archive; empty for a folder that is to be used where it is."""
    return b"dir:" + working_dir.removeprefix(_PREFIX).encode() if working_dir.startswith(_PREFIX) else b""


def unpack(archive: bytes, key: bytes, session_dir: str) -> str:
    """Make the folder of an archive below the session's, unless another worker did; its path."""
    parent = os.path.join(session_dir, "dirs")
    target = os.path.join(parent, key.decode().removeprefix("dir:"))
    if os.path.isdir(target):
        return target
    os.makedirs(parent, mode=0o700, exist_ok=True)
    begun = tempfile.mkdtemp(dir=parent)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
            for entry in opened:
                path = os.path.join(begun, entry.name)
                content = opened.extractfile(entry)
                assert content is not None  # of files only, with names that we made
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    shutil.copyfileobj(content, file)
                os.chmod(path, entry.mode)
                os.utime(path, (entry.mtime, entry.mtime))
        with contextlib.suppress(OSError):  # another worker was quicker
            os.rename(begun, target)
            return target
    finally:
        if os.path.isdir(begun) and begun != target:
            shutil.rmtree(begun, ignore_errors=True)
    return target
