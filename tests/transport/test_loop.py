"""A bus on an asyncio loop: what becomes of the frames that come."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from himalia.cluster.protocol.common import Address
from himalia.cluster.transport.bus import Bus
from himalia.cluster.transport.keys import CurveKeys
from himalia.cluster.transport.loop import BusLoop

ASKER, SERVER = b"asker-01", b"server-1"


class Number(msgspec.Struct, array_like=True, tag=1):
    value: int


class Word(msgspec.Struct, array_like=True, tag=2):
    text: str


def heard(tmp_path: Path, requests: list[list[bytes]], count: int) -> list[Any]:
    """Send requests, each of some frames, to a server until it has heard ``count`` messages."""

    async def run() -> list[Any]:
        messages: list[Any] = []
        done = asyncio.Event()

        def on_request(peer: bytes, message: Any) -> None:
            assert peer == ASKER
            messages.append(message)
            if len(messages) == count:
                done.set()
            if message == Word("fail"):
                raise ValueError("a handler failed")

        server, asker = Bus(SERVER, CurveKeys("", "")), Bus(ASKER, CurveKeys("", ""))
        endpoint = server.bind_ipc(str(tmp_path / "socket"))
        loop = BusLoop(server, requests=Number | Word, on_request=on_request)
        try:
            asker.connect(Address(SERVER, ipc=endpoint))
            for frames in requests:
                assert asker.send(SERVER, frames)
            await asyncio.wait_for(done.wait(), 10)
        finally:
            loop.close()
            asker.close()
        return messages

    return asyncio.run(run())


def test_each_frame_of_a_request_is_a_message(tmp_path: Path) -> None:
    encode = msgspec.msgpack.encode
    requests = [[encode(Number(1)), encode(Word("two")), encode(Number(3))], [encode(Number(4))]]
    assert heard(tmp_path, requests, 4) == [Number(1), Word("two"), Number(3), Number(4)]


def test_what_is_no_message_is_refused_and_the_rest_is_heard(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    encode = msgspec.msgpack.encode
    with caplog.at_level(logging.ERROR):
        assert heard(tmp_path, [[encode("nonsense"), encode(Number(1))]], 1) == [Number(1)]
    assert "refused" in caplog.text


def test_a_handler_that_fails_does_not_keep_the_rest_from_being_heard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    encode = msgspec.msgpack.encode
    with caplog.at_level(logging.ERROR):
        assert heard(tmp_path, [[encode(Word("fail")), encode(Number(2))]], 2) == [Word("fail"), Number(2)]
    assert "a handler failed" in caplog.text
