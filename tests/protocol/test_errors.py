"""Every error says what happened, where and what to do; its data are attributes and survive pickling."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import cloudpickle
import pytest

import himalia.exceptions as public
from himalia.cluster.protocol import errors
from himalia.cluster.protocol.common import Cell
from himalia.cluster.protocol.error_system import describe_exit, format_bytes
from himalia.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorHandleNotFoundError,
    ActorUnavailableError,
    GetTimeoutError,
    HimaliaError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    ObjectStoreFullError,
    Origin,
    OutOfDiskError,
    OutOfMemoryError,
    OwnerDiedError,
    PendingCallsLimitExceeded,
    RayActorError,
    RayTaskError,
    ReferenceCountingAssertionError,
    RpcError,
    RuntimeEnvSetupError,
    SerializationError,
    TaskCancelledError,
    TaskUnschedulableError,
    UnserializableException,
    WorkerCrashedError,
)

ORIGIN = Origin(
    task_name="train",
    task_id="ab12",
    cell=Cell(job_id=b"j", execution=7, message_id="m"),
    worker_id="cd34",
    pid=99,
    node_id="ef56",
    node_ip="10.0.0.7",
)

ERROR_CLASSES = [
    cls
    for name in public.__all__
    if isinstance(cls := getattr(public, name), type) and issubclass(cls, HimaliaError) and name != "RayError"
]


def make(cls: type[HimaliaError]) -> HimaliaError:
    if cls is RayTaskError:
        return RayTaskError("f", "Traceback …", ValueError("boom"), origin=ORIGIN)
    return cls(origin=ORIGIN)


# Every error ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ERROR_CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_can_be_made_without_data_and_says_what_happened_and_where(cls: type[HimaliaError]) -> None:
    text = str(make(cls))
    assert text.strip()
    assert "task `train` (id ab12), cell In [7], worker cd34, pid 99, node 10.0.0.7" in text
    assert "None" not in text


@pytest.mark.parametrize("cls", ERROR_CLASSES, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("way", [pickle, cloudpickle, copy], ids=["pickle", "cloudpickle", "copy"])
def test_every_error_survives_pickling_with_all_its_data(cls: type[HimaliaError], way: Any) -> None:
    error = make(cls)
    if cls is not RayTaskError:
        error.extra = {"more": 1}  # type: ignore[attr-defined]
        error.__cause__ = ValueError("cause")
    error.add_note("a note")
    back = copy.copy(error) if way is copy else way.loads(way.dumps(error))
    assert type(back) is cls
    assert str(back) == str(error)
    assert back.origin == ORIGIN
    assert back.args == error.args
    assert back.__notes__ == ["a note"]
    if cls is not RayTaskError:
        assert {**vars(back), "cause": ""} == {**vars(error), "cause": ""}
        assert str(back.__cause__) == "cause"


@pytest.mark.parametrize("cls", ERROR_CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_says_that_it_belongs_to_the_public_module(cls: type[HimaliaError]) -> None:
    assert cls.__module__ == "himalia.exceptions"
    assert getattr(public, cls.__name__) is cls
    assert cls.__doc__


def test_the_public_module_shows_exactly_the_list() -> None:
    assert public.__all__ is errors.__all__
    assert all(hasattr(public, name) for name in public.__all__)
    assert public.RayError is HimaliaError


def test_errors_of_the_users_that_derive_from_ours_survive_pickling() -> None:
    class Mine(RayActorError):
        def __init__(self, one: int, two: int) -> None:
            super().__init__("ab", "because")
            self.sum = one + two

    back = cloudpickle.loads(cloudpickle.dumps(Mine(1, 2)))
    assert (back.sum, back.actor_id) == (3, "ab")
    assert Mine.__module__ == __name__


def test_a_message_an_origin_and_advice_can_be_given() -> None:
    error = HimaliaError("It broke.", origin=ORIGIN, hint="Mend it.")
    assert str(error).splitlines() == ["It broke.", f"  Where: {ORIGIN}", "  What to do: Mend it."]
    assert error.args == ("It broke.",)
    assert str(HimaliaError("Short.", hint="")) == "Short."


def test_an_origin_is_added_where_none_is_known() -> None:
    error = HimaliaError("x").with_origin(ORIGIN)
    assert error.origin is ORIGIN
    assert error.with_origin(Origin(pid=1)).origin is ORIGIN


def test_an_origin_shows_what_is_known() -> None:
    assert str(Origin()) == ""
    assert str(Origin(task_id="ab", pid=3)) == "task (id ab), worker pid 3"
    assert str(Origin(actor_name="a", actor_id="1", node_id="n")) == "actor `a` (id 1), node n"
    assert "cell" not in str(Origin(task_name="t", cell=Cell(job_id=b"j", execution=0)))


# Families, which `except` clauses rely on -----------------------------------------------------------------------------


def test_errors_are_caught_by_the_built_in_they_mean() -> None:
    assert isinstance(GetTimeoutError("x"), TimeoutError)
    assert isinstance(ActorAlreadyExistsError("x"), ValueError)
    assert isinstance(ActorHandleNotFoundError("x"), ValueError)
    assert isinstance(ReferenceCountingAssertionError("ab"), AssertionError)
    assert isinstance(SerializationError("x"), TypeError)
    assert isinstance(ActorDiedError(), RayActorError)
    assert isinstance(OwnerDiedError("ab"), ObjectLostError)


# Single errors --------------------------------------------------------------------------------------------------------


def test_a_crashed_worker_says_how_it_ended() -> None:
    error = WorkerCrashedError(signal_number=11, attempts=4, origin=ORIGIN)
    assert "The worker that ran `train` died on attempt 4: killed by SIGSEGV (11)." in str(error)
    assert (error.signal, error.exit_code, error.attempts) == (11, None, 4)
    assert "exited with code 3" in str(WorkerCrashedError(exit_code=3))


def test_ends_of_processes_are_put_into_words() -> None:
    assert describe_exit(None, 9) == "killed by SIGKILL (9)"
    assert describe_exit(None, 999) == "killed by signal 999"
    assert describe_exit(None, None) == "ended for an unknown reason"


def test_sizes_are_put_into_words() -> None:
    assert [format_bytes(n) for n in (0, 999, 1500, 2_500_000, 3e9, 4e12, 5e15)] == [
        "0 B", "999 B", "1.5 kB", "2.5 MB", "3.0 GB", "4.0 TB", "5000.0 TB",
    ]  # fmt: skip


def test_a_timeout_says_how_long_and_which() -> None:
    error = GetTimeoutError(timeout=2.5, pending=["a1", "b2", "c3", "d4"], total=9)
    assert "4 of 9 objects were not ready after 2.5 s: a1, b2, c3, …." in str(error)
    assert (error.timeout, error.total, len(error.pending)) == (2.5, 9, 4)


def test_a_full_store_names_its_largest_holders() -> None:
    error = ObjectStoreFullError(
        requested=10**9, capacity=2 * 10**9, used=19 * 10**8, holders=[("task `load`", 15 * 10**8), ("put", 4 * 10**8)]
    )
    assert "1.0 GB asked for, 1.9 GB of 2.0 GB in use" in str(error)
    assert "The largest holders: task `load` 1.5 GB, put 400.0 MB." in str(error)
    assert error.holders[0] == ("task `load`", 15 * 10**8)


def test_a_full_disk_and_memory_say_how_full() -> None:
    assert "No room to spill 1.0 MB to /tmp/s: 5 B are free." in str(
        OutOfDiskError(path="/tmp/s", requested=10**6, free=5)
    )
    error = OutOfMemoryError(used=95 * 10**8, limit=90 * 10**8, worker_used=6 * 10**9, origin=ORIGIN)
    assert "`train` was ended because its node ran out of memory: 9.5 GB used, threshold 9.0 GB, 6.0 GB by" in str(
        error
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TaskCancelledError("ab"), "Task ab or one that it came from was cancelled."),
        (TaskCancelledError(error_message="Stopped by the interrupt."), "Stopped by the interrupt."),
        (RuntimeEnvSetupError("no pip"), "The runtime environment could not be set up: no pip"),
        (TaskUnschedulableError("GPU: 9"), "The task can not be scheduled: GPU: 9"),
        (PendingCallsLimitExceeded(limit=3), "The actor has 3 calls pending"),
        (OwnerDiedError("ab", call_site="x.py:3"), "Object ab (made at x.py:3) is lost because its owner"),
        (ObjectReconstructionFailedError("ab", reason_message="Retries are used up."), "rebuilt: Retries are used up."),
        (SerializationError(path="a.b", type_name="lock"), "a.b (lock) can not be pickled."),
        (UnserializableException("Traceback 1"), "Traceback 1"),
        (RpcError("refused", 3), "refused"),
    ],
)
def test_messages_carry_the_values(error: HimaliaError, expected: str) -> None:
    assert expected in str(error)


def test_a_dead_actor_says_why_and_how_often_it_was_restarted() -> None:
    error = ActorDiedError(
        "its worker crashed",
        actor_id="ab",
        class_name="Counter",
        actor_name="counter",
        signal_number=9,
        restarts=2,
        max_restarts=2,
    )
    text = str(error)
    assert "The actor `counter` died: its worker crashed; its process was killed by SIGKILL (9)." in text
    assert "Its id is ab, of class Counter. It was restarted 2 times; 2 were allowed." in text
    assert error.reason == "its worker crashed; its process was killed by SIGKILL (9)"
    assert "its process exited with code 1" in str(ActorDiedError(exit_code=1))
    assert "for an unknown reason" in str(ActorDiedError())
    assert not error.actor_init_failed


def test_an_actor_whose_constructor_failed_shows_that_error() -> None:
    cause = RayTaskError("Counter.__init__", "Traceback: the lines", ValueError("bad start"), actor_id="ab")
    error = ActorDiedError.from_task_error(cause)
    assert error.actor_init_failed
    assert error.actor_id == "ab"
    assert error.cause is cause
    assert "died: its constructor raised ValueError: bad start." in str(error)
    assert "Traceback: the lines" in str(error)
    back = pickle.loads(pickle.dumps(error))
    assert isinstance(back.cause, RayTaskError)
    assert back.reason == "its constructor raised ValueError: bad start"


def test_an_unavailable_actor_takes_its_id_as_bytes() -> None:
    error = ActorUnavailableError("restarting.", b"\xab")
    assert error.actor_id == "ab"
    assert str(error).startswith("The actor ab can not be reached: restarting. The call may or may not have run.")
    assert error.error_msg == error.message
