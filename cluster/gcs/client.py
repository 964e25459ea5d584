"""Ask the GCS (and raylets) from outside of a core: the command line, tools, tests.

A connection of its own, made for a few questions and closed: one question at a time, each waited for. A process with a
core asks through that instead (`Core.gcs_call`), which has a connection already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from types import TracebackType
from typing import Any, Final, Protocol, Self

import msgspec

from ..protocol.common import RESOURCE_UNIT, Address, SetCapacity
from ..protocol.core_messages import CoreMessage
from ..protocol.gcs_messages import Answer, Failed, GcsReply
from ..protocol.held_messages import DescribeObjects, DescribeTask, ObjectsHeld, TaskDescribed
from ..protocol.ids import WORKER_ID_SIZE, process_id_from
from ..protocol.log_messages import FoundLines, LogAnswer, LogQuestion, LogSearch
from ..protocol.raylet_messages import RayletReply, StoreStats, StoreStatsRequest
from ..transport.bus import Bus
from ..transport.keys import CurveKeys

__all__ = ["GcsClient", "GcsRefusedError", "GcsUnreachableError", "Reachable"]

TIMEOUT: Final = 10.0
_LOOK: Final = 0.25  # seconds of silence after which one looks who of those that were asked has died


class GcsUnreachableError(ConnectionError):
    """No answer came: the process is gone, or does not answer."""


class GcsRefusedError(RuntimeError):
    """The GCS cannot do what was asked. ``kind`` is for programs, the text for people."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text

    def __str__(self) -> str:
        return self.text


class Reachable(Protocol):
    """Where a cluster is: `launchers.boot.ConnectionInfo` is one, a core's options are another."""

    @property
    def gcs(self) -> Address: ...
    @property
    def public_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...


