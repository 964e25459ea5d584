"""A worker that only says hello, and does what the raylet tells it: enough to test how processes begin and end."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import msgspec

from himalia.cluster.launchers.boot import WorkerBoot
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address
from himalia.cluster.protocol.raylet_messages import (
    ActorStarted,
    AssignActor,
    CoreHello,
    CoreWelcome,
    Exit,
    RayletReply,
)
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys


def run_worker(boot: WorkerBoot) -> int:
    if boot.env.get("FAKE_WORKER") == "fails":
        return 7
    if boot.env.get("FAKE_WORKER") == "starts a process":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    bus = Bus(boot.worker_id, CurveKeys(boot.public_key, boot.secret_key))
    address = Address(boot.worker_id, boot.node_id, bus.bind_ipc(boot.ipc.removeprefix("ipc://")))
    encode = msgspec.msgpack.encode
    decode = msgspec.msgpack.Decoder(RayletReply).decode
    bus.connect(boot.raylet)

    def tell(message: object) -> None:
        bus.send(boot.raylet.worker_id, [encode(message)])

    tell(CoreHello(PROTOCOL_VERSION, address, os.getpid(), "worker", token=boot.token))
    print("hello from", os.getpid(), flush=True)
    while True:
        if not bus.client.poll(1000):
            continue
        message = decode(bus.client.recv_multipart()[1])
        if isinstance(message, CoreWelcome):
            assert not message.error, message.error
        elif isinstance(message, AssignActor):
            tell(ActorStarted(message.actor_id, address))
            time.sleep(0)
        elif isinstance(message, Exit):
            bus.close()
            return 0
