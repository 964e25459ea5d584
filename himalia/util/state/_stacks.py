"""Stacks and CPU profiles of processes: asked of the raylets of their nodes, or of the processes themselves.

A profile of several processes is one question to each, all at a time; so it takes as long as one.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from himalia.cluster.core.actor_class import ActorHandle
from himalia.cluster.core.current import find_core
from himalia.cluster.core.generator import ObjectRefGenerator
from himalia.cluster.core.refs import ObjectRef
from himalia.cluster.gcs.client import GcsClient, Reachable
from himalia.cluster.protocol.common import Address, NodeInfo
from himalia.cluster.protocol.ids import OBJECT_ID_SIZE, TASK_ID_SIZE, WORKER_ID_SIZE
from himalia.cluster.protocol.stack_messages import (
    FilesNamed,
    Frame,
    ListProcesses,
    NameFiles,
    NodeProcess,
    Processes,
    Profile,
    StackAnswer,
    StackQuestion,
    Stacks,
    StackStop,
)
from himalia.cluster.telemetry.events import TaskState as Phase
from himalia.cluster.telemetry.profiles import merge_profiles, rename_files
from himalia.util.state._source import Source, open_source, reachable

__all__ = ["Profiling", "StackError", "get_stack", "profile"]

_PATIENCE: Final = 20.0
"""Seconds beyond those of a profile that its answer may take; more than the raylet gives py-spy."""
_SERVERS: Final = ("gcs", "host")
_START: Final = 3.0  # seconds that the first workers of a new cluster may take
_NAMES_WAIT: Final = 2.0  # seconds: a driver that is busy does not name its cells


class StackError(RuntimeError):
    """A process could not be looked at; the text says why, and what to do."""


class _Target(msgspec.Struct):
    """A process to look at. ``itself`` is None if it can not be asked itself."""

    name: str
    process: bytes
    raylet: Address
    itself: Address | None = None


def get_stack(of: Any, *, address: str | None = None, timeout: float = 30.0) -> Stacks:
    """Where the threads of a process are at this moment.

    Parameters
    ----------
    of
        A worker by its id or process id; a task that runs, by a reference to its result or its id; an actor, by its
        handle or id; a raylet by the id of its node; "gcs", "host".
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    timeout
        Seconds to wait for each answer.

    Raises
    ------
    ValueError
        ``of`` names no process that lives.
    StackError
        It could not be looked at.

    Examples
    --------
    >>> print(himalia.util.state.get_stack(ref))  # doctest: +SKIP
    """
    (found,), _ = get_stacks([of], address=address, timeout=timeout)
    return found


def get_stacks(
    things: Iterable[Any] | None, *, address: str | Reachable | None = None, timeout: float = 30.0
) -> tuple[list[Stacks], dict[str, str]]:
    """Those of several processes, or of all workers; and by name, why some could not be looked at."""
    with _Asking(address, timeout) as asking:
        answers = asking.ask(asking.targets(things), StackQuestion(b""), timeout)
        found = [answer.stacks for answer in answers.values() if answer.stacks is not None]
        threads = [thread for stacks in found for thread in stacks.threads]
        names = asking.cell_names([frame for thread in threads for frame in thread.frames])
        for thread in threads:
            thread.frames = rename_files(thread.frames, names)
        return found, asking.failed


def profile(
    of: Any = None,
    *,
    seconds: float = 5.0,
    rate: int = 100,
    idle: bool = False,
    address: str | None = None,
    timeout: float = 30.0,
) -> Profile:
    """What the threads of processes do for some seconds: which functions take their CPU time.

    Parameters
    ----------
    of
        What `get_stack` takes, or a list of such; None: all workers of the cluster.
    seconds
        How long to look; at most 600.
    rate
        Looks a second.
    idle
        Count threads that wait, too: where time goes, rather than CPU time.
    address, timeout
        As of `get_stack`; an answer is waited for ``timeout`` seconds longer than it takes.

    Raises
    ------
    ValueError
        ``of`` names no process that lives.
    StackError
        None of them could be looked at.
    """
    with Profiling(of, seconds=seconds, rate=rate, idle=idle, address=address, timeout=timeout) as running:
        return running.result()


class Profiling:
    """A profile that runs beside what one does; see `profile` for the parameters, of which ``seconds`` is the longest.

    Examples
    --------
    >>> with Profiling(seconds=60) as running:  # doctest: +SKIP
    ...     himalia.get(refs)
    ...     found = running.stop()
    """

    def __init__(
        self,
        of: Any = None,
        *,
        seconds: float = 600.0,
        rate: int = 100,
        idle: bool = False,
        address: str | Reachable | None = None,
        timeout: float = 30.0,
    ) -> None:
        if seconds <= 0:
            raise ValueError(f"a profile takes more than 0 seconds, not {seconds}")
        self._question = StackQuestion(b"", float(seconds), rate, idle)
        self._asking = _Asking(address, timeout)
        try:
            self._targets = self._asking.targets(
                of if isinstance(of, list | tuple) else [of] if of is not None else None
            )
            self._sent = self._asking.send(self._targets, self._question)
        except BaseException:
            self._asking.close()
            raise
        self._begun = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it without a result, if it runs."""
        self._asking.stop(self._sent)
        self._asking.close()

    def stop(self) -> Profile:
        """End it now; its result."""
        self._asking.stop(self._sent)
        return self.result()

    def result(self) -> Profile:
        """Wait until its time is over; the profile of all processes together. Once.

        Raises
        ------
        StackError
            None of them could be looked at.
        """
        left = max(0.0, self._begun + self._question.seconds - time.monotonic())
        answers = self._asking.receive(self._sent, self._question, left + max(self._asking.timeout, _PATIENCE))
        self._sent = {}
        found = merge_profiles(answer.profile for answer in answers.values() if answer.profile is not None)
        found.notes += [f"{name}: {text}" for name, text in self._asking.failed.items()]
        found.frames = rename_files(found.frames, self._asking.cell_names(found.frames))
        return found


