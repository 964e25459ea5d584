"""What programs use beside the core: pools, queues, and the state API."""

from __future__ import annotations

__all__: list[str] = []
