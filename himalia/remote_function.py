"""The type of what `himalia.remote` makes of a function."""

from __future__ import annotations

from himalia.cluster.core.remote_function import RemoteFunction

__all__ = ["RemoteFunction"]
