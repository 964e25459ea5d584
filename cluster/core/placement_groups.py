"""`PlacementGroup`: a handle to resources that were reserved together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol.common import from_units
from .current import get_core
from .id_types import PlacementGroupID

if TYPE_CHECKING:
    from .refs import ObjectRef

__all__ = ["PlacementGroup"]


class PlacementGroup:
    """Bundles of resources that are there together or not at all. `himalia.util.placement_group` makes one.

    It can be passed to tasks and actors, and does not keep the group alive.
    """

    @staticmethod
    def empty() -> PlacementGroup:
        """The group that names none: what uses it runs outside of any."""
        return PlacementGroup(PlacementGroupID.nil())

    def __init__(self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None) -> None:  # noqa: A002
        self.id = id
        self.bundle_cache = bundle_cache

    @property
    def is_empty(self) -> bool:
        """Whether it names none."""
        return self.id.is_nil()

    def ready(self) -> ObjectRef:
        """A reference to this group, which is ready once all its bundles are in place.

        Getting it raises `TaskPlacementGroupRemoved` if the group was removed.
        """
        return get_core().groups().ready(self.id.binary(), self)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until all bundles are in place; False if they are not after so many seconds, or it was removed."""
        return get_core().groups().wait(self.id.binary(), timeout_seconds)

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """What each bundle has."""
        if self.bundle_cache is None:
            if self.is_empty:
                return []
            self.bundle_cache = [from_units(bundle) for bundle in get_core().groups().bundles(self.id.binary())]
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """How many bundles there are."""
        return len(self.bundle_specs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacementGroup, (self.id, self.bundle_cache)

    def __repr__(self) -> str:
        return f"PlacementGroup({self.id.hex()})"
