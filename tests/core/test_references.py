"""Who is counted as a holder of what, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from himalia.cluster.core import refs
from himalia.cluster.core.commands import Connect, Reply, Send
from himalia.cluster.core.references import References
from himalia.cluster.core.refs import ERROR, FREED, INLINE, PENDING, STORE, Extra, ObjectRef, drops, ref_from_id
from himalia.cluster.protocol.core_messages import (
    AddBorrowers,
    GetObjects,
    ObjectState,
    ObjectStates,
    RefInfo,
    RemoveBorrowers,
)
from tests.core.owner import BORROWER, OTHER, OWNER, address, ready


@pytest.fixture
def ours() -> Iterator[References]:
    references = References(address(OWNER), [])
    references.error_of = lambda kind, ref: kind.encode()
    drops.clear()
    yield references
    references.end_of_session()
    drops.clear()


def said(references: References, kind: type) -> list[Any]:
    """Messages of a type that were sent or replied, with their peers, since the last look."""
    out, references.out[:] = list(references.out), []
    return [(c.peer, c.message) for c in out if isinstance(c, Send | Reply) and isinstance(c.message, kind)]


# -- as owner ---------------------------------------------------------------------------------------------------------


def test_an_object_that_others_hold_is_found_by_its_id_and_lives(ours: References) -> None:
    ref = ready(1)
    object_id = ref.binary()
    ours.export(ref)
    assert ours.add_borrower(object_id, BORROWER)
    del ref
    assert ours.exported[object_id].ref._data == b"value"
    ours.remove_borrower(object_id, BORROWER)
    assert object_id not in ours.exported


def test_an_object_is_held_until_as_many_were_removed_as_were_added(ours: References) -> None:
    ref = ready(1)
    ours.export(ref)
    for _ in range(2):
        ours.add_borrower(ref.binary(), BORROWER)
    ours.remove_borrower(ref.binary(), BORROWER)
    assert ref.binary() in ours.exported
    ours.remove_borrower(ref.binary(), BORROWER)
    assert ref.binary() not in ours.exported


def test_a_removal_that_overtakes_its_announcement_is_a_count_below_zero(ours: References) -> None:
    ref = ready(1)
    ours.export(ref)
    ours.in_transit(ref, 1)  # the task whose result is to announce the borrower
    ours.remove_borrower(ref.binary(), BORROWER)
    assert ours.exported[ref.binary()].borrowers == {BORROWER: -1}
    ours.add_borrower(ref.binary(), BORROWER)
    assert ours.exported[ref.binary()].borrowers == {}
    ours.in_transit(ref, -1)
    assert ref.binary() not in ours.exported


def test_borrowers_are_counted_apart(ours: References) -> None:
    ref = ready(1)
    ours.export(ref)
    ours.add_borrower(ref.binary(), BORROWER)
    ours.add_borrower(ref.binary(), OTHER)
    ours.remove_borrower(ref.binary(), BORROWER)
    assert ours.exported[ref.binary()].borrowers == {OTHER: 1}


def test_what_travels_inside_a_task_is_findable_until_the_task_ends(ours: References) -> None:
    ref = ready(1)
    ours.in_transit(ref, 1)
    ours.in_transit(ref, 1)
    ours.in_transit(ref, -1)
    assert ref.binary() in ours.exported
    ours.in_transit(ref, -1)
    assert ref.binary() not in ours.exported


def test_references_of_others_are_not_counted_by_us(ours: References) -> None:
    ours.in_transit(ref_from_id(ready(1).binary(), address(OTHER)), 1)
    assert ours.exported == {}


def test_who_asks_to_hold_an_object_that_is_gone_is_told_so(ours: References) -> None:
    assert not ours.add_borrower(ready(1).binary(), BORROWER)


def test_the_dead_are_not_counted_any_more(ours: References) -> None:
    ref = ready(1)
    ours.export(ref)
    ours.in_transit(ref, 1)
    ours.add_borrower(ref.binary(), BORROWER)
    assert ours.process_died(BORROWER) == []
    assert ours.exported[ref.binary()].borrowers == {}
    ours.add_borrower(ref.binary(), BORROWER)  # a result that was under way
    assert ours.exported[ref.binary()].borrowers == {}


def test_the_dead_make_nothing_findable(ours: References) -> None:
    ref = ready(1)
    ours.findable[ref.binary()] = ref
    ours.process_died(BORROWER)
    ours.add_borrower(ref.binary(), BORROWER)
    assert ours.exported == {}


# -- questions of borrowers -------------------------------------------------------------------------------------------


def test_a_borrower_is_told_the_state_of_what_is_ready(ours: References) -> None:
    small, failed, stored = ready(1), ready(2), ready(3)
    failed._state, failed._data = ERROR, b"went wrong"
    stored._state, stored._data = STORE, None
    stored._x = Extra(OWNER, 3, 0, nodes=[b"node"], size=10)
    freed = ready(4)
    freed._state = FREED
    for ref in (small, failed, stored, freed):
        ours.export(ref)
    states = ours.asked(BORROWER, [ref.binary() for ref in (small, failed, stored, freed)])
    assert [(s.status, s.data, s.flags, s.nodes, s.size) for s in states] == [
        (0, b"value", 0, [], 0),
        (0, b"went wrong", 1, [], 0),
        (0, b"", 0, [b"node"], 10),
        (1, b"", 0, [], 0),
    ]


def test_what_we_do_not_know_is_freed(ours: References) -> None:
    assert [state.status for state in ours.asked(BORROWER, [b"x" * 20])] == [1]


def test_who_asks_for_what_is_pending_is_told_when_it_is_ready(ours: References) -> None:
    ref = ObjectRef(OWNER, 1)
    ours.export(ref)
    assert ours.asked(BORROWER, [ref.binary()]) == []
    assert ours.asked(OTHER, [ref.binary()]) == []
    ref._state, ref._data = INLINE, b"value"
    waiters, ref._wait = ref._wait, None
    for waiter in waiters or ():
        waiter(ref)
    told = said(ours, ObjectStates)
    assert {peer for peer, _ in told} == {BORROWER, OTHER}
    assert all(message.states[0].data == b"value" for _, message in told)
    assert ours.subscribers == {}


def test_an_object_that_somebody_waits_for_lives_until_it_is_told(ours: References) -> None:
    ref = ObjectRef(OWNER, 1)
    object_id = ref.binary()
    ours.export(ref)
    ours.add_borrower(object_id, BORROWER)
    ours.asked(BORROWER, [object_id])
    ours.remove_borrower(object_id, BORROWER)
    assert object_id in ours.exported
    ours.process_died(BORROWER)
    assert object_id not in ours.exported


# -- as borrower ------------------------------------------------------------------------------------------------------


def their_object(counter: int = 7) -> RefInfo:
    return RefInfo(ObjectRef(OTHER, counter).binary(), address(OTHER))


def test_the_same_object_is_the_same_reference_however_often_it_comes(ours: References) -> None:
    first = ours.received(their_object(), registered=False)
    assert ours.received(their_object(), registered=False) is first
    assert ours.out == [Connect(address(OTHER))]


def test_a_second_registration_in_our_name_is_taken_back(ours: References) -> None:
    ref = ours.received(their_object(), registered=True, sender=OTHER)
    assert said(ours, RemoveBorrowers) == []
    again = ours.received(their_object(), registered=True, sender=OTHER)
    assert [(peer, m.object_ids) for peer, m in said(ours, RemoveBorrowers)] == [(OTHER, [ref.binary()])]
    assert again is ref


def test_our_own_object_comes_back_as_what_it_was(ours: References) -> None:
    ref = ready(1)
    ours.export(ref)
    assert ours.received(RefInfo(ref.binary(), address(OWNER)), registered=False) is ref


def test_our_own_object_that_is_gone_comes_back_freed(ours: References) -> None:
    info = RefInfo(ready(1).binary(), address(OWNER))
    assert ours.received(info, registered=False)._state == FREED


def test_a_reference_of_a_dead_owner_has_failed(ours: References) -> None:
    ours.process_died(OTHER)
    ref = ours.received(their_object(), registered=False)
    assert (ref._state, ref._data) == (ERROR, b"owner_died")


def test_with_an_owner_die_the_references_to_its_objects(ours: References) -> None:
    ref = ours.received(their_object(), registered=True)
    assert ours.process_died(OTHER) == [ref]


def test_owners_are_told_of_a_holder_and_acknowledge_before_we_go_on(ours: References) -> None:
    third = b"\x01third!!"
    refs = [ours.received(their_object(n), registered=False) for n in (1, 2)]
    refs.append(ours.received(RefInfo(ObjectRef(third, 1).binary(), address(third)), registered=False))
    went_on: list[bool] = []
    assert ours.register(refs, address(OWNER), lambda: went_on.append(True)) == 2
    told = said(ours, AddBorrowers)
    assert [(peer, len(message.object_ids)) for peer, message in told] == [(OTHER, 2), (third, 1)]
    assert all(ref._x is not None and ref._x.registered for ref in refs)
    ours.acknowledged(told[0][1].ack)
    assert not went_on
    ours.acknowledged(told[1][1].ack)
    ours.acknowledged(told[1][1].ack)
    assert went_on == [True]


def test_nobody_is_waited_for_when_all_owners_are_dead(ours: References) -> None:
    ref = ours.received(their_object(), registered=False)
    ours.process_died(OTHER)
    assert ours.register([ref], address(OWNER), None) == 0
    assert said(ours, AddBorrowers) == []


def test_an_owner_is_asked_once(ours: References) -> None:
    ref = ours.received(their_object(), registered=True)
    ours.out.clear()
    ours.ask(ref)
    ours.ask(ref)
    assert [(peer, message.object_ids) for peer, message in said(ours, GetObjects)] == [(OTHER, [ref.binary()])]


@pytest.mark.parametrize(
    ("told", "state", "data"),
    [
        ({"data": b"value"}, INLINE, b"value"),
        ({"data": b"went wrong", "flags": 1}, ERROR, b"went wrong"),
        ({"nodes": [b"node"], "size": 10}, STORE, None),
        ({"status": 1}, ERROR, b"freed"),
        ({"status": 2}, ERROR, b"lost"),
    ],
)
def test_the_answer_of_an_owner_is_the_state_here(
    ours: References, told: dict[str, Any], state: int, data: bytes | None
) -> None:
    ref = ours.received(their_object(), registered=True)
    assert ref._state == PENDING
    assert ours.answered(ObjectState(ref.binary(), **told)) is ref
    assert (ref._state, ref._data) == (state, data)
    assert ours.answered(ObjectState(ref.binary(), data=b"again")) is None


def test_the_last_reference_here_takes_our_registration_along(ours: References) -> None:
    ref = ours.received(their_object(), registered=True)
    object_id = ref.binary()
    del ref
    ours.dropped(drops.pop())
    assert [(peer, message.object_ids) for peer, message in said(ours, RemoveBorrowers)] == [(OTHER, [object_id])]


def test_what_looks_for_dead_references_at_once_finds_them_dead(
    ours: References, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the IO thread does, which is woken where the reference dies and may be faster than that."""
    monkeypatch.setattr(refs, "_drop_hook", lambda: ours.dropped(drops.pop()))
    held = [ours.received(their_object(counter), registered=True) for counter in (1, 2, 3)]
    ids = [ref.binary() for ref in reversed(held)]
    said(ours, RemoveBorrowers)
    del held[:]
    assert [message.object_ids[0] for _, message in said(ours, RemoveBorrowers)] == ids
    assert not ours.borrowed


