"""What tasks printed, read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.__main__ import main
from himalia.cluster.core import session
from himalia.util import state

pytestmark = pytest.mark.usefixtures("cluster")


@himalia.remote
def talk(count: int) -> None:
    for i in range(count):
        print("line", i)
        if i % 10 == 0:
            print("tenth", i, file=sys.stderr)


@himalia.remote
class Speaker:
    def __init__(self) -> None:
        print("constructed")

    def say(self, word: str) -> None:
        print(word)


def expected(count: int) -> list[str]:
    return [text for i in range(count) for text in (f"line {i}", *([f"tenth {i}"] if i % 10 == 0 else []))]


def test_a_reference_gives_every_line_of_its_task_in_order() -> None:
    refs = [talk.remote(5_000) for _ in range(4)]
    himalia.get(refs)
    for ref in refs:
        assert state.logs(ref).splitlines() == expected(5_000)
    assert state.logs(refs[0], stream="err").splitlines() == [f"tenth {i}" for i in range(0, 5_000, 10)]
    assert state.logs(refs[0], tail=2).splitlines() == ["line 4998", "line 4999"]
    assert state.logs(refs[0].hex()) == state.logs(refs[0].task_id().hex()) == state.logs(refs[0])


def test_an_actor_gives_what_its_constructor_and_methods_printed() -> None:
    speaker = Speaker.remote()
    himalia.get([speaker.say.remote(word) for word in ("one", "two")])
    assert state.logs(speaker) == "constructed\none\ntwo\n"
    assert state.logs(speaker._actor_id.hex()) == "constructed\none\ntwo\n"
    assert "".join(state.get_log(actor_id=speaker._actor_id.hex())) == "constructed\none\ntwo\n"


def test_what_printed_nothing_and_what_has_no_log() -> None:
    ref = talk.remote(0)
    himalia.get(ref)
    assert state.logs(ref) == ""
    with pytest.raises(ValueError, match="a float has no log"):
        state.logs(1.5)
    with pytest.raises(ValueError, match="'nonsense' has no log"):
        state.logs("nonsense")
    with pytest.raises(ValueError, match="a stream is"):
        state.logs(ref, stream="both")


def test_get_log_has_the_arguments_of_ray() -> None:
    ref = talk.remote(30)
    himalia.get(ref)
    task_id = ref.task_id().hex()
    assert "".join(state.get_log(task_id=task_id)).splitlines() == [f"line {i}" for i in range(30)]
    assert "".join(state.get_log(task_id=task_id, suffix="err", tail=1)) == "tenth 20\n"
    (row,) = state.list_tasks(filters=[("task_id", "=", task_id)], detail=True) or [None]
    if row is not None and row.worker_pid:
        assert "line 29\n" in "".join(state.get_log(pid=row.worker_pid, tail=100))
    with pytest.raises(ValueError, match="exactly one of"):
        next(iter(state.get_log()))
    with pytest.raises(ValueError, match="task_id and pid"):
        next(iter(state.get_log(task_id=task_id, pid=1)))
    with pytest.raises(ValueError, match="submission_id"):
        next(iter(state.get_log(submission_id="x")))
    with pytest.raises(ValueError, match="no living node"):
        next(iter(state.get_log(task_id=task_id, node_id="ff")))


def test_colours_can_be_left_out() -> None:
    @himalia.remote
    def paint() -> None:
        print("\x1b[31mred\x1b[0m")

    ref = paint.remote()
    himalia.get(ref)
    task_id = ref.task_id().hex()
    assert "".join(state.get_log(task_id=task_id)) == "\x1b[31mred\x1b[0m\n"
    assert "".join(state.get_log(task_id=task_id, filter_ansi_code=True)) == "red\n"


def test_files_are_listed_and_read_but_nothing_outside_the_folder() -> None:
    himalia.get(talk.remote(1))
    names = state.list_logs()
    assert "raylet.log" in names["raylet"]
    assert "gcs.log" in names["gcs_server"]
    assert all(name.endswith(".log") for name in names["worker_log"])
    assert state.list_logs(glob_filter="gcs*") == {"gcs_server": ["gcs.log"]}
    assert "line 0\n" in "".join("".join(state.get_log(filename=name)) for name in names["worker_log"])
    for name in ("missing.log", "../session.json", "..", "/etc/passwd"):
        with pytest.raises(ValueError, match="log"):
            list(state.get_log(filename=name))


def test_following_goes_on_with_what_comes(tmp_path: Path) -> None:
    @himalia.remote
    def wait_and_talk(path: str) -> None:
        import os
        import time

        print("first")
        while not os.path.exists(path):
            time.sleep(0.01)
        print("second")

    ref = wait_and_talk.remote(str(tmp_path / "go"))
    seen: Any = ""
    lines = state.get_log(task_id=ref.task_id().hex(), follow=True, _interval=0.02)
    while "first" not in seen:
        seen += next(iter(state.get_log(task_id=ref.task_id().hex())), "")
    assert next(lines) == "first\n"
    (tmp_path / "go").touch()
    assert next(lines) == "second\n"
    lines.close()  # type: ignore[attr-defined]


def test_the_command_line_shows_them(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    ref = talk.remote(20)
    himalia.get(ref)
    live = session.current_session()
    assert live is not None
    where = ["--address", live.connection.session_dir]
    assert main(["logs", ref.task_id().hex(), *where, "--tail", "2"]) == 0
    assert capfdbinary.readouterr().out.endswith(b"line 18\nline 19\n")
    assert main(["logs", *where]) == 0
    listed = capfdbinary.readouterr().out.decode()
    assert "talk" in listed
    assert "raylet.log" in listed
    assert main(["logs", "raylet.log", *where]) == 0
    assert main(["logs", "missing", *where]) == 1
    assert "no log" in capfdbinary.readouterr().err.decode()


def test_what_was_printed_before_a_worker_died_is_there() -> None:
    @himalia.remote(max_retries=0)
    def crash() -> None:
        import os
        import signal

        print("last words")
        os.kill(os.getpid(), signal.SIGKILL)

    ref = crash.remote()
    with pytest.raises(himalia.exceptions.WorkerCrashedError):
        himalia.get(ref)
    assert state.logs(ref) == "last words\n"
