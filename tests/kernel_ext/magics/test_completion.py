"""What is offered after Tab."""

from __future__ import annotations

import pytest

from himalia.kernel_ext.arguments import MagicParser
from himalia.kernel_ext.magics.base import Family
from himalia.kernel_ext.magics.cluster import ClusterMagics
from himalia.kernel_ext.magics.completion import complete
from tests.kernel_ext.notebook import Notebook


def _made_up() -> MagicParser:
    parser = MagicParser("%made")
    parser.add_argument("ref", nargs="?", completer=lambda shell: ["first", "second"])
    parser.add_argument("--state", choices=["ready", "failed"])
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--count", type=int)
    return parser


class MadeUp(Family):
    parsers = {"made": _made_up}  # noqa: RUF012


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("%made ", ["first", "second", "--state", "--wait", "--count"]),
        ("%made fi", ["first", "second"]),
        ("%made --", ["--state", "--wait", "--count"]),
        ("%made --state ", ["ready", "failed"]),
        ("%made --state=re", ["ready", "failed"]),
        ("%made --state ready --w", ["--state", "--wait", "--count"]),
        ("%made --wait fi", ["first", "second"]),
        ("%made --count ", []),
        ("%%made --st", ["--state", "--wait", "--count"]),
    ],
)
def test_what_may_stand_at_the_end_of_a_line(text: str, offered: list[str]) -> None:
    assert complete(MadeUp, None, text) == offered


def test_actions_come_first_and_then_their_own_options() -> None:
    assert complete(ClusterMagics, None, "%cluster s") == ClusterMagics.actions("cluster")
    assert complete(ClusterMagics, None, "%cluster connect --") == ["--namespace"]
    assert complete(ClusterMagics, None, "%cluster nothing --") == []


def _offered(notebook: Notebook, line: str) -> list[str]:
    code = f"get_ipython().Completer.complete(line_buffer={line!r}, cursor_pos={len(line)})[1]"
    return [word.strip(" '[]") for word in notebook.value(code).replace("\n", "").split(",")]


def test_the_shell_completes_magics_until_the_extension_is_unloaded(fresh: Notebook) -> None:
    fresh.run("%load_ext himalia")
    assert _offered(fresh, "%cluster sta") == ["start", "status"]
    assert _offered(fresh, "%cluster start --na") == ["--name", "--namespace"]
    fresh.run("%unload_ext himalia")
    assert "start" not in _offered(fresh, "%cluster sta")


def test_the_front_end_gets_the_completions(kernel: Notebook) -> None:
    line = "%cluster start --object"
    reply = kernel.client.complete(line, reply=True, timeout=30)
    assert "--object-memory" in reply["content"]["matches"]
