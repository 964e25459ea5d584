"""The errors that Himalia raises.

The names are those of Ray's ``ray.exceptions``. Added are `HimaliaError`, the base of all (`RayError` is the same
class), `SerializationError` for what can not be pickled, and `Origin`, which says where an error comes from.
"""

from __future__ import annotations

from himalia.cluster.protocol.errors import *  # noqa: F403 - one list of names, kept there
from himalia.cluster.protocol.errors import __all__ as __all__  # noqa: PLC0414 - marks it as meant to be seen