class GcsClient:
    """A connection for questions. Belongs to one thread; to be closed, or used in a ``with`` statement."""

    def __init__(self, where: Reachable) -> None:
        identity = process_id_from(os.urandom(WORKER_ID_SIZE))
        self._gcs = where.gcs
        self._bus = Bus(identity, CurveKeys(where.public_key, where.secret_key))
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(GcsReply).decode
        self._decode_raylet = msgspec.msgpack.Decoder(RayletReply).decode
        self._decode_core = msgspec.msgpack.Decoder(CoreMessage).decode
        self._decoders: dict[bytes, Callable[[bytes], Any]] = {}  # of those that were posted to
        self._next_request = count(1).__next__
        try:
            self._bus.connect(where.gcs)
        except ConnectionError as error:
            self._bus.close()
            raise GcsUnreachableError(f"The cluster cannot be reached: {error}") from error

    def call(self, message: Any, timeout: float = TIMEOUT) -> Any:
        """Ask the GCS.

        Parameters
        ----------
        message
            One of `gcs_messages` that has a ``request``.
        timeout
            Seconds.

        Raises
        ------
        GcsRefusedError
            It cannot be done.
        GcsUnreachableError
            No answer came in time.
        """
        request = message.request = self._next_request()
        self._bus.send(self._gcs.worker_id, [self._encode(message)])
        deadline = time.monotonic() + timeout
        while True:
            answer = self._decode(self._receive(self._gcs.worker_id, deadline, f"The GCS at {_place(self._gcs)}"))
            if isinstance(answer, Answer) and answer.request == request:
                return msgspec.msgpack.decode(answer.value)
            if isinstance(answer, Failed) and answer.request == request:
                raise GcsRefusedError(answer.kind, answer.text)

    def store_stats(self, raylet: Address, *, detail: bool = True, timeout: float = TIMEOUT) -> StoreStats:
        """Ask a raylet what its object store holds."""
        for answer in self._ask_raylet(raylet, StoreStatsRequest(detail), timeout):
            if isinstance(answer, StoreStats):
                return answer
        raise AssertionError("the answers end with an error")

    def read_logs(self, raylet: Address, question: LogQuestion, *, timeout: float = TIMEOUT) -> LogAnswer:
        """Ask a raylet about the logs of its node.

        Raises
        ------
        ValueError
            It cannot be told; says why.
        """
        question.request = self._next_request()
        for answer in self._ask_raylet(raylet, question, timeout):
            if isinstance(answer, LogAnswer) and answer.request == question.request:
                if answer.error:
                    raise ValueError(answer.error)
                return answer
        raise AssertionError("the answers end with an error")

    def search_logs(self, raylet: Address, search: LogSearch, *, timeout: float = TIMEOUT) -> FoundLines:
        """Ask a raylet for lines of its node's logs.

        Raises
        ------
        ValueError
            It cannot be searched so; says why.
        """
        search.request = self._next_request()
        for answer in self._ask_raylet(raylet, search, timeout + search.seconds):
            if isinstance(answer, FoundLines) and answer.request == search.request:
                if answer.error:
                    raise ValueError(answer.error)
                return answer
        raise AssertionError("the answers end with an error")

    def set_capacity(self, raylet: Address, cpus: int) -> None:
        """Tell a raylet how many CPUs its node has from now on. It does not answer: ``nodes`` of the GCS shows it.

        Raises
        ------
        GcsUnreachableError
            There is no such raylet.
        """
        self._connect_raylet(raylet)
        self._bus.send(raylet.worker_id, [self._encode(SetCapacity(cpus * RESOURCE_UNIT))])

    def _connect_raylet(self, raylet: Address) -> None:
        try:
            self._bus.connect(raylet)
        except ConnectionError as error:
            raise GcsUnreachableError(f"The raylet at {_place(raylet)} cannot be reached: {error}") from error

    def _ask_raylet(self, raylet: Address, message: Any, timeout: float) -> Iterator[Any]:
        """Send a question; then what comes from there, until the time is over."""
        what = f"The raylet at {_place(raylet)}"
        self._connect_raylet(raylet)
        self._bus.send(raylet.worker_id, [self._encode(message)])
        deadline = time.monotonic() + timeout
        while True:
            yield self._decode_raylet(self._receive(raylet.worker_id, deadline, what))

    def holdings(
        self,
        cores: Iterable[Address],
        living: Callable[[], set[bytes]],
        *,
        limit: int = 10_000,
        timeout: float = TIMEOUT,
    ) -> tuple[list[ObjectsHeld], list[Address]]:
        """Ask processes which objects they hold: the answers, and who lives and did not answer in time.

        ``living`` tells who lives: one that has died since it was asked is not waited for.
        """
        waiting: dict[bytes, Address] = {}
        missing: list[Address] = []
        request = self._next_request()
        for core in cores:
            try:
                self._bus.connect(core)
            except ConnectionError:
                missing.append(core)
                continue
            self._bus.send(core.worker_id, [self._encode(DescribeObjects(request, limit))])
            waiting[core.worker_id] = core
        deadline = time.monotonic() + timeout
        answers: list[ObjectsHeld] = []
        client = self._bus.client
        while waiting and (left := deadline - time.monotonic()) > 0:
            if not client.poll(int(min(left, _LOOK) * 1000) + 1):
                there = living()
                waiting = {peer: core for peer, core in waiting.items() if peer in there}
                continue
            peer, *frames = client.recv_multipart()
            if peer not in waiting:
                continue
            answer = self._decode_core(frames[0])
            if isinstance(answer, ObjectsHeld) and answer.request == request:
                answers.append(answer)
                del waiting[peer]
        silent = [*missing, *waiting.values()]
        there = living() if silent else set()
        return answers, [core for core in silent if core.worker_id in there]

    def post(self, address: Address, message: Any, *, is_raylet: bool) -> int:
        """Send a message that has a ``request`` to a raylet or core; its number, by which `answers` tells the answer.

        Raises
        ------
        ConnectionError
            There is nobody.
        """
        self._bus.connect(address)
        message.request = message.request or self._next_request()
        self._bus.send(address.worker_id, [self._encode(message)])
        self._decoders[address.worker_id] = self._decode_raylet if is_raylet else self._decode_core
        return int(message.request)

    def answers(self, requests: Iterable[int], timeout: float = TIMEOUT) -> Iterator[Any]:
        """The answers to what was posted, as they come, until all are there or the time is over."""
        waiting = set(requests)
        deadline = time.monotonic() + timeout
        client = self._bus.client
        while waiting and (left := deadline - time.monotonic()) > 0 and client.poll(int(left * 1000) + 1):
            peer, *frames = client.recv_multipart()
            decode = self._decoders.get(peer)
            answer: Any = decode(frames[0]) if decode is not None else None
            if getattr(answer, "request", 0) in waiting:
                waiting.discard(answer.request)
                yield answer

    def describe_task(self, owner: Address, counter: int, *, timeout: float = TIMEOUT) -> TaskDescribed:
        """Ask the owner of a task what it knows of it.

        Raises
        ------
        GcsUnreachableError
            It does not answer.
        """
        what = f"Process {owner.worker_id.hex()}"
        request = self._next_request()
        try:
            self._bus.connect(owner)
        except ConnectionError as error:
            raise GcsUnreachableError(f"{what} cannot be reached: {error}") from error
        self._bus.send(owner.worker_id, [self._encode(DescribeTask(request, counter))])
        deadline = time.monotonic() + timeout
        while True:
            answer = self._decode_core(self._receive(owner.worker_id, deadline, what))
            if isinstance(answer, TaskDescribed) and answer.request == request:
                return answer

    def _receive(self, peer: bytes, deadline: float, what: str) -> bytes:
        """The next message of a peer."""
        client = self._bus.client
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not client.poll(int(left * 1000) + 1):
                raise GcsUnreachableError(
                    f"{what} did not answer in time: the cluster has ended, or its key or machine is another"
                )
            frames = client.recv_multipart()
            if frames[0] == peer:
                return frames[1]

    def close(self) -> None:
        self._bus.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _place(address: Address) -> str:
    return address.tcp or address.ipc
