"""The key-value store: namespaces of bytes, and those who wait for a key.

Exported functions and classes are the largest users (``fn:<hash>``). A worker may ask before the driver's put has
arrived here, as both travel on their own connections: hence `wait`, which is answered by the put itself.
"""

from __future__ import annotations

from ..protocol.gcs_messages import KvDelete, KvGet, KvKeys, KvPut
from ..protocol.transitions import InvariantViolation
from .commands import Outbox

__all__ = ["Kv", "storage_key"]

TABLE = "kv"


def storage_key(namespace: str, key: bytes) -> bytes:
    """One key for storage: a namespace may hold any character, so its length goes before it."""
    name = namespace.encode()
    return len(name).to_bytes(2, "big") + name + key


class Kv:
    def __init__(self, out: Outbox) -> None:
        self._out = out
        self.spaces: dict[str, dict[bytes, bytes]] = {}
        self.waiters: dict[tuple[str, bytes], list[tuple[bytes, int]]] = {}  # (peer, request), first come first

    def put(self, peer: bytes, message: KvPut) -> None:
        space = self.spaces.setdefault(message.namespace, {})
        is_new = message.key not in space
        if is_new or message.overwrite:
            space[message.key] = message.value
            self._out.persist(TABLE, storage_key(message.namespace, message.key), message.value)
            for waiter, request in self.waiters.pop((message.namespace, message.key), ()):
                self._out.answer(waiter, request, message.value)
        self._out.answer(peer, message.request, is_new)

    def get(self, peer: bytes, message: KvGet) -> None:
        value = self.spaces.get(message.namespace, {}).get(message.key)
        if value is None and message.wait:
            self.waiters.setdefault((message.namespace, message.key), []).append((peer, message.request))
            return
        self._out.answer(peer, message.request, value)

    def delete(self, peer: bytes, message: KvDelete) -> None:
        space = self.spaces.get(message.namespace, {})
        if message.prefix:
            keys = [key for key in space if key.startswith(message.key)]
        else:
            keys = [message.key] if message.key in space else []
        for key in keys:
            del space[key]
            self._out.persist(TABLE, storage_key(message.namespace, key), None)
        if not space:
            self.spaces.pop(message.namespace, None)
        self._out.answer(peer, message.request, len(keys))

    def keys(self, peer: bytes, message: KvKeys) -> None:
        space = self.spaces.get(message.namespace, {})
        self._out.answer(peer, message.request, [key for key in space if key.startswith(message.prefix)])

    def forget_peer(self, peer: bytes) -> None:
        for place, waiters in list(self.waiters.items()):
            left = [waiter for waiter in waiters if waiter[0] != peer]
            if left:
                self.waiters[place] = left
            else:
                del self.waiters[place]

    def restore(self, key: bytes, value: bytes) -> None:
        length = int.from_bytes(key[:2], "big")
        namespace = key[2 : 2 + length].decode()
        self.spaces.setdefault(namespace, {})[key[2 + length :]] = value

    def check(self) -> None:
        for namespace, key in self.waiters:
            if key in self.spaces.get(namespace, {}):
                raise InvariantViolation(f"somebody waits for {key!r} in {namespace!r}, which is there")
