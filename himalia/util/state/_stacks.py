"""Stacks and CPU profiles of processes: asked of the raylets of their nodes, or of the processes themselves.

A profile of several processes is one question to each, all at a time; so it takes as long as one. It is followed by a
thread, as a process that py-spy may not look at has to be asked itself at once, and not when somebody wants the result.
"""

from __future__ import annotations

import contextlib
import os
import threading
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
from himalia.cluster.protocol.places import cells_among
from himalia.cluster.protocol.stack_messages import (
    FilesNamed,
    Frame,
    ListProcesses,
    NameFiles,
    NodeProcess,
    Processes,
    Profile,
    StackQuestion,
    Stacks,
)
from himalia.cluster.telemetry.events import TaskState as Phase
from himalia.cluster.telemetry.profiles import merge_profiles, rename_files
from himalia.util.state._source import Source, open_source, reachable
from himalia.util.state._stack_questions import Questions, StackError, Target

__all__ = ["Profiling", "StackError", "get_stack", "profile"]

_SLICE: Final = 0.05  # seconds until a profile that is to end early is told so
_SERVERS: Final = ("gcs", "host")
_START: Final = 3.0  # seconds that the first workers of a new cluster may take
_NAMES_WAIT: Final = 2.0  # seconds: a driver that is busy does not name its cells


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
    with contextlib.closing(_Asking(address, timeout)) as asking:
        questions = asking.ask(things, StackQuestion(b""))
        while questions.take(timeout):
            pass
        answers = questions.end()
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
        self._asking = _Asking(address, timeout)
        try:
            targets = of if isinstance(of, list | tuple) else [of] if of is not None else None
            self._questions = self._asking.ask(targets, StackQuestion(b"", float(seconds), rate, idle))
        except BaseException:
            self._asking.close()
            raise
        self._stopped = threading.Event()
        self._is_wanted = True
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._follow, name="himalia-profiling", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End it without a result, if it runs."""
        self._is_wanted = False
        self._stopped.set()
        self._thread.join()
        self._asking.close()

    def stop(self) -> Profile:
        """End it now; its result."""
        self._stopped.set()
        return self.result()

    def result(self) -> Profile:
        """Wait until its time is over; the profile of all processes together. Once.

        Raises
        ------
        StackError
            None of them could be looked at.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        answers = self._questions.end()
        found = merge_profiles(answer.profile for answer in answers.values() if answer.profile is not None)
        found.notes += [f"{name}: {text}" for name, text in self._asking.failed.items()]
        found.frames = rename_files(found.frames, self._asking.cell_names(found.frames))
        return found

    def _follow(self) -> None:
        """In a thread, which alone uses the connection until it ends."""
        try:
            while self._questions.take(_SLICE):
                if self._stopped.is_set():
                    self._questions.stop()
                    if not self._is_wanted:
                        return
        except BaseException as error:  # noqa: BLE001 whoever wants the result is told
            self._error = error


class _Asking:
    """Questions to the processes of a cluster."""

    def __init__(self, address: str | Reachable | None, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self.failed: dict[str, str] = {}
        self._client = GcsClient(reachable(address))

    def close(self) -> None:
        self._client.close()

    def ask(self, things: Iterable[Any] | None, question: StackQuestion) -> Questions:
        """Begin to ask the processes that are meant; None: all workers."""
        return Questions(self._client, self._targets(things), question, self._timeout, self.failed)

    # -- whom to ask --------------------------------------------------------------------------------------------------

    def _targets(self, things: Iterable[Any] | None) -> list[Target]:
        with open_source(self._address, self._timeout) as source:
            nodes = [msgspec.convert(row, NodeInfo) for row in source.nodes()]
            self._nodes = [node for node in nodes if node.alive]
            if things is not None:
                meant = [(thing, *_process_of(source, thing)) for thing in things]  # first: its worker may be new
                self._known = self._processes()
                return [self._target(*one) for one in meant]
        deadline = time.monotonic() + _START
        while True:
            self._known = self._processes()
            # One without an address has just been forked: it runs nothing yet.
            found = [self._named(node, one) for node, one in self._known if not one.is_driver and one.address]
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
        for answer in self._client.answers(list(asked), self._timeout):
            if isinstance(answer, Processes):
                found += [(asked[answer.request], process) for process in answer.processes]
        return found

    def _target(self, thing: Any, process: bytes | int, what: str) -> Target:
        if thing in _SERVERS:
            head = next(node for node in self._nodes if node.is_head)
            return Target(f"the {thing}", thing.encode(), head.raylet)
        for node in self._nodes:
            if node.node_id == process or node.pid == process:
                return Target(f"the raylet of node {node.node_id.hex()}", node.node_id, node.raylet)
        for node, one in self._known:
            if process in (one.worker_id, one.pid):
                return self._named(node, one)
        raise ValueError(f"{what} is in no process that lives: list_workers() has those that do")

    @staticmethod
    def _named(node: NodeInfo, process: NodeProcess) -> Target:
        kind = "driver" if process.is_driver else "worker"
        name = f"{kind} {process.worker_id.hex()} (pid {process.pid})"
        return Target(name, process.worker_id, node.raylet, process.address)

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
                names |= cells_among(files)
                continue
            try:
                asked.append(self._client.post(driver, NameFiles(files), is_raylet=False))
            except ConnectionError:
                continue  # it has just ended
        for answer in self._client.answers(asked, min(self._timeout, _NAMES_WAIT)):
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
