"""The dashboard's socket, and when the process behind it is started."""

from __future__ import annotations

import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from himalia.cluster.launchers import doorway
from himalia.cluster.launchers.boot import ConnectionInfo, NodeOptions, dashboard_link
from himalia.cluster.launchers.doorway import DoorError, Rules, open_door, warnings_of
from himalia.cluster.launchers.local import NodeStartError
from himalia.cluster.launchers.session import TOKEN_FILE
from himalia.cluster.protocol.common import Address

from .conftest import Node, eventually, kill

StartNode = Callable[..., Node]

# Rules ---------------------------------------------------------------------------------------------------------------


def test_one_that_nobody_asked_for_is_started_by_the_first_connection_only() -> None:
    rules = Rules(is_wanted=False, now=10.0)
    assert rules.is_watched(10.0)
    assert not rules.is_due(1e9)
    assert rules.wait(10.0) is None
    rules.started(11.0)
    assert not rules.is_watched(12.0)
    assert rules.wait(12.0) is None


def test_one_that_was_asked_for_starts_when_the_first_workers_had_their_turn() -> None:
    rules = Rules(is_wanted=True, now=10.0)
    wait = rules.wait(10.0)
    assert wait is not None
    assert 0 < wait < 1
    assert not rules.is_due(10.0)
    assert rules.is_due(10.0 + wait)


@pytest.mark.parametrize("is_wanted", [True, False])
def test_one_that_left_in_order_may_come_again_at_once(is_wanted: bool) -> None:
    rules = Rules(is_wanted, now=0.0)
    rules.started(1.0)
    rules.ended(700.0, in_order=True)
    assert rules.is_watched(700.0)
    assert rules.is_due(700.0) is is_wanted


def test_one_that_fails_whenever_it_begins_is_given_more_time_each_time() -> None:
    rules = Rules(is_wanted=False, now=0.0)
    now, pauses = 0.0, []
    for _ in range(9):
        rules.started(now)
        rules.ended(now + 0.125, in_order=False)  # a number that floats hold exactly
        now += 0.125
        assert not rules.is_watched(now)
        pause = rules.wait(now)
        assert pause is not None
        pauses.append(pause)
        now += pause
        assert rules.is_watched(now)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1.0
    assert pauses[-1] == pauses[-2] <= 60.0


def test_one_that_was_killed_after_it_worked_for_long_is_given_little_time() -> None:
    rules = Rules(is_wanted=False, now=0.0)
    for begin in (0.0, 100.0, 200.0):
        rules.started(begin)
        rules.ended(begin + 50, in_order=False)
        wait = rules.wait(begin + 50)
        assert wait is not None
        assert wait <= 1.0


# The socket ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def opened_port(options: NodeOptions) -> int:
    door = open_door(options)
    assert door is not None
    door.close()
    return int(door.url.rpartition(":")[2])


def test_the_first_free_port_after_the_usual_one_is_taken(monkeypatch: pytest.MonkeyPatch, taken: int) -> None:
    monkeypatch.setattr(doorway, "FIRST_PORT", taken)
    assert taken < opened_port(NodeOptions()) <= taken + 50


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_names_it(taken: int) -> None:
    with pytest.raises(DoorError, match=rf"cannot listen on 127.0.0.1:{taken}: Address already in use"):
        open_door(NodeOptions(dashboard_port=taken))


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(DoorError, match=r"192\.0\.2\.1"):
        open_door(NodeOptions(dashboard_host="192.0.2.1"))


def test_without_a_network_there_is_none_unless_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(doorway, "_bind", refuse)
    assert open_door(NodeOptions()) is None
    with pytest.raises(DoorError, match="Operation not permitted"):
        open_door(NodeOptions(include_dashboard=True))


def test_each_has_a_token_of_its_own() -> None:
    tokens = set()
    for _ in range(2):
        door = open_door(NodeOptions(dashboard_port=0))
        assert door is not None
        door.close()
        tokens.add(door.token)
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


def test_a_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(DoorError, match=r"bad\.pem"):
        open_door(NodeOptions(dashboard_certificate=str(tmp_path / "bad.pem")))
    with pytest.raises(DoorError, match="key without its certificate"):
        open_door(NodeOptions(dashboard_key=str(tmp_path / "bad.pem")))


