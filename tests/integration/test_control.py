"""Messages that end work, from a process that has no part in the cluster."""

from __future__ import annotations

import msgspec
import zmq

from himalia.cluster.core.current import get_core
from himalia.cluster.gcs.client import GcsClient
from himalia.cluster.launchers.boot import ConnectionInfo
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.control_messages import CancelOwned, ControlDone, EndJob
from himalia.cluster.transport.keys import new_keys
from tests.integration.conftest import Nodes


def elsewhere(address: Address) -> Address:
    """How a process is reached from another machine."""
    assert address.tcp
    return msgspec.structs.replace(address, ipc="")


def test_only_who_has_the_clusters_key_can_end_a_job_or_cancel_its_tasks(one_node: Nodes) -> None:
    core = get_core()
    known = one_node.cluster.connection
    known = msgspec.structs.replace(known, gcs=elsewhere(known.gcs), raylet=elsewhere(known.raylet))
    keys = new_keys()
    stranger: ConnectionInfo = msgspec.structs.replace(known, public_key=keys.public, secret_key=keys.secret)
    driver = elsewhere(core.address)
    with GcsClient(stranger) as client:
        asked = [client.post(driver, message, is_raylet=False) for message in (EndJob("no"), CancelOwned([1]))]
        assert list(client.answers(asked, 1.0)) == []
    with zmq.Context.instance().socket(zmq.DEALER) as bare:
        bare.linger = 0
        bare.connect(driver.tcp)
        bare.send(msgspec.msgpack.encode(EndJob("no", 1)))
        assert not bare.poll(1000)
    assert core.fatal is None
    with GcsClient(known) as client:
        asked = [client.post(driver, CancelOwned([]), is_raylet=False)]
        assert list(client.answers(asked, 20.0)) == [ControlDone(asked[0], 0)]
