"""``%memory``: every object with what made it and what keeps it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kernel_ext.notebook import Notebook
from tests.support.clusters import unhindered

SIZE = 50_000_000


@pytest.fixture
def emptied(kernel: Notebook) -> Notebook:
    """A cluster of its own: nothing is left of the test before."""
    kernel.run("himalia.shutdown()\n%cluster start --cpus 4\nimport numpy as np")
    return kernel


def table(kernel: Notebook, options: str = "") -> dict[str, list[str]]:
    """Columns by title; what keeps an object is one text."""
    rows: dict[str, list[str]] = {}
    title = ""
    for line in kernel.run(f"%memory {options}").text.splitlines():
        columns = re.split(r"  +", line.strip())
        if line.startswith(("ObjectRef", "Object ")):
            title, rows[columns[0]] = columns[0], columns[1:]
        elif line.startswith("   "):
            rows[title][-1] += f"; {columns[-1]}"
    return rows


def number_of(kernel: Notebook) -> int:
    return int(kernel.value("len(In) - 1"))


def used(kernel: Notebook) -> int:
    return int(
        kernel.value(
            "from himalia.util.state import list_objects\n"
            "sum(o.object_size for o in list_objects(filters=[('stored', '!=', '')]))"
        )
    )


def test_a_variable_an_output_and_a_closure_are_named_and_releasing_frees(emptied: Notebook) -> None:
    emptied.run(f"# the first line\na = himalia.put(np.zeros({SIZE}, np.uint8))")
    first = number_of(emptied) - 1
    emptied.run(f"himalia.put(np.ones({SIZE}, np.uint8))")
    second = number_of(emptied) - 1
    emptied.run(
        f"def make():\n    inner = himalia.put(np.ones({SIZE}, np.uint8))\n    return lambda: inner\nf = make()"
    )
    third = number_of(emptied) - 1
    rows = list(table(emptied).values())
    assert sorted(rows) == sorted(
        [
            ["50.0 MB", "this node", f"put in In [{first}], line 2", "variable `a`"],
            ["50.0 MB", "this node", f"put in In [{second}], line 1", f"Out[{second}]"],
            ["50.0 MB", "this node", f"put in In [{third}], line 2", "closure `f`: its `inner`"],
        ]
    )
    before = used(emptied)
    begun = unhindered()
    cell = emptied.run(f"%memory release Out[{second}]")
    assert re.match(rf"Released Out\[{second}\]\. 50\.0 MB freed: ObjectRef \d+\.", cell.text)
    while used(emptied) > before - SIZE:
        assert unhindered() - begun < 1
    assert len(table(emptied)) == 2


def test_a_value_keeps_the_memory_although_its_reference_is_gone(emptied: Notebook) -> None:
    emptied.run(f"himalia.get(himalia.put(np.zeros({SIZE}, np.uint8)))")
    number = number_of(emptied) - 1
    emptied.run(f"part = {{'k': Out[{number}][10:20]}}")
    [row] = table(emptied).values()
    assert row[-1] == f"the value in variable `part['k']`; the value in Out[{number}]"
    text = emptied.run(f"%memory release Out[{number}]").text
    assert "is still kept by the value in variable `part['k']`" in text
    assert "50.0 MB freed" in emptied.run("%memory release part").text
    assert table(emptied) == {}


def test_an_object_that_shares_memory_is_counted_once(emptied: Notebook) -> None:
    emptied.run(f"a = himalia.put(np.zeros({SIZE}, np.uint8))\nb = himalia.put(himalia.get(a))")
    assert sorted(row[0] for row in table(emptied).values()) == ["50.0 MB", "50.0 MB, shared"]
    assert "2 objects, 50.0 MB in object memory" in emptied.run("%memory").text


def test_what_others_hold_is_named(emptied: Notebook) -> None:
    emptied.run(
        "@himalia.remote\nclass Keeper:\n"
        "    def keep(self, refs, value): self.refs, self.value = refs, value\n"
        "    def make(self): self.made = himalia.put(np.zeros(500_000)); return 1\n"
        "keeper = Keeper.options(name='mine').remote()\n"
        "shared = himalia.put(np.zeros(1_000_000))\n"
        "done = himalia.get([keeper.keep.remote([shared], np.zeros(200_000)), keeper.make.remote()])"
    )
    rows = table(emptied)
    kept = {row[0]: row[-1] for row in rows.values()}
    assert re.fullmatch(r"variable `shared`; actor `Keeper` 'mine' of In \[\d+\]( \(pid \d+\))?", kept["8.0 MB"])
    made = {row[0]: row[2] for row in rows.values()}
    assert re.fullmatch(r"actor `Keeper` 'mine' .*, which owns it", kept["4.0 MB"])
    number = number_of(emptied) - 2
    assert re.fullmatch(rf"put in In \[{number}\], line 4, by actor `Keeper` 'mine' of .*", made["4.0 MB"])
    assert re.fullmatch(r"a value of it in actor `Keeper` 'mine' .*", kept["1.6 MB"])


def test_objects_of_other_drivers_tell_who_made_and_who_holds_them(emptied: Notebook, tmp_path: Path) -> None:
    address = emptied.value("himalia.cluster.core.session.current_session().connection.session_dir").strip("'")
    program = tmp_path / "other.py"
    program.write_text(
        "import himalia, numpy as np, sys\n"
        f"himalia.init({address!r})\n"
        "held = himalia.put(np.zeros(500_000))\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        [(title, row)] = table(emptied).items()
        assert re.fullmatch(r"Object \d+ of another process", title)
        who = rf"another driver \(pid {other.pid}\)"
        assert re.fullmatch(rf"put in other\.py, line 3, by {who}", row[2])
        assert re.fullmatch(rf"{who}, which owns it", row[3])
    finally:
        other.communicate(timeout=30)


def test_results_of_task_cells_name_the_line_of_the_cell(emptied: Notebook) -> None:
    emptied.run("%%task --out big\nbig = np.zeros(1_000_000)")
    number = number_of(emptied) - 1
    emptied.run("himalia.wait([big])")
    [row] = table(emptied).values()
    assert row[2] == f"`cell [{number}]` in In [{number}], line 1"


def test_a_button_releases_a_name_and_shows_what_is_left(emptied: Notebook) -> None:
    emptied.run(
        f"a = himalia.put(np.zeros({SIZE}, np.uint8))\nb = [a]\nc = himalia.put(np.zeros(1_000_000))\nb.append(c)"
    )
    cell = emptied.run("%memory")
    shown = cell.shown[0]["text/html"]
    labels = dict(re.findall(r'data-himalia="([^"]*)" data-actions="forget" data-label="release (\w+)"', shown))
    assert sorted(labels.values()) == ["a", "b", "b", "c"]  # one at each object that it keeps
    press = "get_ipython().magics_manager.registry['MemoryMagics'].extension.cards._pressed"
    by_name = {name: token for token, name in labels.items()}

    def shows() -> str:
        updates = [m["content"]["data"] for m in cell.messages if m["msg_type"] == "update_display_data"]
        return str(updates[-1]["text/plain"]) if updates else ""

    emptied.run(f"{press}({by_name['a']!r}, 'forget')")
    cell.wait_for(lambda _: "is still kept by variable `b[0]`" in shows())
    assert emptied.value("'a' in globals(), 'b' in globals()") == "(False, True)"
    emptied.run(f"{press}({by_name['b']!r}, 'forget')")
    cell.wait_for(lambda _: "Released b. 50.0 MB freed" in shows())
    assert "1 object, 8.0 MB in object memory" in shows()
    emptied.run(f"{press}({by_name['b']!r}, 'forget')")
    cell.wait_for(lambda _: "There is no variable 'b'." in shows())


def test_a_task_its_lineage_and_a_container_are_named(emptied: Notebook) -> None:
    emptied.run(
        "@himalia.remote(num_cpus=4)\ndef wait_for(value, ready):\n    return himalia.get(ready) and value\n"
        "@himalia.remote\ndef double(value): return value * 2\n"
        "@himalia.remote(num_cpus=1000)\ndef never(value): ...\n"
        "a = himalia.put(np.zeros(100_000))\nb = double.remote(a)\nlater = never.remote(a)\nbox = himalia.put([a])\n"
        "waited = himalia.wait([b])"
    )
    number = number_of(emptied) - 1
    emptied.run("del a")
    [kept] = [row[-1] for row in table(emptied).values() if row[2].startswith("put")]
    assert f"task `never` of In [{number}], which has it as an argument" in kept
    assert "the lineage of ObjectRef" in kept
    assert "which contains its reference" in kept
    [made] = [row[2] for row in table(emptied).values() if not row[2].startswith("put")]
    assert made == f"`double` in In [{number}], line 9"
    emptied.run("himalia.cancel(later)")


def test_the_last_traceback_is_named_and_can_be_released(emptied: Notebook) -> None:
    emptied.run("def bad():\n    big = himalia.get(himalia.put(np.zeros(1_000_000)))\n    raise ValueError\nbad()")
    [row] = table(emptied).values()
    assert row[-1] == "the value in `big` of `bad` in the last traceback"
    assert "8.0 MB freed" in emptied.run("%memory release traceback").text


def test_limit_and_min_choose_what_is_listed(emptied: Notebook) -> None:
    emptied.run("xs = [himalia.put(np.zeros(100_000 * n)) for n in (1, 2, 3)]")
    assert [row[0] for row in table(emptied, "--limit 2").values()] == ["2.4 MB", "1.6 MB"]
    assert [row[0] for row in table(emptied, "show --min 2MB").values()] == ["2.4 MB"]
    assert "2 more, 2.4 MB" in emptied.run("%memory --min 2MB").text


def test_what_is_shown_is_escaped_html_with_its_text(emptied: Notebook) -> None:
    emptied.run("d = {'<b>&': himalia.put(np.zeros(100_000))}")
    cell = emptied.run("%memory")
    assert "d['<b>&']" in cell.text
    assert "<code>d[&#x27;&lt;b&gt;&amp;&#x27;]</code>" in cell.shown[0]["text/html"]
    assert "var(" not in cell.shown[0]["text/html"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("release Out[999]", "there is no Out[999]"),
        ("release nothing_here", "there is no variable 'nothing_here'"),
        ("release a.b", "'a.b' is no name: write Out[5], Out, traceback, or a variable's name"),
        ("relaese x", "did you mean 'release'?"),
        ("--limt 3", "did you mean --limit?"),
        ("release", "required: NAME"),
    ],
)
def test_what_does_not_fit_is_refused(kernel: Notebook, line: str, said: str) -> None:
    assert said in kernel.run(f"%memory {line}").stream("stderr")


def test_releasing_what_keeps_nothing_says_so(kernel: Notebook) -> None:
    kernel.run("plain = 3")
    assert "No object was kept alive by it" in kernel.run("%memory release plain").text
    assert kernel.value("'plain' in globals()") == "False"
