"""What the GCS asks nodes when somebody looks at them, and their answers.

Nothing of this is measured or sent while nobody asks: see `gcs/surveys_machine.py` for who asks when.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["NODE_QUESTIONS", "NodeAnswer", "NodeQuestion"]

NODE_QUESTIONS: Final = frozenset({"function_memory", "gpu_stats", "node_stats", "pending", "worker_stats"})
"""What a node can be asked: see `raylet/survey.py`."""


class NodeQuestion(msgspec.Struct, array_like=True, tag=60):
    """GCS to raylet: answer with the rows of ``what``, on your own connection to me. ``round``: my number of it."""

    what: str
    round: int


class NodeAnswer(msgspec.Struct, array_like=True, tag=60):
    """Raylet to GCS: ``rows`` is msgpack of a list of dictionaries, which the GCS passes on undecoded."""

    what: str
    round: int
    rows: msgspec.Raw
