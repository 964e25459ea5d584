"""Clusters listed, started, scaled and stopped by way of a Jupyter server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import himalia
from himalia.cluster.launchers.boot import ConnectionInfo
from himalia.cluster.launchers.session import (
    SessionRecord,
    create_session,
    process_started,
    remove_session,
    running_sessions,
    write_connection_file,
    write_record,
)
from himalia.cluster.protocol.common import Address
from tests.kernel_ext.lab.conftest import JupyterServer


@pytest.fixture
def cluster() -> Any:
    yield himalia.init(num_cpus=2)
    himalia.shutdown()


def until(holds: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)
    return found


def listed(jupyter: JupyterServer) -> dict[str, Any]:
    answer = jupyter.ask("GET", "api/clusters")
    assert answer.status == 200, answer.body
    return {entry["id"]: entry for entry in answer.value}


def own_id() -> str:
    return next(info.cluster_id for info in running_sessions())


@pytest.mark.usefixtures("cluster")
def test_a_cluster_that_this_process_started_is_listed_with_what_runs_in_it(jupyter: JupyterServer) -> None:
    @himalia.remote
    def wait(path: str) -> None:
        while not os.path.exists(path):
            time.sleep(0.02)

    refs = [wait.remote("/dev/null/never") for _ in range(3)]
    cluster_id = own_id()
    tasks = {"running": 2, "waiting": 1, "rate": 0.0}  # what waits, an owner says once a second
    entry = until(lambda: (found := listed(jupyter)[cluster_id])["tasks"] == tasks and found)
    assert entry["cpus"] == {"used": 2.0, "total": 2.0, "most": 0.0}
    assert [driver["pid"] for driver in entry["drivers"]] == [os.getpid()]
    assert (entry["owner"], entry["ends_with_server"], entry["problem"]) == (os.getpid(), False, "")
    for ref in refs:
        himalia.cancel(ref, force=True)


def test_one_can_be_started_scaled_and_stopped(jupyter: JupyterServer) -> None:
    answer = jupyter.ask("POST", "api/clusters", {"cpus": 1, "name": "from the side bar"})
    assert answer.status == 201, answer.body
    cluster_id = answer.value["id"]
    entry = listed(jupyter)[cluster_id]
    assert (entry["name"], entry["cpus"]["total"], entry["ends_with_server"]) == ("from the side bar", 1.0, True)
    host = next(info.pid for info in running_sessions() if info.cluster_id == cluster_id)

    assert jupyter.ask("POST", f"api/clusters/{cluster_id}/scale", {"cpus": 3}).value == {"cpus": 3}
    assert listed(jupyter)[cluster_id]["cpus"]["total"] == 3.0

    assert jupyter.ask("DELETE", f"api/clusters/{cluster_id}").value == {"nodes": 1}
    assert cluster_id not in listed(jupyter)
    until(lambda: not psutil.pid_exists(host))  # also no zombie, which only the server could reap
    assert jupyter.ask("DELETE", f"api/clusters/{cluster_id}").status == 404


@pytest.mark.usefixtures("cluster")
def test_one_that_hangs_is_listed_with_the_reason_and_does_not_hide_the_others(jupyter: JupyterServer) -> None:
    hanging = own_id()
    other = jupyter.ask("POST", "api/clusters", {"cpus": 1}).value["id"]
    host = next(info.pid for info in running_sessions() if info.cluster_id == hanging)
    gcs = next(child for child in psutil.Process(host).children() if "gcs" in child.name())
    gcs.suspend()
    try:
        entries = until(lambda: (found := listed(jupyter))[hanging]["problem"] and found)
        assert "did not answer" in entries[hanging]["problem"]
        assert (entries[other]["problem"], entries[other]["cpus"]["total"]) == ("", 1.0)
    finally:
        gcs.resume()
    until(lambda: not listed(jupyter)[hanging]["problem"])
    assert jupyter.ask("DELETE", f"api/clusters/{other}").status == 200


def test_one_of_another_release_is_listed_with_the_reason(jupyter: JupyterServer) -> None:
    node_id = os.urandom(8)
    folder = create_session(node_id)
    here = {"pid": os.getpid(), "pid_started": process_started(os.getpid())}
    cluster_id = os.urandom(8).hex()
    write_record(folder, SessionRecord(node_id=node_id, cluster_id=cluster_id, spill_dir=folder, is_head=True, **here))
    nobody = Address(node_id, node_id)
    write_connection_file(
        ConnectionInfo(
            cluster_id=cluster_id, node_id=node_id, gcs=nobody, raylet=nobody, session_dir=folder, protocol=99, **here
        )
    )
    try:
        assert "version 99 of the protocol" in listed(jupyter)[cluster_id]["problem"]
    finally:
        remove_session(folder)


def test_one_that_was_started_without_keep_ends_with_the_server_however_that_ends(tmp_path: Path) -> None:
    script = (
        "import asyncio, os, signal\n"
        "from himalia.cluster.launchers.boot import NodeOptions\n"
        "from himalia.kernel_ext.lab.clusters import Clusters\n"
        "async def main():\n"
        "    clusters = Clusters()\n"
        "    kept = await clusters.start(NodeOptions(num_cpus=1), keep=True)\n"
        "    await clusters.start(NodeOptions(num_cpus=1), keep=False)\n"
        "    print(kept, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    until(lambda: [info.cluster_id for info in running_sessions()] == [done.stdout.strip()])
    from himalia.cluster.launchers.local import stop_all

    assert stop_all(done.stdout.strip()) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"cpus": 0}, "cpus can not be 0"),
        ({"object_store_memory": -1}, "object_store_memory can not be -1"),
        ({"name": "x" * 65}, "64 letters at most, not 65"),
        ({"colour": "red"}, "unknown field `colour`"),
        (b"{", "no description of a cluster"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused_with_the_reason(
    jupyter: JupyterServer, body: Any, words: str
) -> None:
    answer = jupyter.ask("POST", "api/clusters", body)
    assert answer.status == 400
    assert words in answer.value["message"]


def test_what_can_not_be_scaled_says_why(jupyter: JupyterServer) -> None:
    assert jupyter.ask("POST", f"api/clusters/{'0' * 16}/scale", {"cpus": 2}).status == 404
    assert jupyter.ask("POST", f"api/clusters/{'0' * 16}/scale", {"cpus": 0}).status == 400


def test_pages_of_the_dashboard_are_told_with_their_titles(jupyter: JupyterServer) -> None:
    pages = jupyter.ask("GET", "api/pages").value
    assert {"name", "title", "about"} <= pages[0].keys()
    assert pages[0]["name"] == "overview"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "api/clusters"), ("POST", "api/clusters"), ("GET", "api/pages"), ("DELETE", f"api/clusters/{'0' * 16}")],
)
def test_who_has_not_logged_in_to_the_server_is_told_nothing(jupyter: JupyterServer, method: str, path: str) -> None:
    assert jupyter.ask(method, path, {} if method == "POST" else None, headers={}).status == 403


def test_a_forged_request_of_a_browser_that_is_logged_in_changes_nothing(jupyter: JupyterServer) -> None:
    cookies = jupyter.browser()
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    assert jupyter.ask("GET", "api/clusters", headers=cookie).status == 200
    before = listed(jupyter)
    assert jupyter.ask("POST", "api/clusters", {"cpus": 1}, headers=cookie).status == 403
    assert listed(jupyter) == before
    # The page itself has the cookie's value to send along; what it asks for is refused for another reason.
    sent = {**cookie, "X-XSRFToken": cookies["_xsrf"]}
    assert jupyter.ask("POST", "api/clusters", {"cpus": 0}, headers=sent).status == 400
