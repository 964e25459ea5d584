"""What the messages of a simulation said about one key.

A key is ``task:<id>``, ``object:<id>``, ``lease:<number>``, ``actor:<id>`` or ``process:<id>`` (of a worker, driver or
raylet), ids in hexadecimal digits. A task's key finds the messages between its owner and others that carry its counter.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from ...protocol.core_messages import CancelTasks, CoreMessage, PushTasks, StreamConsumed, StreamItem, TaskResults
from ...protocol.gcs_messages import GcsMessage, GcsReply
from ...protocol.ids import task_counter, task_owner
from ...protocol.raylet_messages import LeaseGranted, LeaseReclaim, RayletMessage, RayletReply, ReturnLeases, WorkerDied
from .kernel import Kernel

__all__ = ["Story"]


class _Line(NamedTuple):
    at: float
    source: bytes
    target: bytes
    is_answer: bool
    data: bytes
    text: str


class Story:
    """Keeps every message as it was; looks into them only when asked."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._lines: list[_Line] = []

    def message(self, source: bytes, target: bytes, is_answer: bool, frames: list[bytes]) -> None:
        self._lines.append(_Line(self._kernel.now, source, target, is_answer, frames[0], ""))

    def line(self, who: str, text: str) -> None:
        self._lines.append(_Line(self._kernel.now, b"", b"", False, b"", f"{who}: {text}"))

    def sizes(self) -> list[tuple[float, int]]:
        """When each message came, and how large it was."""
        return [(line.at, len(line.data)) for line in self._lines]

    def tell(self, key: str, names: dict[bytes, str]) -> str:
        """The messages about a key, one a line. ``names``: what processes are called."""
        kind, _, digits = key.partition(":")
        told = []
        for line in self._lines:
            if line.text:
                if digits in line.text:
                    told.append(f"{line.at:.6f}  {line.text}")
                continue
            message = _decode(line, names)
            if _concerns(kind, digits, line, message):
                arrow = "=>" if line.is_answer else "->"
                who = f"{names.get(line.source, line.source.hex())} {arrow} {names.get(line.target, line.target.hex())}"
                told.append(f"{line.at:.6f}  {who}  {_short(kind, digits, message)}")
        return "\n".join(told) or f"no message of this run is about {key}"


_UNIONS: dict[tuple[str, bool], Any] = {
    ("GCS", False): GcsMessage,
    ("GCS", True): GcsReply,
    ("raylet", False): RayletMessage,
    ("raylet", True): RayletReply,
    ("core", False): CoreMessage,
    ("core", True): CoreMessage,
}


def _decode(line: _Line, names: dict[bytes, str]) -> Any:
    server = names.get(line.source if line.is_answer else line.target, "core").split(" ")[0]
    kind = server if server in ("GCS", "raylet") else "core"
    return msgspec.msgpack.decode(line.data, type=_UNIONS[kind, line.is_answer])


def _concerns(kind: str, digits: str, line: _Line, message: Any) -> bool:
    if kind == "lease":
        return any(str(number) == digits for number in _leases(message))
    wanted = bytes.fromhex(digits)
    if kind == "process":
        return wanted in (line.source, line.target) or digits in _text(message)
    if kind == "task":
        owner, counter = task_owner(wanted), task_counter(wanted)
        if counter in _counters(message) and owner in (line.source, line.target):
            return True
    return digits in _text(message)


def _counters(message: Any) -> list[int]:
    match message:
        case PushTasks():
            return [task.counter for task in message.tasks]
        case TaskResults():
            return [result.counter for result in message.results]
        case CancelTasks():
            return message.counters
        case StreamItem() | StreamConsumed():
            return [message.counter]
    return []


def _leases(message: Any) -> list[int]:
    match message:
        case LeaseGranted() | LeaseReclaim() | WorkerDied():
            return [message.lease_id]
        case ReturnLeases():
            return message.lease_ids
        case PushTasks() if message.lease_id:
            return [message.lease_id]
    return []


def _text(message: Any) -> str:
    return repr(_hexed(msgspec.msgpack.decode(msgspec.msgpack.encode(message), strict=False)))


def _hexed(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_hexed(item) for item in value]
    if isinstance(value, dict):
        return {_hexed(name): _hexed(item) for name, item in value.items()}
    return value


def _short(kind: str, digits: str, message: Any) -> str:
    """The message, of which lists of tasks and results show only those that are meant."""
    if kind == "task":
        counter = task_counter(bytes.fromhex(digits))
        if isinstance(message, PushTasks):
            message = msgspec.structs.replace(
                message, tasks=[t for t in message.tasks if t.counter == counter], templates=[]
            )
        elif isinstance(message, TaskResults):
            message = msgspec.structs.replace(message, results=[r for r in message.results if r.counter == counter])
    text = _text(message)
    name = type(message).__name__
    return f"{name} {text if len(text) < 400 else text[:400] + ' …'}"
