"""``%logs`` in a kernel."""

from __future__ import annotations

import re

from tests.kernel_ext.notebook import Notebook

TALK = """
import sys
@himalia.remote
def talk(n):
    for i in range(n):
        print("line", i)
    print("bad <news>", file=sys.stderr)
@himalia.remote
class Speaker:
    def say(self, word):
        print(word)
"""


def lines(text: str) -> list[str]:
    """Lines of `%logs` without their marks; the title first."""
    return [re.sub(r"^\(.* pid=\d+\) ", "", line) for line in text.splitlines()]


def test_a_cell_a_reference_and_an_actor_can_be_asked_for(kernel: Notebook) -> None:
    kernel.run(TALK)
    number = int(kernel.value("refs = [talk.remote(3), talk.remote(2)]\nhimalia.get(refs)\nlen(In) - 1"))
    kernel.run("speaker = Speaker.remote()\nhimalia.get(speaker.say.remote('hello'))\none = refs[0]")
    assert lines(kernel.value("%logs one")) == ["one: 4 lines", "line 0", "line 1", "line 2", "bad <news>"]
    assert lines(kernel.value("%logs one --stream err")) == ["one: 1 line", "bad <news>"]
    assert lines(kernel.value("%logs one --tail 2"))[1:] == ["line 2", "bad <news>"]
    assert lines(kernel.value("%logs speaker"))[1:] == ["hello"]
    assert len(lines(kernel.value("%logs refs"))) == 1 + 7
    of_cell = kernel.value(f"%logs {number}")
    assert lines(of_cell)[0] == f"Cell {number}: 7 lines"
    assert sorted(lines(of_cell)[1:]) == sorted(lines(kernel.value("%logs refs"))[1:])
    assert lines(kernel.value(f"%logs {kernel.value('one.hex()')[1:-1]}"))[1] == "line 0"


def test_what_was_left_out_is_found_there(kernel: Notebook) -> None:
    kernel.run(TALK)
    flooded = kernel.run("ref = talk.remote(50_000)\nhimalia.get(ref)")
    flooded.wait_for(lambda cell: "left out: " in cell.stream())
    magic = re.search(r"left out: (%logs \d+)", flooded.stream())
    assert magic is not None
    shown = lines(kernel.value(f"{magic[1]} --tail 30000"))
    assert shown[0].endswith("the last 30000 lines (--tail says how many)")
    assert shown[-30_000:] == [*(f"line {i}" for i in range(20_001, 50_000)), "bad <news>"]
    kernel.run("from himalia.util.state import logs")
    assert kernel.value("logs(ref).splitlines() == [f'line {i}' for i in range(50_000)] + ['bad <news>']") == "True"


def test_alone_it_says_who_printed(kernel: Notebook) -> None:
    kernel.run(TALK)
    kernel.run("himalia.get([talk.options(name='listed').remote(1) for _ in range(3)])")
    cell = kernel.run("%logs")
    assert re.search(r"listed +3 ", cell.text)
    assert "<table" in cell.shown[0]["text/html"]


def test_html_is_escaped(kernel: Notebook) -> None:
    kernel.run(TALK)
    cell = kernel.run("one = talk.remote(0)\nhimalia.get(one)\n%logs one")
    assert "bad &lt;news&gt;" in cell.shown[-1]["text/html"]


def test_errors_say_what_would_be_right(kernel: Notebook) -> None:
    kernel.run(TALK + "result = talk.remote(0)")
    assert "did you mean result?" in kernel.run("%logs resultt").stream("stderr")
    assert "did you mean --tail?" in kernel.run("%logs --tial 3").stream("stderr")
    assert "no count" in kernel.run("%logs 3 --tail x").stream("stderr")
    assert "nothing was printed" in kernel.value("%logs 99999")


def test_lines_are_found_by_text_expression_and_level(kernel: Notebook) -> None:
    kernel.run(
        "import logging\n@himalia.remote\ndef fruit():\n    logging.basicConfig(level=logging.INFO, force=True)\n"
        "    for n in range(30): print('plum', n)\n    logging.warning('overripe')\n"
        "plums = fruit.remote()\nhimalia.get(plums)"
    )
    assert lines(kernel.value("%logs plums --grep 'm 2'"))[1:] == ["plum 2", *(f"plum {n}" for n in range(20, 30))]
    assert lines(kernel.value(r"%logs --grep 'plum \d$' --regex --tail 3"))[1:] == ["plum 7", "plum 8", "plum 9"]
    assert lines(kernel.value("%logs plums --level warning"))[1:] == ["WARNING:root:overripe"]
    assert "no regular expression" in kernel.run("%logs --grep ( --regex").stream("stderr")
    assert "--grep" in kernel.run("%logs plums --regex").stream("stderr")


def test_following_shows_what_comes_in_one_place_until_the_task_is_done(kernel: Notebook) -> None:
    kernel.run(
        "@himalia.remote\ndef count(n, seconds):\n    for i in range(n):\n        print('count', i)\n"
        "        time.sleep(seconds)\n    return n"
    )
    cell = kernel.run("counting = count.remote(8, 0.3)\n%logs counting --follow --tail 5")
    shown = [m["content"] for m in cell.messages if m["msg_type"] in ("display_data", "update_display_data")]
    shown = [one for one in shown if one["transient"].get("display_id", "").startswith("himalia-logs-")]
    assert len({one["transient"]["display_id"] for one in shown}) == 1
    assert len(shown) > 2
    assert lines(shown[-1]["data"]["text/plain"]) == [
        "counting: the last 5 of 8 lines",
        *(f"count {i}" for i in range(3, 8)),
    ]
    assert "interrupt the cell to stop" in shown[0]["data"]["text/plain"]


def test_following_ends_with_an_interrupt_and_leaves_the_tasks_alone(kernel: Notebook) -> None:
    kernel.run(
        "@himalia.remote\nclass Ticker:\n    def tick(self):\n        print('tick')\n        return 1\n"
        "ticker = Ticker.remote()\nhimalia.get(ticker.tick.remote())"
    )
    cell = kernel.send("%logs ticker --follow")
    cell.wait_for(lambda cell: any("tick" in bundle["text/plain"] for bundle in cell.shown))
    kernel.interrupt()
    cell.wait_for(lambda cell: cell.done)
    assert not cell.error
    assert kernel.value("himalia.get(ticker.tick.remote())") == "1"
