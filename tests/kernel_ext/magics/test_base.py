"""All magics: their help and the way they refuse."""

from __future__ import annotations

import pytest

from himalia.kernel_ext.magics import families
from tests.kernel_ext.notebook import Notebook

COMMANDS = [(family, command) for family in families() for command in family.parsers]


@pytest.mark.parametrize(("family", "command"), COMMANDS, ids=[command for _, command in COMMANDS])
def test_help_names_every_option(family: type, command: str) -> None:
    magic = getattr(family, family.function_of(command.partition(" ")[0]))  # type: ignore[attr-defined]
    text = magic.__doc__
    assert command in text
    section = text[text.index(command) :]
    missing = [name for name in family.parsers[command]().option_names() if name not in section]  # type: ignore[attr-defined]
    assert not missing


@pytest.mark.parametrize("magic", ["%cluster", "%%task", "%%every", "%tasks", "%cancel"])
def test_a_question_mark_shows_the_help(kernel: Notebook, magic: str) -> None:
    reply = kernel.client.execute(f"{magic}?", reply=True, timeout=30)
    (page,) = reply["content"]["payload"]
    assert magic in page["data"]["text/plain"]
    assert "--" in page["data"]["text/plain"]


def test_every_magic_has_a_parser() -> None:
    for family in families():
        named = {command.partition(" ")[0] for command in family.parsers}
        registered = {name for names in family.magics.values() for name in names}
        assert named == registered
