"""References inside a result whose owner is a third process: no death on the way frees them too early or never."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.cluster.core.commands import Connect, Send
from himalia.cluster.core.references import References
from himalia.cluster.core.refs import ObjectRef
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.core_messages import (
    AddBorrowers,
    HandoverDone,
    RefInfo,
    RemoveBorrowers,
    SenderDied,
    SenderSettled,
)
from tests.core.owner import BORROWER, OTHER, OWNER, address, ready

SENDER = b"\x01sender!"
RECEIVER = BORROWER


class Owner:
    """Owns one object, which only others hold: `SENDER`, which is about to pass it on to `RECEIVER`."""

    def __init__(self) -> None:
        self.references = References(address(OWNER), [])
        ref = ready(1)
        self.object_id = ref.binary()
        self.references.export(ref)
        self.references.add_borrower(self.object_id, SENDER)

    @property
    def handovers(self) -> Any:
        return self.references.handovers

    def announce(self, times: int = 1) -> None:
        self.handovers.announced([self.object_id] * times, SENDER, address(RECEIVER))

    def holds(self) -> bool:
        return self.object_id in self.references.exported

    def borrowers(self) -> set[bytes]:
        return set(self.references.exported[self.object_id].borrowers)

    def asked(self) -> list[tuple[bytes, Any]]:
        out, self.references.out[:] = list(self.references.out), []
        return [(c.peer, c.message) for c in out if isinstance(c, Send) and isinstance(c.message, SenderDied)]


@pytest.fixture
def owner() -> Owner:
    return Owner()


# -- as owner ---------------------------------------------------------------------------------------------------------


def test_the_object_lives_from_the_announcement_to_the_receivers_last_reference(owner: Owner) -> None:
    owner.announce()
    owner.references.remove_borrower(owner.object_id, SENDER)
    assert owner.holds()
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=True)
    assert owner.borrowers() == {RECEIVER}
    assert not owner.handovers.open
    owner.references.remove_borrower(owner.object_id, RECEIVER)
    assert not owner.holds()


def test_what_the_receiver_had_already_is_counted_once(owner: Owner) -> None:
    owner.references.add_borrower(owner.object_id, RECEIVER)
    owner.announce()
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=False)
    owner.references.remove_borrower(owner.object_id, RECEIVER)
    owner.references.remove_borrower(owner.object_id, SENDER)
    assert not owner.holds()


def test_a_sender_that_dies_before_its_result_leaves_nothing_behind(owner: Owner) -> None:
    owner.announce(times=2)
    owner.references.process_died(SENDER)
    assert owner.holds()  # the result may be under way
    assert owner.asked() == [(RECEIVER, SenderDied(SENDER, address(OWNER)))]
    owner.handovers.settled(SENDER, RECEIVER)
    assert not owner.holds()
    assert not owner.handovers.open


def test_a_result_that_outlives_its_sender_keeps_the_object(owner: Owner) -> None:
    owner.announce()
    owner.references.process_died(SENDER)
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=True)
    owner.handovers.settled(SENDER, RECEIVER)
    assert owner.borrowers() == {RECEIVER}


def test_nobody_is_asked_about_results_that_have_arrived(owner: Owner) -> None:
    owner.announce()
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=True)
    owner.references.process_died(SENDER)
    assert owner.asked() == []


def test_a_receiver_that_dies_gets_nothing(owner: Owner) -> None:
    owner.announce()
    owner.references.remove_borrower(owner.object_id, SENDER)
    owner.references.process_died(RECEIVER)
    assert not owner.holds()


def test_when_both_die_nothing_is_left(owner: Owner) -> None:
    owner.announce()
    owner.references.process_died(SENDER)
    owner.references.process_died(RECEIVER)
    assert not owner.holds()


def test_the_dead_announce_nothing(owner: Owner) -> None:
    owner.references.process_died(SENDER)
    owner.announce()
    assert not owner.holds()
    assert not owner.handovers.open


def test_a_sender_takes_back_what_it_does_not_send(owner: Owner) -> None:
    owner.announce()
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=False)
    assert owner.borrowers() == {SENDER}


def test_what_is_dropped_after_all_is_settled_changes_nothing(owner: Owner) -> None:
    owner.references.in_transit(owner.references.exported[owner.object_id].ref, 1)
    owner.announce()
    owner.references.process_died(SENDER)
    owner.handovers.settled(SENDER, RECEIVER)
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=False)
    assert owner.borrowers() == set()


def test_an_object_that_is_gone_is_no_handover(owner: Owner) -> None:
    owner.references.remove_borrower(owner.object_id, SENDER)
    owner.announce()
    assert not owner.handovers.open
    owner.handovers.done([owner.object_id], SENDER, RECEIVER, kept=True)
    assert not owner.holds()


# -- as receiver and sender -------------------------------------------------------------------------------------------


@pytest.fixture
def ours() -> References:
    references = References(address(OWNER), [])
    references.error_of = lambda kind, ref: kind.encode()
    return references


def told(references: References) -> list[tuple[bytes, Any]]:
    out, references.out[:] = list(references.out), []
    assert all(isinstance(command, Send | Connect) for command in out)
    return [(command.peer, command.message) for command in out if isinstance(command, Send)]


def their_object() -> RefInfo:
    return RefInfo(ObjectRef(OTHER, 7).binary(), address(OTHER))


def test_the_owner_is_told_what_arrived(ours: References) -> None:
    info = their_object()
    ref = ours.received(info, registered=True, sender=SENDER)
    assert told(ours) == [(OTHER, HandoverDone([info.object_id], SENDER, True))]
    assert ours.received(info, registered=True, sender=SENDER) is ref
    assert told(ours) == [(OTHER, HandoverDone([info.object_id], SENDER, False))]


def test_an_owner_that_sent_its_own_object_knows(ours: References) -> None:
    info = their_object()
    ref = ours.received(info, registered=True, sender=OTHER)
    assert told(ours) == []
    assert ours.received(info, registered=True, sender=OTHER) is ref
    assert told(ours) == [(OTHER, RemoveBorrowers([info.object_id], OWNER))]


def test_an_owners_question_is_answered_when_nothing_can_come_any_more(ours: References) -> None:
    ours.handovers.asked(SENDER, address(OTHER))
    ours.handovers.answer(lambda sender: False)
    assert told(ours) == []
    ours.handovers.answer(lambda sender: sender == SENDER)
    assert told(ours) == [(OTHER, SenderSettled(SENDER))]
    ours.handovers.answer(lambda sender: True)
    assert told(ours) == []


def test_a_dead_owner_is_not_answered(ours: References) -> None:
    ours.handovers.asked(SENDER, address(OTHER))
    ours.process_died(OTHER)
    assert not ours.handovers.questions


def test_what_was_announced_can_be_taken_back(ours: References) -> None:
    ours.handovers.take_back(Address(OTHER), [b"object"], RECEIVER)
    assert told(ours) == [(OTHER, RemoveBorrowers([b"object"], RECEIVER))]
    ours.process_died(OTHER)
    ours.handovers.take_back(Address(OTHER), [b"object"], RECEIVER)
    assert told(ours) == []


def test_registering_for_a_receiver_names_it(ours: References) -> None:
    ref = ours.received(their_object(), registered=False)
    assert ours.register([ref], address(RECEIVER), None) == 1
    messages = [message for _, message in told(ours)]
    assert [(type(m), m.borrower.worker_id) for m in messages] == [(AddBorrowers, RECEIVER)]
