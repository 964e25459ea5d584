"""The page on compatibility is complete and true: of Ray's names where Ray is installed, of ours everywhere."""

from __future__ import annotations
import __future__

import importlib
import inspect
import sys
from collections import Counter
from typing import Any

import pytest

import himalia
from himalia.exceptions import HimaliaError
from tools.ray_api import STATUSES, Row, read_page, signature_differences, signature_of

ROWS = read_page()

#: Sections whose names are options and not attributes of a module.
OPTION_SECTIONS = frozenset(
    {
        "Parameters of `init`",
        "Options of tasks",
        "Options of actors",
        "Options of methods",
        "Keys of a runtime environment",
    }
)
ATTRIBUTES = [row for row in ROWS if row.section not in OPTION_SECTIONS]

#: Classes whose instances the engine makes, so that the parameters of their constructors are nobody's.
MADE_BY_THE_ENGINE = frozenset(
    {
        "ray.ObjectRefGenerator",
        "ray.actor.ActorClass",
        "ray.actor.ActorHandle",
        "ray.actor.ActorMethod",
        "ray.remote_function.RemoteFunction",
        "ray.runtime_context.RuntimeContext",
    }
)

#: A value that each option takes.
SAMPLES: dict[str, Any] = {
    "accelerator_type": "H100",
    "allow_out_of_order_execution": True,
    "concurrency_group": "io",
    "concurrency_groups": {"io": 2},
    "enable_task_events": False,
    "get_if_exists": True,
    "label_selector": {"zone": "a"},
    "lifetime": "detached",
    "max_calls": 3,
    "max_concurrency": 4,
    "max_pending_calls": 5,
    "max_restarts": -1,
    "max_retries": 2,
    "max_task_retries": 2,
    "memory": 10**6,
    "name": "someone",
    "namespace": "somewhere",
    "num_cpus": 0.5,
    "num_gpus": 1,
    "num_returns": 2,
    "object_store_memory": 10**6,
    "resources": {"slot": 1},
    "retry_exceptions": [ValueError],
    "runtime_env": {"env_vars": {"A": "b"}},
    "scheduling_strategy": "SPREAD",
}


def ours(name: str) -> Any:
    """Find what Himalia has under a name of Ray's; `LookupError` if there is nothing."""
    parts = name.split(".")
    assert parts[0] == "ray"
    found: Any = himalia
    path = "himalia"
    for part in parts[1:]:
        path = f"{path}.{part}"
        try:
            # Modules load some of their names when asked. Members of classes are not asked, as that calls properties.
            found = getattr(found, part) if inspect.ismodule(found) else inspect.getattr_static(found, part)
        except AttributeError:
            found = in_module(path)
        if isinstance(found, __future__._Feature):  # `from __future__ import annotations` leaves a name behind
            raise LookupError(f"there is no {path}")
    return found


