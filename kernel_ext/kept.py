"""Clusters that outlive their kernel: started with ``--keep``, found again by ``%load_ext himalia``.

Strategy: such a cluster is nobody's child. Its session folder, which goes when the cluster ends, has a file that names
the notebook: its path where the Jupyter server tells it, else the folder that the kernel works in. A new kernel looks
through the session folders of this user, joins the one of its notebook, and shows what the keeper has
(himalia/util/keeping.py) and what was printed since the last kernel was gone (kept_view.py). Rejected: a pointer file
in the notebook's folder, which would be left behind by a machine that restarts.
"""

from __future__ import annotations

import os
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..cluster.core import api, current
from ..cluster.launchers.boot import ConnectionInfo, NodeOptions
from ..cluster.launchers.local import start_head
from ..cluster.launchers.session import running_sessions
from .html import BAD, BUSY, GOOD, card, marked, quantity

if TYPE_CHECKING:
    from himalia.util.keeping import KeptResult

    from ..cluster.protocol.log_messages import LogPiece

__all__ = [
    "SHOWN",
    "ends_of_jobs",
    "find_kept",
    "is_kept",
    "output_bundle",
    "output_title",
    "rejoin",
    "results_bundle",
    "start_kept",
]

_FILE: Final = "kept.json"
SHOWN: Final = 200
"""Lines of output that are shown again; %logs has all."""
_SOURCE_LINES: Final = 12  # of a cell's text


class _Mark(msgspec.Struct):
    """Whose cluster it is."""

    notebook: str


def notebook_name() -> str:
    """What names this notebook to the kernels that come after this one."""
    return os.environ.get("JPY_SESSION_NAME") or os.getcwd()


def start_kept(options: NodeOptions, namespace: str | None) -> None:
    """Start a cluster that this kernel does not own, and join it.

    Raises
    ------
    NodeStartError
        It could not be started.
    """
    process = start_head(options)
    connection = process.connection
    try:
        mark = Path(connection.session_dir) / _FILE
        mark.touch(mode=0o600)
        mark.write_bytes(msgspec.json.encode(_Mark(notebook_name())))
        api.init(connection.session_dir, namespace=namespace)
    except BaseException:
        process.stop()
        raise
    process.detach()


def _mark_of(connection: ConnectionInfo) -> str:
    try:
        return msgspec.json.decode((Path(connection.session_dir) / _FILE).read_bytes(), type=_Mark).notebook
    except (OSError, msgspec.DecodeError):
        return ""


def is_kept(connection: ConnectionInfo) -> bool:
    """Whether a cluster was started with ``--keep``."""
    return bool(_mark_of(connection))


def find_kept() -> ConnectionInfo | None:
    """The cluster of this notebook that an earlier kernel left running: the newest, if there are several."""
    name = notebook_name()
    return next((found for found in running_sessions() if _mark_of(found) == name), None)


def rejoin() -> bool:
    """Join the cluster that an earlier kernel of this notebook left running, if there is one."""
    found = find_kept() if current.find_engine() is None else None
    if found is not None:
        api.init(found.session_dir)
    return found is not None


def ends_of_jobs(core: Any) -> dict[bytes, float]:
    """When the jobs ended that have."""
    from ..cluster.protocol.gcs_messages import ListState

    return {row["job_id"]: row["ended"] for row in core.gcs_call(ListState("jobs")) if row["ended"]}


def results_bundle(results: list[KeptResult], ended: dict[bytes, float]) -> dict[str, str]:
    """What is kept, and how it is with that."""
    count = f"{len(results)} kept result{'s' if len(results) != 1 else ''}"
    title = "Joined the cluster that an earlier kernel of this notebook left running"
    colours = {"running": BUSY, "done": GOOD, "failed": BAD}
    html, text = [card(title, count, GOOD, [])], [f"{title}: {count}"]
    cells: set[tuple[bytes, str]] = set()
    for result in results:
        rows = [("what", _what(result)), ("when", _when(result, ended.get(result.job, 0.0)))]
        rows.append(("value", f"`himalia.util.kept({result.name!r})`"))
        shown = [(name, marked(value)) for name, value in rows]
        key = result.job, result.message
        source = result.source.strip().splitlines()[:_SOURCE_LINES] if key not in cells else []
        cells.add(key)  # the text of a cell that asked for several is shown once
        if source:
            lines = "\n".join(source)
            shown.append(("source", f'<pre style="margin:0;background:none">{escape(lines)}</pre>'))
        html.append(card(result.name, result.state, colours[result.state], shown))
        text.append(f"{result.name}: {result.state}")
        text += [f"  {name:<6}  {value}" for name, value in rows]
        text += [f"  | {line}" for line in source]
    return {"text/html": "".join(f"<div>{part}</div>" for part in html), "text/plain": "\n".join(text)}


def _what(result: KeptResult) -> str:
    made = f"`{result.function}`" if result.function else "the value of a reference"
    return f"{made} of In [{result.cell}] of that kernel" if result.cell else made


def _when(result: KeptResult, gone: float) -> str:
    started = time.strftime("%H:%M:%S", time.localtime(result.submitted))
    if not result.ended:
        return f"since {started}"
    text = f"{started}, took {result.ended - result.submitted:.1f} s"
    return f"{text}, ended after that kernel" if 0 < gone < result.ended else text


def output_title(result: KeptResult) -> str:
    """What stands above what a cell's tasks have printed."""
    return f"Printed by In [{result.cell}] since that kernel was gone"


def output_bundle(result: KeptResult, since: float) -> dict[str, str] | None:
    """What a cell's tasks have printed since a time."""
    from himalia.util.state._logs import LogReader

    from ..cluster.protocol.log_messages import LogSelection
    from .log_view import lines_bundle, lines_of

    selection = LogSelection(job=result.job.hex(), cell=result.cell, message=result.message)
    with LogReader() as reader:
        pieces: list[LogPiece] = [piece for piece in reader.pieces(selection) if piece.at >= since]
    lines = lines_of(pieces)
    if not lines:
        return None
    head = output_title(result)
    if len(lines) > SHOWN:
        size = quantity(sum(len(piece.data) for piece in pieces))
        head += f" (the last {SHOWN} of {len(lines)} lines, {size}; himalia.util.state.logs has all)"
    return lines_bundle(head, lines[-SHOWN:])
