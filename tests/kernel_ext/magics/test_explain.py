"""``%%explain`` finds the cause that was planted in a notebook, and none in a clean one."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel_ext.notebook import Notebook, notebook
from tests.support.leaks import LeakGuard

START = """%load_ext himalia
import himalia, time
himalia.init(num_cpus=2, object_store_memory=150_000_000)
himalia.get([himalia.remote(lambda: time.sleep(0.3)).remote() for _ in range(4)])  # all workers are there
def compute(seconds):
    begin = time.perf_counter()
    while time.perf_counter() < begin + seconds:
        pass
    return time.perf_counter() - begin
"""

CLEAN = """
@himalia.remote
def piece():
    return compute(0.15)
spent = himalia.get([piece.remote() for _ in range(16)])
"""

TINY = """
@himalia.remote
def increment(x):
    return x + 1
assert len(himalia.get([increment.remote(n) for n in range(100_000)])) == 100_000
"""

STRAGGLER = """
@himalia.remote
def part(n):
    compute(2.0 if n == 15 else 0.05)
himalia.get([part.remote(n) for n in range(16)])
"""

SERIALIZATION = """
rows = [{"id": n, "name": str(n), "tags": [n, n + 1]} for n in range(40_000)]
@himalia.remote
def count(rows, k):
    return len(rows) + k
assert himalia.get([count.remote(rows, k) for k in range(16)])[1] == 40_001
"""

CHAIN = """
@himalia.remote
def step(x):
    compute(0.1)
    return x + 1
ref = step.remote(0)
for _ in range(14):
    ref = step.remote(ref)
assert himalia.get(ref) == 15
"""

LOOP = """
@himalia.remote
def one(x):
    compute(0.1)
    return x
for n in range(12):
    himalia.get(one.remote(n))
"""

OWN_CODE = """
@himalia.remote
def small(x):
    compute(0.02)
refs = []
for n in range(8):
    compute(0.15)
    refs.append(small.remote(n))
himalia.get(refs)
"""

SLEEP = """
@himalia.remote
def ask(n):
    time.sleep(0.2)
himalia.get([ask.remote(n) for n in range(10)])
"""

SPILL = """
import numpy as np
@himalia.remote
def make(n):
    return np.full(3_000_000, n, dtype=np.float64)
big = [make.remote(n) for n in range(20)]
done, _ = himalia.wait(big, num_returns=20)
del big, done
"""

PLANTED = {
    "overhead": TINY,
    "straggler": STRAGGLER,
    "serialization": SERIALIZATION,
    "dependencies": CHAIN,
    "parallelism": LOOP,
    "driver": OWN_CODE,
    "spill": SPILL,
    "waiting": SLEEP,
}


TWO_NODES = """%load_ext himalia
import himalia, numpy as np
from himalia.testing import Cluster
cluster = Cluster()
cluster.add_node(num_cpus=0, resources={"far": 1}, object_store_memory=700_000_000)
cluster.add_node(num_cpus=2, resources={"near": 2}, object_store_memory=700_000_000)
himalia.init(address=cluster.address)
@himalia.remote(num_cpus=0, resources={"far": 0.1})
def make(n):
    return np.full(5_000_000, n, dtype=np.float64)
@himalia.remote
def first(x):
    return float(x[0])
big = [make.remote(n) for n in range(10)]
himalia.wait(big, num_returns=10, fetch_local=False)
himalia.get([himalia.remote(lambda: 0).remote() for _ in range(4)])
"""

GPUS = """%load_ext himalia
import himalia, json, os, tempfile, time
file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
json.dump([[{"uuid": "GPU-1", "name": "recorded", "utilization": 3}]], file)
file.close()
os.environ["HIMALIA_GPU_RECORDING"] = file.name
himalia.init(num_cpus=1, num_gpus=1)
@himalia.remote(num_gpus=1)
def train(n):
    end = time.perf_counter() + 0.7
    while time.perf_counter() < end:
        pass
