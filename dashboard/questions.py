"""What pages ask of the cluster by name: lists of the state API, and things about one task, actor or process.

A name is that of a list (``actors``), or a kind and an argument with a colon between them (``task_log:ID``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from himalia.util.state._source import ROWS, Source

from ..cluster.gcs.client import GcsClient, GcsUnreachableError
from ..cluster.protocol.common import NodeInfo
from ..cluster.protocol.log_messages import LogQuestion, LogSelection

__all__ = ["ABOUT", "answer"]

_LOG_LINES: Final = 1_000
_TIMEOUT: Final = 5.0

Row = dict[str, Any]


def answer(source: Source, name: str) -> list[Row]:
    """The rows that a name stands for.

    Raises
    ------
    LookupError
        There is nothing of that name.
    """
    kind, _, argument = name.partition(":")
    if argument and kind in ABOUT:
        return ABOUT[kind](source, argument)
    if argument or name not in ROWS:
        raise LookupError(
            f"there is no {name!r} to ask for, but {', '.join([*ROWS, *(f'{kind}:…' for kind in ABOUT)])}"
        )
    return [row.asdict() for row in ROWS[name][1](source)]


def _task_log(source: Source, task: str) -> list[Row]:
    """What a task printed: the last lines."""
    rows: list[Row] = []
    with GcsClient(source.where) as client:
        for info in source.nodes():
            node = msgspec.convert(info, NodeInfo)
            if not node.alive:
                continue
            question = LogQuestion(LogSelection(task=task), tail=_LOG_LINES)
            try:
                pieces = client.read_logs(node.raylet, question, timeout=_TIMEOUT).pieces
            except GcsUnreachableError as error:
                rows.append({"text": f"node {node.host}: {error}", "stream": 2, "at": 0.0})
                continue
            for piece in pieces:
                lines = piece.data.decode("utf-8", "backslashreplace").splitlines()
                rows += [{"text": line, "stream": piece.stream, "at": piece.at} for line in lines]
    return rows[-_LOG_LINES:]


ABOUT: Final[dict[str, Callable[[Source, str], list[Row]]]] = {"task_log": _task_log}
