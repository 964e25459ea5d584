"""Which objects are known elsewhere: borrowers of ours, and what we borrow. Pure: no IO, no clock.

Rules (the counting itself is CPython's, see refs.py):

- An object of ours that leaves this process inside a message is `exported`: kept by id, so that it can be found, and by
  borrower, so that it lives. A borrower's count is signed: a removal may overtake the result that announces the
  borrower.
- A reference that came inside the arguments of a task is covered by that task: its submitter holds it. What is still
  held when the task ends is registered first: with the result itself if the submitter is the owner, else by
  `AddBorrowers`, whose `Ack` the result waits for.
- A reference that came inside another object is covered by that object's owner; we register at once, and hold the
  containing object until the owner acknowledges.
- A reference inside a result is registered for the receiver before the result leaves; one of a third process as a
  handover, until the receiver says that it has come (see handovers.py).
- Who dies loses all its registrations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from ..protocol.common import Address
from ..protocol.core_messages import AddBorrowers, GetObjects, ObjectState, ObjectStates, RefInfo, RemoveBorrowers
from .borrowed import Borrowed
from .commands import Connect, Reply, Send
from .handovers import Handovers
from .refs import ERROR, FREED, INLINE, PENDING, STORE, Extra, ObjectRef, ref_from_id

__all__ = ["Exported", "References"]


class Exported(msgspec.Struct, eq=False):
    """An object of ours that others know."""

    ref: ObjectRef
    borrowers: dict[bytes, int]
    transit: int = 0  # tasks and values on their way that carry it


class References:
    """Exported and borrowed objects of one process."""

    def __init__(self, address: Address, out: list[Any]) -> None:
        self.address = address
        self.out = out
        self.exported: dict[bytes, Exported] = {}
        self.borrowed = Borrowed()
        self.findable: WeakValueDictionary[bytes, ObjectRef] = WeakValueDictionary()  # what others may find by id alone
        self.pinned_forever: list[ObjectRef] = []  # pickled by the user, out of our sight
        self.subscribers: dict[bytes, set[bytes]] = {}  # object id → peers that asked for its state
        self.acks: dict[int, tuple[bytes, Callable[[], None]]] = {}  # who is to acknowledge, and what waits for it
        self._next_ack = 1
        self.dead: set[bytes] = set()
        self.handovers = Handovers(self)
        self.met: set[bytes] = set()  # owners that we know of, and whose death we are told
        self.meet: Callable[[bytes], None] = lambda worker_id: None  # it may be dead already: have the GCS say so
        self.error_of: Callable[[str, ObjectRef], bytes] = lambda kind, ref: b""
        self.error_told: Callable[[Any], Any] = lambda error: None  # to another process, which asked
        self.pack: Callable[[ObjectRef], bytes] = lambda ref: ref._data

    # -- as owner ---------------------------------------------------------------------------------------------------

    def export(self, ref: ObjectRef) -> Exported:
        """Make an object of ours findable by id."""
        object_id = ref.binary()
        known = self.exported.get(object_id)
        if known is None:
            known = self.exported[object_id] = Exported(ref, {})
        return known

    def find(self, object_id: bytes) -> ObjectRef | None:
        """An object of ours that others know: as borrowers, or as a large argument of a task, which only names it."""
        known = self.exported.get(object_id)
        return known.ref if known is not None else self.findable.get(object_id)

    def add_borrower(self, object_id: bytes, borrower: bytes) -> bool:
        """A process holds an object of ours; False if we do not know the object any more."""
        known = self.exported.get(object_id)
        if known is None:
            ref = self.findable.get(object_id)
            if ref is None:
                return False
            if borrower in self.dead:
                return True  # exported for nobody, it would stay for ever
            known = self.export(ref)
        if borrower in self.dead:
            return True
        count = known.borrowers.get(borrower, 0) + 1
        if count:
            known.borrowers[borrower] = count
        else:
            del known.borrowers[borrower]
            self._check(object_id, known)
        return True

    def remove_borrower(self, object_id: bytes, borrower: bytes) -> None:
        """A process dropped its last reference to an object of ours."""
        known = self.exported.get(object_id)
        if known is None or borrower in self.dead:  # its death said so already
            return
        count = known.borrowers.get(borrower, 0) - 1
        if count:
            known.borrowers[borrower] = count
        else:
            del known.borrowers[borrower]
        self._check(object_id, known)

    def in_transit(self, ref: ObjectRef, change: int) -> None:
        """A task or value that carries a reference of ours leaves (+1), or has ended (-1)."""
        if ref._w != self.address.worker_id:
            return
        known = self.export(ref)
        known.transit += change
        if change < 0:
            self._check(ref.binary(), known)

    def _check(self, object_id: bytes, known: Exported) -> None:
        if known.transit == 0 and not known.borrowers and object_id not in self.subscribers:
            del self.exported[object_id]  # if nobody here holds the reference either, its destructor runs now

    def process_died(self, worker_id: bytes) -> list[ObjectRef]:
        """Forget a borrower; returns the references that died with their owner."""
        self.dead.add(worker_id)
        self.met.discard(worker_id)
        self.handovers.process_died(worker_id)
        for ack, (owner, _) in list(self.acks.items()):
            if owner == worker_id:
                self.acknowledged(ack)  # it will never say so, and nothing of its is left to hold
        for object_id, known in list(self.exported.items()):
            if known.borrowers.pop(worker_id, None) is not None:
                self._check(object_id, known)
        for object_id, peers in list(self.subscribers.items()):
            peers.discard(worker_id)
            if not peers:
                del self.subscribers[object_id]
                if (gone := self.exported.get(object_id)) is not None:
                    self._check(object_id, gone)
        return [ref for ref in self.borrowed.values() if ref._w == worker_id]

    # -- questions of borrowers -------------------------------------------------------------------------------------

    def asked(self, peer: bytes, object_ids: list[bytes]) -> list[ObjectState]:
        """A borrower asks for the state of objects: answers for those ready; the others answer when they are."""
        states = []
        for object_id in object_ids:
            ref = self.find(object_id)
            if ref is None:
                states.append(ObjectState(object_id, 1))
            elif ref._state == PENDING:
                self.export(ref)
                waiting = self.subscribers.setdefault(object_id, set())
                if not waiting:
                    if ref._wait is None:
                        ref._wait = []
                    ref._wait.append(self._tell_subscribers)
                waiting.add(peer)
            else:
                states.append(self.state_of(ref))
        return states

    def _tell_subscribers(self, ref: ObjectRef) -> None:
        object_id = ref.binary()
        peers = self.subscribers.pop(object_id, set())
        state = self.state_of(ref)
        for peer in peers:
            self.out.append(Reply(peer, ObjectStates([state])))
        if (known := self.exported.get(object_id)) is not None:
            self._check(object_id, known)

    def state_of(self, ref: ObjectRef) -> ObjectState:
        """The state of a ready object as others are told it."""
        object_id = ref.binary()
        if ref._state == STORE:
            extra = ref._x
            assert extra is not None
            return ObjectState(object_id, 0, b"", extra.nodes, extra.size)
        if ref._state == ERROR:
            self.error_told(ref._data)
            return ObjectState(object_id, 0, self.pickled_error(ref), flags=1)
        if ref._state == FREED:
            return ObjectState(object_id, 1)
        return ObjectState(object_id, 0, self.pack(ref))

    def pickled_error(self, ref: ObjectRef) -> bytes:
        """The error of a failed object, as bytes."""
        return ref._data if isinstance(ref._data, bytes) else self.error_of("error", ref)

    def freed_error(self, ref: ObjectRef) -> bytes:
        """What a task gets for an argument that was freed."""
        return self.error_of("freed", ref)

    # -- as borrower ------------------------------------------------------------------------------------------------

    def received(self, info: RefInfo, registered: bool, sender: bytes = b"") -> ObjectRef:
        """A reference that came in a message; ``registered``: the owner counts us already (perhaps twice).

        One of ours that ``sender`` registered for us counts as the sender's until it is here: if that dies before, so
        does what it said.
        """
        if info.owner.worker_id == self.address.worker_id:
            known = self.exported.get(info.object_id)
            found = known.ref if known is not None else self.findable.get(info.object_id)
            if found is not None:
                ref = found
                if registered:
                    self.remove_borrower(info.object_id, sender)
                return ref
            ref = ref_from_id(info.object_id, self.address)
            ref._state, ref._x = FREED, None
            return ref
        here = self.borrowed.get(info.object_id)
        if here is None:
            ref = ref_from_id(info.object_id, info.owner)
            assert ref._x is not None
            ref._x.registered = registered
            here = self.borrowed.add(ref)
            if here is ref:
                self._introduced(ref, info.owner)
                if registered:
                    self.handovers.arrived(info.object_id, sender, info.owner, kept=True)
                return ref
        assert here._x is not None
        if registered:
            self.handovers.arrived(info.object_id, sender, info.owner, kept=not here._x.registered)
        here._x.registered = here._x.registered or registered
        return here

    def _introduced(self, ref: ObjectRef, owner: Address) -> None:
        """One that we did not have: see that we hear of its owner, and can ask it."""
        self.out.append(Connect(owner))
        if owner.worker_id not in self.met:
            self.met.add(owner.worker_id)
            self.meet(owner.worker_id)
        if owner.worker_id in self.dead:
            ref._data, ref._state = self.error_of("owner_died", ref), ERROR

    def register(self, refs: list[ObjectRef], borrower: Address, then: Callable[[], None] | None) -> int:
        """Tell owners that ``borrower`` holds these; ``then`` runs when each has acknowledged.

        Returns how many to wait for.
        """
        by_owner: dict[bytes, list[ObjectRef]] = {}
        for ref in refs:
            if ref._w not in self.dead:
                by_owner.setdefault(ref._w, []).append(ref)
        left = len(by_owner)

        def acknowledged() -> None:
            nonlocal left
            left -= 1
            if left == 0 and then is not None:
                then()

        for owner, group in by_owner.items():
            ack, self._next_ack = self._next_ack, self._next_ack + 1
            self.acks[ack] = owner, acknowledged
            for ref in group:
                if borrower.worker_id == self.address.worker_id and ref._x is not None:
                    ref._x.registered = True
            self.out.append(Send(owner, AddBorrowers([ref.binary() for ref in group], borrower, ack)))
        return left

    def acknowledged(self, ack: int) -> None:
        """An owner answered."""
        waiting = self.acks.pop(ack, None)
        if waiting is not None:
            waiting[1]()

    def ask(self, ref: ObjectRef) -> None:
        """Ask the owner for the state of a borrowed object, once."""
        extra = ref._x
        if extra is None or extra.asked or extra.owner is None:
            return
        extra.asked = True
        self.out.append(Connect(extra.owner))
        self.out.append(Send(ref._w, GetObjects([ref.binary()])))

    def answered(self, state: ObjectState) -> ObjectRef | None:
        """The owner told the state of an object we borrow; returns it if it became ready."""
        ref = self.borrowed.get(state.object_id)
        if ref is None or ref._state != PENDING:
            return None
        extra = ref._x
        assert extra is not None
        if state.status == 0:
            if state.size and not state.data:
                extra.nodes, extra.size = state.nodes, state.size
                ref._state = STORE
            else:
                ref._data, ref._state = state.data, ERROR if state.flags & 1 else INLINE
        elif state.status == 1:
            ref._data, ref._state = self.error_of("freed", ref), ERROR
        else:
            ref._data, ref._state = self.error_of("lost", ref), ERROR
        return ref

    def end_of_session(self) -> None:
        """What we borrowed is out of reach: its owners, and the memory that its places mean, are of this session."""
        for ref in self.borrowed.values():
            ref._x = None  # as a reference of ours that outlived its session, and nothing is told to anybody about it
            if ref._state != ERROR:
                ref._data, ref._state = self.error_of("session_over", ref), ERROR
        self.borrowed.clear()

    def dropped(self, extra: Extra) -> None:
        """A reference to a borrowed object is gone here. If it came again in the meantime, that was registered anew."""
        assert extra.owner is not None
        self.borrowed.forget(extra)
        if extra.registered and extra.worker_id not in self.dead:
            self.out.append(Send(extra.worker_id, RemoveBorrowers([extra.object_id()], self.address.worker_id)))
