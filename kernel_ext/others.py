"""Objects of other processes, actors and drivers: who made them, and what keeps them alive there.

Every process of the cluster is asked once what it holds, as `himalia memory` does; who does not answer in time is
named. What a variable there is called nobody but its own process can know: it is told as a reference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ..cluster.core.sites import Site
from ..cluster.gcs.client import GcsClient
from ..cluster.protocol.core_messages import ObjectsHeld, ReferenceKind
from ..cluster.protocol.ids import object_counter, object_owner
from ..cluster.telemetry.objects import ObjectRow, merge_reports
from .places import cell_file, place_text
from .process_names import ASK_SECONDS, ProcessNames

if TYPE_CHECKING:
    from ..cluster.protocol.common import Cell

__all__ = ["Others"]

_SITE: Final = re.compile(r"(.*)(?::|, line )(\d+)(?: in (.*))?", re.DOTALL)
_KINDS: Final = {
    ReferenceKind.PINNED_IN_MEMORY: "a value of it in {}",
    ReferenceKind.USED_BY_PENDING_TASK: "a task that {} has submitted, which has it as an argument",
    ReferenceKind.CAPTURED_IN_OBJECT: "an object of {}, which contains its reference",
    ReferenceKind.LOCAL_REFERENCE: "a reference in {}",
}


class Others:
    """What the other processes hold.

    Parameters
    ----------
    notes
        Who did not answer is added here.
    """

    def __init__(self, shell: Any, names: ProcessNames, notes: list[str]) -> None:
        self._shell = shell
        self._names = names
        self._rows: dict[bytes, list[ObjectRow]] = {}
        for row in merge_reports(_ask(names, notes), []):
            self._rows.setdefault(row.object_id, []).append(row)

    def title(self, object_id: bytes) -> str:
        """What an object is called that this kernel has no reference to."""
        if object_owner(object_id) == self._names.core.worker_id:
            return f"ObjectRef {object_counter(object_id)}"
        return f"Object {object_counter(object_id)} of another process"

    def made(self, object_id: bytes) -> str:
        """By which function, in which cell and line, and by which process."""
        process = self._names.process(object_owner(object_id))
        row = next(iter(self._rows.get(object_id, ())), None)  # the owner's, if that answered
        if row is None or not (row.maker or row.cell or row.site):
            return process
        return f"{self._place(row)}, by {process}"

    def _place(self, row: ObjectRow) -> str:
        cell, found = row.cell, _SITE.fullmatch(row.site)
        site = Site(cell_file(self._shell, found[1]), int(found[2]), found[3] or "<module>") if found else None
        if cell is not None and cell.job_id != self._names.core.job_id:
            return f"{place_text(self._shell, row.maker, None, site)}{_cell_of_another(cell)}"
        return place_text(self._shell, row.maker, cell, site)

    def kept(self, object_id: bytes, pinned_by: list[bytes]) -> list[str]:
        """What keeps an object alive: one text each.

        Parameters
        ----------
        pinned_by
            Processes that have values of it in use, as its stores say.
        """
        owner = object_owner(object_id)
        in_use = _KINDS[ReferenceKind.PINNED_IN_MEMORY]
        texts = [in_use.format(self._names.process(process)) for process in pinned_by if process != owner]
        for row in self._rows.get(object_id, ()):
            process = self._names.process(row.holder)
            for kind in row.kinds:
                text = _KINDS[kind].format(process) if kind in _KINDS else f"its actor, which {process} has a handle of"
                if row.holder == owner and kind is ReferenceKind.LOCAL_REFERENCE:
                    text = f"{process}, which owns it"
                texts.append(text)
        if not texts:
            ours = owner == self._names.core.worker_id
            texts = ["nothing: it goes this moment" if ours else f"{self._names.process(owner)}, which owns it"]
        return list(dict.fromkeys(texts))


def _cell_of_another(cell: Cell) -> str:
    return f", for In [{cell.execution}] of another driver" if cell.execution else ""


def _ask(names: ProcessNames, notes: list[str]) -> list[ObjectsHeld]:
    with GcsClient(names.core.options) as client:
        answers, silent = client.holdings(names.addresses(), names.living, timeout=ASK_SECONDS)
    names.pids.update({answer.worker_id: answer.pid for answer in answers})
    notes += [f"{names.process(address.worker_id)} did not say what it holds." for address in silent]
    return answers
