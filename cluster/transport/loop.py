"""A Bus on an asyncio loop, for the servers (raylet, GCS).

Strategy: ZeroMQ's file descriptor is edge-triggered and tells of reads and writes alike, so every wake-up drains both
sockets until they are empty, and a drain is also scheduled after each send from the loop. Decoding happens here: bytes
become the channel's types or are refused with a log line; the handler sees messages only.

A request is one message or several, each in a frame of its own: what a process has to say to a server at one moment
(a seal, a pin released, an object freed) costs one send and one wake-up. An answer is one message, and frames of data.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from .bus import Bus, Frames

__all__ = ["BusLoop"]

_log = logging.getLogger("himalia.transport")

Handler = Callable[[bytes, Any, Frames], None]

_DRAIN_AT_ONCE = 1_000  # messages handled before timers and other work of the loop get their turn


class BusLoop:
    """Drives ``bus`` on the running asyncio loop.

    ``on_request(peer, message)`` gets what came to the server socket, decoded by ``requests``;
    ``on_answer(peer, message, frames)`` what came back on the client socket, decoded by ``answers[peer]`` or
    ``answers[b""]``. ``frames`` are those after the message.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        requests: Any,
        on_request: Callable[[bytes, Any], None],
        answers: dict[bytes, Any] | None = None,
        on_answer: Handler | None = None,
    ) -> None:
        self.bus = bus
        self._requests = msgspec.msgpack.Decoder(requests)
        self._answers = {peer: msgspec.msgpack.Decoder(kind) for peer, kind in (answers or {}).items()}
        self._on_request = on_request
        self._on_answer = on_answer
        self._encode = msgspec.msgpack.Encoder().encode
        self._loop = asyncio.get_running_loop()
        self._again = False
        self._closed = False
        self._loop.add_reader(bus.server.fileno(), self._drain)
        self._loop.add_reader(bus.client.fileno(), self._drain)
        if bus.zap is not None:
            self._loop.add_reader(bus.zap.fileno(), self._drain)
        self._drain_soon()

    def send(self, peer: bytes, message: Any, frames: Frames | None = None) -> bool:
        """Ask a connected peer; False if the way to it is gone."""
        sent = self.bus.send(peer, [self._encode(message), *(frames or ())])
        self._drain_soon()
        return sent

    def reply(self, peer: bytes, message: Any, frames: Frames | None = None) -> None:
        """Answer, or tell, a peer that connected to us."""
        self.bus.reply(peer, [self._encode(message), *(frames or ())])
        self._drain_soon()

    def look_again(self) -> None:
        """Say that something was sent past `send` and `reply`, by the bus itself."""
        self._drain_soon()

    def _drain_soon(self) -> None:
        # A send may swallow the edge that announced a message: look again once this callback is over.
        if not self._again and not self._closed:
            self._again = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._again = False
        if self._closed:
            return
        if self.bus.zap is not None:
            self.bus.handle_zap()
        more = self._drain_socket(self.bus.server, self._take_request)
        if not self._closed:  # a handler may have closed us
            more = self._drain_socket(self.bus.client, self._take_answer) or more
        if more:
            self._drain_soon()

    def _drain_socket(self, sock: zmq.Socket[bytes], take: Callable[[bytes, list[bytes]], None]) -> bool:
        for _ in range(_DRAIN_AT_ONCE):
            if self._closed:
                return False
            try:
                frames = sock.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            take(self.bus.aliases.get(frames[0], frames[0]), frames[1:])
        return True

    def _take_request(self, peer: bytes, frames: list[bytes]) -> None:
        for data in frames:
            message = self._decoded(self._requests, peer, data)
            if message is not None and not self._closed:
                self._handle(self._on_request, peer, message)

    def _take_answer(self, peer: bytes, frames: list[bytes]) -> None:
        decoder = self._answers.get(peer) or self._answers.get(b"")
        if decoder is None or self._on_answer is None or not frames:
            _log.error("answer of an unexpected peer %s dropped", peer.hex())
            return
        message = self._decoded(decoder, peer, frames[0])
        if message is not None:
            self._handle(self._on_answer, peer, message, frames[1:])

    @staticmethod
    def _decoded(decoder: msgspec.msgpack.Decoder[Any], peer: bytes, data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except msgspec.DecodeError as error:
            _log.error("message of %s refused: %s", peer.hex(), error)
            return None

    @staticmethod
    def _handle(handler: Callable[..., None], peer: bytes, message: Any, *frames: Frames) -> None:
        try:
            handler(peer, message, *frames)
        except Exception:  # noqa: BLE001 one message that a handler fails at must not end the server
            _log.exception("handling %s of %s failed", type(message).__name__, peer.hex())

    def close(self) -> None:
        """Stop driving the bus, and close it."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self.bus.server.fileno())
        self._loop.remove_reader(self.bus.client.fileno())
        if self.bus.zap is not None:
            self._loop.remove_reader(self.bus.zap.fileno())
        self.bus.close()
