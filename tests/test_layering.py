"""The rules of the source: who imports whom, what machines may use, how long a file is."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tests.support.layering import MACHINES, is_machine, layer_of, violations_in
from tests.support.sizes import ERROR_LINES, REPORT_LINES, files_longer_than
from tests.support.source_tree import Module, SourceTree

TREE = SourceTree.read()
OWN_FOLDERS = frozenset({*TREE.mapping.values(), "libraries"})


def test_imports_follow_the_layers() -> None:
    found = [
        violation
        for module in TREE.modules()
        for violation in violations_in(module, module.path.read_text(), OWN_FOLDERS)
    ]
    assert not found, "\n" + "\n".join(map(str, found))


def test_every_machine_that_is_listed_exists() -> None:
    assert not [name for name in MACHINES if not (TREE.root / name).is_file()]


def test_no_file_is_longer_than_the_limit() -> None:
    too_long = files_longer_than(ERROR_LINES, TREE.root)
    assert not too_long, "split by subject: " + ", ".join(f"{name} ({lines} lines)" for name, lines in too_long)


# The checker itself ---------------------------------------------------------------------------------------------------


def _rules(place: str, source: str) -> list[str]:
    path = PurePosixPath(place)
    package = ".".join(path.parts[:-1] if path.parts[0] == "himalia" else ("himalia", *path.parts[:-1]))
    return [v.rule for v in violations_in(Module(Path(place), path, package), source, OWN_FOLDERS)]


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("cluster/protocol/tasks.py", "from ..core import refs"),
        ("cluster/protocol/__init__.py", "from ..transport.rpc import Client"),
        ("cluster/transport/rpc.py", "from ..gcs.server import Server"),
        ("cluster/gcs/server.py", "from ..testing.cluster import Cluster"),
        ("cluster/core/refs.py", "from himalia import exceptions"),
        ("cluster/core/refs.py", "def f():\n    import himalia"),
        ("cluster/core/refs.py", "from ...dashboard import model"),
        ("himalia/__init__.py", "from himalia.kernel_ext import magics"),
    ],
)
def test_checker_finds_an_import_from_a_layer_above(place: str, source: str) -> None:
    rules = _rules(place, source)
    assert any("is a layer above" in rule for rule in rules), rules


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("cluster/protocol/tasks.py", "from .ids import TaskId"),
        ("cluster/transport/rpc.py", "import zmq\nfrom ..protocol import ids"),
        ("cluster/worker/executor.py", "from ..core.refs import ObjectRef"),
        ("cluster/testing/cluster.py", "from ..raylet import server"),
        ("himalia/__init__.py", "from himalia.cluster.core import api"),
        ("himalia/__init__.py", "def load_ipython_extension(shell):\n    from himalia.kernel_ext import load"),
        ("kernel_ext/magics.py", "import himalia\nfrom ..cluster.core import api\nfrom himalia.util import state"),
        ("dashboard/feed.py", "from .model import Model"),
    ],
)
def test_checker_accepts_imports_from_the_own_layer_and_those_below(place: str, source: str) -> None:
    assert _rules(place, source) == []


@pytest.mark.parametrize("library", ["zmq", "asyncio", "tornado.ioloop", "socket", "time", "random", "os.path"])
def test_checker_finds_io_in_a_machine(library: str) -> None:
    assert _rules("cluster/gcs/machine.py", f"import {library}")
    assert _rules("cluster/raylet/scheduler_machine.py", f"def f():\n    import {library}")
    assert _rules("cluster/raylet/server.py", f"import {library}") == []


def test_checker_finds_io_imported_by_name_into_a_machine() -> None:
    assert _rules("cluster/gcs/machine.py", "from time import monotonic")
    assert _rules("cluster/gcs/machine.py", "from .time import Timeout") == []
    assert is_machine(PurePosixPath("cluster/gcs/machine.py"))
    assert not is_machine(PurePosixPath("cluster/gcs/machinery.py"))


@pytest.mark.parametrize("source", ["import cluster", "from cluster.core import refs", "import kernel_ext.magics"])
def test_checker_finds_imports_that_work_only_in_the_repository(source: str) -> None:
    assert any("only importable from the root" in rule for rule in _rules("himalia/__init__.py", source))


def test_checker_finds_a_full_name_where_a_relative_one_is_due() -> None:
    assert any("relatively" in rule for rule in _rules("kernel_ext/magics.py", "from himalia.cluster import core"))


def test_checker_refuses_a_folder_without_a_layer() -> None:
    with pytest.raises(ValueError, match="belongs to no layer"):
        layer_of("gadgets/one")


def test_checker_finds_a_long_file(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "long.py").write_text("\n" * (ERROR_LINES + 1))
    (tmp_path / "cluster" / "middling.py").write_text("\n" * (REPORT_LINES + 1))
    (tmp_path / "cluster" / "short.py").write_text("\n" * REPORT_LINES)
    assert files_longer_than(ERROR_LINES, tmp_path) == [("cluster/long.py", 801)]
    assert [name for name, _ in files_longer_than(REPORT_LINES, tmp_path)] == ["cluster/long.py", "cluster/middling.py"]