@pytest.mark.parametrize(
    ("url", "warns"),
    [
        ("http://127.0.0.1:8265", False),
        ("http://localhost:8265", False),
        ("http://10.0.0.1:8265", True),
        ("https://10.0.0.1:8265", False),
        ("", False),
    ],
)
def test_who_opens_it_to_a_network_without_tls_is_warned(url: str, warns: bool) -> None:
    nowhere = Address(b"", b"", "")
    info = ConnectionInfo(cluster_id="c", node_id=b"", gcs=nowhere, raylet=nowhere, session_dir="", dashboard_url=url)
    assert bool(warnings_of(info)) is warns


# A node --------------------------------------------------------------------------------------------------------------


def status_of(node: Node, token: str = "") -> int:
    """What the dashboard answers."""
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(f"{node.info.dashboard_url}/", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_nothing_runs_before_somebody_looks_and_then_it_answers_him(start_node: StartNode) -> None:
    node = start_node(include_dashboard=None)
    node.wait_for_workers(2)
    assert set(node.children()) == {"host", "gcs", "raylet", "worker"}
    assert status_of(node, node.info.dashboard_token) == 200
    assert len(node.children()["dashboa"]) == 1


def test_one_that_was_asked_for_runs_from_the_beginning(start_node: StartNode) -> None:
    node = start_node(include_dashboard=True)
    eventually(lambda: node.children().get("dashboa"), "a dashboard")


@pytest.mark.chaos
@pytest.mark.parametrize("is_wanted", [True, None])
def test_one_that_is_killed_comes_again_and_the_cluster_does_not_notice(
    start_node: StartNode, is_wanted: bool | None
) -> None:
    node = start_node(include_dashboard=is_wanted)
    node.wait_for_workers(2)
    assert status_of(node, node.info.dashboard_token) == 200
    before = node.children()
    kill(before["dashboa"][0])
    assert status_of(node, node.info.dashboard_token) == 200
    after = node.children()
    assert after.pop("dashboa") != before.pop("dashboa")
    assert after == before


@pytest.mark.chaos
def test_it_ends_with_the_host_however_that_ends(start_node: StartNode) -> None:
    node = start_node(include_dashboard=None)
    assert status_of(node) == 401
    (dashboard,) = node.children()["dashboa"]
    kill(node.children()["host"][0])
    eventually(lambda: not dashboard.is_running(), "its end")


def test_its_port_is_closed_when_the_cluster_has_ended(start_node: StartNode) -> None:
    node = start_node(include_dashboard=None)
    assert status_of(node) == 401
    node.process.stop()
    with pytest.raises(OSError, match="refused"):
        status_of(node)


def test_the_token_is_in_files_that_only_the_user_can_read(start_node: StartNode) -> None:
    node = start_node(include_dashboard=None)
    file = Path(node.info.session_dir) / TOKEN_FILE
    assert file.read_text() == node.info.dashboard_token
    assert file.stat().st_mode & 0o777 == 0o600
    for process in node.children()["host"]:
        assert node.info.dashboard_token not in " ".join(process.cmdline())


def test_a_node_that_joins_has_none_of_its_own_but_knows_the_clusters(start_node: StartNode) -> None:
    head = start_node(include_dashboard=None, tcp_host="127.0.0.1")
    other = start_node(join=head.info)
    assert other.info.dashboard_url == head.info.dashboard_url
    assert other.info.dashboard_token == head.info.dashboard_token
    with contextlib.suppress(ConnectionError):
        assert status_of(other) == 401
    assert "dashboa" not in other.children()


def test_a_node_whose_dashboard_cannot_be_does_not_start(start_node: StartNode, taken: int) -> None:
    with pytest.raises(NodeStartError, match="the dashboard cannot listen on"):
        start_node(include_dashboard=None, dashboard_port=taken)


def test_a_link_logs_in() -> None:
    assert dashboard_link("http://h:1", "abc") == "http://h:1/?token=abc"
    assert dashboard_link("http://h:1", "abc", "tasks") == "http://h:1/page/tasks?token=abc"
