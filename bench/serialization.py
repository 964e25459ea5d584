"""What turning values into bytes costs, against the C pickler and cloudpickle.

Usage: python bench/serialization.py [--json FILE]

Times are the best of several rounds in microseconds: the least disturbed round is the one that tells of the code.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
import timeit
from collections.abc import Callable
from functools import partial
from typing import Any

import cloudpickle
import numpy as np

from himalia.cluster.serialization import CallSignature, deserialize, deserialize_args, serialize, serialize_args
from himalia.cluster.serialization.layout import copy_bytes

ROUNDS = 9

VALUES: dict[str, Any] = {
    "None": None,
    "int": 17,
    "str, 3 characters": "abc",
    "bytes, 100": bytes(100),
    "tuple (int, float, str)": (1, 2.0, "abc"),
    "dict of 2": {"a": 1, "b": "two"},
    "list of 1,000 ints": list(range(1000)),
    "nested tuples": ((1, 2), (3, (4, 5))),
    "array, 800 bytes": np.zeros(100),
    "array, 8 MB": np.zeros(1_000_000),
    "tuple of array, 8 MB": (np.zeros(1_000_000), 1),
    "bytes, 8 MB": bytes(8_000_000),
}


def best(function: Callable[[], Any]) -> float:
    """Microseconds of one call, in the best round."""
    timer = timeit.Timer(function)
    number = max(1, timer.autorange()[0] // 10)
    return min(timer.repeat(repeat=ROUNDS, number=number)) / number * 1e6


def values() -> dict[str, dict[str, float]]:
    """Costs of each value, both ways."""
    found: dict[str, dict[str, float]] = {}
    for name, value in VALUES.items():
        packed = serialize(value)
        found[name] = {
            "serialize": best(partial(serialize, value)),
            "deserialize": best(partial(deserialize, packed.data, packed.buffers)),
            "pickle": best(partial(pickle.dumps, value, 5)),
            "cloudpickle": best(partial(cloudpickle.dumps, value)),
        }
    return found


def calls() -> dict[str, float]:
    """Costs of what every task does."""

    def function(a: int, b: int = 2, *, c: int = 3) -> None: ...

    signature = CallSignature.compile(function)
    positional, named = (1, 2), {"c": 1}
    packed = serialize_args(positional, {})
    return {
        "serialize_args((1, 2), {})": best(lambda: serialize_args(positional, {})),
        "serialize_args((1, 2), {'c': 1})": best(lambda: serialize_args(positional, named)),
        "deserialize_args of the first": best(lambda: deserialize_args(packed.data)),
        "check((1, 2), {})": best(lambda: signature.check(positional, {})),
        "check((1, 2), {'c': 1})": best(lambda: signature.check(positional, named)),
    }


def copying(size: int = 400_000_000) -> dict[str, float]:
    """Speed of a large copy in GB/s: ours, and numpy's as what memory can do."""
    source = np.ones(size, dtype=np.uint8)
    target = np.zeros_like(source)
    speeds: dict[str, float] = {"copy_bytes": 0.0, "numpy.copyto": 0.0}
    for _ in range(4):
        for name, copy in (
            ("copy_bytes", lambda: copy_bytes(memoryview(target), 0, memoryview(source))),
            ("numpy.copyto", lambda: np.copyto(target, source)),
        ):
            start = time.perf_counter()
            copy()
            speeds[name] = max(speeds[name], size / (time.perf_counter() - start) / 1e9)
    return speeds


def main(arguments: list[str]) -> None:
    """Measure, print a table, and write JSON if asked to."""
    result: dict[str, Any] = {"values_us": values(), "calls_us": calls(), "copy_gb_per_s": copying()}
    columns = ("serialize", "deserialize", "pickle", "cloudpickle")
    print(f"{'value (µs)':26}" + "".join(f"{each:>13}" for each in columns))
    for name, row in result["values_us"].items():
        print(f"{name:26}" + "".join(f"{row[each]:13.2f}" for each in columns))
    for name, cost in result["calls_us"].items():
        print(f"{name:39}{cost:13.2f} µs")
    for name, speed in result["copy_gb_per_s"].items():
        print(f"{name:39}{speed:13.1f} GB/s")
    if "--json" in arguments:
        with open(arguments[arguments.index("--json") + 1], "w") as file:
            json.dump(result, file, indent=2)


if __name__ == "__main__":
    main(sys.argv[1:])
