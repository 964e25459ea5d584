"""Placement groups: resources of one or several nodes, reserved together, in which tasks and actors run.

group = placement_group([{"CPU": 2}, {"CPU": 2}], strategy="STRICT_SPREAD")
himalia.get(group.ready())
strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
himalia.get(f.options(scheduling_strategy=strategy).remote())
remove_placement_group(group)
"""

from __future__ import annotations

from typing import Any

from himalia.cluster.core.placement_groups import PlacementGroup

__all__ = [
    "PlacementGroup",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]

_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
_OPTIONS = {"num_cpus": "CPU", "num_gpus": "GPU"}  # of tasks, for what bundles name otherwise


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> PlacementGroup:
    """Reserve bundles of resources, all or none. Returns at once; `PlacementGroup.ready` tells when they are there.

    Parameters
    ----------
    bundles
        What each bundle has, e.g. ``[{"CPU": 2, "GPU": 1}, {"CPU": 1}]``: CPUs, GPUs, bytes of memory, own resources.
        A bundle is on one node.
    strategy
        ``"PACK"`` (the default): on few nodes. ``"SPREAD"``: on many. ``"STRICT_PACK"``: on one node, or not at all.
        ``"STRICT_SPREAD"``: each on a node of its own, or not at all.
    name
        By which `get_placement_group` finds it in this namespace.
    lifetime
        ``"detached"``: until it is removed. None: it ends with its job, or with the detached actor that made it.
    _soft_target_node_id
        Not supported.
    bundle_label_selector
        For each bundle the labels that its node must have, as the option ``label_selector`` of tasks.
    topology_strategy
        Not supported.

    Raises
    ------
    ValueError
        A bundle, the strategy or the lifetime is wrong, the name is taken, or an argument is not supported.
    """
    from himalia.cluster.core.api_core import require_core
    from himalia.cluster.core.id_types import PlacementGroupID
    from himalia.cluster.protocol.common import to_units

    if _soft_target_node_id is not None:
        raise ValueError("_soft_target_node_id is not supported: use bundle_label_selector to choose nodes")
    if topology_strategy is not None:
        raise ValueError("topology_strategy is not supported: give strategy, and bundle_label_selector for labels")
    if strategy is not None and strategy not in _STRATEGIES:
        raise ValueError(f"there is no placement group strategy {strategy!r}; there are: {', '.join(_STRATEGIES)}")
    if lifetime not in (None, "detached"):
        raise ValueError(f'lifetime of a placement group must be "detached" or None, got {lifetime!r}')
    if not isinstance(name, str):
        raise TypeError(f"the name of a placement group must be a string, got {name!r}")
    _check_bundles(bundles)
    labels = bundle_label_selector or []
    _check_labels(labels, bundles)
    units = [to_units(bundle) for bundle in bundles]
    group_id = require_core().groups().create(units, strategy or "PACK", name, lifetime == "detached", labels)
    return PlacementGroup(PlacementGroupID(group_id), [dict(bundle) for bundle in bundles])


def _check_bundles(bundles: Any) -> None:
    if not isinstance(bundles, list):
        raise ValueError(f"bundles must be a list of dicts, got a {type(bundles).__name__}")
    if not bundles:
        raise ValueError('bundles must not be empty: give one dict for each, e.g. [{"CPU": 1}, {"CPU": 1}]')
    for index, bundle in enumerate(bundles):
        if not isinstance(bundle, dict) or not all(isinstance(key, str) for key in bundle):
            raise ValueError(f"bundle {index} must be a dict of resource names to quantities, got {bundle!r}")
        for key, quantity in bundle.items():
            if isinstance(quantity, bool) or not isinstance(quantity, int | float):
                raise ValueError(f"bundle {index} has {quantity!r} of {key}: quantities are numbers")
            if quantity < 0:
                raise ValueError(f"bundle {index} has {quantity:g} of {key}: quantities must not be negative")
            if key in _OPTIONS:
                raise ValueError(f"bundle {index} names {key!r}: in bundles that is {_OPTIONS[key]!r}")
            if key == "GPU" and quantity > 1 and quantity != int(quantity):
                raise ValueError(f"bundle {index} has {quantity:g} GPU: above 1 it must be a whole number")
        if not any(bundle.values()):
            raise ValueError(f"bundle {index} asks for nothing: {bundle!r}")


def _check_labels(labels: Any, bundles: list[dict[str, float]]) -> None:
    if not labels:
        return
    if not isinstance(labels, list) or len(labels) != len(bundles):
        raise ValueError(f"bundle_label_selector must be a list of one dict for each of the {len(bundles)} bundles")
    for index, one in enumerate(labels):
        if not isinstance(one, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in one.items()):
            raise ValueError(f"bundle_label_selector[{index}] must be a dict of strings, got {one!r}")


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give back what a group has reserved. Its actors are killed, and its tasks fail.

    Removing it again does nothing.
    """
    from himalia.cluster.core.current import get_core

    if not isinstance(placement_group, PlacementGroup):
        raise TypeError(f"remove_placement_group() takes a PlacementGroup, got a {type(placement_group).__name__}")
    get_core().groups().remove(placement_group.id.binary())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of a name, in this namespace.

    Raises
    ------
    ValueError
        There is none, or it was removed.
    """
    from himalia.cluster.core.current import get_core
    from himalia.cluster.core.id_types import PlacementGroupID

    if not placement_group_name:
        raise ValueError("get_placement_group() takes the name of a placement group, got an empty one")
    info = get_core().groups().find(placement_group_name)
    return PlacementGroup(PlacementGroupID(info.group_id))


def get_current_placement_group() -> PlacementGroup | None:
    """The group in which the calling task or actor runs; None outside of any, as in a driver."""
    import himalia

    group_id = himalia.get_runtime_context().current_placement_group_id
    return None if group_id.is_nil() else PlacementGroup(group_id)


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """How a group is: its state, and for each bundle its node and resources; without one, all groups by their ids."""
    from himalia.util.state._groups import group_table

    return group_table(placement_group.id.hex() if placement_group is not None else None)
