"""Where the calling code runs: job, node, task, actor."""

from __future__ import annotations

from himalia.cluster.core.api import get_runtime_context
from himalia.cluster.core.runtime_context import RuntimeContext

__all__ = ["RuntimeContext", "get_runtime_context"]
