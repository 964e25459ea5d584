"""What must always be true of an owner, and what must be left of everything when nobody wants anything any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...core.runtime import Core
    from .cluster import SimulatedCluster

__all__ = ["check_owner", "check_rest"]


def check_owner(core: Core) -> None:
    """Every task is in one place, every lease in each index or none, no reference counted below nothing."""
    submission = core.submission
    leases = {}
    for cls in submission.by_id.values():
        for record in cls.queue:
            assert record.worker is None, f"task {record.task.counter} is queued and in flight"
            assert not record.waiting, f"task {record.task.counter} is queued and waits for arguments"
        for lease_id, worker in cls.workers.items():
            leases[lease_id, worker.raylet] = worker
            assert worker.lease_id == lease_id
            assert submission.workers.get(worker.worker_id) is worker, f"worker of lease {lease_id} is not known"
            for counter, record in worker.inflight.items():
                assert record.task.counter == counter
                assert record.worker is worker, f"task {counter} is in flight at one worker and says another"
    assert len(submission.workers) == len(leases), "a worker is known that no class has a lease of"
    for known in core.references.exported.values():
        assert known.transit >= 0, f"{known.ref!r} is in transit {known.transit} times"


def check_rest(cluster: SimulatedCluster, *, job_ended: bool) -> None:
    """Nothing is held, kept or waited for. ``job_ended``: drivers are gone too."""
    for process in cluster.processes.values():
        if process.is_alive:
            _check_idle(process.core, f"{process.kind} {process.identity.hex()}")
    for node in cluster.nodes.values():
        if not node.is_alive:
            continue
        name = f"node {node.node_id.hex()}"
        leases = node.machine.leases.leases
        assert not leases, f"{name}: leases {sorted(leases)} were not returned"
        ledger = node.machine.ledger
        assert ledger.available == ledger.total, f"{name}: only {ledger.available} of {ledger.total} is free"
        reserved = node.machine.bundles.held()
        assert not reserved, f"{name}: bundles {reserved} were not given back"
        records = node.store.machine.index.records
        left = [f"{object_id.hex()} ({record.state})" for object_id, record in records.items()]
        assert not left, f"{name}: the store still has {left[:5]}"
        if job_ended:
            assert not node.machine.drivers, f"{name}: drivers left"
    if cluster.gcs is not None:
        groups = [group for group in cluster.gcs.machine.groups.by_id.values() if not group.is_removed]
        assert not groups, f"groups {[group.group_id.hex() for group in groups]} are left"
    unended = cluster.book.unended()
    assert not unended, f"tasks without an end: {unended[:10]}"


def _check_idle(core: Core, name: str) -> None:
    references = core.references
    assert not core.submission.workers, f"{name} holds leases"
    assert not any(cls.queue for cls in core.submission.by_id.values()), f"{name} has tasks queued"
    for cls in core.submission.by_id.values():
        asked = {raylet.hex(): count for raylet, count in cls.asked.items() if count}
        assert not asked, f"{name} still asks for leases: {asked}"
    kept = [
        f"{object_id.hex()} (borrowers {[b.hex() for b in known.borrowers]}, transit {known.transit})"
        for object_id, known in references.exported.items()
    ]
    assert not kept, f"{name} keeps {len(kept)} objects that nobody refers to: {kept[:5]}"
    borrowed = [object_id.hex() for object_id in references.borrowed]
    assert not borrowed, f"{name} still borrows {borrowed[:5]}"
    assert not references.subscribers, f"{name} has subscribers"
    assert not references.acks, f"{name} waits for acknowledgements"
