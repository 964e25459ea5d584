"""Logs of a cluster are searched and followed, whoever printed."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import himalia
from himalia.__main__ import main
from himalia.util import state
from himalia.util.state._log_search import line_text


@himalia.remote
def talk(word: str, count: int) -> None:
    for i in range(count):
        print(word, i)
    logging.basicConfig(level=logging.INFO, force=True)
    logging.getLogger("talk").warning("careful with %s", word)


@himalia.remote
class Speaker:
    def say(self, text: str) -> None:
        print(text)


def texts(page: state.LogPage) -> list[str]:
    return [line_text(line) for line in page.lines]


@pytest.fixture(scope="module")
def printed(cluster: None) -> list[Any]:
    """Two tasks and an actor that have printed."""
    speaker = Speaker.remote()
    refs = [talk.remote("apple", 50), talk.remote("pear", 50)]
    himalia.get([*refs, speaker.say.remote("a" * 60 + "b")])
    return [*refs, speaker]


def test_lines_are_found_wherever_they_were_printed(printed: list[Any]) -> None:
    assert sorted(texts(state.search_logs("e 1"))) == sorted(f"apple {n}" for n in (1, *range(10, 20)))
    assert texts(state.search_logs("7", of=printed[1])) == [f"pear {n}" for n in (7, 17, 27, 37, 47)]
    assert texts(state.search_logs(r"^pear \d$", regex=True)) == [f"pear {n}" for n in range(10)]
    warned = state.search_logs(level="warning")
    assert sorted(texts(warned)) == ["WARNING:talk:careful with apple", "WARNING:talk:careful with pear"]
    assert {line.stream for line in warned.lines} == {2}
    assert texts(state.search_logs(of=printed[2])) == texts(state.search_logs(of=printed[2]._actor_id.hex())) != []
    assert state.search_logs(files="raylet.log").lines == state.search_logs(files="raylet.log", node=node()).lines


def node() -> str:
    return str(state.list_nodes()[0].node_id)


def test_pages_go_on_where_the_last_one_ended(printed: list[Any]) -> None:
    found: list[str] = []
    page = state.search_logs(of=printed[0], limit=20)
    while not page.is_end:
        found += texts(page)
        page = state.search_logs(of=printed[0], limit=20, cursor=page.cursor)
    found += texts(page)
    assert found == [*(f"apple {n}" for n in range(50)), "WARNING:talk:careful with apple"]
    assert state.search_logs(of=printed[0], cursor=page.cursor).lines == []
    assert texts(state.search_logs(of=printed[0], tail=2)) == found[-2:]


@pytest.mark.usefixtures("printed")
def test_an_expression_that_takes_for_ever_is_ended_while_the_raylet_answers_others() -> None:
    answers: list[float] = []

    def ask() -> None:
        begun = time.monotonic()
        state.search_logs("nothing")
        answers.append(time.monotonic() - begun)

    beside = threading.Timer(1.0, ask)
    beside.start()
    with pytest.raises(ValueError, match=r"took more than 0.5 s on one line"):
        state.search_logs(r"^(a+)+$", regex=True, seconds=0.5)
    beside.join()
    assert answers[0] < 20  # the expression alone would take hours


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"pattern": "(", "regex": True}, "no regular expression"),
        ({"level": "LOUD"}, "no level"),
        ({"cursor": "??"}, "no cursor"),
        ({"files": "*.log", "cell": 3}, "give them alone"),
        ({"of": "xyz"}, "has no log"),
        ({"limit": 0}, "at least 1"),
        ({"seconds": 0}, "more than 0"),
        ({"stream": "both"}, '"out", "err" or "all"'),
        ({"node": "none"}, "no living node"),
    ],
)
@pytest.mark.usefixtures("printed")
def test_what_makes_no_sense_is_refused(question: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        state.search_logs(**question)


def test_the_command_line_searches(printed: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--grep", "APPLE 4", "-i", "--tail", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(") ")[1] for line in lines] == ["apple 48", "apple 49"]
    assert lines[0].startswith("(talk pid=")
    assert main(["logs", printed[1].hex(), "--level", "WARNING"]) == 0
    assert capsys.readouterr().out.endswith("WARNING:talk:careful with pear\n")
    assert main(["logs", "worker-*.log", "--grep", "apple 7"]) == 0
    assert capsys.readouterr().out.endswith(".log) apple 7\n")
    assert main(["logs", "--since", "1h", "--grep", "apple 7"]) == 0
    assert main(["logs", "worker-*", "--since", "1h"]) == 1
    assert "--since" in capsys.readouterr().err
    assert main(["logs", "--grep", "nothing like it"]) == 1
    assert main(["logs", "--grep", "apple", "--limit", "1"]) == 0
    assert "there is more" in capsys.readouterr().err
    assert main(["logs", "--regex"]) == 1
    assert "--grep" in capsys.readouterr().err


def test_following_brings_what_is_printed_later_in_any_worker(printed: list[Any]) -> None:
    actor = printed[2]
    follow = state.get_log(actor_id=actor._actor_id.hex(), follow=True, tail=0, _interval=0.01)
    speaking = threading.Timer(0.3, lambda: himalia.get([actor.say.remote(word) for word in ("one", "two")]))
    speaking.start()
    found = ""
    while "two" not in found:
        found += next(follow)
    follow.close()  # type: ignore[attr-defined]
    speaking.join()
    assert found == "one\ntwo\n"


def test_the_command_line_follows_what_matches(printed: list[Any]) -> None:
    address = himalia.init(ignore_reinit_error=True).address_info["session_dir"]
    command = [sys.executable, "-m", "himalia", "logs", "--grep", "follow", "-f", "--tail", "0", "--address", address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ended = threading.Event()

        def speak() -> None:
            while not ended.wait(0.2):
                himalia.get([printed[2].say.remote(word) for word in ("unheard", "follow me")])

        speaking = threading.Thread(target=speak)
        speaking.start()
        line = process.stdout.readline()
        ended.set()
        speaking.join()
        process.kill()
    assert line.endswith(") follow me\n")


def test_logs_that_are_kept_no_more_are_missed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMALIA_LOG_WORKER_BYTES", "8192")
    code = (
        "import himalia; from himalia.util import state\n"
        "himalia.init(num_cpus=1, log_to_driver=False)\n"
        "ref = himalia.remote(lambda: [print('line', n) for n in range(5000)] and None).remote()\n"
        "himalia.get(ref); text = state.logs(ref).splitlines(); page = state.search_logs()\n"
        "print(text[0]); print(text[-1]); print(page.dropped, len(page.lines))\n"
        "print(state.logs(ref, tail=1))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    first, last, counts, tail = done.stdout.split("\n")[:4]
    assert "bytes that were printed before are kept no more: logs are bounded by HIMALIA_LOG_WORKER_BYTES" in first
    assert last == tail == "line 4999"
    dropped, kept = map(int, counts.split())
    assert dropped == sum(len(f"line {n}\n") for n in range(5000 - kept))


def test_a_bound_that_is_none_is_refused_where_the_cluster_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMALIA_LOG_NODE_BYTES", "much")
    done = subprocess.run(
        [sys.executable, "-m", "himalia", "start", "--head"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "HIMALIA_LOG_NODE_BYTES is a number of bytes, at least 4096, not 'much'" in done.stderr
