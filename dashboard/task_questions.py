"""What the owner of one task knows of it, as rows of a page."""

from __future__ import annotations

from typing import Any

import msgspec

from himalia.util.state._source import Source

from ..cluster.gcs.client import GcsClient, GcsUnreachableError
from ..cluster.protocol.common import Address, from_units
from ..cluster.protocol.held_messages import TaskDescribed
from ..cluster.protocol.ids import task_counter, task_owner

__all__ = ["told_of_task"]

_TIMEOUT = 3.0


def told_of_task(source: Source, task: str) -> list[dict[str, Any]]:
    """What a task's owner tells: rows with a ``kind``.

    ``note`` (text) says why there is nothing more; ``facts`` has pending, missing, retries, resources
    and site; ``traceback`` has text; ``argument`` has
    slot, text, object and maker; ``result`` has object, size, status, nodes and borrowers.
    """
    try:
        task_id = bytes.fromhex(task)
        owner = task_owner(task_id)
    except ValueError:
        return [_note(f"{task!r} is no task's id")]
    row = next((row for row in source.ask("workers") if row["worker_id"] == owner), None)
    if row is None or not row["is_alive"] or row.get("address") is None:
        return [_note("the process that submitted it is gone, and what it knew with it")]
    try:
        with GcsClient(source.where) as client:
            address = msgspec.convert(row["address"], Address)
            told = client.describe_task(address, task_counter(task_id), timeout=_TIMEOUT)
    except GcsUnreachableError as error:
        return [_note(f"the process that submitted it does not answer: {error}")]
    return _rows(told)


def _note(text: str) -> dict[str, Any]:
    return {"kind": "note", "text": text}


def _rows(told: TaskDescribed) -> list[dict[str, Any]]:
    if not told.known:
        return [_note("it is over, nobody needs its results, and its owner keeps nothing of such tasks")]
    rows: list[dict[str, Any]] = []
    if told.is_pending or told.resources or told.site:
        facts = {"missing": told.missing, "retries": told.retries, "resources": from_units(told.resources)}
        rows.append({"kind": "facts", "pending": told.is_pending, "site": told.site, **facts})
    if told.traceback:
        rows.append({"kind": "traceback", "text": told.traceback})
    rows += [
        {"kind": "argument", "slot": one.slot, "text": one.text, "object": one.object_id.hex(), "maker": one.maker}
        for one in told.arguments
    ]
    rows += [
        {
            "kind": "result",
            "object": one.object_id.hex(),
            "size": one.size,
            "status": one.status,
            "nodes": [node.hex() for node in one.nodes],
            "borrowers": [process.hex() for process in one.borrowers],
        }
        for one in told.results
    ]
    return rows
