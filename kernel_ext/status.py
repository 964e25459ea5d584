"""What ``%cluster`` shows of a cluster."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from ..cluster.core import session
from ..cluster.protocol.common import RESOURCE_UNIT, NodeInfo
from .html import BAD, GOOD, bar, card, quantity, text_card
from .kept import is_kept
from .reprs import Shown

if TYPE_CHECKING:
    from ..cluster.core.runtime import Core

__all__ = ["NAME_LABEL", "cluster_bundle", "describe_cluster", "gone_bundle"]

NAME_LABEL = "himalia.io/cluster-name"
"""Label of the head node that carries the name given to ``%cluster start --name``."""

_IN_BYTES = frozenset({"memory", "object_store_memory"})
_TITLES = {"CPU": "CPUs", "GPU": "GPUs", "memory": "memory", "object_store_memory": "object memory"}


def cluster_bundle(core: Core) -> dict[str, str]:
    """HTML and plain text about the cluster that this process is connected to.

    Raises
    ------
    Exception
        The cluster does not answer.
    """
    return describe_cluster(core.cluster_state("nodes"), *core.resources()).bundle()


def describe_cluster(rows: list[dict[str, Any]], total: dict[str, float], free: dict[str, float]) -> Shown:
    """A cluster with these nodes (as the GCS lists them), which together have this, and that of it free."""
    rows = [row for row in rows if row["alive"]]
    name = _name(msgspec.convert(rows, list[NodeInfo]))
    shown = Shown(f"Himalia cluster {name}" if name else "Himalia cluster", "running", GOOD, changes=True)
    if len(rows) != 1:
        shown.state = f"running on {len(rows)} nodes"
    for resource in _order(total):
        used, all_of_it = total[resource] - free.get(resource, 0.0), total[resource]
        words = f"{_amount(resource, used)} of {_amount(resource, all_of_it)} in use"
        most = sum(row["most"].get(resource, row["total"].get(resource, 0)) for row in rows) / RESOURCE_UNIT
        words += f"; grows to {_amount(resource, most)} while work waits" if most > all_of_it else ""
        title = _TITLES.get(resource, resource)
        shown.rows.append((title, words))
        shown.pictures[title] = f"{bar(used / all_of_it)} "
    address = address_of()
    if address:
        shown.rows.append(("address", address))
    live = session.current_session()
    if live is not None and live.connection.dashboard_url:
        shown.rows.append(("dashboard", f"{live.connection.dashboard_url} (%dashboard leads there)"))
    if live is not None and is_kept(live.connection):
        shown.rows.append(("ends", "with %cluster stop only, not with the kernel"))
    return shown


def gone_bundle(why: str) -> dict[str, str]:
    """About a cluster that does not answer."""
    rows = [("reason", why), ("next", "%cluster stop, then %cluster start")]
    shown = [(name, escape(value)) for name, value in rows]
    return {
        "text/html": card("Himalia cluster", "gone", BAD, shown),
        "text/plain": text_card("Himalia cluster", "gone", rows),
    }


def address_of() -> str:
    """What another notebook of this machine gives to ``%cluster connect``."""
    live = session.current_session()
    return live.connection.session_dir if live is not None else ""


def _name(nodes: list[NodeInfo]) -> str:
    return next((node.labels[NAME_LABEL] for node in nodes if NAME_LABEL in node.labels), "")


def _order(total: dict[str, float]) -> list[str]:
    """Resources as they are shown: the usual ones first, then the user's own; not the engine's marks of nodes."""
    usual = [name for name in _TITLES if total.get(name)]
    return usual + sorted(
        name for name in total if name not in _TITLES and not name.startswith("node:") and total[name]
    )


def _amount(resource: str, value: Any) -> str:
    return quantity(value) if resource in _IN_BYTES else f"{value:g}"
