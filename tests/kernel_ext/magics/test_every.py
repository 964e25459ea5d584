"""``%%every``: the same code on every engine."""

from __future__ import annotations

import pytest

from tests.kernel_ext.notebook import Notebook


@pytest.fixture(scope="module")
def three(kernel: Notebook) -> Notebook:
    """A kernel whose cluster has 3 CPUs."""
    assert not kernel.run("%cluster stop\n%cluster start --cpus 3").error
    return kernel


def test_every_engine_runs_the_cell_and_keeps_its_variables(three: Notebook) -> None:
    cell = three.run("%%every\nx = engine_id * 10\nprint('of', engine_count)\nx")
    assert not cell.error, cell.traceback
    assert sorted(cell.lines) == ["of 3"] * 3
    assert "(engine 2 pid=" in cell.stream()
    assert cell.text == "engine 0: 0\nengine 1: 10\nengine 2: 20"
    assert three.run("%%every\nx + 1\n").text == "engine 0: 1\nengine 1: 11\nengine 2: 21"
    assert three.run("%%every\n'same'").text == "engines 0-2: 'same'"
    assert three.run("%%every\nx;").shown == []
    assert "x" in three.run("%every").text


def test_targets_choose_engines_and_outputs_are_gathered(three: Notebook) -> None:
    cell = three.run("%%every --targets 0,2 --group-outputs engine\nprint('printed', engine_id)\nengine_id")
    assert cell.stream() == ""
    assert cell.text == "engine 0:\nprinted 0\n0\nengine 2:\nprinted 2\n2"
    cell = three.run("%%every --targets :2 --group-outputs type\nprint('same')\nengine_id")
    assert cell.text == "engines 0-1: same\nengine 0: 0\nengine 1: 1"
    assert three.run("%%every --targets nodes\nengine_id").text == "engine 0: 0"


def test_variables_are_given_and_got(three: Notebook) -> None:
    three.run("import math\nscale = 3\ndef scaled(v):\n    return math.floor(v) * scale")
    cell = three.run("%%every --push scaled,math --pull y\ny = scaled(engine_id)\nscale = 10\nz = scaled(1)")
    assert not cell.error, cell.traceback
    assert cell.shown[-1]["text/plain"] == "[0, 3, 6]"
    assert three.run("got = %every --pull y,z --targets 1-2\ngot").text == "{'y': [3, 6], 'z': [10, 10]}"
    assert three.value("'y' in globals()") == "False"


def test_errors_are_shown_by_engine_and_the_others_results_too(three: Notebook) -> None:
    cell = three.run("%%every\nif engine_id:\n    1 / 0\n'fine'")
    assert cell.error == "EveryError"
    assert cell.text == "engine 0: 'fine'"
    assert "engines 1-2: Traceback" in cell.traceback
    number = three.value("len(In) - 2")
    assert f"In [{number}], line 3, in <module>\n    1 / 0" in cell.traceback
    assert "the cell failed on 2 of 3 engines (1-2)" in cell.traceback
    assert "kernel_ext" not in cell.traceback


def test_a_name_that_only_the_notebook_has_is_hinted_at(three: Notebook) -> None:
    three.run("only_here = 1")
    cell = three.run("%%every\nonly_here")
    assert "%%every --push only_here gives it to them" in cell.text
    assert not three.run("%%every --push only_here\nonly_here").error


def test_a_dead_engine_is_replaced_and_that_is_said(three: Notebook) -> None:
    three.run("%%every\nmark = 1")
    cell = three.run("%%every\nimport os\nif engine_id == 1:\n    os._exit(3)")
    assert "exit code 3" in cell.traceback
    assert "puts a new engine in its place" in cell.traceback
    again = three.run("%%every\n'mark' in globals()")
    assert "engine 1 had died: its variables are lost" in again.text
    assert "engines 0,2: True\nengine 1: False" in again.text


@pytest.mark.parametrize("body", ["while True:\n    pass", "import time\ntime.sleep(600)"])
def test_an_interrupt_stops_it_and_the_next_cell_runs(three: Notebook, body: str) -> None:
    cell = three.send(f"%%every --targets 0,1\nprint('begun', flush=True)\n{body}")
    cell.wait_for(lambda cell: len(cell.lines) == 2)
    three.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert cell.error == "KeyboardInterrupt"
    after = three.run("%%every\n'ready'")
    assert after.shown[-1]["text/plain"] == "engines 0-2: 'ready'"


