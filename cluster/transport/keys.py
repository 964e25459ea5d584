"""The CURVE key pair of a cluster, and the ZAP rule that admits only those who hold it.

Strategy: one key pair a cluster, kept in its connection file (mode 0600). Who can read the file is a member: each TCP
connection proves the key in both directions, and the ZAP rule below refuses any other client key. A pair for each node
was rejected for now: it needs a signer, and whoever owns the connection file could sign anyway.
"""

from __future__ import annotations

import msgspec

__all__ = ["NO_KEYS", "CurveKeys", "new_keys", "zap_reply"]


class CurveKeys(msgspec.Struct, frozen=True):
    """A Z85 key pair; empty strings where a cluster has no TCP port at all."""

    public: str = ""
    secret: str = ""

    def __repr__(self) -> str:  # a secret must not get into a log by accident
        return f"CurveKeys(public={self.public!r}, secret=…)"


NO_KEYS = CurveKeys()


def new_keys() -> CurveKeys:
    """Draw a key pair."""
    import zmq

    public, secret = zmq.curve_keypair()
    return CurveKeys(public.decode(), secret.decode())


def zap_reply(frames: list[bytes], allowed: bytes) -> list[bytes]:
    """Answer a ZAP 1.0 request: 200 for a CURVE client whose (binary) public key is ``allowed``, else 400.

    The request is (version, sequence, domain, address, identity, mechanism, credentials…), per RFC 27.
    """
    version, sequence = frames[0], frames[1]
    mechanism, credentials = frames[5], frames[6:]
    if version == b"1.0" and mechanism == b"CURVE" and credentials == [allowed]:
        return [b"1.0", sequence, b"200", b"OK", b"member", b""]
    return [b"1.0", sequence, b"400", b"not a member of this cluster", b"", b""]
