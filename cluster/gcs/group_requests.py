"""What cores and raylets ask and tell of placement groups: each message is checked here, and answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..protocol.common import Resources, from_units
from ..protocol.gcs_messages import Notice, SayHello
from ..protocol.group_messages import (
    CreateGroup,
    GetGroup,
    GroupInfo,
    GroupSpec,
    RemoveGroup,
    ReportBundles,
    WatchGroup,
)
from .bundle_placement import STRATEGIES
from .group_record import Group
from .nodes_machine import Node

if TYPE_CHECKING:
    from .machine import GcsMachine

__all__ = ["GroupRequests"]


class GroupRequests:
    """Part of `GcsMachine`."""

    def __init__(self, gcs: GcsMachine) -> None:
        self._gcs = gcs
        groups = gcs.groups
        groups.held_by_actors = self._held_by_actors
        groups.ended = lambda group: gcs.actors.group_removed(group.group_id, group.reason, gcs.now)
        groups.changed = self._changed
        groups.infeasible = self._warn_infeasible

    def handlers(self) -> dict[type, Callable[[bytes, Any], None]]:
        """By the type of message."""
        return {
            CreateGroup: self._create,
            RemoveGroup: self._remove,
            GetGroup: self._get,
            WatchGroup: lambda peer, message: self._gcs.groups.watch(message.group_id, peer),
            ReportBundles: self._report,
        }

    # -- requests ------------------------------------------------------------------------------------------------------

    def _create(self, peer: bytes, message: CreateGroup) -> None:
        gcs, spec = self._gcs, message.spec
        group = gcs.groups.by_id.get(message.group_id)
        if group is None:
            problem = self._problem(spec)
            if problem is not None:
                gcs.out.fail(peer, message.request, *problem)
                return
            maker = gcs.actors.by_worker.get(spec.creator.worker_id)
            actor_id = maker.actor_id if maker is not None and maker.outlives_job else b""
            group = gcs.groups.create(message.group_id, spec, actor_id, gcs.now)
            gcs.groups.watchers.setdefault(message.group_id, set()).add(peer)
            job = gcs.jobs.by_id.get(spec.job_id)
            if job is not None and job.info.ended is not None and not spec.detached and not actor_id:
                gcs.groups.remove(group, "its job has ended", gcs.now)
        gcs.out.answer(peer, message.request, group.info())
        gcs.try_waiting()

    def _problem(self, spec: GroupSpec) -> tuple[str, str] | None:
        """Why such a group cannot be made: a word and a text."""
        if spec.strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            return "bad_request", f"there is no strategy {spec.strategy!r} of placement groups: there are {known}"
        if not spec.bundles or not all(bundle and min(bundle.values()) > 0 for bundle in spec.bundles):
            return "bad_request", "a placement group has one bundle at least, and each asks for more than nothing"
        if spec.labels and len(spec.labels) != len(spec.bundles):
            return "bad_request", f"there are labels for {len(spec.labels)} bundles, and {len(spec.bundles)} bundles"
        if spec.name and self._gcs.groups.named(spec.name, spec.namespace) is not None:
            text = f"the name {spec.name!r} is taken in namespace {spec.namespace!r} by another placement group"
            return "name_taken", text
        return None

    def _remove(self, peer: bytes, message: RemoveGroup) -> None:
        gcs = self._gcs
        group = gcs.groups.by_id.get(message.group_id)
        was_there = group is not None and not group.is_removed
        if group is not None:
            gcs.groups.remove(group, "remove_placement_group was called", gcs.now)
        gcs.out.answer(peer, message.request, was_there)
        gcs.try_waiting()

    def _get(self, peer: bytes, message: GetGroup) -> None:
        groups = self._gcs.groups
        group = (
            groups.by_id.get(message.group_id) if message.group_id else groups.named(message.name, message.namespace)
        )
        if group is None:
            wanted = message.group_id.hex() or f"{message.name!r} in namespace {message.namespace!r}"
            text = f"there is no placement group {wanted}: it was not created, or it was removed"
            self._gcs.out.fail(peer, message.request, "not_found", text)
            return
        self._gcs.out.answer(peer, message.request, group.info())

    def _report(self, peer: bytes, message: ReportBundles) -> None:
        gcs = self._gcs
        node = gcs.nodes.by_peer.get(peer)
        if node is None:
            gcs.out.send(peer, SayHello())
            return
        gcs.nodes.heard(node, gcs.now)
        gcs.groups.report(node, message, gcs.now)
        gcs.try_waiting()

    # -- what the parts of the machine are to each other --------------------------------------------------------------

    def _held_by_actors(self, node: Node) -> Resources:
        held: Resources = {}
        for actor_id in node.promises:
            for name, units in self._gcs.actors.by_id[actor_id].taken().items():
                held[name] = held.get(name, 0) + units
        return held

    def _changed(self, group: Group, before: GroupInfo) -> None:
        if group.public_state != before.state:
            self._gcs.log.group_changed(group, before.state)

    def _warn_infeasible(self, group: Group, why: str) -> None:
        gcs = self._gcs
        name = f" {group.spec.name!r}" if group.spec.name else ""
        text = (
            f"Placement group{name} ({group.spec.strategy}, bundles {[from_units(b) for b in group.spec.bundles[:8]]}"
            f"{' …' if len(group.spec.bundles) > 8 else ''}) can never be placed on this cluster as it is: {why}."
            " It stays pending until nodes join that can; ask for less, or add nodes."
        )
        gcs.out.log("warning", text)
        gcs.log.group_infeasible(group, text)
        job = gcs.jobs.by_id.get(group.spec.job_id)
        driver = gcs.processes.by_worker.get(job.info.driver.worker_id) if job is not None else None
        if driver is not None:
            gcs.out.send(driver.peer, Notice("infeasible", text))
