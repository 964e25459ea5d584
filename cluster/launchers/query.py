"""Ask the GCS of a running cluster one question, without becoming part of the cluster: for tools and tests."""

from __future__ import annotations

import os
import time
from typing import Any, Final

import msgspec

from ..protocol.gcs_messages import Answer, Failed, GcsReply, ListState
from ..protocol.ids import WORKER_ID_SIZE, process_id_from
from ..transport.bus import Bus
from ..transport.keys import CurveKeys
from .boot import ConnectionInfo
from .local import ClusterNotFoundError

__all__ = ["list_state"]

_REQUEST: Final = 1


def list_state(connection: ConnectionInfo, what: str, *, limit: int = 10_000, timeout: float = 5.0) -> Any:
    """Rows of the state API as the GCS has them: ids are bytes, quantities units.

    Raises
    ------
    ClusterNotFoundError
        If the GCS does not answer in time.
    ValueError
        If it has no such list.
    """
    bus = Bus(process_id_from(os.urandom(WORKER_ID_SIZE)), CurveKeys(connection.public_key, connection.secret_key))
    try:
        bus.connect(connection.gcs)
        bus.send(connection.gcs.worker_id, [msgspec.msgpack.encode(ListState(what, limit, _REQUEST))])
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not bus.client.poll(int(left * 1000) + 1):
                break
            reply = msgspec.msgpack.decode(bus.client.recv_multipart()[1], type=GcsReply)
            if isinstance(reply, Answer):
                return msgspec.msgpack.decode(reply.value)
            if isinstance(reply, Failed):
                raise ValueError(reply.text)
    finally:
        bus.close()
    raise ClusterNotFoundError(
        f"The GCS of the cluster in {connection.session_dir} did not answer within {timeout:g} s: the cluster has "
        "ended, or its machine is overloaded"
    )
