"""A peer can be left and found again, however quickly; libzmq aborts where a routing id is used again too soon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from himalia.cluster.protocol.common import Address
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys

ASKER, SERVER = b"asker-01", b"server-1"


@pytest.fixture
def buses(tmp_path: Path) -> Iterator[tuple[Bus, Bus, Address]]:
    asker, server = Bus(ASKER, CurveKeys("", "")), Bus(SERVER, CurveKeys("", ""))
    endpoint = server.bind_ipc(str(tmp_path / "socket"))
    yield asker, server, Address(SERVER, ipc=endpoint)
    asker.close()
    server.close()


def _ask(asker: Bus, server: Bus, text: bytes) -> tuple[bytes, bytes]:
    """Send a question and its answer; who answered, as the asker sees it, and what."""
    assert asker.send(SERVER, [text])
    assert server.server.poll(10_000)
    peer, question = server.server.recv_multipart()
    server.reply(peer, [question.upper()])
    assert asker.client.poll(10_000)
    route, answer = asker.client.recv_multipart()
    return asker.aliases.get(route, route), answer


def test_a_peer_can_be_connected_again_at_once(buses: tuple[Bus, Bus, Address]) -> None:
    asker, server, address = buses
    for turn in range(50):
        asker.connect(address)
        assert _ask(asker, server, b"turn %d" % turn) == (SERVER, b"TURN %d" % turn)
        asker.disconnect(SERVER)
    assert not asker.aliases


def test_a_peer_that_is_not_there_can_be_tried_again_and_again(buses: tuple[Bus, Bus, Address]) -> None:
    asker, _, address = buses
    for _ in range(50):
        asker.connect(address)
        asker.send(SERVER, [b"never read"])
        asker.disconnect(SERVER)
    assert not asker.connected(SERVER)


def test_nothing_is_sent_to_a_peer_that_was_left(buses: tuple[Bus, Bus, Address]) -> None:
    asker, _, address = buses
    asker.connect(address)
    asker.disconnect(SERVER)
    asker.disconnect(SERVER)
    assert not asker.client.poll(0, zmq.POLLIN)
    asker.connect(address)
    assert asker.connected(SERVER)