def test_one_that_comes_again_before_its_end_was_noticed_is_counted_anew(ours: References) -> None:
    before = ours.received(their_object(), registered=True)
    del before
    again = ours.received(their_object(), registered=True, sender=OTHER)
    said(ours, RemoveBorrowers)
    ours.dropped(drops.pop())
    assert len(said(ours, RemoveBorrowers)) == 1, "the owner counts two"
    assert ours.borrowed.get(again.binary()) is again
    del again
    ours.dropped(drops.pop())
    assert len(said(ours, RemoveBorrowers)) == 1


def test_who_was_not_registered_has_nothing_to_take_back(ours: References) -> None:
    ref = ours.received(their_object(), registered=False)
    del ref
    ours.dropped(drops.pop())
    assert said(ours, RemoveBorrowers) == []


@pytest.mark.parametrize("state", [PENDING, INLINE, STORE])
def test_what_was_borrowed_fails_with_the_session_and_nobody_is_told(ours: References, state: int) -> None:
    ref = ours.received(their_object(), registered=True)
    ref._state = state
    ours.end_of_session()
    assert (ref._state, ref._data) == (ERROR, b"session_over")
    assert ref._x is None, "its destructor leaves a note for the next session"
    assert not ours.borrowed
    assert said(ours, RemoveBorrowers) == []
