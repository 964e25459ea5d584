"""What users count in their tasks, asked of the processes where they count it."""

from __future__ import annotations

import msgspec

__all__ = ["DescribeMetrics", "MetricsHeld", "OwnMetric", "OwnSample"]


class OwnSample(msgspec.Struct, array_like=True):
    """One series of a process. ``counts``, of a histogram: how many were within each boundary, and beyond the last."""

    tags: list[str]
    value: float  # of a histogram: the sum of all that was observed
    counts: list[int] = []


class OwnMetric(msgspec.Struct, array_like=True):
    """One metric of a process. ``kind``: counter, gauge or histogram; ``samples`` have a tag for each key, in order."""

    name: str
    kind: str
    about: str
    tag_keys: list[str]
    samples: list[OwnSample]
    boundaries: list[float] = []


class DescribeMetrics(msgspec.Struct, array_like=True, tag=93):
    """Tool to core: what do your users count? Answered with `MetricsHeld`."""

    request: int = 0


class MetricsHeld(msgspec.Struct, array_like=True, tag=94):
    """Answer to `DescribeMetrics`."""

    request: int
    worker_id: bytes
    node_id: bytes
    metrics: list[OwnMetric]
