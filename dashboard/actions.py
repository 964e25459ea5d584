"""What can be done to a cluster from a page: each action first says what it would hit, and then does it.

Strategy: an action is its arguments, as a struct, and a function that looks at the cluster and makes a `Plan`: a
sentence for whoever is asked, and what to do if he says yes. What is confirmed and what is done come of one function.
The REST API and the notebook's widget carry out the same plans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec

from himalia.util.state._source import ROWS, Source

from ..cluster.gcs.client import GcsClient, GcsUnreachableError
from ..cluster.protocol.common import RESOURCE_UNIT, Address, NodeInfo
from ..cluster.protocol.control_messages import CancelOwned, ControlDone, EndJob
from ..cluster.protocol.gcs_messages import KillActor, RemoveNode
from ..cluster.protocol.group_messages import RemoveGroup
from ..cluster.protocol.ids import TASK_ID_SIZE, task_counter, task_owner
from ..cluster.telemetry.records import TaskRecord, TaskTable

__all__ = ["ACTIONS", "Action", "ActionRefusedError", "NothingThereError", "Plan"]

_TIMEOUT: Final = 10.0
_MOST_CPUS: Final = 10_000  # more are a slip of the finger
_NAMED: Final = 5  # of what is hit, in the sentence


class ActionRefusedError(ValueError):
    """It can not be done as things are; the text says why."""


class NothingThereError(LookupError):
    """There is no such task, actor, node or job."""


class Plan(msgspec.Struct):
    """What an action comes to.

    Attributes
    ----------
    text
        What it will hit, for people.
    hits
        Ids of it.
    carry_out
        Does it; what became of it, for people.
    """

    text: str
    hits: list[str]
    carry_out: Callable[[], str]


class CancelTask(msgspec.Struct):
    """Cancel a task that has not ended. ``force`` ends the worker that runs it, ``recursive`` cancels its children."""

    task_id: str
    force: bool = False
    recursive: bool = True


class EndActor(msgspec.Struct):
    """End an actor at once. Unless ``no_restart``, it begins anew if it has restarts left."""

    actor_id: str
    no_restart: bool = True


class DrainNode(msgspec.Struct):
    """Have a node leave when its tasks have ended."""

    node_id: str


class Scale(msgspec.Struct):
    """Have a node run so many tasks of one CPU at a time. ``node_id`` may be left out where there is one node."""

    cpus: int
    node_id: str = ""


class StopJob(msgspec.Struct):
    """End a job: its tasks, its actors, and its driver's session. The driver's process goes on."""

    job_id: str


class EndGroup(msgspec.Struct):
    """Give back what a placement group reserves. Its actors are ended, and tasks in it fail."""

    group_id: str


class Action(msgspec.Struct, frozen=True):
    """One thing that can be done."""

    name: str
    about: str
    arguments: type[msgspec.Struct]
    plan: Callable[[Source, Any], Plan]


# -- tasks ----------------------------------------------------------------------------------------------------------


def _plan_cancel(source: Source, wanted: CancelTask) -> Plan:
    task_id = _id(wanted.task_id, "task", TASK_ID_SIZE)
    table = source.records()
    tries = [record for record in table if record.task_id == task_id]
    if not tries:
        raise NothingThereError(f"there is no task {wanted.task_id}, or it is too new or too old to be known")
    record = tries[-1]
    if record.is_over:
        raise ActionRefusedError(f"{record.name} has ended already ({record.state.name})")
    owner = _process(source, task_owner(task_id), "the process that submitted it")
    children = _descendants(table, task_id) if wanted.recursive else []
    text = f"{record.name} ({record.state.name}{f', worker pid {record.pid}' if record.pid else ''}) is cancelled"
    if children:
        text += f", and {_counted(children, 'task')} that it submitted"
    if wanted.force:
        text += ". The process that runs it is ended, with whatever else that process holds"

    def carry_out() -> str:
        done = _tell_core(source, owner, CancelOwned([task_counter(task_id)], wanted.force, wanted.recursive))
        return f"{record.name} is being cancelled." if done else f"{record.name} had ended before."

    return Plan(f"{text}.", [wanted.task_id, *(child.task_id.hex() for child in children)], carry_out)


def _descendants(table: TaskTable, task_id: bytes) -> list[TaskRecord]:
    """Those that have not ended, of what a task and its children submitted."""
    by_parent: dict[bytes, list[TaskRecord]] = {}
    for record in table:
        if not record.is_over and (parent := table.parent_of(record)):
            by_parent.setdefault(parent, []).append(record)
    found: list[TaskRecord] = []
    left = [task_id]
    while left:
        for child in by_parent.pop(left.pop(), ()):
            found.append(child)
            left.append(child.task_id)
    return found


# -- actors, nodes, jobs --------------------------------------------------------------------------------------------


def _plan_kill(source: Source, wanted: EndActor) -> Plan:
    actor_id = _id(wanted.actor_id, "actor", TASK_ID_SIZE)
    row = next((row for row in source.ask("actors") if row["actor_id"] == actor_id), None)
    if row is None:
        raise NothingThereError(f"there is no actor {wanted.actor_id}")
    if row["state"] == "DEAD":
        raise ActionRefusedError(f"{row['class_name']} is dead already")
    name = f" {row['name']!r}" if row["name"] else ""
    left = row["max_restarts"] == -1 or row["restarts"] < row["max_restarts"]
    begins = not wanted.no_restart and left
    text = f"Actor {row['class_name']}{name} ({row['state']}) is ended at once, in the middle of what it does. "
    text += "It begins anew, without its state" if begins else "It does not begin anew"
    text += "; calls that it has not answered fail, unless they may be tried again." if begins else "; its calls fail."

    def carry_out() -> str:
        source.call(KillActor(actor_id, wanted.no_restart))
        return f"Actor {row['class_name']}{name} was ended."

    return Plan(text, [wanted.actor_id], carry_out)


def _plan_drain(source: Source, wanted: DrainNode) -> Plan:
    node = _living_node(source, wanted.node_id)
    if node.is_head:
        raise ActionRefusedError("this is the head node, which the cluster ends with: stop the cluster instead")
    workers = [row for row in source.ask("workers") if row["node_id"] == node.node_id and row["is_alive"]]
    actors = [row for row in source.ask("actors") if row["node_id"] == node.node_id and row["state"] == "ALIVE"]
    text = f"Node {node.host} takes no new tasks and leaves when those that run have ended. "
    text += f"It has {len(workers)} processes"
    if actors:
        text += f" and {len(actors)} actors ({_names(row['class_name'] for row in actors)}), which end with it"
    text += ". Objects that only it has are made again where they are needed."

    def carry_out() -> str:
        source.call(RemoveNode(node.node_id, graceful=True))
        return f"Node {node.host} leaves when its tasks have ended."

    return Plan(text, [node.node_id.hex(), *(row["actor_id"].hex() for row in actors)], carry_out)


def _plan_scale(source: Source, wanted: Scale) -> Plan:
    if not 1 <= wanted.cpus <= _MOST_CPUS:
        raise ActionRefusedError(f"a node has 1 to {_MOST_CPUS} CPUs, not {wanted.cpus}")
    node = _living_node(source, wanted.node_id)
    row = next(row for row in source.nodes() if row["node_id"] == node.node_id)
    before = row["total"].get("CPU", 0) / RESOURCE_UNIT
    held = before - row["available"].get("CPU", 0) / RESOURCE_UNIT
    text = f"Node {node.host} has {wanted.cpus} CPUs from now on, instead of {before:g}."
    if held > wanted.cpus:
        text += (
            f" What runs holds {held:g}: it goes on, and nothing new starts until it holds fewer than {wanted.cpus}."
        )

    def carry_out() -> str:
        with GcsClient(source.where) as client:
            client.set_capacity(node.raylet, wanted.cpus)
            # An answer to what was asked after it: it is done by then.
            client.store_stats(node.raylet, detail=False, timeout=_TIMEOUT)
        return f"Node {node.host} has {wanted.cpus} CPUs."

    return Plan(text, [node.node_id.hex()], carry_out)


def _plan_stop(source: Source, wanted: StopJob) -> Plan:
    job_id = _id(wanted.job_id, "job", 0)
    job = next((row for row in source.ask("jobs") if row["job_id"] == job_id), None)
    if job is None:
        raise NothingThereError(f"there is no job {wanted.job_id}")
    if job["state"] != "RUNNING":
        raise ActionRefusedError(f"job {wanted.job_id} has ended already ({job['state']})")
    driver = msgspec.convert(job["driver"], Address)
    actors = [
        row
        for row in source.ask("actors")
        if row["job_id"] == job_id and row["state"] != "DEAD" and not row["detached"]
    ]
    tasks = [record for record in source.records() if record.job_id == job_id and not record.is_over]
    named = f" ({_names(row['class_name'] for row in actors)})" if actors else ""
    text = f"Job {wanted.job_id} ({job['entrypoint']}, pid {job['pid']}) ends: {_counted(tasks, 'task')} that have not "
    text += f"ended, and {len(actors)} actors{named}. "
    text += "Its process goes on, and is told so by whatever it asks next."

    def carry_out() -> str:
        done = _tell_core(source, driver, EndJob("it was stopped from the dashboard"))
        return f"Job {wanted.job_id} was stopped." if done else f"Job {wanted.job_id} had ended before."

    return Plan(text, [wanted.job_id, *(row["actor_id"].hex() for row in actors)], carry_out)


def _plan_remove(source: Source, wanted: EndGroup) -> Plan:
    group_id = _id(wanted.group_id, "placement group", 0)
    group = next((row for row in source.ask("placement_groups") if row["group_id"] == group_id), None)
    if group is None:
        raise NothingThereError(f"there is no placement group {wanted.group_id}")
    if group["state"] == "REMOVED":
        raise ActionRefusedError("it has been removed already")
    name = f" {group['name']!r}" if group["name"] else ""
    known = [actor.asdict() for actor in ROWS["actors"][1](source)]
    actors = [row for row in known if row["placement_group_id"] == wanted.group_id and row["state"] != "DEAD"]
    text = (
        f"Placement group{name} ({group['state']}, {len(group['bundles'])} bundles) is removed, and what it reserves "
    )
    text += "is free for others. Tasks in it fail, also those that wait"
    if actors:
        text += f", and {len(actors)} actors are ended ({_names(actor['class_name'] for actor in actors)})"

    def carry_out() -> str:
        source.call(RemoveGroup(group_id))
        return f"Placement group{name} was removed."

    return Plan(f"{text}.", [wanted.group_id, *(actor["actor_id"] for actor in actors)], carry_out)


# -- who and what ---------------------------------------------------------------------------------------------------


def _id(text: str, what: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if not value or (size and len(value) != size):
        raise NothingThereError(f"{text!r} is no id of a {what}")
    return value


def _living_node(source: Source, wanted: str) -> NodeInfo:
    living = [node for node in msgspec.convert(source.nodes(), list[NodeInfo]) if node.alive]
    if wanted:
        living = [node for node in living if node.node_id.hex() == wanted]
        if not living:
            raise NothingThereError(f"there is no living node {wanted}")
    if len(living) != 1:
        raise ActionRefusedError(f"the cluster has {len(living)} nodes: say which by its node_id")
    return living[0]


def _process(source: Source, worker_id: bytes, what: str) -> Address:
    for row in source.ask("workers"):
        if row["worker_id"] == worker_id and row["is_alive"] and row.get("address") is not None:
            return msgspec.convert(row["address"], Address)
    raise ActionRefusedError(f"{what} ({worker_id.hex()}) is gone")


def _tell_core(source: Source, core: Address, message: CancelOwned | EndJob) -> int:
    """How much was done."""
    with GcsClient(source.where) as client:
        for answer in client.answers([client.post(core, message, is_raylet=False)], _TIMEOUT):
            if isinstance(answer, ControlDone):
                return answer.count
    raise GcsUnreachableError(
        f"process {core.worker_id.hex()} did not answer within {_TIMEOUT:g} s: it is in the middle of something that "
        "does not let go of Python's lock, or has ended"
    )


def _counted(records: list[TaskRecord], what: str) -> str:
    if not records:
        return f"no {what}s"
    return f"{len(records)} {what}{'s' if len(records) > 1 else ''} ({_names(record.name for record in records)})"


def _names(names: Any) -> str:
    counts = Counter(names).most_common()
    text = ", ".join(f"{count} × {name}" if count > 1 else str(name) for name, count in counts[:_NAMED])
    return text + (", …" if len(counts) > _NAMED else "")


ACTIONS: Final[dict[str, Action]] = {
    action.name: action
    for action in (
        Action("cancel_task", "Cancel a task.", CancelTask, _plan_cancel),
        Action("kill_actor", "End an actor.", EndActor, _plan_kill),
        Action("drain_node", "Have a node leave after its tasks.", DrainNode, _plan_drain),
        Action("scale", "Change how many CPUs a node has.", Scale, _plan_scale),
        Action("stop_job", "End a job.", StopJob, _plan_stop),
        Action("remove_group", "Remove a placement group.", EndGroup, _plan_remove),
    )
}
