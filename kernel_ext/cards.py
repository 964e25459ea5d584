"""What a notebook shows of references, actors and clusters, kept up to date until there is nothing more to say.

Strategy: a card is plain HTML in a display of its own, which is replaced when what it says has changed. So it needs no
widget, works in every front end, and a saved notebook has its last state, readable without a kernel. The core's tick
(twice a second) looks; it takes a few milliseconds at most and goes on with the rest at the next one. The buttons are
put into the page by one invisible widget, where there is one (see buttons.py); a saved notebook has none.

Rejected: a widget for each card, with the HTML beside it. JupyterLab falls back to that only in a notebook that it does
not trust; to who wrote it, and opens it again without its kernel, it shows "Error displaying widget: model not found".

A card holds what it shows weakly: showing a reference must not keep its value alive.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..cluster.core.progress.model import duration
from ..cluster.protocol.common import from_units
from ..cluster.protocol.gcs_messages import ListState
from .asking import Rhythm
from .buttons import Buttons, place_of_buttons
from .group_card import GroupSubject, ask_for_group
from .html import IDLE
from .own_tasks import in_leader
from .reprs import Shown, actor_shown, ask_for_actor, describe_ref
from .status import describe_cluster

if TYPE_CHECKING:
    from ..cluster.core.actor_class import ActorHandle
    from ..cluster.core.placement_groups import PlacementGroup
    from ..cluster.core.refs import ObjectRef
    from ..cluster.core.runtime import Core
    from .cells import CellTable, NotebookCell
    from .kernels import KernelFront

__all__ = ["LiveCards", "refresh_after"]

BUDGET: Final = 0.003
"""Seconds that one tick may spend on cards: the kernel's own work waits for it."""

MOST: Final = 100
"""Cards that are kept up to date. When there are more, the oldest stay as they are."""


AT_ONCE: Final = 10
"""Cards that one tick may draw. A card is about two kilobytes, so that all together send less than 100 KB a second."""


def refresh_after(age: float) -> float:
    """Seconds after which a card of that age is drawn again though only its age has changed."""
    if age < 60:
        return 1.0
    return 10.0 if age < 600 else 60.0


class Subject(Protocol):
    """What a card shows."""

    def describe(self, core: Core) -> Shown | None:
        """Its present state, in the leader; None: nothing of it is left here."""

    def act(self, core: Core, action: str) -> None:
        """Do what a button says."""


class RefSubject:
    """A reference, as long as somebody else holds it."""

    def __init__(self, ref: ObjectRef) -> None:
        self._ref = weakref.ref(ref)

    def describe(self, core: Core) -> Shown | None:
        """State, size, place and maker."""
        ref = self._ref()
        return describe_ref(ref) if ref is not None else None

    def act(self, core: Core, action: str) -> None:
        """Cancel its task, or free its value."""
        ref = self._ref()
        if ref is None:
            return
        if action == "cancel":
            core.cancel(ref, False, True)
        elif action == "release":
            core.free([ref])


class ActorSubject:
    """An actor, as long as there is a handle here."""

    def __init__(self, handle: ActorHandle, row: dict[str, Any] | None) -> None:
        self._handle = weakref.ref(handle)
        self._row = row

    def describe(self, core: Core) -> Shown | None:
        """What the GCS said when it was asked, and has told since."""
        handle = self._handle()
        if handle is None:
            return None
        client = core.actor_calls.client(handle._id, handle._class_name)
        core.actor_calls.watch(client)
        return actor_shown(handle, core, self._row, client)

    def act(self, core: Core, action: str) -> None:
        """End it."""
        handle = self._handle()
        if handle is not None and action == "kill":
            core.kill_actor(handle._id, True)


