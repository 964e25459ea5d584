"""The seam: the public API asks whatever engine is installed, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest

import himalia
from himalia.cluster.core import current, engine
from himalia.cluster.core.runtime import Core


class Recording:
    """An engine that notes what it is asked, and answers with what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def called(*args: Any) -> Any:
            self.calls.append((name, args))
            return ([], []) if name in ("wait_for", "resources") else name

        return called


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """`init("fake://…")` connects to a recording engine."""
    made = Recording()

    def factory(address: str, config: dict[str, Any]) -> Recording:
        made.calls.append(("connect", (address, config["namespace"])))
        return made

    point = EntryPoint("fake", "nowhere:factory", "himalia.engines")
    monkeypatch.setattr(EntryPoint, "load", lambda self: factory)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point])
    himalia.init("fake://there:1", namespace="mine")
    yield made
    himalia.shutdown()


def test_the_native_core_is_an_engine() -> None:
    wanted = {name for name in vars(engine.Engine) if not name.startswith("_")}
    assert wanted
    assert all(callable(getattr(Core, name, None)) for name in wanted)


def test_every_call_of_the_api_goes_to_the_engine(recording: Recording) -> None:
    @himalia.remote
    def add(a: int, b: int) -> int:
        return a + b

    @himalia.remote
    class Thing: ...

    add.remote(1, b=2)
    Thing.remote()
    himalia.put("value")
    himalia.get("reference", timeout=3)
    himalia.wait(["reference"])
    himalia.cancel("reference", force=True)
    himalia.kill("actor")
    himalia.get_actor("name")
    himalia.nodes()
    himalia.get_runtime_context()
    assert [name for name, _ in recording.calls] == [
        "connect",
        "submit_function",
        "make_actor",
        "put_value",
        "get_values",
        "wait_for",
        "cancel_task",
        "kill",
        "find_actor",
        "node_table",
        "runtime_context",
    ]
    assert recording.calls[0] == ("connect", ("fake://there:1", "mine"))
    assert recording.calls[1][1] == (add, (1,), {"b": 2})
    assert recording.calls[4][1] == ("reference", 3)


def test_arguments_are_checked_before_the_engine_is_asked(recording: Recording) -> None:
    @himalia.remote
    def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(TypeError, match="add"):
        add.remote(1)
    assert [name for name, _ in recording.calls] == ["connect"]


def test_shutdown_disconnects_the_engine(recording: Recording) -> None:
    assert himalia.is_initialized()
    himalia.shutdown()
    assert not himalia.is_initialized()
    assert recording.calls[-1][0] == "disconnect"


def test_what_only_the_native_engine_can_do_says_so(recording: Recording) -> None:
    with pytest.raises(RuntimeError, match="native engine"):
        current.get_core()


def test_an_address_of_an_engine_that_is_not_installed_names_those_that_are() -> None:
    with pytest.raises(ValueError, match="no engine is installed for nowhere://"):
        himalia.init("nowhere://host:1")


@pytest.mark.parametrize("address", ["auto", "local", "host:1234", "tcp://host:1234", "/tmp/session/cluster.json"])
def test_addresses_of_the_native_engine_have_no_scheme_of_another(address: str) -> None:
    assert engine.scheme_of(address) == ""
