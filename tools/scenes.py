"""What the documentation shows of the notebook besides the tutorials: cells, and when a picture of them is taken.

A tutorial is pictured when it has run. What changes while it runs (bars, live objects) is pictured in the middle: as
soon as certain words stand on the page, with its last cells still at work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["SCENES", "Scene"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, ``<name>.png`` and ``<name>-dark.png``, of some cells.

    ``top`` is the number of the cell at its top, from 1; ``words`` are what must stand on the page before it is taken;
    ``width`` and ``height`` are those of the browser's page, in pixels.
    """

    name: str
    cells: tuple[str, ...]
    top: int
    words: tuple[str, ...]
    width: int = 1000
    height: int = 770


START: Final = "%load_ext himalia\n%cluster start --cpus 4\nimport himalia, random, time\nimport numpy as np"

_PIPELINE: Final = """@himalia.remote
def load(i):
    time.sleep(random.uniform(0.08, 0.12))
    return np.full(300_000, i, np.float64)

@himalia.remote(max_retries=0)
def clean(part):
    time.sleep(random.uniform(0.06, 0.1))
    if part[0] == 17:
        raise ValueError("row 17 is broken")
    return part * 2

@himalia.remote
def merge(*parts):
    time.sleep(0.4)
    return sum(part.mean() for part in parts)

cleaned = [clean.remote(load.remote(i)) for i in range(40)]
merged = [merge.remote(*cleaned[start:start + 5]) for start in (0, 5, 20)]
ended = himalia.wait(cleaned + merged, num_returns=43)
himalia.wait(cleaned[17:18])
try:
    himalia.get(cleaned[17])
except ValueError as error:
    print(type(error).__name__, "as expected")"""

_SLOW_FOLDS: Final = """@himalia.remote
def load(i):
    time.sleep(0.04)
    return i

@himalia.remote(max_retries=0)
def train(x):
    time.sleep(random.uniform(0.05, 0.15))
    if x % 150 == 149:
        raise ValueError(f"fold {x} has no data")
    return x

def folds(count):
    return [train.remote(load.remote(i)) for i in range(count)]

ready, rest = himalia.wait(folds(100), num_returns=100)"""

_SIMULATE: Final = """@himalia.remote
def simulate(seconds):
    time.sleep(seconds)
    return np.zeros(1_000_000)

first = simulate.remote(1)
first"""

_COUNTER: Final = """@himalia.remote
class Counter:
    def add(self):
        return 1

counter = Counter.remote()
counter"""

_HOLDERS: Final = """@himalia.remote
def simulate(seed):
    return np.random.default_rng(seed).random(1_000_000)

@himalia.remote
class Model:
    def __init__(self):
        self.weights = himalia.put(np.zeros(2_000_000))

runs = {"first": simulate.remote(1), "second": simulate.remote(2)}
model = Model.remote()
waited = himalia.wait(list(runs.values()), num_returns=2)"""

_LOOKUP: Final = """def make():
    cache = himalia.put(np.zeros(4_000_000))
    return lambda: cache

lookup = make()"""

_GROUPS: Final = """from himalia.util.placement_group import placement_group
from himalia.util.scheduling_strategies import PlacementGroupSchedulingStrategy

@himalia.remote(num_cpus=1)
class Trainer:
    def fit(self, seconds):
        time.sleep(seconds)

trainers = placement_group([{"CPU": 2}, {"CPU": 1}], name="trainers")
inside = PlacementGroupSchedulingStrategy(trainers, placement_group_bundle_index=0)
trainer = Trainer.options(scheduling_strategy=inside).remote()
trainers"""

_FETCH: Final = """@himalia.remote
def fetch(page):
    if page % 3 == 1:
        raise ConnectionError(f"page {page} does not answer")
    return page

pages = [fetch.remote(page) for page in range(60)]"""

SCENES: Final = (
    Scene(
        "magics",
        (START, _PIPELINE, "%tasks --limit 6", "%timeline", "%objects --limit 3"),
        3,
        ("row 17 is broken", "Timeline: ", "the largest first"),
    ),
    Scene(
        "progress",
        (START, _SLOW_FOLDS, "himalia.wait(folds(400), num_returns=400);"),
        2,
        ("200 tasks done in", "of 800 tasks in", "1 failed"),
        height=600,
    ),
    Scene(
        "live_objects",
        (START, _SIMULATE, "second = simulate.remote(60)\nsecond", _COUNTER, "himalia.get(second)"),
        2,
        ("object store of this node", "alive", "0 of 1 tasks in", "cancel", "kill"),
        height=880,
    ),
    Scene(
        "placement_groups",
        (START, _GROUPS, 'placement_group([{"CPU": 2}, {"CPU": 2}], strategy="SPREAD", name="later")'),
        2,
        ("1 actor", "1 of 2 CPU in use", "It waits for room", "remove"),
        height=690,
    ),
    Scene(
        "memory",
        (START, "table = himalia.put(np.zeros(6_250_000))", "himalia.get(table)[:3]", _LOOKUP, _HOLDERS, "%memory"),
        6,
        ("in object memory", "by actor", "release table"),
        width=1100,
        height=560,
    ),
    Scene(
        "failures",
        (
            START,
            _FETCH,
            'print("the next cell runs")',
        ),
        2,
        ("does not answer", "19 more times", "the next cell runs"),
        height=560,
    ),
)
