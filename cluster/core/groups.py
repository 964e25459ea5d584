"""What a core knows of placement groups: it makes them, watches those it uses, and says what runs in which.

Strategy: a group is watched from when it is first asked about, and its last news are kept: so waiting for it asks
nobody, and a GCS that was restarted tells on. Which group a task runs in travels in the options of its template, and an
actor's in its specification, so a task that is in none pays nothing. What runs in a group passes it on to what it
submits, if it was told to (``capture``): then that is not looked up for each task but once for each plan, since cells
of different templates are different objects and plans are made for cells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..protocol.common import Resources, from_units, to_units
from ..protocol.constraints import fits, in_group, membership
from ..protocol.core_messages import Task, Template
from ..protocol.errors import TaskPlacementGroupRemoved
from ..protocol.group_messages import CreateGroup, GetGroup, GroupInfo, GroupSpec, RemoveGroup, WatchGroup
from ..protocol.ids import make_task_id
from ..serialization.values import serialize
from .commands import Send
from .failures import pickle_error
from .records import Plan, Record
from .refs import ERROR, INLINE, ObjectRef
from .requests import RequestFailed
from .sites import call_site
from .strategies import PlacementGroupSchedulingStrategy, encode_strategy
from .tasks import task_var

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["GROUP", "GroupDesk", "Member", "choose_strategy", "current_member"]

GROUP = "group"
"""Option of a template whose tasks run in a placement group: the strategy, and whether it passes to their children."""

_REMOVED_KEPT = 1_000  # of one before that the GCS is asked

Member = tuple[str, bool]
"""The strategy of what runs in a placement group, and whether what it submits does, too."""


class GroupDesk:
    """The placement groups of one process. Made when it first has to do with one."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[bytes, GroupInfo] = {}
        self._removed: dict[bytes, None] = {}  # of the known, in the order in which that was told
        self._waiters: dict[bytes, list[Callable[[GroupInfo | BaseException], None]]] = {}

    # -- news, in the leader -----------------------------------------------------------------------------------------

    def update(self, info: GroupInfo) -> None:
        """The GCS tells how a group is."""
        self._known[info.group_id] = info
        if info.state in ("CREATED", "REMOVED"):
            for waiter in self._waiters.pop(info.group_id, ()):
                waiter(info)
        if info.state == "REMOVED":
            self._removed[info.group_id] = None
            if len(self._removed) > _REMOVED_KEPT:
                oldest = next(iter(self._removed))
                del self._removed[oldest], self._known[oldest]

    def fail(self, error: BaseException) -> None:
        """The session or the cluster is over: nothing will be told any more."""
        waiters, self._waiters = self._waiters, {}
        for waiting in waiters.values():
            for waiter in waiting:
                waiter(error)

    def _watch(self, group_id: bytes) -> None:
        if group_id not in self._known:
            self._core.out.append(Send(self._core.gcs_id, WatchGroup(group_id)))

    # -- what users ask ----------------------------------------------------------------------------------------------

    def create(
        self, bundles: list[Resources], strategy: str, name: str, detached: bool, labels: list[dict[str, str]]
    ) -> bytes:
        """Make a group; its id.

        Raises
        ------
        ValueError
            The name is taken.
        """
        core = self._core
        group_id = make_task_id(core.worker_id, core.next_counter())
        cell, site = core.current_cell(), call_site()
        where = site.text() if site is not None else ""
        spec = GroupSpec(
            bundles, strategy, core.job_id, core.address, name, core.namespace, detached, labels, cell, where
        )
        try:
            answer = core.gcs_call(CreateGroup(group_id, spec))
        except RequestFailed as failure:
            raise ValueError(failure.text) from None
        info = msgspec.convert(answer, GroupInfo)
        core.post(lambda: self.update(info) if group_id not in self._known else None)
        return group_id

    def remove(self, group_id: bytes) -> None:
        """End a group."""
        self._core.gcs_call(RemoveGroup(group_id))

    def find(self, name: str = "", group_id: bytes = b"") -> GroupInfo:
        """A group by its name in this namespace, or by id.

        Raises
        ------
        ValueError
            There is none.
        """
        core = self._core
        try:
            return msgspec.convert(core.gcs_call(GetGroup(name, core.namespace, group_id)), GroupInfo)
        except RequestFailed as failure:
            raise ValueError(failure.text) from None

    def bundles(self, group_id: bytes) -> list[Resources]:
        """What its bundles ask for; of one removed long ago it is not known: none."""
        known = self._known.get(group_id)
        if known is None:
            try:
                known = self.find(group_id=group_id)
            except ValueError:
                return []
            self._core.post(lambda: self._watch(group_id))  # who runs something in it will ask again
        return known.bundles

    def wait(self, group_id: bytes, timeout: float) -> bool:
        """Wait until it is there; False if it is not after this many seconds, or was removed."""
        core = self._core
        core.post(lambda: self._watch(group_id))

        def is_over() -> bool:
            known = self._known.get(group_id)
            return known is not None and known.state in ("CREATED", "REMOVED")

        with core.blocking():
            core.wait_until(is_over, time.monotonic() + timeout)
        return is_over() and self._known[group_id].state == "CREATED"

    def ready(self, group_id: bytes, value: Any) -> ObjectRef:
        """A reference that has this value once the group is there, or an error when it was removed."""
        core = self._core
        counter = core.next_counter()
        plan = Plan(Template(0, "placement_group.ready", b""), "placement_group.ready", None)
        ref = ObjectRef(core.worker_id, counter)
        record = Record(Task(counter, 0), plan, ref)
        record.create = lambda: None  # nothing runs for it: it is neither queued nor can it be cancelled
        ref._data = record
        data = serialize(value, "a placement group").data

        def settle(state: int, found: bytes | BaseException) -> None:
            # Not as a task ends: that a group was removed is no failure that somebody has to be told of.
            ref._data, ref._state = found, state
            core.completion.ready(ref)

        def over(info: GroupInfo | BaseException) -> None:
            if isinstance(info, BaseException):
                settle(ERROR, info)
            elif info.state == "CREATED":
                settle(INLINE, data)
            else:
                text = f"Placement group {group_id.hex()} was removed: {info.reason}."
                settle(ERROR, pickle_error(TaskPlacementGroupRemoved(text)))

        def act() -> None:
            if core.fatal is not None:
                over(core.fatal)
                return
            known = self._known.get(group_id)
            if known is not None and known.state in ("CREATED", "REMOVED"):
                over(known)
            else:
                self._waiters.setdefault(group_id, []).append(over)
                self._watch(group_id)

        core.post(act)
        return ref


