"""Magics in every release of ipykernel that behaves in a way of its own."""

from __future__ import annotations

from tests.kernel_ext.notebook import Notebook


def test_every_release_of_the_kernel_runs_it_the_same(any_kernel: Notebook) -> None:
    cell = any_kernel.run("%%task --wait\nprint('printed')\nx = 1\nx / 0")
    number = any_kernel.value("len(In) - 2")
    assert f"In [{number}], line 4, in <module>" in cell.traceback
    cell.wait_for(lambda cell: cell.lines)
    assert cell.lines == ["printed"]
    assert "SyntaxError" in any_kernel.run("%%task\nx = = 1").traceback
    assert any_kernel.run("%%every --targets 0\nengine_id").text == "engine 0: 0"
    assert "Engine.run" in any_kernel.run("%tasks --cell last").text