"""


@pytest.fixture(scope="module")
def kernel(leak_guard: LeakGuard) -> Iterator[Notebook]:
    folder = Path(tempfile.mkdtemp(prefix="hk-"))
    with leak_guard.shared("the kernel of this module"), notebook(folder) as opened:
        cell = opened.run(START)
        assert not cell.error, cell.traceback
        yield opened
    shutil.rmtree(folder, ignore_errors=True)


def explained(kernel: Notebook, code: str, folder: Path) -> dict[str, Any]:
    """Run a cell below the magic; the diagnosis that it wrote."""
    file = folder / "diagnosis.json"
    cell = kernel.run(f"%%explain --json {file}\n{code.strip()}")
    assert not cell.error, cell.traceback
    found: dict[str, Any] = json.loads(file.read_text())
    found["text"] = cell.text
    return found


@pytest.mark.parametrize("cause", PLANTED)
def test_the_planted_cause_comes_first_and_all_time_is_accounted_for(
    kernel: Notebook, cause: str, tmp_path: Path
) -> None:
    found = explained(kernel, PLANTED[cause], tmp_path)
    assert [finding["cause"] for finding in found["findings"]][:1] == [cause], found["text"]
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"] * found["slots"], rel=0.05)
    assert sum(step["end"] - step["begin"] for step in found["path"]) == pytest.approx(found["wall"], rel=0.05)
    first = found["findings"][0]
    assert first["evidence"], found["text"]
    assert f"1. {first['title']}" in found["text"]
    assert first["advice"] in found["text"]


def test_nothing_is_found_in_a_clean_notebook_whose_time_is_the_tasks(kernel: Notebook, tmp_path: Path) -> None:
    found = explained(kernel, CLEAN, tmp_path)
    assert not found["findings"], found["text"]
    assert "Nothing stands out" in found["text"]
    assert found["tasks"] == 16
    # The tasks say themselves how long they computed: what is told must be that.
    assert found["seconds"]["compute"] == pytest.approx(float(kernel.value("sum(spent)")), rel=0.05)


def test_a_finding_names_the_line_of_the_cell(kernel: Notebook, tmp_path: Path) -> None:
    found = explained(kernel, OWN_CODE, tmp_path)
    assert found["findings"][0]["lines"] == [7], "compute() is called in the seventh line, the magic's own being one"
    assert [(row["name"], row["line"], row["tasks"]) for row in found["functions"]] == [("small", 8, 8)]


def test_html_is_plain_and_escaped(kernel: Notebook) -> None:
    cell = kernel.run(
        "%%explain\nf = himalia.remote(compute).options(name='<script>alert(1)</script>')\nhimalia.get(f.remote(0.3))"
    )
    (bundle,) = (bundle for bundle in cell.shown if "text/html" in bundle and "took" in bundle["text/html"])
    assert "<script>" not in bundle["text/html"]
    assert "&lt;script&gt;" in bundle["text/html"]
    assert "var(" not in bundle["text/html"]


def test_workers_measure_while_a_cell_is_explained_and_not_afterwards(kernel: Notebook) -> None:
    look = """
def measured():
    from himalia.cluster.core.current import get_core
    time.sleep(0.2)
    core = get_core()
    return core.timing is not None, core.executor.timing is not None, "of_value" in vars(core.executor.results)
