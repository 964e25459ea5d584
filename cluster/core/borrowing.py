"""References that cross processes: who owns one, who is told of it, and what owners and borrowers ask each other.

The counting is in references.py; this connects it to messages and to what user threads pickle and unpickle.
"""

from __future__ import annotations

import threading
from typing import Any, Final

from ..protocol.common import Address, Death, DeathKind
from ..protocol.core_messages import (
    Ack,
    AddBorrowers,
    DescribeObjects,
    GetObjects,
    HandoverDone,
    ObjectStates,
    RefInfo,
    RemoveBorrowers,
    ReportLost,
    SenderDied,
    SenderSettled,
)
from ..protocol.gcs_messages import AskProcess
from ..protocol.held_messages import DescribeTask
from .commands import Reply, Send
from .pins import PinOps
from .refs import ERROR, STORE, ObjectRef

__all__ = ["TASK_COVER", "BorrowOps"]

TASK_COVER: Final = object()
"""Covers the references among the arguments of a task: its submitter holds them until it ends."""


class BorrowOps(PinOps):
    """Part of `Core`."""

    def _init_borrowing(self) -> None:
        self.context = threading.local()  # .cover: what covers references that this thread unpickles
        self.context.cover = None
        self.pinned_refs: list[tuple[str, Any]] = []  # what functions take along, with the name of the function

    def _install_borrow_handlers(self) -> None:
        self.references.meet = self._meet
        self.handlers |= {
            GetObjects: self._on_get_objects,
            ObjectStates: self._on_object_states,
            AddBorrowers: self._on_add_borrowers,
            RemoveBorrowers: self._on_remove_borrowers,
            HandoverDone: self._on_handover_done,
            SenderDied: self._on_sender_died,
            SenderSettled: self._on_sender_settled,
            Ack: lambda peer, message: self.references.acknowledged(message.ack),
            ReportLost: self._on_report_lost,
            DescribeObjects: self._on_describe_objects,
            DescribeTask: self._on_describe_task,
        }
        self.tick_hooks.append(self._answer_owners)

    def _on_describe_objects(self, peer: bytes, message: DescribeObjects) -> None:
        from .holdings import describe_objects  # asked for by hand, now and then

        self.out.append(Reply(peer, describe_objects(self, message)))  # type: ignore[arg-type]  # the whole core

    def _on_describe_task(self, peer: bytes, message: DescribeTask) -> None:
        from .task_answers import describe_task

        self.out.append(Reply(peer, describe_task(self, message)))  # type: ignore[arg-type]  # the whole core

    def _meet(self, worker_id: bytes) -> None:
        """We are told of deaths from our own hello on: an owner that came to our notice only now may be long dead."""
        self.out.append(Send(self.gcs_id, AskProcess(worker_id)))

    def owner_of(self, ref: ObjectRef) -> Address:
        """Address of a reference's owner."""
        if ref._w == self.worker_id:
            self.references.findable[ref.binary()] = ref  # whoever unpickles it here finds it by its id
            return self.address
        if ref._x is None or ref._x.owner is None:
            raise (
                self.session_error()
                if self.closed
                else ValueError(f"{ref!r} belongs to another session: it can not be used in this one")
            )
        return ref._x.owner

    def rebuild_ref(self, object_id: bytes, owner: Address, cluster_id: str = "") -> ObjectRef:
        """Make a reference that came inside a value, and see that its owner knows of us before what covers us ends."""
        if cluster_id and self.cluster_id and cluster_id != self.cluster_id:
            raise ValueError(
                f"ObjectRef({object_id.hex()}) belongs to another cluster "
                f"({cluster_id}, this one is {self.cluster_id}): get its value there, and put it here"
            )
        cover = getattr(self.context, "cover", None)
        ref = self.references.received(RefInfo(object_id, owner), registered=False)
        extra = ref._x
        if ref._w != self.worker_id and extra is not None and not extra.registered and cover is not TASK_COVER:
            self.post(lambda: self._register(ref, cover))
        return ref

    def _register(self, ref: ObjectRef, cover: Any) -> None:
        if ref._x is not None and not ref._x.registered:
            kept = [ref, cover]  # both live until the owner has answered
            self.references.register([ref], self.address, kept.clear)

    def pin_forever(self, ref: ObjectRef) -> None:
        """A reference was pickled where we can not see the copies: it lives as long as this process."""

        def act() -> None:
            if ref._w == self.worker_id:
                self.references.export(ref)
            self.references.pinned_forever.append(ref)
            self.references.in_transit(ref, 1)

        self.post(act)

    def _on_get_objects(self, peer: bytes, message: GetObjects) -> None:
        states = self.references.asked(peer, message.object_ids)
        if states:
            self.out.append(Reply(peer, ObjectStates(states)))

    def _on_object_states(self, peer: bytes, message: ObjectStates) -> None:
        for state in message.states:
            ref = self.references.answered(state)
            if ref is not None:
                if ref._state == ERROR:
                    self.completion.failed += 1
                self.completion.ready(ref)

    def _on_add_borrowers(self, peer: bytes, message: AddBorrowers) -> None:
        # Who registers us with ourselves has a reference of ours on its way to us: see `References.received`.
        borrower = message.borrower.worker_id
        if borrower in (peer, self.worker_id):
            for object_id in message.object_ids:
                self.references.add_borrower(object_id, peer)
        else:
            self.references.handovers.announced(message.object_ids, peer, message.borrower)
        if message.ack:
            self.out.append(Reply(peer, Ack(message.ack)))

    def _on_remove_borrowers(self, peer: bytes, message: RemoveBorrowers) -> None:
        if message.borrower in (b"", peer, self.worker_id):
            for object_id in message.object_ids:
                self.references.remove_borrower(object_id, peer)
        else:
            self.references.handovers.done(message.object_ids, peer, message.borrower, kept=False)

    def _on_handover_done(self, peer: bytes, message: HandoverDone) -> None:
        self.references.handovers.done(message.object_ids, message.sender, peer, message.kept)

    def _on_sender_died(self, peer: bytes, message: SenderDied) -> None:
        self.process_died(message.sender, Death(DeathKind.CRASHED, "its process died"))  # the GCS may say so later
        self.references.handovers.asked(message.sender, message.owner)
        self._answer_owners(0.0)

    def _on_sender_settled(self, peer: bytes, message: SenderSettled) -> None:
        self.references.handovers.settled(message.sender, peer)

    def _answer_owners(self, now: float) -> None:
        """Of a process without a lease or actor of ours there is nothing in flight: what comes of it is dropped."""
        if self.references.handovers.questions:
            leased, actors = self.submission.workers, self.actor_calls.by_worker
            self.references.handovers.answer(lambda sender: sender not in leased and sender not in actors)

    def _on_report_lost(self, peer: bytes, message: ReportLost) -> None:
        for object_id in message.object_ids:
            ref = self.references.find(object_id)
            if ref is not None and ref._state == STORE:
                self.object_lost(ref, False)
        states = self.references.asked(peer, message.object_ids)
        if states:
            self.out.append(Reply(peer, ObjectStates(states)))