class _Asking:
    """Questions to the processes of a cluster."""

    def __init__(self, address: str | Reachable | None, timeout: float) -> None:
        self._address = address
        self.timeout = timeout
        self.failed: dict[str, str] = {}
        self._client = GcsClient(reachable(address))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    # -- whom to ask --------------------------------------------------------------------------------------------------

    def targets(self, things: Iterable[Any] | None) -> list[_Target]:
        """The processes that are meant; None: all workers."""
        with open_source(self._address, self.timeout) as source:
            nodes = [msgspec.convert(row, NodeInfo) for row in source.nodes()]
            self._nodes = [node for node in nodes if node.alive]
            if things is not None:
                meant = [(thing, *_process_of(source, thing)) for thing in things]  # first: its worker may be new
                self._known = self._processes()
                return [self._target(*one) for one in meant]
        deadline = time.monotonic() + _START
        while True:
            self._known = self._processes()
            found = [self._named(node, one) for node, one in self._known if not one.is_driver]
            if found:
                return found
            if time.monotonic() > deadline:
                raise ValueError("the cluster has no workers: submit something first")
            time.sleep(0.05)

    def _processes(self) -> list[tuple[NodeInfo, NodeProcess]]:
        """Those of all nodes. The GCS would know them a moment later."""
        asked: dict[int, NodeInfo] = {}
        for node in self._nodes:
            with contextlib.suppress(ConnectionError):  # it dies this moment
                asked[self._client.post(node.raylet, ListProcesses(), is_raylet=True)] = node
        found: list[tuple[NodeInfo, NodeProcess]] = []
        for answer in self._client.answers(list(asked), self.timeout):
            if isinstance(answer, Processes):
                found += [(asked[answer.request], process) for process in answer.processes]
        return found

    def _target(self, thing: Any, process: bytes | int, what: str) -> _Target:
        if thing in _SERVERS:
            head = next(node for node in self._nodes if node.is_head)
            return _Target(f"the {thing}", thing.encode(), head.raylet)
        for node in self._nodes:
            if node.node_id == process or node.pid == process:
                return _Target(f"the raylet of node {node.node_id.hex()}", node.node_id, node.raylet)
        for node, one in self._known:
            if process in (one.worker_id, one.pid):
                return self._named(node, one)
        raise ValueError(f"{what} is in no process that lives: list_workers() has those that do")

    @staticmethod
    def _named(node: NodeInfo, process: NodeProcess) -> _Target:
        kind = "driver" if process.is_driver else "worker"
        name = f"{kind} {process.worker_id.hex()} (pid {process.pid})"
        return _Target(name, process.worker_id, node.raylet, process.address)

    # -- asking -------------------------------------------------------------------------------------------------------

    def ask(self, targets: list[_Target], question: StackQuestion, timeout: float) -> dict[str, StackAnswer]:
        return self.receive(self.send(targets, question), question, timeout)

    def send(self, targets: list[_Target], question: StackQuestion) -> dict[int, tuple[_Target, Address]]:
        """Ask the raylets; by request, who is asked about whom."""
        sent: dict[int, tuple[_Target, Address]] = {}
        for target in targets:
            message = msgspec.structs.replace(question, process=target.process)
            try:
                sent[self._client.post(target.raylet, message, is_raylet=True)] = target, target.raylet
            except ConnectionError as error:
                self.failed[target.name] = f"its raylet can not be reached: {error}"
        return sent

    def stop(self, sent: dict[int, tuple[_Target, Address]]) -> None:
        """End profiles early."""
        for request, (target, asked) in sent.items():
            try:
                self._client.post(asked, StackStop(request), is_raylet=asked == target.raylet)
            except ConnectionError:
                continue  # it has ended, and its profile with it

    def receive(
        self, sent: dict[int, tuple[_Target, Address]], question: StackQuestion, timeout: float
    ) -> dict[str, StackAnswer]:
        """The answers by the names of processes: of raylets, and then of those that have to tell themselves."""
        begun = time.monotonic()
        found: dict[str, StackAnswer] = {}
        again: dict[int, tuple[_Target, Address]] = {}
        reasons: dict[str, str] = {}
        for answer in self._answers(sent, timeout):
            target = sent.pop(answer.request)[0]
            if not answer.error:
                found[target.name] = answer
            elif answer.ask_itself and target.itself is not None:
                reasons[target.name] = answer.error
                self._ask_itself(target, question, again)
            else:
                self.failed[target.name] = answer.error
        for answer in self._answers(again, max(timeout - (time.monotonic() - begun), question.seconds + _PATIENCE)):
            target = again.pop(answer.request)[0]
            reason = reasons[target.name]
            if answer.error:
                self.failed[target.name] = f"{reason}; {answer.error}"
                continue
            found[target.name] = answer
            if answer.stacks is not None:
                answer.stacks.note = reason
            if answer.profile is not None:
                answer.profile.notes.append(reason)
        for target, _ in sent.values():
            self.failed[target.name] = "its raylet did not answer in time"
        for target, _ in again.values():
            self.failed[target.name] = (
                f"{reasons[target.name]}; and the process itself did not answer in time: it holds the interpreter's "
                "lock, as C code may that does not let go of it"
            )
        if not found:
            raise StackError("; ".join(f"{name}: {text}" for name, text in self.failed.items()))
        return found

    def _ask_itself(self, target: _Target, question: StackQuestion, again: dict[int, tuple[_Target, Address]]) -> None:
        assert target.itself is not None
        message = msgspec.structs.replace(question, process=target.process)
        try:
            again[self._client.post(target.itself, message, is_raylet=False)] = target, target.itself
        except ConnectionError as error:
            self.failed[target.name] = f"it can not be reached: {error}"

    def _answers(self, sent: dict[int, Any], timeout: float) -> Iterable[StackAnswer]:
        for answer in self._client.answers(list(sent), timeout):
            if isinstance(answer, StackAnswer):
                yield answer

    # -- cells --------------------------------------------------------------------------------------------------------

    def cell_names(self, frames: list[Frame]) -> dict[str, str]:
        """What the drivers call the files of frames that are not on this disk: cells, if they are notebooks."""
        files = sorted({one.file for one in frames if not one.internal and not os.path.exists(one.file)})
        if not files:
            return {}
        core = find_core()
        asked: list[int] = []
        names: dict[str, str] = {}
        for driver in [one.address for _, one in self._known if one.is_driver and one.address is not None]:
            if core is not None and driver.worker_id == core.worker_id:
                names |= core.name_files(files) if core.name_files is not None else {}
                continue
            try:
                asked.append(self._client.post(driver, NameFiles(files), is_raylet=False))
            except ConnectionError:
                continue  # it has just ended
        for answer in self._client.answers(asked, min(self.timeout, _NAMES_WAIT)):
            if isinstance(answer, FilesNamed):
                names |= answer.names
        return names


