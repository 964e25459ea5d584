"""Generators of one kind where the other is wanted: asynchronous in tasks, plain ones on an actor's event loop."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["as_async", "sync_iterator"]


def sync_iterator(generator: Any) -> Any:
    """Iterate an async generator from a synchronous task."""
    loop = asyncio.new_event_loop()
    try:
        while True:
            try:
                yield loop.run_until_complete(anext(generator))
            except StopAsyncIteration:
                return
    finally:
        loop.close()


async def as_async(generator: Any) -> Any:
    """An async iterator over a plain one."""
    for value in generator:
        yield value
