"""Definitions of a notebook that change while it is worked with."""

from __future__ import annotations

import re

from tests.kernel_ext.notebook import Notebook


def test_what_a_function_uses_can_be_defined_anew(kernel: Notebook) -> None:
    kernel.run(
        "limit = 1\ndef helper(): return limit\nclass Thing:\n    kind = 'old'\n"
        "@himalia.remote\ndef uses(): return helper(), Thing.kind"
    )
    assert kernel.value("himalia.get(uses.remote())") == "(1, 'old')"
    kernel.run("limit = 2")
    assert kernel.value("himalia.get(uses.remote())") == "(2, 'old')"
    kernel.run("def helper(): return 'new'\nclass Thing:\n    kind = 'new'")
    assert kernel.value("himalia.get(uses.remote())") == "('new', 'new')"


def test_what_an_actors_class_uses_can_be_defined_anew(kernel: Notebook) -> None:
    kernel.run("level = 1\n@himalia.remote\nclass Uses:\n    def get(self): return level\nfirst = Uses.remote()")
    kernel.run("level = 2\nsecond = Uses.remote()")
    assert kernel.value("himalia.get([first.get.remote(), second.get.remote()])") == "[1, 2]"


def test_instances_of_the_notebooks_classes_stay_so_on_their_way(kernel: Notebook) -> None:
    kernel.run(
        "import dataclasses, enum\nclass Plain: ...\n@dataclasses.dataclass\nclass Data:\n    x: int\n"
        "class Colour(enum.Enum):\n    RED = 1\nclass Oops(Exception): ...\n"
        "@himalia.remote\ndef make(given):\n"
        "    return Plain(), [Data(1)], Colour.RED, isinstance(given, Plain), given\n"
        "@himalia.remote(max_retries=0)\ndef fail(): raise Oops('no')\n"
        "plain, data, colour, known, given = himalia.get(make.remote(Plain()))"
    )
    assert kernel.value(
        "type(plain) is Plain, data == [Data(1)], colour is Colour.RED, known, type(given) is Plain"
    ) == ("(True, True, True, True, True)")
    assert kernel.run("try: himalia.get(fail.remote())\nexcept Oops: print('caught')").stream() == "caught\n"


def test_an_instance_is_of_the_definition_that_its_task_was_submitted_with(kernel: Notebook) -> None:
    kernel.run("class Old: ...\n@himalia.remote\ndef make(): return Old()\nref = make.remote()\nfirst = Old")
    kernel.run("class Old: ...")
    assert kernel.value("isinstance(himalia.get(ref), first), isinstance(himalia.get(ref), Old)") == "(True, False)"
    assert kernel.value("isinstance(himalia.get(make.remote()), Old)") == "True"


def test_an_actor_of_an_older_definition_says_so_and_can_be_moved(kernel: Notebook) -> None:
    kernel.run(
        "@himalia.remote\nclass Tally:\n    def __init__(self): self.n = 41\n    def add(self): return 'old'\n"
        "tally = Tally.remote()"
    )
    assert "defined anew" not in kernel.value("tally")
    kernel.run("@himalia.remote\nclass Tally:\n    def add(self):\n        self.n += 1\n        return self.n")
    assert re.search(r"class +defined anew since: \.upgrade\(\) moves the actor there", kernel.value("tally"))
    assert "defined anew since" in kernel.run("print(tally)").stream()
    assert kernel.value("himalia.get(tally.add.remote())") == "'old'"
    kernel.run("tally.upgrade()")
    assert kernel.value("himalia.get(tally.add.remote())") == "42"
    assert "defined anew" not in kernel.value("tally")
