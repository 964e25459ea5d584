"""What keeps one object alive, asked by somebody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import himalia
from himalia.cluster.core.current import get_core
from himalia.cluster.core.explaining import explain_object
from himalia.cluster.gcs.client import GcsClient
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.held_messages import ExplainObject, ObjectExplained
from himalia.dashboard.answers import GcsAnswers
from tests.support.leaks import LeakGuard

LARGE = 200_000


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=2, log_to_driver=False)
        yield
        himalia.shutdown()


pytestmark = pytest.mark.usefixtures("cluster")


def ask(address: Address, object_id: bytes) -> ObjectExplained:
    """What a process tells somebody outside of it."""
    with GcsClient(get_core().options) as client:
        request = client.post(address, ExplainObject(object_id), is_raylet=False)
        [answer] = client.answers([request], 20.0)
    assert isinstance(answer, ObjectExplained)
    return answer


def names(answer: ObjectExplained) -> list[str]:
    return [one.name for one in answer.kept if one.keeper == "name"]


def test_a_script_names_the_variable_that_holds_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = himalia.put(np.zeros(LARGE))
    monkeypatch.setattr(sys.modules["__main__"], "held", {"here": [ref]}, raising=False)
    answer = ask(get_core().address, ref.binary())
    assert answer.is_held
    assert "variable `held['here'][0]`" in names(answer)


def test_a_task_that_has_it_as_an_argument_is_told() -> None:
    @himalia.remote
    def wait(value: Any, gate: Any) -> None:
        pass

    @himalia.remote
    class Gate:
        def open_when(self, seconds: float) -> None:
            import time

            time.sleep(seconds)

    gate = Gate.remote()
    ref = himalia.put(np.zeros(LARGE))
    result = wait.remote(ref, gate.open_when.remote(1.0))
    kept = explain_object(get_core(), ref.binary()).kept
    assert ("task", "wait") in [(one.keeper, one.name.rpartition(".")[2]) for one in kept]
    himalia.get(result)


def test_an_actor_names_the_attribute_that_holds_an_object() -> None:
    @himalia.remote
    class Keeper:
        def keep(self, refs: list[Any]) -> None:
            self.refs = {"last": refs[0]}

    keeper = Keeper.remote()
    ref = himalia.put(np.zeros(LARGE))
    himalia.get(keeper.keep.remote([ref]))
    answers = GcsAnswers(get_core().options)
    rows = answers.rows(f"object:{ref.hex()}")
    answers.close()
    assert "variable `self.refs['last']`" in [row.get("name") for row in rows]
    borrowed = [row for row in rows if row.get("keeper") == "process"]
    assert len(borrowed) == 1


def test_an_object_that_is_not_there_is_not_held() -> None:
    assert not ask(get_core().address, bytes(20)).is_held


def test_who_names_nothing_says_that_no_name_leads_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ref = himalia.put(np.zeros(LARGE))
    monkeypatch.setattr(get_core(), "name_roots", list)
    assert names(ask(get_core().address, ref.binary())) == ["a reference that no name leads to"]
    del ref