class ClusterSubject:
    """The cluster that this kernel is connected to. It asks for what is in use, and shows what it was told last."""

    def __init__(self, rows: list[dict[str, Any]], total: dict[str, float], free: dict[str, float]) -> None:
        self._told = rows, total, free
        self._rhythm = Rhythm(time.monotonic())

    def describe(self, core: Core) -> Shown | None:
        """Nodes, and what of their resources is in use."""
        if self._rhythm.is_due(time.monotonic()):
            core.gcs_request(ListState("nodes", 10_000), lambda rows: self._ask_resources(core, rows))
        return describe_cluster(*self._told)

    def _ask_resources(self, core: Core, rows: Any) -> None:
        core.gcs_request(ListState("resources", 1), lambda value: self._answered(rows, value))

    def _answered(self, rows: Any, value: Any) -> None:
        changed = False
        if not isinstance(rows, BaseException) and not isinstance(value, BaseException):
            total, free = from_units(value["total"]), from_units(value["available"])
            told = rows, total, {name: max(0.0, quantity) for name, quantity in free.items()}
            changed = told[1:] != self._told[1:] or len(rows) != len(self._told[0])
            self._told = told
        self._rhythm.answered(time.monotonic(), changed=changed)

    def act(self, core: Core, action: str) -> None:
        """There are no buttons."""


class Card:
    """One output of the notebook."""

    def __init__(self, subject: Subject, token: str, cell: NotebookCell | None) -> None:
        self.subject = subject
        self.token = token
        self.cell = cell
        self.shown: Shown | None = None  # as it was described last
        self.drawn = Shown("", "unknown", IDLE)  # as it was drawn last
        self.maker: list[tuple[str, str]] = []
        self.began = 0.0
        self.ended = 0.0
        self.due = 0.0
        self.sent = False

    def is_due(self, shown: Shown, now: float) -> bool:
        """Whether what it says is out of date."""
        return shown != self.shown or (shown.is_pending and now >= self.due)

    def bundle(self, shown: Shown, now: float) -> dict[str, str]:
        """What it says now."""
        rows = self._with_maker(shown)
        self.shown = shown
        if shown.is_pending:
            self.began, self.ended = min(self.began or now, shown.submitted or now), 0.0
            self.due = now + refresh_after(now - self.began)
            rows.append(("age", f"{duration(now - self.began)} at {_clock(now)}"))
        elif self.began:
            self.ended = self.ended or now
            rows.append(("took", f"about {duration(self.ended - self.began)}"))
        self.drawn = replace(shown, rows=rows)
        return self.drawn.bundle(place_of_buttons(self.token, shown.actions) if shown.actions else "")

    def _with_maker(self, shown: Shown) -> list[tuple[str, str]]:
        """Its rows, and of those that a task loses when it ends the ones that say what it was."""
        names = {name for name, _ in shown.rows}
        if shown.is_pending:
            self.maker = [row for row in shown.rows if row[0] in ("function", "cell")]
        known = {"function"} if "made by" in names else set()
        return shown.rows + [row for row in self.maker if row[0] not in names | known]

    def last_bundle(self, why: str) -> dict[str, str]:
        """What it says from now on."""
        shown = self.drawn
        rows = [*shown.rows, ("since then", why)]
        if not shown.changes:
            return replace(shown, rows=rows).bundle()
        return replace(shown, rows=rows, state=f"{shown.state}, when last seen", colour=IDLE).bundle()


def _clock(now: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(now))


