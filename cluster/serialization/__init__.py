"""Values, functions, classes and errors as bytes, and back."""

from __future__ import annotations

from .context import note_made, note_ref, rebuild_ref, set_out_of_band_hook, set_ref_factory
from .error_values import deserialize_error, serialize_error
from .functions import Capture, Exported, export_function, import_function
from .inspect import explain_unpicklable, inspect_serializability
from .layout import Kind, LayoutError, kind_of, pack, pack_into, pack_size, unpack
from .signature import CallSignature
from .values import (
    Serialized,
    deregister_serializer,
    deserialize,
    deserialize_args,
    register_serializer,
    serialize,
    serialize_args,
)

__all__ = [
    "CallSignature",
    "Capture",
    "Exported",
    "Kind",
    "LayoutError",
    "Serialized",
    "deregister_serializer",
    "deserialize",
    "deserialize_args",
    "deserialize_error",
    "explain_unpicklable",
    "export_function",
    "import_function",
    "inspect_serializability",
    "kind_of",
    "note_made",
    "note_ref",
    "pack",
    "pack_into",
    "pack_size",
    "rebuild_ref",
    "register_serializer",
    "serialize",
    "serialize_args",
    "serialize_error",
    "set_out_of_band_hook",
    "set_ref_factory",
    "unpack",
]
