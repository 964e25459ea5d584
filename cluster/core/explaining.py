"""What keeps one object alive in this process: its own tables, and the names of the user's program that lead to it.

Strategy: somebody asks, now and then, about one object. A thread of its own looks, since the walk through all that has
a name (`holders.py`) may take a second, and answers through the leader. Which names there are a notebook tells by
`name_roots`, as a worker with an actor does; any other process has the variables of its main module.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from ..protocol.held_messages import ExplainObject, KeptBy, ObjectExplained
from .census import take_census
from .commands import Reply
from .holders import Kind, Root, find_holders, holder_text, thread_roots
from .holdings import all_references

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["explain_later", "explain_object", "main_roots"]


def explain_later(core: Core, peer: bytes, message: ExplainObject) -> None:
    """Answer a question beside what this process does. In the leader."""

    def look() -> None:
        try:
            answer = explain_object(core, message.object_id)
        except Exception as error:  # noqa: BLE001 whoever asked is told
            answer = ObjectExplained(0, core.worker_id, False, error=f"{type(error).__name__}: {error}")
        answer.request = message.request
        core.post(lambda: core.out.append(Reply(peer, answer)))

    threading.Thread(target=look, name="himalia-explain", daemon=True).start()


def explain_object(core: Core, object_id: bytes) -> ObjectExplained:
    """What keeps an object alive here. Not in the leader."""
    known = next((row for row in take_census(core) if row.object_id == object_id), None)
    # The census leaves out what is small, and what was borrowed and never read.
    held = [ref for ref in all_references()[0] if ref.binary() == object_id]
    refs = {id(ref): object_id for ref in held}
    if known is None and not refs:
        return ObjectExplained(0, core.worker_id, False)
    roots = core.name_roots() if core.name_roots is not None else main_roots()
    spans = [(start, end, object_id) for start, end in known.spans] if known is not None else []
    holders, is_whole = find_holders(roots, refs, spans)
    named = [KeptBy("name", holder_text(holder)) for holder in holders.get(object_id, [])]
    tables = known.kept if known is not None else []
    kept = [KeptBy(str(one.keeper), one.name, one.cell, one.process) for one in tables]
    if not named and not kept:
        what = "a reference" if held else "a value of it"
        named = [KeptBy("name", f"{what} that no name leads to")]
    return ObjectExplained(0, core.worker_id, True, [*named, *kept], is_whole)


def main_roots() -> list[Root]:
    """Variables of a script, and of what runs in its threads."""
    namespace = vars(sys.modules["__main__"])
    named = [Root(Kind.VARIABLE, name, value) for name, value in list(namespace.items()) if not name.startswith("__")]
    return [*named, *thread_roots(namespace)]