def test_there_are_more_engines_when_the_cluster_has_grown(three: Notebook) -> None:
    three.run("%%every\nkept = engine_id")
    three.run("%cluster scale 4")
    assert three.run("%%every\nengine_count, 'kept' in globals()").text == (
        "engines 0-2: (4, True)\nengine 3: (4, False)"
    )
    three.run("%every --stop\n%cluster scale 3")


def test_the_last_engines_end_when_the_cluster_has_shrunk(three: Notebook) -> None:
    three.run("%%every\nkept = engine_id")
    three.run("from himalia.util.state import list_actors")
    said = three.run("%cluster scale 1").text
    assert "The cluster has fewer CPUs now: engines 1-2 were ended, with their variables." in said
    assert three.run("%%every\nengine_count, kept").text == "engine 0: (1, 0)"
    alive = "[a.pid for a in list_actors() if a.state == 'ALIVE']"
    assert three.value(f"while len({alive}) != 1: time.sleep(0.01)\nlen({alive})") == "1"
    three.run("%cluster scale 3")
    assert three.run("%%every\n'kept' in globals()").text == "engine 0: True\nengines 1-2: False"


def test_engines_stay_where_cpus_come_and_go_with_the_work(three: Notebook) -> None:
    three.run("%%every\nkept = engine_id")
    said = three.run("%cluster adapt --min 1 --max 3 --idle 0.1").text
    total = "himalia.cluster_resources()['CPU']"
    assert three.value(f"while {total} != 1: time.sleep(0.01)\n{total}") == "1.0"
    assert "ended" not in said
    assert three.run("%%every\nengine_count, kept").text == "\n".join(f"engine {n}: (3, {n})" for n in range(3))
    assert "engine 2 was ended, with its variables" in three.run("%cluster scale 2").text
    three.run("%cluster scale 3")


def test_engines_leave_the_cpus_to_tasks_and_end_when_told(three: Notebook) -> None:
    three.run("%%every\n1")
    assert three.value("himalia.available_resources()['CPU']") == "3.0"
    assert three.run("%every --stop").text == "Ended 3 engines."
    assert three.run("%every --stop").text == "There were no engines to end."
    assert three.run("%%every\nlist(globals())").text.count("engine_id") == 1


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("%%every --target 1\n1", "did you mean --targets?"),
        ("%%every --targets 9\n1", "there is no engine 9, but 0-2"),
        ("%%every --targets some\n1", "--targets takes all, nodes, or numbers such as 0,2,4-6 or :4, not 'some'"),
        ("%every --group-outputs type", "--group-outputs is about what a cell prints"),
        ("%every --stop --push a", "--stop stands alone"),
        ("%every --push nowhere", "--push names 'nowhere', which the notebook has not"),
        ("%every --pull nowhere", "engine 0 has no variable 'nowhere'"),
        ("%%every\n!ls", "line 2, `!ls`, needs IPython"),
        ("%%every --group-outputs order\n1", "invalid choice: 'order' (choose from"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(three: Notebook, code: str, said: str) -> None:
    assert said in three.run(code).stream("stderr")


def test_a_syntax_error_looks_as_in_any_cell(three: Notebook) -> None:
    cell = three.run("%%every\nx = = 1")
    assert cell.traceback.endswith("x = = 1\n        ^\nSyntaxError: invalid syntax\n")


def test_a_new_cluster_has_new_engines_and_unloading_ends_them(fresh: Notebook) -> None:
    fresh.run(
        "%load_ext himalia\n%cluster start --cpus 1\nimport himalia, time\nfrom himalia.util.state import list_actors"
    )
    fresh.run("%%every\nkept = 1")
    fresh.run("%cluster stop\n%cluster start --cpus 2")
    assert fresh.run("%%every\n'kept' in globals()").text == "engines 0-1: False"
    fresh.run("%unload_ext himalia")
    fresh.run("while {a.state for a in list_actors()} != {'DEAD'}: time.sleep(0.01)")
    assert fresh.value("{a.state for a in list_actors()}") == "{'DEAD'}"
