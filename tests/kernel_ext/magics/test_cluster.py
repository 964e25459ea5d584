"""``%cluster``: what it does and what it says when it can not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from himalia.cluster.launchers.boot import NodeOptions
from himalia.cluster.launchers.local import start_head
from himalia.kernel_ext.magics.cluster import ACTIONS
from tests.kernel_ext.notebook import Notebook


@pytest.fixture
def loaded(kernel: Notebook) -> Iterator[Notebook]:
    """The shared kernel without a cluster."""
    kernel.run("himalia.shutdown()")
    yield kernel
    kernel.run("himalia.shutdown()")


def test_start_gives_what_was_asked_for(loaded: Notebook) -> None:
    cell = loaded.run("%cluster start --cpus 3 --memory 500MB --object-memory 200MB --name lab-one")
    assert "Himalia cluster lab-one: running" in cell.text
    assert re.search(r"CPUs +0 of 3 in use", cell.text)
    assert "lab-one" in cell.shown[0]["text/html"]
    resources = "himalia.cluster_resources()"
    shown = loaded.value(f"{resources}['CPU'], {resources}['memory'], {resources}['object_store_memory'] <= 200e6")
    assert shown == "(3.0, 500000000.0, True)"


def test_a_second_start_keeps_the_cluster_and_says_so(loaded: Notebook) -> None:
    first = loaded.run("%cluster start --cpus 2")
    second = loaded.run("%cluster start --cpus 3")
    assert "runs already" in second.text
    assert "of 2 in use" in second.text
    address = re.search(r"address +(\S+)", first.text)
    assert address is not None
    assert address[1] in second.text


def test_status_before_a_start_starts_a_cluster_and_says_so(loaded: Notebook) -> None:
    cell = loaded.run("%cluster status")
    assert cell.text.startswith("No cluster ran: started one")
    assert "Himalia cluster: running" in cell.text
    assert loaded.value("himalia.is_initialized()") == "True"


def test_using_the_api_before_a_start_starts_a_cluster(loaded: Notebook) -> None:
    assert loaded.value("himalia.get(himalia.remote(lambda: 7).remote())") == "7"


def test_stop_ends_the_cluster_and_refuses_its_references(loaded: Notebook) -> None:
    loaded.run("%cluster start --cpus 1\nold = himalia.put(1)")
    cell = loaded.run("%cluster stop")
    assert "has ended" in cell.text
    assert loaded.value("himalia.is_initialized()") == "False"
    assert "nothing to stop" in loaded.run("%cluster stop").text
    assert "ObjectRef" in loaded.value("old")


def test_connect_joins_and_stop_leaves(loaded: Notebook) -> None:
    head = start_head(NodeOptions(num_cpus=2))
    try:
        folder = head.connection.session_dir
        cell = loaded.run(f"%cluster connect {folder}")
        assert "of 2 in use" in cell.text
        assert "of 2 in use" in loaded.run(f"%cluster connect {head.connection.cluster_id}").text
        other = loaded.run("%cluster connect 127.0.0.1:1")
        assert "connected already" in other.stream("stderr")
        assert "goes on" in loaded.run("%cluster stop").text
        assert head.is_running()
    finally:
        head.stop()


def test_connecting_to_nothing_says_where_it_looked(loaded: Notebook, tmp_path: Path) -> None:
    cell = loaded.run(f"%cluster connect {tmp_path / 'nowhere'}")
    assert "UsageError" in cell.stream("stderr")
    assert "nowhere" in cell.stream("stderr")
    assert "Traceback" not in cell.stream("stderr")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("start --cpu 2", "has no option --cpu; did you mean --cpus?"),
        ("start --memory much", "'much' is no size: write 500MB, 2GiB or a number of bytes"),
        ("start --cpus -1", "is no quantity"),
        ("start --cpus", "expected one argument"),
        ("start now", "has no argument 'now'"),
        ("start --name 'a", "No closing quotation"),
        ("scale", "the following arguments are required: N"),
        ("scale many", "'many' is no count"),
        ("strat", "has no 'strat'; did you mean 'start'?"),
        ("", "usage: %cluster start|status|connect|scale|adapt|stop"),
        ("stop --force", "has no option --force"),
        ("progress maybe", "invalid choice: 'maybe' (choose from"),
        ("progress off --after 3", "with off they do not"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(loaded: Notebook, line: str, said: str) -> None:
    cell = loaded.run(f"%cluster {line}")
    assert said in cell.stream("stderr")
    assert "usage" in cell.stream("stderr") or "quotation" in said
    assert loaded.value("himalia.is_initialized()") == "False"


def test_scale_changes_how_many_tasks_run_at_a_time(loaded: Notebook) -> None:
    loaded.run("%cluster start --cpus 1\n@himalia.remote\ndef waits():\n    time.sleep(60)")
    loaded.run("refs = [waits.remote() for _ in range(3)]")
    free = "himalia.available_resources()['CPU']"
    loaded.run(f"while {free} != 0: time.sleep(0.01)")
    cell = loaded.run("%cluster scale 3")
    assert "of 3 in use" in cell.text
    assert loaded.value(f"while {free} != 0: time.sleep(0.01)\nhimalia.cluster_resources()['CPU']") == "3.0"
    cell = loaded.run("%cluster scale 1")
    assert "What runs holds 3 CPUs. It goes on, and nothing new starts until it holds fewer than 1" in cell.text
    loaded.run("for ref in refs: himalia.cancel(ref)\nhimalia.wait(refs, num_returns=3)")
    assert loaded.value(f"while {free} != 1: time.sleep(0.01)\n{free}") == "1.0"
    assert loaded.value("himalia.get(himalia.remote(lambda: 7).remote())") == "7"


def test_a_task_too_large_runs_when_the_cluster_has_grown(loaded: Notebook) -> None:
    loaded.run("%cluster start --cpus 1\nbig = himalia.remote(num_cpus=3)(lambda: 'ran').remote()")
    loaded.run("%cluster scale 3")
    assert loaded.value("himalia.get(big, timeout=20)") == "'ran'"
    loaded.run(
        "@himalia.remote(num_cpus=5)\nclass Big:\n    def ran(self):\n        return 'too'\nactor = Big.remote()"
    )
    loaded.run("%cluster scale 5")
    assert loaded.value("himalia.get(actor.ran.remote(), timeout=20)") == "'too'"


def test_adapt_has_more_cpus_while_work_waits_and_fewer_after_it(loaded: Notebook) -> None:
    loaded.run("%cluster start --cpus 1\n@himalia.remote\ndef waits():\n    time.sleep(60)")
    cell = loaded.run("%cluster adapt --min 1 --max 4 --idle 0.3")
    assert "has 1 to 4 CPUs from now on" in cell.text
    assert "0 of 1 in use; grows to 4 while work waits" in cell.text
    loaded.run("refs = [waits.remote() for _ in range(6)]")
    total, free = "himalia.cluster_resources()['CPU']", "himalia.available_resources()['CPU']"
    assert loaded.value(f"while ({total}, {free}) != (4, 0): time.sleep(0.01)\n{total}") == "4.0"
    loaded.run("for ref in refs: himalia.cancel(ref)\nhimalia.wait(refs, num_returns=6)")
    assert loaded.value(f"while {total} != 1: time.sleep(0.01)\n{total}") == "1.0"
    loaded.run(
        "@himalia.remote(num_cpus=3)\nclass Big:\n    def ran(self):\n        return 'ran'\nactor = Big.remote()"
    )
    assert loaded.value("himalia.get(actor.ran.remote(), timeout=20)") == "'ran'"
    fixed = loaded.run("%cluster scale 3").text
    assert "3 of 3 in use" in fixed
    assert "grows" not in fixed
    assert "--max 2 must be more than --min 3" in loaded.run("%cluster adapt --min 3 --max 2").stream("stderr")


def test_no_cluster_has_no_cpus(loaded: Notebook) -> None:
    assert "a cluster has 1 to 10000 CPUs, not 0" in loaded.run("%cluster scale 0").stream("stderr")


def test_progress_is_turned_off_and_on(loaded: Notebook) -> None:
    settings = "from himalia.cluster.core.progress.watching import settings\n(settings.enabled, settings.after)"
    assert "for 2 seconds shows how far it is" in loaded.run("%cluster progress").text
    assert "Nothing shows by itself" in loaded.run("%cluster progress off").text
    assert loaded.value(settings) == "(False, 2.0)"
    assert "Nothing shows by itself" in loaded.run("%cluster progress status").text
    assert "for 0.5 seconds" in loaded.run("%cluster progress on --after 0.5").text
    assert loaded.value(settings) == "(True, 0.5)"
    assert loaded.value("himalia.is_initialized()") == "False"


def test_help_describes_every_action(loaded: Notebook) -> None:
    text = loaded.run("print(get_ipython().find_line_magic('cluster').__doc__)").stream()
    assert all(f"%cluster {action}" in text for action in ACTIONS)