class LiveCards:
    """All cards of a kernel."""

    def __init__(self, shell: Any, front: KernelFront, cells: CellTable) -> None:
        self._shell = shell
        self._front = front
        self._cells = cells
        self._cards: dict[str, Card] = {}  # by token: all whose subject may still change
        self._active: deque[Card] = deque()  # to be looked at; a card that says its last is not
        self._gone: deque[str] = deque()  # tokens whose reference or handle was dropped: a destructor only appends
        self._cluster: str | None = None
        self._drawn = 0  # displays and updates so far
        self._core: Core | None = None
        self.buttons = Buttons(self._pressed)
        self.others: dict[str, Callable[[], None]] = {}  # what else has a button, by its token

    # -- showing: in the user's thread --------------------------------------------------------------------------------

    def show_ref(self, ref: ObjectRef) -> None:
        """Show a reference from now on."""
        self._show(ref, RefSubject(ref))

    def show_actor(self, handle: ActorHandle) -> None:
        """Show an actor from now on."""
        core = self._core
        row = ask_for_actor(core, handle._id) if core is not None and core.fatal is None else None
        self._show(handle, ActorSubject(handle, row))

    def show_group(self, group: PlacementGroup) -> None:
        """Show a placement group from now on."""
        core = self._core
        row = ask_for_group(core, group) if core is not None and core.fatal is None else None
        self._show(group, GroupSubject(group, row))

    def show_cluster(self) -> None:
        """Show the cluster from now on; what showed it before stays as it is.

        Raises
        ------
        NotImplementedError
            It can not be live here.
        """
        core = self._core
        if core is None or core.fatal is not None:
            raise NotImplementedError
        subject = ClusterSubject(core.cluster_state("nodes"), *core.resources())
        if self._cluster is not None:
            self._freeze(self._cluster, "shown again further down")
        self._cluster = self._show(None, subject)

    def _show(self, thing: Any, subject: Subject) -> str:
        """Display a card.

        Raises
        ------
        NotImplementedError
            It can not be live here: IPython shows it as it shows anything else.
        """
        core = self._core
        if core is None or core.fatal is not None or hasattr(self._shell.display_pub, "outputs"):
            raise NotImplementedError
        card = Card(subject, self.buttons.token(), self._cells.current())
        try:
            shown = in_leader(core, lambda: subject.describe(core))
        except TimeoutError:
            raise NotImplementedError from None
        self._send(card, card.bundle(shown, time.time()))
        self._cards[card.token] = card
        if thing is not None:
            weakref.finalize(thing, self._gone.append, card.token).atexit = False
        self._active.append(card)
        if shown.actions:
            self.buttons.open()
        while len(self._cards) > MOST:
            self._freeze(next(iter(self._cards)), "not followed any more: many others are shown")
        return card.token

    def _send(self, card: Card, bundle: dict[str, str]) -> None:
        self._front.display(card.cell, bundle, {}, f"himalia-card-{card.token}", update=card.sent)
        card.sent = True
        self._drawn += 1

    def _freeze(self, token: str, why: str) -> None:
        card = self._cards.pop(token, None)
        if card is not None:
            self._send(card, card.last_bundle(why))

    # -- keeping up to date: in the leader ----------------------------------------------------------------------------

    def attach(self, core: Core) -> None:
        """Follow a core, until it closes."""
        self._core = core
        core.tick_hooks.append(self._tick)
        core.close_hooks.append(self._session_ends)

    def detach(self) -> None:
        """Follow no core any more: what is shown stays."""
        core, self._core, self._cluster = self._core, None, None
        self._cards.clear()
        self._active.clear()
        self.others.clear()
        if core is not None and self._tick in core.tick_hooks:
            core.tick_hooks.remove(self._tick)
            core.close_hooks.remove(self._session_ends)

    def _session_ends(self) -> None:
        for token in list(self._cards):
            self._freeze(token, "the session has ended")
        self.detach()

    def _tick(self, now: float) -> None:
        if not self._active and not self._gone:
            return
        core = self._core
        if core is None:
            return
        until = time.monotonic() + BUDGET  # not from `now`: other hooks may have taken their time
        while self._gone:
            self._freeze(self._gone.popleft(), "nothing in this kernel refers to it any more")
        before = self._drawn
        for _ in range(len(self._active)):
            card = self._active.popleft()
            if card.token in self._cards and self._refresh(core, card):
                self._active.append(card)
            if time.monotonic() > until or self._drawn - before >= AT_ONCE:
                return  # the others have their turn at the next tick

    def _refresh(self, core: Core, card: Card) -> bool:
        """Draw a card again if need be; whether it can still change by itself."""
        shown = card.subject.describe(core)
        if shown is None:
            return False  # its end is among `_gone`
        now = time.time()
        if card.is_due(shown, now):
            self._send(card, card.bundle(shown, now))
        return shown.changes

    # -- buttons: in the thread that takes the page's messages --------------------------------------------------------

    def _pressed(self, token: str, action: str) -> None:
        other = self.others.get(token)
        if other is not None:
            other()
            return
        card, core = self._cards.get(token), self._core
        if card is None or core is None or card.shown is None or action not in card.shown.actions:
            return
        card.subject.act(core, action)
        if card not in self._active:
            self._active.append(card)