# -- what runs where -------------------------------------------------------------------------------------------------


def current_member(core: Any) -> Member | None:
    """The placement group that the calling code runs in."""
    actor = core.executor.actor if core.executor is not None else None
    if actor is not None:
        spec = actor.spec
        return (spec.strategy, spec.capture) if membership(spec.strategy) is not None else None
    job = task_var.get()
    found = job.loaded.template.options.get(GROUP) if job is not None else None
    return (str(found[0]), bool(found[1])) if found is not None else None


def choose_strategy(core: Any, options: Mapping[str, Any], need: Resources, held: Resources, what: str) -> Member:
    """The strategy of a task or actor, and whether what it submits is captured by its placement group.

    Parameters
    ----------
    options
        Of which ``scheduling_strategy`` is one.
    need, held
        What it is placed by, and what it holds while it runs.
    what
        Its name, for errors.

    Raises
    ------
    ValueError
        There is no such bundle, or none is large enough; or it asks for labels, which are the group's to ask for.
    """
    asked = options.get("scheduling_strategy")
    if asked is not None and not isinstance(asked, PlacementGroupSchedulingStrategy):
        return encode_strategy(asked), False
    current = current_member(core)
    is_captured = current is not None and current[1]
    capture = asked.placement_group_capture_child_tasks if asked is not None else None
    specs: list[dict[str, float]] | None = None
    if asked is None:
        if not is_captured:
            return "DEFAULT", False
        assert current is not None
        group_id, index = (membership(current[0]) or (b"", -1))[0], -1
    elif asked.placement_group is None or asked.placement_group.is_empty:
        return "DEFAULT", False
    else:
        group_id, index = asked.placement_group.id.binary(), asked.placement_group_bundle_index
        specs = asked.placement_group.bundle_cache
    if options.get("label_selector"):
        raise ValueError(
            f"{what} has a label_selector and runs in a placement group, whose bundles have their nodes: give "
            'bundle_label_selector to the group, or scheduling_strategy="DEFAULT" to run outside of it'
        )
    bundles = core.groups().bundles(group_id) if specs is None else [to_units(bundle) for bundle in specs]
    _check_fits(bundles, index, need, held, what)
    return in_group(group_id, index), is_captured if capture is None else bool(capture)


def _check_fits(bundles: list[Resources], index: int, need: Resources, held: Resources, what: str) -> None:
    if not bundles:
        return  # it was removed: the task fails and says so
    if index < -1 or index >= len(bundles):
        raise ValueError(
            f"placement_group_bundle_index of {what} is {index}, and the group has {len(bundles)} bundles: "
            f"give 0 to {len(bundles) - 1}, or -1 for any"
        )
    chosen = bundles if index < 0 else [bundles[index]]
    there = (
        f"its bundles are {[from_units(b) for b in bundles]}" if index < 0 else f"that is {from_units(bundles[index])}"
    )
    which = "any bundle of its placement group" if index < 0 else f"bundle {index} of its placement group"
    if not any(fits(held, bundle) for bundle in chosen):
        raise ValueError(f"{what} asks for {from_units(held)}, which does not fit into {which}: {there}")
    if not any(fits(need, bundle) for bundle in chosen):
        raise ValueError(
            f"{what} asks for {from_units(need)} to be placed (it holds {from_units(held)} while it runs), which does "
            f"not fit into {which}: {there}. Make a group with CPUs, or give the actor num_cpus=0"
        )
