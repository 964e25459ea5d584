"""A kernel that is killed, and the next one."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from himalia.cluster.launchers.local import stop_all
from himalia.cluster.launchers.session import is_alive, read_record, session_root
from tests.kernel_ext.notebook import Notebook, notebook

WORK = """@himalia.remote
def work(folder, n):
    import os, time
    with open(os.path.join(folder, 'runs'), 'a') as runs:
        runs.write('x')
    print('before')
    open(os.path.join(folder, 'begun'), 'w').close()
    while not os.path.exists(os.path.join(folder, 'gate')):
        print('still', flush=True)
        time.sleep(0.01)
    print('after')
    return [n] * 50_000
"""


def until(what: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A notebook's folder; a cluster that is found here goes with the test."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    before = set(session_root().glob("session-*"))
    yield folder
    for left in set(session_root().glob("session-*")) - before:
        record = read_record(left)
        if record is not None and record.owner_pid == 0 and is_alive(record.pid, record.pid_started):
            stop_all(str(left))


def kill(opened: Notebook) -> None:
    """SIGKILL, as the memory of the machine running out would."""
    provisioner = opened.manager.provisioner
    assert provisioner is not None
    pid = provisioner.process.pid  # type: ignore[attr-defined]
    os.kill(pid, 9)
    provisioner.process.wait()  # type: ignore[attr-defined]


def test_the_next_kernel_finds_what_ran_its_output_and_its_result(folder: Path) -> None:
    with notebook(folder) as first:
        first.run("%load_ext himalia")
        cell = first.run("%cluster start --keep --cpus 2")
        assert "only %cluster stop ends it" in cell.text
        assert re.search(r"ends +with %cluster stop only, not with the kernel", cell.text)
        first.run("import himalia")
        assert not first.run(WORK).error
        kept = f"himalia.util.keep('answer', work, {str(folder)!r}, n=7)\nhimalia.util.keep('sum', himalia.put([1, 2]))"
        cell = first.run(kept)
        assert not cell.error, cell.traceback
        until((folder / "begun").exists)
        kill(first)
    (folder / "gate").touch()
    with notebook(folder) as second:
        cell = second.run("%load_ext himalia")
        assert not cell.error, cell.traceback
        until(lambda: second.value("import himalia\nhimalia.util.kept()[0].state") == "'done'")
        cell = second.run("himalia.shutdown()\n%reload_ext himalia")
        assert not cell.error, cell.traceback
        assert "Joined the cluster that an earlier kernel of this notebook left running: 2 kept results" in cell.text
        assert re.search(
            r"answer: done\n  what    `work` of In \[5\] of that kernel\n  when .*ended after that kernel", cell.text
        )
        assert cell.text.count(f"| himalia.util.keep('answer', work, {str(folder)!r}, n=7)") == 1
        assert "Printed by In [5] since that kernel was gone" in cell.text
        assert re.search(r"\(work pid=\d+\) after", cell.text)
        value = "himalia.get([himalia.util.kept('answer'), himalia.util.kept('sum')])"
        assert second.value(f"a, b = {value}\na == [7] * 50_000, b") == "(True, [1, 2])"
        assert (folder / "runs").read_text() == "x"
        address = second.value("himalia.cluster.core.session.current_session().connection.session_dir").strip("'")
        assert "has ended" in second.run("%cluster stop").text
        assert not Path(address).exists()
        assert second.run("%reload_ext himalia").text == ""


NESTED = """@himalia.remote(num_cpus=0)
def inner(folder):
    import os, time
    while not os.path.exists(os.path.join(folder, 'gate')):
        time.sleep(0.01)
    print('from inside')

@himalia.remote(num_cpus=0, max_retries=0)
def lost():
    raise ValueError('nobody asks')

@himalia.remote
def outer(folder):
    import os, time
    open(os.path.join(folder, 'begun'), 'w').close()
    while not os.path.exists(os.path.join(folder, 'go')):
        time.sleep(0.01)
    print('goes on')
    from IPython.display import HTML
    display(HTML('<b>a picture</b>'))
    lost.remote()
    himalia.get(inner.remote(folder))
    print('is done')
