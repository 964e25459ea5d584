"""What references and handles show of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.kernel_ext.reprs import Shown, describe_actor, describe_ref
from tests.kernel_ext.notebook import Notebook
from tests.support.leaks import LeakGuard


@pytest.fixture(scope="module")
def cluster(leak_guard: LeakGuard) -> Iterator[None]:
    with leak_guard.shared("the cluster of this module"):
        himalia.init(num_cpus=1, object_store_memory=80_000_000)
        yield
        himalia.shutdown()


pytestmark = pytest.mark.usefixtures("cluster")


def wait_for_file(path: str) -> str:
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)
    return "done"


def echo(value: Any) -> Any:
    return value


def fail() -> None:
    raise ValueError("no <such> thing")


def rows(shown: Shown) -> dict[str, str]:
    return dict(shown.rows)


def test_a_small_value_is_in_this_process() -> None:
    shown = describe_ref(himalia.put([1, 2, 3]))
    assert shown.state == "ready"
    assert rows(shown)["where"] == "in this process"
    assert rows(shown)["made by"] == "put"


def test_a_large_value_is_in_the_object_store() -> None:
    shown = describe_ref(himalia.put(bytes(5_000_000)))
    assert rows(shown)["size"] == "5.0 MB"
    assert rows(shown)["where"] == "object store of this node"


def test_a_large_result_names_its_function() -> None:
    ref = himalia.remote(echo).remote(bytes(2_000_000))
    himalia.wait([ref])
    assert rows(describe_ref(ref))["made by"] == "echo"


def test_a_task_goes_from_pending_over_running_to_ready(tmp_path: Path) -> None:
    waiter = himalia.remote(wait_for_file)
    running = waiter.remote(str(tmp_path / "file"))
    queued = waiter.remote(str(tmp_path / "file"))
    dependent = himalia.remote(echo).remote(queued)
    assert describe_ref(dependent).state.startswith("pending")
    while describe_ref(running).state != "running":
        himalia.wait([running], timeout=0.01)
    assert rows(describe_ref(running))["function"] == "wait_for_file"
    assert "pid" in rows(describe_ref(running))["where"]
    assert describe_ref(queued).state.startswith("pending")
    assert describe_ref(dependent).state.startswith("pending")
    (tmp_path / "file").touch()
    assert himalia.get(dependent) == "done"
    assert [describe_ref(ref).state for ref in (running, queued, dependent)] == ["ready"] * 3


def test_an_error_shows_its_type_text_and_function() -> None:
    ref = himalia.remote(max_retries=0)(fail).remote()
    himalia.wait([ref])
    shown = describe_ref(ref)
    assert shown.state == "failed: ValueError"
    assert rows(shown)["error"] == "no <such> thing"
    assert rows(shown)["function"] == "fail"
    bundle = shown.bundle()
    assert "no &lt;such&gt; thing" in bundle["text/html"]
    assert "no <such> thing" in bundle["text/plain"]


def test_several_returns_are_told_apart() -> None:
    first, second = himalia.remote(num_returns=2)(echo).remote((1, 2))
    assert describe_ref(second).title == f"{describe_ref(first).title}.2"


def test_an_actor_shows_state_name_and_why_it_died() -> None:
    class Named:
        def ping(self) -> int:
            return 1

    actor = himalia.remote(Named).options(name="shown").remote()
    himalia.get(actor.ping.remote())
    shown = describe_actor(actor)
    assert (shown.state, rows(shown)["name"], rows(shown)["where"]) == ("alive", "shown", "this node")
    himalia.kill(actor)
    while describe_actor(actor).state != "dead":
        himalia.wait([actor.ping.remote()], timeout=0.05)
    assert rows(describe_actor(actor))["reason"]


def test_a_notebook_shows_html_with_its_text_and_lists_show_lines(kernel: Notebook) -> None:
    cell = kernel.run("ref = himalia.put(1)\nref")
    assert set(cell.shown[0]) == {"text/html", "text/plain"}
    assert "ready" in cell.shown[0]["text/html"]
    assert "<script" not in cell.shown[0]["text/html"]
    assert re.search(r"where +in this process", cell.text)
    assert kernel.value("[ref]").startswith("[<ObjectRef ")
    cell = kernel.run("@himalia.remote\nclass A:\n    pass\na = A.remote()\na")
    assert cell.text.startswith("Actor A: ")
