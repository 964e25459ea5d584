"""What the core does between two looks at its sockets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from himalia.cluster.core.commands import Disconnect
from himalia.cluster.core.runtime import Core


class AddedTo(list[Any]):
    """Commands to which another thread adds one just when they were copied."""

    late: Any = None

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if self.late is not None:
            self.append(self.late)
            self.late = None
        return found


def test_what_a_thread_adds_while_messages_leave_is_sent_too() -> None:
    sent: list[bytes] = []
    out = AddedTo([Disconnect(b"first")])
    out.late = Disconnect(b"late")
    core = SimpleNamespace(out=out, bus=SimpleNamespace(disconnect=sent.append), _encode=None, raylet_id=b"")
    Core._flush(cast(Any, core))
    assert sent == [b"first", b"late"]
