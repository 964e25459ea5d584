"""Why a placement group waits, and why something waits in one."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.pending_groups import GroupReasons
from himalia.cluster.protocol.common import to_units
from himalia.cluster.protocol.gcs_messages import ListState, NodeReport
from himalia.cluster.protocol.group_messages import CreateGroup, GroupSpec, PrepareBundles, RemoveGroup, ReportBundles
from himalia.cluster.protocol.ids import make_task_id
from tests.gcs.cluster_on_paper import Driver, OnPaper, Raylet

ONE = to_units({"CPU": 1.0})


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


@pytest.fixture
def node(paper: OnPaper) -> Raylet:
    return paper.node(1, CPU=2)


@pytest.fixture
def driver(paper: OnPaper, node: Raylet) -> Driver:
    return paper.driver(1, node)


def create(driver: Driver, *cpus: float, name: str = "") -> bytes:
    group_id = make_task_id(driver.peer, driver.paper.new_counter())
    bundles = [to_units({"CPU": count}) for count in cpus]
    driver.paper.say(
        driver.peer, CreateGroup(group_id, GroupSpec(bundles, "PACK", driver.job_id, driver.address, name))
    )
    return group_id


def place(node: Raylet) -> None:
    asked = node.took(PrepareBundles)[-1]
    node.paper.say(node.peer, ReportBundles(asked.group_id, asked.attempt))


def why(
    paper: OnPaper, group_id: bytes, index: int = -1, state: str = "granting", text: str = "", **need: float
) -> tuple[str, str]:
    return GroupReasons(paper.machine).member(group_id, index, to_units(need), state, text)


def test_a_group_that_waits_is_a_row_with_its_reason(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    large, first, second = create(driver, 9), create(driver, 2, name="first"), create(driver, 2)
    paper.wait(1.5)
    node.heartbeat()
    rows = {row["group_id"]: row for row in GroupReasons(paper.machine).rows()}
    assert (rows[large]["verdict"], rows[large]["kind"]) == ("never", "placement group")
    assert "9 CPU" in rows[large]["reason"]
    assert rows[first]["verdict"] == "starting"
    assert node.node_id.hex() in rows[first]["reason"]
    assert (rows[second]["verdict"], rows[second]["name"]) == ("busy", second.hex())
    assert rows[second]["waited"] == pytest.approx(1.5)
    place(node)
    assert first not in {row["group_id"] for row in GroupReasons(paper.machine).rows()}


def test_what_waits_in_a_group_waits_for_the_group_first(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    never, group_id = create(driver, 9), create(driver, 1, name="soon")
    assert why(paper, never, CPU=1)[0] == "never"
    verdict, reason = why(paper, group_id, CPU=1)
    assert verdict == "group"
    assert reason.startswith("It waits for placement group 'soon', which is PENDING.")


def test_then_for_a_bundle_of_it(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    group_id = create(driver, 1)
    place(node)
    assert why(paper, group_id, CPU=1) == ("granting", "It is about to be sent to its bundle")
    assert why(paper, group_id, state="busy", CPU=1)[0] == "moving"
    paper.say(node.peer, NodeReport(ONE, bundles=[(group_id, 0, {"CPU": 0})]))
    verdict, reason = why(paper, group_id, state="busy", CPU=1)
    assert verdict == "busy"
    assert reason.endswith(f"to come free: bundle 0 (node {node.node_id.hex()}) has 0 CPU of its 1 free")
    assert why(paper, group_id, state="starting", text="a worker starts", CPU=1) == ("starting", "A worker starts")


def test_what_can_never_be_is_said(paper: OnPaper, node: Raylet, driver: Driver) -> None:
    group_id = create(driver, 1)
    place(node)
    for index, said in ((-1, "no bundle is so large"), (0, "bundle 0 is so large"), (5, "bundle 5 is so large")):
        verdict, reason = why(paper, group_id, index, CPU=2)
        assert (verdict, said in reason) == ("never", True)
    paper.ask(driver.peer, RemoveGroup(group_id))
    assert why(paper, group_id, CPU=1) == ("failed", f"Its placement group {group_id.hex()} was removed")


def test_rows_of_the_state_api_tell_where_bundles_are_and_what_is_free(
    paper: OnPaper, node: Raylet, driver: Driver
) -> None:
    group_id = create(driver, 1, 1)
    (row,) = paper.ask(driver.peer, ListState("placement_groups"))
    assert [bundle["state"] for bundle in row["bundles"]] == ["PREPARING"] * 2
    place(node)
    paper.say(node.peer, NodeReport({"CPU": 0}, bundles=[(group_id, 0, {"CPU": 0}), (group_id, 1, ONE)]))
    (row,) = paper.ask(driver.peer, ListState("placement_groups"))
    assert (row["state"], row["verdict"], row["reason"]) == ("CREATED", "created", "")
    assert [bundle["available"] for bundle in row["bundles"]] == [{"CPU": 0}, ONE]
    assert {bundle["node_id"] for bundle in row["bundles"]} == {node.node_id}
    paper.ask(driver.peer, RemoveGroup(group_id))
    (row,) = paper.ask(driver.peer, ListState("placement_groups"))
    assert (row["state"], row["bundles"][0]["state"], row["bundles"][0]["available"]) == ("REMOVED", "REMOVED", None)