"""


def test_the_next_kernel_shows_live_what_goes_on(folder: Path) -> None:
    with notebook(folder) as first:
        first.run("%load_ext himalia\n%cluster start --keep --cpus 2\nimport himalia")
        cell = first.run(f"{NESTED}\nhimalia.util.keep('it', outer, {str(folder)!r})")
        assert not cell.error, cell.traceback
        until((folder / "begun").exists)
        kill(first)
    with notebook(folder) as second:
        loading = second.run("%load_ext himalia")

        def shown(words: str) -> bool:
            kinds = ("display_data", "update_display_data")
            latest = {
                message["content"]["transient"]["display_id"]: message["content"]["data"]["text/plain"]
                for message in loading.messages
                if message["msg_type"] in kinds
            }
            return words in "\n".join(latest.values())

        assert shown("it: running")
        other = second.run("1 + 1")
        (folder / "go").touch()
        loading.wait_for(lambda _: shown("goes on") and "<b>a picture</b>" in str(loading.shown))
        loading.wait_for(lambda _: shown("2 lines; until it is done"))
        loading.wait_for(lambda _: "ValueError: nobody asks" in str(loading.shown))
        (folder / "gate").touch()
        loading.wait_for(lambda _: shown("is done") and shown("it: done"))
        assert shown("from inside")
        assert shown("since that kernel was gone: 4 lines")
        assert not shown("until it is done")
        assert second.value("import threading\n'himalia-kept' in [t.name for t in threading.enumerate()]") == "False"
        assert [message["msg_type"] for message in other.messages].count("display_data") == 0
        second.run("%cluster stop")


def test_what_a_dead_kernel_owned_is_said_to_be_lost_and_errors_are_kept(folder: Path) -> None:
    with notebook(folder) as first:
        first.run("%load_ext himalia\n%cluster start --keep --cpus 2\nimport himalia, time")
        first.run("@himalia.remote\ndef slow(): time.sleep(1000)\n@himalia.remote\ndef bad(): raise ValueError('no')")
        cell = first.run("himalia.util.keep('lost', slow.remote())\nhimalia.util.keep('bad', bad)")
        assert not cell.error, cell.traceback
        kill(first)
    with notebook(folder) as second:
        second.run("%load_ext himalia\nimport himalia")
        until(lambda: second.value("[r.state for r in himalia.util.kept()]") == "['failed', 'failed']")
        assert "ValueError" in second.run("himalia.get(himalia.util.kept('bad'))").error
        assert "OwnerDied" in second.run("himalia.get(himalia.util.kept('lost'))").traceback
        second.run("himalia.util.forget('lost')")
        cell = second.run("himalia.util.kept('lost')")
        assert "nothing is kept under 'lost'; kept are: bad" in cell.traceback
        second.run("%cluster stop")


def test_without_keep_nothing_is_left_and_nothing_can_be_kept(folder: Path) -> None:
    with notebook(folder) as opened:
        opened.run("%load_ext himalia\n%cluster start --cpus 1\nimport himalia\n@himalia.remote\ndef f(): return 1")
        address = opened.value("himalia.cluster.core.session.current_session().connection.session_dir").strip("'")
        record = read_record(address)
        assert record is not None
        cell = opened.run("himalia.util.keep('x', f)")
        assert "start it with %cluster start --keep" in cell.traceback
        kill(opened)
        until(lambda: not is_alive(record.pid, record.pid_started))
        until(lambda: not Path(address).exists())
    with notebook(folder) as other:
        assert other.run("%load_ext himalia").text == ""


def test_what_can_not_be_kept_says_why(folder: Path) -> None:
    with notebook(folder) as opened:
        opened.run(
            "%load_ext himalia\n%cluster start --keep --cpus 1\nimport himalia\n@himalia.remote\ndef f(x): yield x"
        )
        assert "not a int" in opened.run("himalia.util.keep('x', 3)").traceback
        assert "one return" in opened.run("himalia.util.keep('x', f, 1)").traceback
        assert "no further arguments" in opened.run("himalia.util.keep('x', himalia.put(1), 1)").traceback
        assert opened.value("himalia.util.kept()") == "[]"
        opened.run("%cluster stop")


def test_starting_to_keep_twice_joins_the_first(folder: Path) -> None:
    with notebook(folder) as first:
        first.run("%load_ext himalia\n%cluster start --keep --cpus 1")
        with notebook(folder) as second:
            second.run("import os\nos.environ['JPY_SESSION_NAME'] = 'another.ipynb'\n%load_ext himalia")
            assert second.value("import himalia\nhimalia.is_initialized()") == "False"
            second.run("del os.environ['JPY_SESSION_NAME']")
            assert "left running: 0 kept results" in second.run("%cluster start --keep").text
            second.run("himalia.shutdown()")
        first.run("%cluster stop")
