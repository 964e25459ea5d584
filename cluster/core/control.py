"""What a tool may have this process do: cancel tasks that it owns, and, of a driver, end its job.

A tool is not part of the cluster's work: it holds no reference, so it names tasks by their counters. Only who has the
cluster's key gets here (see `transport/keys.py`), and who has that can submit code anyway.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..protocol.control_messages import CancelOwned, ControlDone, EndJob
from ..protocol.gcs_messages import ReportJobEnd
from .commands import Reply, Send
from .failures import session_over

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["cancel_owned", "end_job"]

_log = logging.getLogger("himalia")


def cancel_owned(core: Core, peer: bytes, message: CancelOwned) -> None:
    """Cancel those that have not ended. In the leader."""
    wanted = set(message.counters)
    chosen = [record for record in core.cells.pending() if record.task.counter in wanted and record.create is None]
    for record in chosen:
        if record.plan.actor is not None:
            core.actor_calls.cancel(record, message.recursive)
        else:
            core.submission.cancel(record, message.force, message.recursive)
    core.out.append(Reply(peer, ControlDone(message.request, len(chosen))))


def end_job(core: Core, peer: bytes, message: EndJob) -> None:
    """End the job of this driver: what is pending fails with the reason, and so does every later call. In the leader.

    The GCS then treats the driver as one that is gone: its actors end, its leases go back, and workers drop what it
    owns. The process goes on, and can begin a new session.
    """
    ends = core.options.job is not None and core.fatal is None
    if ends:
        _log.warning("this job was ended: %s", message.reason)
        core.out.append(Send(core.gcs_id, ReportJobEnd(core.job_id)))
        core.die(session_over(f"this job was ended: {message.reason}"))
    core.out.append(Reply(peer, ControlDone(message.request, int(ends))))
