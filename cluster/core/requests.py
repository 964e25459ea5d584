"""Questions with one answer, to the GCS: key-value, actors by name, state.

They block user threads; the core itself uses callbacks.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec

from ..protocol.common import Address
from ..protocol.errors import GetTimeoutError
from ..protocol.gcs_messages import Answer, Failed, KvGet, KvPut
from .base import CoreBase
from .commands import Connect, Send
from .working_dir import Folders

__all__ = ["RequestFailed", "RequestOps"]


class RequestFailed(Exception):
    """The GCS could not meet a request.

    ``kind`` is for programs (``not_found``, ``name_taken``), the text for people.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(kind, text)
        self.kind = kind
        self.text = text

    def __str__(self) -> str:
        return self.text


class RequestOps(CoreBase):
    """Part of `Core`."""

    def _init_requests(self) -> None:
        self._requests: dict[int, Callable[[Any], None]] = {}
        self.adopted_job = b""
        self._folders = Folders()
        self._next_request = count(1).__next__

    def gcs_send(self, message: Any) -> None:
        """Send to the GCS, in order with everything else that this thread submitted."""
        self.post(lambda: self.out.append(Send(self.gcs_id, message)))

    def raylet_send(self, message: Any) -> None:
        """Send to the raylet of this node, in order with everything else that this thread submitted."""
        self.post(lambda: self.out.append(Send(self.raylet_id, message)))

    def fetch_function(self, content_hash: bytes) -> bytes:
        """The payload of a function or class that its owner stored."""
        payload = self.gcs_call(KvGet(b"fn:" + content_hash.hex().encode(), wait=True))
        return bytes(payload)

    def _publish_job(self, job_id: bytes) -> None:
        """Put where workers find it what they need to work as this driver would."""
        assert self.options.job is not None
        value = msgspec.msgpack.encode({"namespace": self.namespace, **self.options.job.config})
        self.out.append(Send(self.gcs_id, KvPut(b"job:" + job_id, value)))

    def adopt_job(self, job_id: bytes) -> None:
        """Work for a job from now on: with its import path, namespace and environment."""
        if job_id == self.adopted_job:
            return
        config = msgspec.msgpack.decode(self.gcs_call(KvGet(b"job:" + job_id, wait=True)))
        self.adopted_job = self.job_id = job_id
        self.namespace = config["namespace"]
        # A worker that was started for a runtime environment passes that on, which is over the job's already.
        self.job_runtime_env = self.options.runtime_env or config.get("runtime_env", "")
        known = set(sys.path)
        sys.path.extend(path for path in config.get("sys_path", ()) if path not in known and os.path.exists(path))
        for name, value in config.get("env", {}).items():
            os.environ.setdefault(name, value)

    def ensure_connected(self, address: Address) -> None:
        """Open the way to a process before something is sent to it."""
        self.post(lambda: self.out.append(Connect(address)))

    def gcs_request(self, message: Any, then: Callable[[Any], None]) -> None:
        """Ask the GCS; ``then`` gets the answer's value, or an exception, in the leader."""
        message.request = self._next_request()

        def act() -> None:
            if self.fatal is not None:
                then(self.fatal)
                return
            self._requests[message.request] = then
            self.out.append(Send(self.gcs_id, message))

        self.post(act)

    def gcs_call(self, message: Any, timeout: float | None = 30.0) -> Any:
        """Ask the GCS and wait for the answer.

        Raises
        ------
        RequestFailed
            It can not be met.
        GetTimeoutError
            No answer came in time.
        """
        box: list[Any] = []
        self.gcs_request(message, box.append)
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self.wait_until(lambda: box, deadline):
            raise GetTimeoutError(
                f"the GCS did not answer {type(message).__name__} within {timeout} s; is the cluster still there?",
                timeout=timeout,
            )
        if isinstance(box[0], BaseException):
            raise box[0]
        return box[0]

    def wait_until(self, done: Callable[[], Any], deadline: float | None) -> bool:
        """Drive the core until ``done()``; False when the deadline passed first."""
        while not self.reactor.drive(lambda: done() or self.fatal is not None, deadline):
            if self.closed:
                raise self.session_error()
            return bool(done())
        if not done():
            if self.fatal is not None:
                raise self.fatal
            raise self.session_error()
        return True

    def session_error(self) -> BaseException:
        """What a call says after the session ended."""
        from .failures import session_over

        return self.fatal or session_over("the session was shut down; call himalia.init() again")

    def _on_answer(self, peer: bytes, message: Answer) -> None:
        then = self._requests.pop(message.request, None)
        if then is not None:
            then(msgspec.msgpack.decode(message.value))

    def _on_failed(self, peer: bytes, message: Failed) -> None:
        then = self._requests.pop(message.request, None)
        if then is not None:
            then(RequestFailed(message.kind, message.text))

    def _fail_requests(self, error: BaseException) -> None:
        waiting, self._requests = self._requests, {}
        for then in waiting.values():
            then(error)
