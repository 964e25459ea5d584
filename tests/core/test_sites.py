"""The line that called."""

from __future__ import annotations

from types import ModuleType

from himalia.cluster.core.sites import call_site


def test_the_innermost_line_of_the_user_is_told() -> None:
    site = call_site()
    assert site is not None
    assert site.filename == __file__
    assert site.function == "test_the_innermost_line_of_the_user_is_told"


def test_our_own_frames_are_passed_over() -> None:
    ours = ModuleType("himalia.cluster.core.pretended")
    exec("def through(look):\n    return look()", ours.__dict__)
    theirs = ModuleType("himalia_user")
    exec(compile("\n\ndef call(through, look):\n    return through(look)", "cell", "exec"), theirs.__dict__)
    site = theirs.call(ours.through, call_site)
    assert (site.filename, site.line, site.function) == ("cell", 4, "call")


def test_what_runs_a_magic_for_its_cell_is_passed_over() -> None:
    runner = ModuleType("IPython.core.pretended")
    exec("def run_cell_magic(magic):\n    return magic()", runner.__dict__)
    cell = ModuleType("__main__")
    exec(compile("\ndef run(runner, magic):\n    return runner(magic)", "cell", "exec"), cell.__dict__)
    site = cell.run(runner.run_cell_magic, call_site)
    assert (site.filename, site.line) == ("cell", 3)
