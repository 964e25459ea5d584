"""Edited modules run at once, here and in workers."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel_ext.notebook import Notebook

_edits = iter(range(1, 10_000))


def write(folder: Path, name: str, text: str) -> None:
    """An edit that any clock can tell from the one before."""
    path = folder / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    when = 1_700_000_000 + next(_edits)
    os.utime(path, (when, when))


@pytest.fixture
def folder(kernel: Notebook, tmp_path: Path) -> Iterator[Path]:
    """Where the kernel and its workers import from."""
    kernel.run(f"himalia.shutdown()\nimport sys\nsys.path.insert(0, {str(tmp_path)!r})\n%cluster start --cpus 2")
    kernel.run("%cluster autoreload on")
    yield tmp_path
    kernel.run(f"%cluster autoreload off\nsys.path.remove({str(tmp_path)!r})")


def test_the_next_task_runs_the_new_code_in_the_same_worker(kernel: Notebook, folder: Path) -> None:
    write(folder, "helper_a", "def answer(): return 'old'")
    kernel.run("import helper_a\n@himalia.remote\ndef ask(): return helper_a.answer(), os.getpid()")
    old = kernel.value("himalia.get([ask.remote() for _ in range(20)])")
    assert "'new'" not in old
    write(folder, "helper_a", "def answer(): return 'new'")
    assert kernel.value("helper_a.answer()") == "'new'"
    cell = kernel.run(
        f"before, seen = {{pid for _, pid in {old}}}, set()\n"
        "while not before & {pid for _, pid in seen}: seen.update(himalia.get([ask.remote() for _ in range(20)]))\n"
        "{text for text, _ in seen}"
    )
    assert cell.text == "{'new'}"


def test_what_was_imported_by_name_follows_also_classes_and_super(kernel: Notebook, folder: Path) -> None:
    text = (
        "class Base:\n    def who(self): return '{0}'\n"
        "class Child(Base):\n    def who(self): return super().who() + '!'\n"
        "made = Child()\n"
    )
    write(folder, "helper_b", text.format("old"))
    kernel.run(
        "from helper_b import Child\nhere = Child()\n"
        "@himalia.remote\ndef use(given): return given.who(), Child().who(), isinstance(given, Child)"
    )
    assert kernel.value("himalia.get(use.remote(here))") == "('old!', 'old!', True)"
    write(folder, "helper_b", text.format("new"))
    assert kernel.value("import helper_b\nhere.who(), isinstance(helper_b.made, Child)") == "('new!', True)"
    assert kernel.value("himalia.get(use.remote(here))") == "('new!', 'new!', True)"
    assert kernel.value("isinstance(himalia.get(himalia.remote(lambda: Child()).remote()), Child)") == "True"


def test_remote_functions_of_a_module_follow(kernel: Notebook, folder: Path) -> None:
    text = "import himalia\n@himalia.remote\ndef task(x): return {0}\n"
    text += "@himalia.remote\nclass Actor:\n    def m(self): return {0}\n"
    write(folder, "helper_c", text.format("'old'"))
    kernel.run("from helper_c import task, Actor\n@himalia.remote\ndef outer(): return himalia.get(task.remote(1))")
    kernel.run("actor = Actor.remote()")
    assert kernel.value("himalia.get([task.remote(1), outer.remote(), actor.m.remote()])") == "['old', 'old', 'old']"
    write(folder, "helper_c", text.format("'new'"))
    assert kernel.value("himalia.get([task.remote(1), outer.remote(), actor.m.remote()])") == "['new', 'new', 'old']"
    assert kernel.value("himalia.get(Actor.remote().m.remote())") == "'new'"


def test_a_task_that_runs_keeps_its_code(kernel: Notebook, folder: Path, tmp_path: Path) -> None:
    write(folder, "helper_d", "def answer(): return 'old'")
    gate = tmp_path / "gate"
    kernel.run(
        "from helper_d import answer\n@himalia.remote\ndef slow(gate):\n    first = answer()\n"
        "    while not os.path.exists(gate): time.sleep(0.01)\n    return first, answer()\n"
        f"running = slow.remote({str(gate)!r})\n"
        "@himalia.remote\ndef quick(): return answer()\n"
        "while himalia.get(quick.remote()) != 'old': pass"
    )
    write(folder, "helper_d", "def answer(): return 'new'")
    assert kernel.value("himalia.get(quick.remote())") == "'new'"
    gate.touch()
    assert kernel.value("himalia.get(running)") == "('old', 'old')"


def test_new_workers_and_children_have_the_text_of_the_driver(kernel: Notebook, folder: Path) -> None:
    write(folder, "helper_e", "def answer(): return 1")
    kernel.run("import helper_e")
    write(folder, "helper_e", "def answer(): return 2")
    kernel.run(
        "@himalia.remote\ndef child(): return helper_e.answer()\n"
        "@himalia.remote\ndef parent(): return helper_e.answer(), himalia.get(child.remote())"
    )
    # Edited again in the middle of a cell: that is for the next one.
    path = folder / "helper_e.py"
    found = kernel.value(f"open({str(path)!r}, 'w').write('def answer(): return 3')\nhimalia.get(parent.remote())")
    assert found == "(2, 2)"
    assert kernel.value("himalia.get(parent.remote())") == "(3, 3)"


def test_a_package_is_reloaded_with_its_modules_in_place(kernel: Notebook, folder: Path) -> None:
    (folder / "pack_a").mkdir()
    write(folder, "pack_a/__init__", "VALUE = 1")
    write(folder, "pack_a/part", "def f(): return 'old'")
    kernel.run("import pack_a.part\n@himalia.remote\ndef both(): return pack_a.VALUE, pack_a.part.f()")
    assert kernel.value("himalia.get(both.remote())") == "(1, 'old')"
    write(folder, "pack_a/__init__", "VALUE = 2")
    write(folder, "pack_a/part", "def f(): return 'new'")
    assert kernel.value("himalia.get(both.remote())") == "(2, 'new')"


def test_a_broken_edit_is_said_and_the_old_code_stays(kernel: Notebook, folder: Path) -> None:
    write(folder, "helper_f", "def answer(): return 'old'")
    kernel.run("import helper_f\n@himalia.remote\ndef ask(): return helper_f.answer()")
    write(folder, "helper_f", "def answer(: return 'new'")
    cell = kernel.run("himalia.get(ask.remote())")
    assert "autoreload of helper_f failed: SyntaxError" in cell.stream("stderr")
    assert not cell.error, cell.traceback
    assert cell.text == "'old'"
    assert "helper_f is broken: SyntaxError" in kernel.run("%cluster autoreload").text
    write(folder, "helper_f", "def answer(): return 'newer'")
    assert kernel.value("himalia.get(ask.remote())") == "'newer'"
    assert "broken" not in kernel.run("%cluster autoreload").text


def test_where_ipython_reloads_too_it_does_so_here_and_workers_follow(kernel: Notebook, folder: Path) -> None:
    write(folder, "helper_h", "def answer(): return 'old'")
    kernel.run("import builtins\nbuiltins.loads = []\n%load_ext autoreload\n%autoreload 2")
    try:
        kernel.run("import helper_h\n@himalia.remote\ndef ask(): return helper_h.answer()")
        assert kernel.value("himalia.get(ask.remote())") == "'old'"
        write(
            folder, "helper_h", "import builtins\ngetattr(builtins, 'loads', []).append(1)\ndef answer(): return 'new'"
        )
        assert kernel.value("himalia.get(ask.remote())") == "'new'"
        assert kernel.value("helper_h.answer(), builtins.loads") == "('new', [1])"
    finally:
        kernel.run("%autoreload 0")


def test_off_means_off_and_a_new_cluster_is_told_all(kernel: Notebook, folder: Path) -> None:
    write(folder, "helper_g", "def answer(): return 1")
    kernel.run("import helper_g\n@himalia.remote\ndef ask(): return helper_g.answer()")
    write(folder, "helper_g", "def answer(): return 2")
    assert kernel.value("himalia.get(ask.remote())") == "2"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(folder / "helper_g.py")
    kernel.run("himalia.shutdown()\n%cluster start --cpus 2")
    assert kernel.value("himalia.get(ask.remote())") == "2"
    write(folder, "helper_g", "def answer(): return 3")
    kernel.run("%cluster autoreload off")
    write(folder, "helper_g", "def answer(): return 4")
    assert kernel.value("helper_g.answer()") == "3"
    assert "off" in kernel.run("%cluster autoreload status").text


def test_a_wrong_word_is_refused(kernel: Notebook) -> None:
    assert "invalid choice: 'onn'" in kernel.run("%cluster autoreload onn").stream("stderr")
