"""Between a widget that a task has made and the driver's front end: what Jupyter says on a comm, both ways."""

from __future__ import annotations

from typing import Any

import msgspec

from .common import Address, Cell

__all__ = ["CommData"]


class CommData(msgspec.Struct, array_like=True, tag=83):
    """What is said on the comm of a widget of a task.

    ``kind`` is "open", "update" (``data`` is the state that changed), "custom" (any other message) or "close"; and of a
    worker "end": nobody there listens any more. ``paths`` says where the buffers belong in a state. From a driver, what
    its front end says: "msg" or "close".
    """

    cell: Cell | None
    task: str
    pid: int
    node_id: bytes
    comm_id: str
    kind: str
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    paths: list[list[str | int]] = []
    buffers: list[bytes] = []
    target: str = ""
    actor: str = ""
    task_id: bytes = b""
    worker: Address | None = None
    omitted: int = 0  # messages before it that were too many
