"""What of a cell's output is shown."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.telemetry.allowance_machine import Allowance
from himalia.kernel_ext.flow_machine import TAIL, Flow, Shown


def make(burst: float = 1e6, rate: float = 0.0, reserve: float = 0.0) -> Flow:
    return Flow(Allowance(burst, rate, reserve), "%logs 7 shows all")


def add(flow: Flow, text: str, now: float = 0.0, **other: int) -> str:
    pid, stream = other.pop("pid", 1), other.pop("stream", 1)
    count, omitted = other.pop("count", 1), other.pop("omitted", 0)
    return joined(flow.add("f", pid, stream, text, count, omitted, now))


def joined(shown: list[Shown]) -> str:
    return "".join(item.text for item in shown)


def test_every_line_is_marked_and_shown_at_once() -> None:
    assert add(make(), "a\nb\n") == "(f pid=1) a\n(f pid=1) b\n"


def test_text_without_an_end_of_line_gets_one() -> None:
    assert add(make(), "a") == "(f pid=1) a\n"


def test_empty_lines_are_kept() -> None:
    assert add(make(), "a\n\nb\n") == "(f pid=1) a\n(f pid=1) \n(f pid=1) b\n"
    assert add(make(), "\n") == "(f pid=1) \n"


def test_equal_lines_are_shown_and_then_counted() -> None:
    flow = make()
    assert add(flow, "x\n" * 5 + "y\n") == "(f pid=1) x\n" * 3 + "(f pid=1) x  [2 more times]\n(f pid=1) y\n"
    assert add(flow, "y\n" * 2) == "(f pid=1) y\n" * 2
    assert not flow.restless


def test_equal_lines_of_several_processes_are_counted_together_and_told_when_it_is_quiet() -> None:
    flow = make()
    for pid in (1, 2, 3):
        assert add(flow, "x\n", pid=pid) == f"(f pid={pid}) x\n"
    assert add(flow, "x\n", pid=4) == ""
    assert add(flow, "x\n", pid=4, count=1_000) == ""
    assert flow.tick(0.1) == []
    assert joined(flow.tick(1.0)) == "(f 4 processes) x  [1,001 more times]\n"
    assert not flow.restless


def test_while_equal_lines_go_on_their_number_is_told_more_and_more_seldom() -> None:
    flow = make()
    times = []
    for step in range(1_000):
        now = step / 10
        add(flow, "x\n", now)
        if flow.tick(now):
            times.append(now)
    distances = [later - earlier for earlier, later in pairwise(times)]
    assert times[0] < 1.0
    assert 6 <= len(times) <= 12
    assert distances == sorted(distances)


def test_lines_of_other_functions_do_not_end_a_run() -> None:
    flow = make()
    out: list[Shown] = []
    for i in range(10):
        out += flow.add("f", 1, 1, "same\n", 1, 0, 0.0)
        out += flow.add("g", 1, 1, f"{i}\n", 1, 0, 0.0)
    assert joined(out).count("same") == 3


def test_what_does_not_fit_is_left_out_in_the_middle_and_counted() -> None:
    flow = make(burst=10_000, reserve=10_000)
    shown = add(flow, "".join(f"{i}\n" for i in range(5_000)))
    assert shown.startswith("(f pid=1) 0\n")
    assert len(shown) <= 10_000
    assert flow.tick(0.1) == []  # it may go on
    end = joined(flow.tick(1.0))
    assert end.endswith("(f pid=1) 4999\n")
    left_out = 5_000 - shown.count("\n") - (end.count("\n") - 1)
    assert end.startswith(f"… {left_out:,} lines left out: %logs 7 shows all\n")


def test_lines_that_a_worker_left_out_are_told_before_what_follows() -> None:
    flow = make()
    assert add(flow, "end\n", omitted=12_345) == "… 12,345 lines left out: %logs 7 shows all\n(f pid=1) end\n"


def test_a_line_a_second_is_shown_for_hours() -> None:
    flow = make(burst=1_000, rate=100, reserve=0)
    for second in range(10_000):
        assert add(flow, f"step {second}\n", float(second)) == f"(f pid=1) step {second}\n"


def test_closing_shows_the_end() -> None:
    flow = make(burst=100)
    add(flow, "".join(f"{i}\n" for i in range(1_000)))
    assert joined(flow.close(0.0)).endswith("(f pid=1) 999\n")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["f", "g"]),
            st.text("ab\n", min_size=1, max_size=40),
            st.integers(0, 3),
            st.floats(0, 2),
        ),
        max_size=60,
    )
)
def test_no_line_is_lost_without_being_counted(steps: list[tuple[str, str, int, float]]) -> None:
    """Shown lines, counted repetitions and lines left out add up to what came; and no more is shown than allowed."""
    flow = Flow(Allowance(300, 10, 100), "")
    now, came = 0.0, 0
    out: list[Shown] = []
    for name, text, omitted, passed in steps:
        now += passed
        out += flow.tick(now)
        out += flow.add(name, 1, 1, text, 1, omitted, now)
        came += text.removesuffix("\n").count("\n") + 1 + omitted
    assert len(joined(out)) <= 300 + 100 + 10 * now + 1e-6
    out += flow.close(now)
    out += flow.close(now + 1e9)
    assert sum(map(_counted, joined(out).splitlines())) == came


def _counted(line: str) -> int:
    if line.startswith("… "):
        return int(line.split()[1].replace(",", ""))
    if line.endswith("more]"):
        return 1
    if line.endswith("more times]"):
        return int(line.rpartition("[")[2].split()[0].replace(",", ""))
    return 1


def test_the_tail_is_bounded_also_for_one_long_line() -> None:
    flow = make(burst=10, reserve=10_000)
    add(flow, "x" * 100_000)
    assert len(joined(flow.tick(1.0))) <= TAIL + 2
