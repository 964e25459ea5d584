"""Jobs begin and end with their drivers; deaths are told to all, once."""

from __future__ import annotations

import pytest

from himalia.cluster.gcs.config import GcsConfig
from himalia.cluster.gcs.jobs_machine import JobState
from himalia.cluster.protocol.common import PROTOCOL_VERSION, Address, DeathKind
from himalia.cluster.protocol.gcs_messages import (
    AskProcess,
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


def test_who_meets_a_dead_process_late_is_told_when_it_asks(paper: OnPaper) -> None:
    node = paper.node(1)
    dead, living = paper.driver(1, node), paper.driver(2, node)
    node.process_died(dead.peer, job_id=dead.job_id, is_driver=True)
    late = paper.driver(3, node)
    assert paper.got(late.peer, ProcessDead) == []
    paper.say(late.peer, AskProcess(dead.peer))
    paper.say(late.peer, AskProcess(living.peer))
    assert [message.worker_id for message in paper.got(late.peer, ProcessDead)] == [dead.peer]
    assert paper.machine.processes.check_at is None  # and nothing more is to be found out


def test_a_question_may_overtake_the_hello_of_the_process_it_is_about(paper: OnPaper) -> None:
    first = paper.driver(1)
    paper.say(first.peer, AskProcess(an_id("d", 2)))
    paper.wait(1)
    second = paper.driver(2)
    assert second.peer == an_id("d", 2)
    paper.wait(60)
    assert paper.got(first.peer, ProcessDead) == []


def test_a_process_that_nobody_has_heard_of_for_long_is_dead(paper: OnPaper) -> None:
    first = paper.driver(1)
    paper.say(first.peer, AskProcess(an_id("w", 7)))
    paper.wait(GcsConfig().hello_grace - 1)
    assert paper.got(first.peer, ProcessDead) == []
    paper.wait(2)
    (message,) = paper.got(first.peer, ProcessDead)
    assert message.worker_id == an_id("w", 7)
    assert "ended long ago" in message.death.detail
