"""Resources are exact, GPUs are packed, and blocked holders lend their CPUs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.cluster.raylet.ledger import Allocation, Ledger

from .node_on_paper import UNIT, cpus


def take(ledger: Ledger, **resources: float) -> Allocation:
    allocation = ledger.acquire({name: round(units * UNIT) for name, units in resources.items()})
    assert allocation is not None
    ledger.check_invariants()
    return allocation


def test_what_is_acquired_is_not_free_until_it_is_released() -> None:
    ledger = Ledger(cpus(2, slot=1))
    held = take(ledger, CPU=1.5, slot=1)
    assert ledger.available == cpus(0.5) | {"slot": 0}
    assert ledger.acquire(cpus(1)) is None
    ledger.release(held)
    assert ledger.available == ledger.total


def test_a_request_is_met_in_all_or_not_at_all() -> None:
    ledger = Ledger(cpus(2, slot=1))
    assert ledger.acquire({"CPU": UNIT, "slot": 2 * UNIT}) is None
    assert ledger.available == ledger.total


def test_what_does_not_exist_cannot_be_had() -> None:
    ledger = Ledger(cpus(2))
    assert not ledger.could_fit({"slot": 1})
    assert not ledger.fits({"slot": 1})
    assert ledger.could_fit({})
    assert ledger.fits({})


def test_nothing_is_released_twice() -> None:
    ledger = Ledger(cpus(2))
    held = take(ledger, CPU=1)
    ledger.release(held)
    with pytest.raises(KeyError):
        ledger.release(held)


def test_fractions_share_one_gpu_so_that_others_stay_whole() -> None:
    ledger = Ledger({"GPU": 3 * UNIT})
    first, second, third = (take(ledger, GPU=0.4) for _ in range(3))
    assert first.accelerators() == second.accelerators() == {"GPU": [0]}
    assert third.accelerators() == {"GPU": [1]}
    assert take(ledger, GPU=0.6).accelerators() == {"GPU": [1]}
    assert take(ledger, GPU=1).accelerators() == {"GPU": [2]}


def test_whole_gpus_are_whole() -> None:
    ledger = Ledger({"GPU": 2 * UNIT})
    halves = [take(ledger, GPU=0.6), take(ledger, GPU=0.6)]
    assert not ledger.fits({"GPU": UNIT})
    ledger.release(halves[0])
    assert ledger.fits({"GPU": UNIT})
    assert not ledger.fits({"GPU": 2 * UNIT})
    ledger.release(halves[1])
    assert take(ledger, GPU=2).accelerators() == {"GPU": [0, 1]}


def test_several_gpus_and_a_fraction_is_no_number_of_devices() -> None:
    assert not Ledger({"GPU": 4 * UNIT}).fits({"GPU": 3 * UNIT // 2})


def test_a_blocked_holder_lends_its_cpus_and_takes_them_back_at_once() -> None:
    ledger = Ledger(cpus(1, slot=1))
    blocked = take(ledger, CPU=1, slot=1)
    assert ledger.lend(blocked)
    assert not ledger.lend(blocked)
    assert ledger.available == cpus(1) | {"slot": 0}
    borrower = take(ledger, CPU=1)
    ledger.take_back(blocked)
    ledger.take_back(blocked)
    ledger.check_invariants()
    assert ledger.available["CPU"] == -UNIT
    assert not ledger.fits(cpus(0.1))
    ledger.release(borrower)
    assert ledger.available["CPU"] == 0


def test_a_holder_that_ends_while_it_lends_gives_back_the_rest() -> None:
    ledger = Ledger(cpus(2, slot=1))
    held = take(ledger, CPU=1, slot=1)
    ledger.lend(held)
    ledger.release(held)
    assert ledger.available == ledger.total
    ledger.check_invariants()


def test_who_holds_no_cpu_has_none_to_lend() -> None:
    ledger = Ledger(cpus(2, slot=1))
    assert not ledger.lend(take(ledger, slot=1))


REQUESTS = st.fixed_dictionaries(
    {}, optional={"CPU": st.integers(1, 3 * UNIT), "GPU": st.integers(1, 3 * UNIT), "slot": st.integers(1, UNIT)}
)


@given(st.lists(st.tuples(st.sampled_from(["acquire", "release", "lend", "take back"]), REQUESTS, st.integers(0, 50))))
def test_no_order_of_events_leaks_anything(steps: list[tuple[str, dict[str, int], int]]) -> None:
    ledger = Ledger({"CPU": 4 * UNIT, "GPU": 2 * UNIT, "slot": UNIT})
    held: list[Allocation] = []
    for step, request, index in steps:
        if step == "acquire":
            fits = ledger.fits(request)
            allocation = ledger.acquire(request)
            assert (allocation is not None) == fits
            if allocation is not None:
                held.append(allocation)
        elif held:
            chosen = held[index % len(held)]
            if step == "release":
                held.remove(chosen)
                ledger.release(chosen)
            elif step == "lend":
                ledger.lend(chosen)
            else:
                ledger.take_back(chosen)
        ledger.check_invariants()
    for allocation in held:
        ledger.release(allocation)
    assert ledger.available == ledger.total
    ledger.check_invariants()


def test_a_total_can_grow_and_shrink_while_some_is_held() -> None:
    ledger = Ledger(cpus(2, GPU=1))
    first, second = take(ledger, CPU=1), take(ledger, CPU=1)
    ledger.resize("CPU", 3 * UNIT)
    ledger.check_invariants()
    third = take(ledger, CPU=1)
    ledger.resize("CPU", UNIT)
    ledger.check_invariants()
    assert ledger.available["CPU"] == -2 * UNIT
    assert not ledger.could_fit(cpus(2))
    for held in (first, second):
        ledger.release(held)
        assert not ledger.fits(cpus(1))
    ledger.release(third)
    assert ledger.available == ledger.total == cpus(1, GPU=1)


def test_devices_and_nothing_can_not_be_set() -> None:
    ledger = Ledger(cpus(2, GPU=1))
    with pytest.raises(ValueError, match="GPU can not be set"):
        ledger.resize("GPU", 2 * UNIT)
    with pytest.raises(ValueError, match="CPU can not be set to 0"):
        ledger.resize("CPU", 0)


def test_a_total_is_changed_while_cpus_are_lent() -> None:
    ledger = Ledger(cpus(2))
    held = take(ledger, CPU=2)
    ledger.lend(held)
    ledger.resize("CPU", UNIT)
    ledger.check_invariants()
    assert ledger.fits(cpus(1))
    ledger.take_back(held)
    ledger.check_invariants()
    assert ledger.available["CPU"] == -UNIT
    ledger.release(held)
    assert ledger.available == cpus(1)
