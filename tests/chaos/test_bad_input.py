"""What cannot work is refused where it is written, with the name of what is wrong."""

from __future__ import annotations

import logging
import threading
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from himalia.exceptions import RayTaskError


def test_arguments_that_do_not_fit_the_signature_are_refused_at_the_call(hv: ModuleType) -> None:
    @hv.remote
    def scale(x: int, *, factor: int = 2) -> int:
        return x * factor

    with pytest.raises(TypeError, match=r"scale.*missing.*'x'"):
        scale.remote()
    with pytest.raises(TypeError, match=r"scale.*too many positional|scale.*positional"):
        scale.remote(1, 2)
    with pytest.raises(TypeError, match=r"scale.*(unexpected|got an).*'facto'"):
        scale.remote(1, facto=3)
    assert hv.get(scale.remote(2, factor=5)) == 10


def test_arguments_that_do_not_fit_a_constructor_or_a_method_are_refused_at_the_call(hv: ModuleType) -> None:
    @hv.remote
    class Tank:
        def __init__(self, size: int) -> None:
            self.size = size

        def fill(self, amount: int) -> int:
            return self.size - amount

    with pytest.raises(TypeError, match=r"missing.*'size'"):
        Tank.remote()
    tank = Tank.remote(5)
    with pytest.raises(TypeError, match=r"missing.*'amount'"):
        tank.fill.remote()
    assert hv.get(tank.fill.remote(2)) == 3


def test_a_function_that_closes_over_a_lock_names_the_variable(hv: ModuleType) -> None:
    guard = threading.Lock()

    @hv.remote
    def locked() -> None:
        with guard:
            pass

    with pytest.raises(TypeError, match=r"`guard`.*lock"):
        locked.remote()


def test_a_function_that_closes_over_a_generator_names_the_variable(hv: ModuleType) -> None:
    numbers = (n for n in range(3))

    @hv.remote
    def first() -> int:
        return next(numbers)

    with pytest.raises(TypeError, match=r"`numbers`.*generator"):
        first.remote()


class Vast(np.ndarray):
    """An array of 1 GB whose memory is never touched, and which pickles to nothing but its length."""

    told: list[str] = []  # noqa: RUF012 - shared on purpose: what had been said when it was pickled
    seen_at_pickling: list[int] = []  # noqa: RUF012

    def __reduce_ex__(self, protocol: Any) -> Any:
        Vast.seen_at_pickling.append(len(Vast.told))
        return len, ("x" * 7,)


def test_a_function_that_closes_over_a_gigabyte_warns_with_its_name_and_size_before_it_is_sent(
    hv: ModuleType,
) -> None:
    weights = np.empty(1 << 27, np.float64).view(Vast)

    class Telling(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            Vast.told.append(record.getMessage())

    handler = Telling()
    logging.getLogger("himalia").addHandler(handler)
    try:

        @hv.remote
        def predict() -> Any:
            return weights

        assert hv.get(predict.remote()) == 7
        told = [text for text in Vast.told if "weights" in text]
        assert len(told) == 1
        assert "1.1 GB" in told[0]
        assert "himalia.put(weights)" in told[0]
        assert Vast.seen_at_pickling
        assert min(Vast.seen_at_pickling) > 0, "it was pickled before the user was told"
    finally:
        logging.getLogger("himalia").removeHandler(handler)
        Vast.told.clear()
        Vast.seen_at_pickling.clear()


def test_an_argument_that_cannot_be_pickled_names_the_member(hv: ModuleType) -> None:
    @hv.remote
    def use(settings: Any) -> None: ...

    with pytest.raises(TypeError, match="lock"):
        use.remote({"retries": 3, "guard": threading.Lock()})


def test_a_result_that_cannot_be_pickled_is_an_error_of_the_task_that_names_the_member(hv: ModuleType) -> None:
    @hv.remote
    def give() -> Any:
        return {"fine": 1, "guard": threading.Lock()}

    with pytest.raises(TypeError, match=r"give[\s\S]*guard[\s\S]*lock"):
        hv.get(give.remote())


def test_a_streamed_item_that_cannot_be_pickled_is_an_error_of_the_task(hv: ModuleType) -> None:
    @hv.remote
    def items() -> Any:
        yield 1
        yield threading.Lock()

    stream = items.remote()
    assert hv.get(next(stream)) == 1
    with pytest.raises(TypeError, match="lock"):
        hv.get(next(stream))


def test_an_exception_that_cannot_be_pickled_still_says_what_happened(hv: ModuleType) -> None:
    class Broken(Exception):
        def __init__(self, text: str) -> None:
            super().__init__(text)
            self.guard = threading.Lock()

    @hv.remote
    def fail() -> None:
        raise Broken("the valve is stuck")

    with pytest.raises(RayTaskError, match="the valve is stuck"):
        hv.get(fail.remote())


def test_an_exception_whose_text_raises_is_still_an_error(hv: ModuleType) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @hv.remote
    def fail() -> None:
        raise Silent

    with pytest.raises(RayTaskError, match="Silent"):
        hv.get(fail.remote(), timeout=10)


def test_an_option_that_does_not_exist_is_refused(hv: ModuleType) -> None:
    @hv.remote
    def f() -> None: ...

    with pytest.raises(ValueError, match="num_cpu"):
        f.options(num_cpu=2)
    with pytest.raises(ValueError, match="num_cpus"):
        f.options(num_cpus=-1)