def in_module(path: str) -> Any:
    """A module, or what is in one that its package hides behind a function of the same name."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError as missing:
        parent, _, name = path.rpartition(".")
        hidden = sys.modules.get(parent)
        if hidden is None or not hasattr(hidden, name):
            raise LookupError(f"there is no {path}") from missing
        return getattr(hidden, name)


def row_id(row: Row) -> str:
    return f"{row.section}: {row.name}"


# The page itself ------------------------------------------------------------------------------------------------------


def test_the_page_has_every_section_once_and_no_row_twice() -> None:
    assert len(ROWS) > 400
    twice = [name for name, count in Counter((row.section, row.name) for row in ROWS).items() if count > 1]
    assert not twice


def test_every_row_has_a_status_and_says_why_it_is_not_the_same() -> None:
    wrong = [row_id(row) for row in ROWS if row.status not in STATUSES]
    silent = [row_id(row) for row in ROWS if row.status != "same" and not row.note]
    assert not wrong
    assert not silent


# Ours -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [row for row in ATTRIBUTES if row.status != "absent"], ids=row_id)
def test_what_the_page_says_is_there_is_there(row: Row) -> None:
    assert ours(row.name) is not None


@pytest.mark.parametrize("row", [row for row in ATTRIBUTES if row.status == "absent"], ids=row_id)
def test_what_the_page_says_is_absent_is_absent(row: Row) -> None:
    with pytest.raises(LookupError):
        ours(row.name)


def decorate(section: str, options: dict[str, Any]) -> None:
    def function() -> None: ...

    class Actor:
        def method(self) -> None: ...

    if section == "Options of tasks":
        himalia.remote(**options)(function)
    elif section == "Options of actors":
        himalia.remote(**options)(Actor)
    else:
        himalia.method(**options)(Actor.method)


@pytest.mark.parametrize("row", [row for row in ROWS if row.section.startswith("Options of")], ids=row_id)
def test_options_are_taken_or_refused_as_the_page_says(row: Row) -> None:
    if row.status == "absent":
        with pytest.raises(ValueError, match=row.name):
            decorate(row.section, {row.name: SAMPLES.get(row.name, 1)})
    else:
        decorate(row.section, {row.name: SAMPLES[row.name]})


@pytest.mark.parametrize("row", [row for row in ROWS if row.section == "Parameters of `init`"], ids=row_id)
def test_parameters_of_init_are_there_or_not_as_the_page_says(row: Row) -> None:
    assert (row.name in inspect.signature(himalia.init).parameters) == (row.status != "absent")


@pytest.mark.parametrize("row", [row for row in ROWS if row.section == "Keys of a runtime environment"], ids=row_id)
def test_keys_of_a_runtime_environment_are_taken_or_refused_as_the_page_says(row: Row) -> None:
    values: dict[str, Any] = {"env_vars": {"A": "b"}, "working_dir": "/", "config": {"setup_timeout_seconds": 60}}
    environment = {row.name: values.get(row.name, ["x"])}
    if row.status == "absent":
        with pytest.raises(ValueError, match=row.name):
            decorate("Options of tasks", {"runtime_env": environment})
    else:
        decorate("Options of tasks", {"runtime_env": environment})


# Ray's ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ray_names() -> dict[str, dict[str, Any]]:
    """All names of the installed Ray, by section; the test is skipped without the release that the page is about."""
    ray = pytest.importorskip("ray", reason="Ray is not installed, so there is nothing to compare with")
    if not ray.__version__.startswith("2.60."):
        pytest.skip(f"the page is about Ray 2.60, and {ray.__version__} is installed")
    from tools.ray_api import extract

    return extract()


pytestmark = pytest.mark.filterwarnings("ignore")  # importing all of Ray brings its own deprecations


@pytest.mark.ray
def test_the_page_lists_exactly_the_names_that_ray_has(ray_names: dict[str, dict[str, Any]]) -> None:
    listed = {(row.section, row.name) for row in ROWS}
    existing = {(section, name) for section, names in ray_names.items() for name in names}
    assert not sorted(existing - listed), "add these to docs/ray-compatibility.md (python tools/ray_api.py --missing)"
    assert not sorted(listed - existing), "Ray has none of these"


@pytest.mark.ray
def test_parameters_agree_where_the_page_says_the_same_and_differ_as_it_says(
    ray_names: dict[str, dict[str, Any]],
) -> None:
    wrong: list[str] = []
    for row in ATTRIBUTES:
        if row.status == "absent" or row.name in MADE_BY_THE_ENGINE:
            continue
        theirs, own = signature_of(ray_names[row.section][row.name]), signature_of(ours(row.name))
        if theirs is None or own is None:
            continue
        wrong += [
            f"{row.name}({parameter}): {row.status}; theirs {theirs}, ours {own}"
            for parameter in signature_differences(theirs, own)
            if row.status == "same" or f"`{parameter}`" not in row.note
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.ray
def test_what_is_a_property_or_a_method_is_so_here_too(ray_names: dict[str, dict[str, Any]]) -> None:
    wrong = [
        row.name
        for row in ATTRIBUTES
        if row.status == "same"
        and isinstance(ray_names[row.section][row.name], property) != isinstance(ours(row.name), property)
    ]
    assert not wrong


@pytest.mark.ray
def test_exceptions_have_rays_families(ray_names: dict[str, dict[str, Any]]) -> None:
    def family(cls: type) -> list[str]:
        return [base.__name__.replace(HimaliaError.__name__, "RayError") for base in cls.__mro__]

    for name, theirs in ray_names["Exceptions"].items():
        assert family(ours(name)) == family(theirs), name


@pytest.mark.ray
def test_exceptions_can_be_made_with_rays_arguments(ray_names: dict[str, dict[str, Any]]) -> None:
    wrong = {}
    for name, theirs in ray_names["Exceptions"].items():
        if "__init__" in vars(theirs) and (
            found := signature_differences(*map(inspect.signature, (theirs, ours(name))))
        ):
            wrong[name] = found
    noted = {row.name: row.note for row in ROWS if row.section == "Exceptions"}
    assert {name: found for name, found in wrong.items() if not all(f"`{each}`" in noted[name] for each in found)} == {}