himalia.get([himalia.remote(measured).remote() for _ in range(2)])"""
    assert "[(True, True, True), (True, True, True)]" in kernel.run(f"%%explain\n{look}").text
    assert "[(False, False, False), (False, False, False)]" in kernel.run(look).text
    mine = "from himalia.cluster.core.current import get_core; sorted(n for n in vars(get_core()) if n in "
    assert kernel.value(f"{mine}('submit_function', 'get', 'put', '_read', 'timing'))") == "['timing']"
    assert kernel.value("get_core().timing is None") == "True"


def test_tasks_that_the_cell_leaves_running_belong_to_it(kernel: Notebook, tmp_path: Path) -> None:
    found = explained(kernel, "ref = himalia.remote(compute).remote(0.5)", tmp_path)
    assert found["tasks"] == 1
    assert found["wall"] >= 0.5


def test_the_value_of_the_last_expression_is_shown_and_variables_stay(kernel: Notebook) -> None:
    cell = kernel.run("%%explain\nanswer = himalia.get(himalia.remote(lambda: 42).remote())\nanswer")
    assert cell.shown[-1]["text/plain"] == "42"
    assert kernel.value("answer") == "42"


def test_an_error_of_the_cell_is_shown_as_without_the_magic(kernel: Notebook) -> None:
    cell = kernel.run("%%explain\nx = 1\nx / 0")
    assert cell.error == "ZeroDivisionError"
    assert "----> 3 x / 0" in cell.traceback
    assert "kernel_ext" not in cell.traceback
    assert kernel.value("from himalia.cluster.core.current import get_core; get_core().timing is None") == "True"


def test_what_can_not_be_explained_says_why(kernel: Notebook) -> None:
    for code, says in (
        ("%%explain\n", "the cell body is empty"),
        ("%%explain\nimport asyncio\nawait asyncio.sleep(0)", "await at top level is not possible below %%explain"),
        ("%%explain 3\n1", "%%explain takes no number"),
        ("%%explain --jsn f\n1", "did you mean --json?"),
        ("%%explain --json /nowhere/at/all.json\n1", "can not be written to"),
        ("%explain 9999", "cell [9999] has submitted no task that the cluster remembers"),
        ("%%explain\nget_ipython().run_cell_magic('explain', '', '1')", "%%explain is at work already"),
    ):
        cell = kernel.run(code)
        assert says in cell.stream("stderr") + cell.traceback, code
    cell = kernel.run("%%explain\nx = (")
    assert cell.error == "SyntaxError" or "SyntaxError" in cell.traceback


def test_a_cell_that_ran_is_explained_as_far_as_is_known(kernel: Notebook) -> None:
    kernel.run(STRAGGLER)
    time_to_report = "time.sleep(0.6)"
    kernel.run(time_to_report)
    cell = kernel.run("%explain")
    assert "Stragglers" in cell.text
    assert "ran without being measured" in cell.text


def test_a_cell_that_was_explained_is_shown_again(kernel: Notebook) -> None:
    kernel.run(f"%%explain\n{CLEAN.strip()}")
    first = kernel.run("%explain").text
    assert "Nothing stands out" in first
    assert "ran without being measured" not in first


def test_data_that_moves_between_nodes_is_found(fresh: Notebook, tmp_path: Path) -> None:
    cell = fresh.run(TWO_NODES)
    assert not cell.error, cell.traceback
    found = explained(fresh, "himalia.get([first.remote(x) for x in big])", tmp_path)
    assert [finding["cause"] for finding in found["findings"]][:1] == ["transfer"], found["text"]
    assert "waited for objects of other nodes" in found["text"]
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"] * found["slots"], rel=0.05)
    cell = fresh.run("himalia.shutdown()\ncluster.shutdown()")
    assert not cell.error, cell.traceback


def test_a_gpu_that_is_held_and_idle_is_found(fresh: Notebook, tmp_path: Path) -> None:
    cell = fresh.run(GPUS)
    assert not cell.error, cell.traceback
    found = explained(fresh, "himalia.get([train.remote(n) for n in range(5)])", tmp_path)
    assert [finding["cause"] for finding in found["findings"]][:1] == ["gpu idle"], found["text"]
    assert "These computed 3 % of it" in found["text"]
    fresh.run("os.unlink(file.name)")


def test_a_flame_graph_shows_the_hottest_function_of_the_tasks(kernel: Notebook) -> None:
    code = """
@himalia.remote
def hottest():
    compute(1.0)
himalia.get([hottest.remote() for _ in range(2)])"""
    cell = kernel.run(f"%%explain --flame\n{code.strip()}")
    assert not cell.error, cell.traceback
    (bundle,) = (bundle for bundle in cell.shown if "himalia-flame" in bundle.get("text/html", ""))
    assert "compute" in bundle["text/html"]
    hot = bundle["text/plain"].partition("function\n")[2]
    assert "compute" in hot.splitlines()[0], bundle["text/plain"]
    assert "--flame is for a cell that runs" in kernel.run("%explain --flame").stream("stderr")


def test_an_interrupt_ends_what_is_explained(kernel: Notebook) -> None:
    cell = kernel.send("%%explain\nprint('begun', flush=True)\nhimalia.get(himalia.remote(compute).remote(60))")
    cell.wait_for(lambda cell: "begun" in cell.stream())
    kernel.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"
    assert kernel.value("from himalia.cluster.core.current import get_core; get_core().timing is None") == "True"
