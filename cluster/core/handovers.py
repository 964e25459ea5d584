"""References that travel inside a result to somebody else than their owner. Pure: no IO, no clock.

A worker (the sender) returns a value that contains references of a third process (the owner) to the process that
submitted the task (the receiver). The receiver has to be counted before the sender's own count goes, and it knows
nothing yet. So the sender tells the owner, waits for its word, and only then sends the result.

What the sender told counts as a handover, not as the receiver's: the receiver says so when the result has arrived
(`HandoverDone`), and from then on it is counted itself. A sender that fails after all takes back what it told. When a
sender dies, nobody knows whether its result is still under way. So the owner asks the receiver (`SenderDied`). That
answers once nothing of the sender's can reach it any more (`SenderSettled`: its lease is gone, and with it the tasks in
flight; what comes later is dropped), on the connection on which it says what arrived. What is left then never comes.

Rejected: to count the receiver at once, and let go when the sender dies before the result: the owner cannot tell
whether it did. To have the sender keep the reference until the receiver has registered: its death a moment after the
result would free an object that the receiver holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from ..protocol.common import Address
from ..protocol.core_messages import HandoverDone, RemoveBorrowers, SenderDied, SenderSettled
from .commands import Connect, Send

if TYPE_CHECKING:
    from .references import References

__all__ = ["Handovers"]


class _Handover(msgspec.Struct, eq=False):
    """What one sender told us that one receiver is to get, and that has not arrived."""

    receiver: Address
    counts: dict[bytes, int]  # object id → how often


class Handovers:
    """Part of `References`: those of one process, as an owner, a receiver or a sender."""

    def __init__(self, references: References) -> None:
        self._references = references
        self.open: dict[tuple[bytes, bytes], _Handover] = {}
        self.questions: dict[bytes, list[Address]] = {}  # dead senders → owners that wait for our word

    # -- as owner ---------------------------------------------------------------------------------------------------

    def announced(self, object_ids: Iterable[bytes], sender: bytes, receiver: Address) -> None:
        """``sender`` is about to send these to ``receiver``."""
        references = self._references
        if sender in references.dead or receiver.worker_id in references.dead:
            return  # without our word it never sent them; or nobody is there to take them
        key = sender, receiver.worker_id
        handover = self.open.get(key)
        for object_id in object_ids:
            if references.add_borrower(object_id, sender + receiver.worker_id):
                if handover is None:
                    handover = self.open[key] = _Handover(receiver, {})
                handover.counts[object_id] = handover.counts.get(object_id, 0) + 1

    def done(self, object_ids: Iterable[bytes], sender: bytes, receiver: bytes, kept: bool) -> None:
        """They have arrived, and ``receiver`` holds them if ``kept``; or ``sender`` takes back what it told."""
        references, key = self._references, (sender, receiver)
        handover = self.open.get(key)
        for object_id in object_ids:
            if kept:  # first, so that it is held all the time
                references.add_borrower(object_id, receiver)
            count = handover.counts.get(object_id, 0) if handover is not None else 0
            if handover is None or not count:
                continue
            if count == 1:
                del handover.counts[object_id]
            else:
                handover.counts[object_id] = count - 1
            references.remove_borrower(object_id, sender + receiver)
        if handover is not None and not handover.counts:
            del self.open[key]

    def settled(self, sender: bytes, receiver: bytes) -> None:
        """Nothing of ``sender`` will reach ``receiver`` any more."""
        handover = self.open.pop((sender, receiver), None)
        if handover is not None:
            for object_id, count in handover.counts.items():
                for _ in range(count):
                    self._references.remove_borrower(object_id, sender + receiver)

    def process_died(self, worker_id: bytes) -> None:
        """What it was to get is let go; what it may have sent, its receivers are asked about."""
        self.questions = {
            sender: left
            for sender, owners in self.questions.items()
            if (left := [owner for owner in owners if owner.worker_id != worker_id])
        }
        for (sender, receiver), handover in list(self.open.items()):
            if receiver == worker_id:
                self.settled(sender, receiver)
            elif sender == worker_id:
                self._send(handover.receiver, SenderDied(sender, self._references.address))

    # -- as receiver ------------------------------------------------------------------------------------------------

    def arrived(self, object_id: bytes, sender: bytes, owner: Address, kept: bool) -> None:
        """A result of ``sender`` is here with this in it. Not kept: the owner counts us already, or nobody wants it."""
        if owner.worker_id not in self._references.dead and sender != owner.worker_id:
            self._send(owner, HandoverDone([object_id], sender, kept))
        elif not kept:  # the owner sent it itself, and counts us
            self._send(owner, RemoveBorrowers([object_id], self._references.address.worker_id))

    def asked(self, sender: bytes, owner: Address) -> None:
        """An owner wants to know whether what ``sender`` told it of is still to come."""
        self.questions.setdefault(sender, []).append(owner)

    def answer(self, is_settled: Callable[[bytes], bool]) -> None:
        """Answer the questions about those senders of which nothing can come any more."""
        for sender in [sender for sender in self.questions if is_settled(sender)]:
            for owner in self.questions.pop(sender):
                self._send(owner, SenderSettled(sender))

    # -- as sender --------------------------------------------------------------------------------------------------

    def take_back(self, owner: Address, object_ids: list[bytes], receiver: bytes) -> None:
        """The result that was to carry these is not sent."""
        if owner.worker_id not in self._references.dead:
            self._send(owner, RemoveBorrowers(object_ids, receiver))

    def _send(self, address: Address, message: object) -> None:
        if address.worker_id not in self._references.dead:
            self._references.out.append(Connect(address))
            self._references.out.append(Send(address.worker_id, message))