def _process_of(source: Source, thing: Any) -> tuple[bytes | int, str]:
    """The id of the process that is meant, or its process id; and what was meant, in words."""
    if thing in _SERVERS:
        return b"", f"the {thing}"
    if isinstance(thing, int):
        return thing, f"process {thing}"
    if isinstance(thing, ActorHandle):
        return _of_actor(source, thing._id)
    if isinstance(thing, ObjectRef):
        return _of_task(source, thing.binary()[:TASK_ID_SIZE])
    if isinstance(thing, ObjectRefGenerator):
        return _of_task(source, thing.task_id().binary())
    text = thing if isinstance(thing, str) else thing.hex() if callable(getattr(thing, "hex", None)) else ""
    if text.isdecimal() and len(text) < 2 * WORKER_ID_SIZE:
        return int(text), f"process {text}"
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) == WORKER_ID_SIZE:
        return data, f"process {text}"
    if len(data) == OBJECT_ID_SIZE:
        return _of_task(source, data[:TASK_ID_SIZE])
    if len(data) == TASK_ID_SIZE:
        actors = {row["actor_id"] for row in source.ask("actors")}
        return _of_actor(source, data) if data in actors else _of_task(source, data)
    what = repr(thing) if isinstance(thing, str) else f"a {type(thing).__name__}"
    raise ValueError(
        f"{what} names no process: give a worker's id or process id, the id of a task or actor, a reference or an "
        'actor\'s handle, the id of a node for its raylet, "gcs" or "host"'
    )


def _of_actor(source: Source, actor_id: bytes) -> tuple[bytes, str]:
    for row in source.ask("actors"):
        if row["actor_id"] == actor_id:
            if row["address"] is None:
                raise ValueError(f"actor {actor_id.hex()} is {row['state']}: it has no process")
            return msgspec.convert(row["address"], Address).worker_id, f"actor {actor_id.hex()}"
    raise ValueError(f"there is no actor {actor_id.hex()}")


def _of_task(source: Source, task_id: bytes) -> tuple[bytes, str]:
    """A task that runs: what workers record arrives in batches, so it may have begun a moment ago."""
    deadline = time.monotonic() + 1.5
    while True:
        found = [record for record in source.records() if record.task_id == task_id]
        record = max(found, key=lambda one: one.attempt) if found else None
        if record is not None and record.state is Phase.RUNNING and record.worker_id:
            return record.worker_id, f"task {task_id.hex()}"
        ended = record is not None and record.state in (Phase.FINISHED, Phase.FAILED, Phase.CANCELLED)
        if ended or time.monotonic() > deadline:
            state = record.state.name if record is not None else "not known"
            raise ValueError(f"task {task_id.hex()} runs in no process: it is {state}")
        time.sleep(0.1)
