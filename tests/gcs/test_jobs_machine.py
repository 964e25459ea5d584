"""Jobs begin and end with their drivers; deaths are told to all, once."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.jobs_machine import JobState
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address, DeathKind
from himalia.cluster.protocol.gcs_messages import (
    DriverHello,
    Failed,
    JobInfo,
    ProcessDead,
    ReportJobEnd,
    Welcome,
)
from himalia.cluster.protocol.transitions import IllegalTransition
from tests.gcs.cluster_on_paper import WALL, OnPaper, an_id


@pytest.fixture
def paper() -> OnPaper:
    return OnPaper()


def test_jobs_are_numbered_from_one(paper: OnPaper) -> None:
    assert [paper.driver(n).job_id for n in (1, 2)] == [b"\0\0\0\1", b"\0\0\0\2"]


def test_a_hello_said_twice_is_one_job(paper: OnPaper) -> None:
    first, again = paper.driver(1), paper.driver(1)
    assert first.job_id == again.job_id
    assert len(paper.machine.jobs.by_id) == 1


def test_the_same_driver_may_begin_a_second_job_after_its_first(paper: OnPaper) -> None:
    first = paper.driver(1)
    paper.ask(first.peer, ReportJobEnd(first.job_id))
    second = paper.driver(2)
    assert second.job_id != first.job_id


def test_a_worker_starts_no_job(paper: OnPaper) -> None:
    paper.say(an_id("w", 1), DriverHello(PROTOCOL_VERSION, Address(an_id("w", 1))))
    assert paper.got(an_id("w", 1), Welcome)[0].job_id == b""
    assert not paper.machine.jobs.by_id


def test_another_protocol_is_refused(paper: OnPaper) -> None:
    paper.say(an_id("w", 1), DriverHello(0, Address(an_id("w", 1))))
    assert "install one version" in paper.got(an_id("w", 1), Welcome)[0].error
    assert not paper.machine.processes.by_worker


def test_a_goodbye_ends_the_job_with_its_time(paper: OnPaper) -> None:
    driver, other = paper.driver(1), paper.driver(2)
    paper.wait(3)
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    job = paper.machine.jobs.by_id[driver.job_id]
    assert job.state is JobState.FINISHED
    assert job.info.ended == WALL + 103
    assert [message.worker_id for message in paper.got(other.peer, ProcessDead)] == [driver.peer]


def test_a_killed_driver_fails_its_job_and_is_told_of_once(paper: OnPaper) -> None:
    node = paper.node(1)
    driver, other = paper.driver(1, node), paper.driver(2, node)
    node.process_died(driver.peer, job_id=driver.job_id, is_driver=True)
    node.process_died(driver.peer, job_id=driver.job_id, is_driver=True)
    assert paper.machine.jobs.by_id[driver.job_id].state is JobState.FAILED
    (message,) = paper.got(other.peer, ProcessDead)
    assert message.death.kind is DeathKind.CRASHED
    assert len(paper.got(node.peer, ProcessDead)) == 1


def test_a_death_after_the_goodbye_is_no_news(paper: OnPaper) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    node.process_died(driver.peer, job_id=driver.job_id, is_driver=True)
    assert paper.machine.jobs.by_id[driver.job_id].state is JobState.FINISHED
    assert paper.ask(driver.peer, ReportJobEnd(driver.job_id)) is True


def test_the_end_of_an_unknown_job_fails(paper: OnPaper) -> None:
    assert isinstance(paper.ask(an_id("d", 1), ReportJobEnd(b"\0\0\0\7")), Failed)


def test_the_death_of_a_worker_is_told_to_every_core(paper: OnPaper) -> None:
    node = paper.node(1)
    drivers = [paper.driver(n, node) for n in (1, 2)]
    node.process_died(an_id("w", 1))
    assert all(len(paper.got(driver.peer, ProcessDead)) == 1 for driver in drivers)


def test_who_was_declared_dead_is_refused(paper: OnPaper) -> None:
    node = paper.node(1)
    driver = paper.driver(1, node)
    node.process_died(driver.peer)
    paper.say(driver.peer, DriverHello(PROTOCOL_VERSION, driver.address))
    assert "declared dead" in paper.got(driver.peer, Welcome)[-1].error


def test_ended_jobs_are_forgotten_beyond_the_bound_and_their_numbers_are_not_given_again() -> None:
    paper = OnPaper(GcsConfig(ended_jobs_kept=1))
    for number in (1, 2, 3):
        driver = paper.driver(number)
        paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    assert list(paper.machine.jobs.by_id) == [b"\0\0\0\3"]
    assert paper.driver(4).job_id == b"\0\0\0\4"


def test_a_job_cannot_end_twice(paper: OnPaper) -> None:
    from himalia.cluster.gcs.jobs_machine import Goodbye
    from himalia.cluster.protocol.common import Death

    driver = paper.driver(1)
    paper.ask(driver.peer, ReportJobEnd(driver.job_id))
    jobs = paper.machine.jobs
    with pytest.raises(IllegalTransition, match=r"RUNNING -> FINISHED  Goodbye"):
        jobs._take(jobs.by_id[driver.job_id], Goodbye(Death(DeathKind.EXITED)))


def test_a_driver_that_storage_lost_keeps_its_number(paper: OnPaper) -> None:
    address = Address(an_id("d", 1))
    job = JobInfo(b"\0\0\0\5", address, 1, "", "", 1.0)
    paper.say(an_id("d", 1), DriverHello(PROTOCOL_VERSION, address, job))
    assert paper.got(an_id("d", 1), Welcome)[0].job_id == b"\0\0\0\5"
    assert paper.driver(2).job_id == b"\0\0\0\6"
