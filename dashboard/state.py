"""What pages read, and how it is kept current.

Strategy: tasks come as events into the model (`model.py`), which is cheap at any rate. Everything else is asked as the
state API's rows, by name, and only while a page that needs it is open: so an idle dashboard asks nothing, and what a
page can show is what `himalia.util.state` lists. Asking and decoding (`StateFeed.read`) may run in any thread; the
state changes only in `StateFeed.apply`, in the thread that draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

import msgspec

from .feed import ModelFeed, Read
from .model import Model
from .recording import Recording

__all__ = ["ClusterAnswers", "State", "StateFeed", "StateRead"]

_EVERY: Final = 1.0
_SELDOM: Final[Mapping[str, float]] = {
    "objects": 2.0,
    "object": 10.0,
    "actor_calls": 2.0,
    "pending": 2.0,
    "log_files": 5.0,
    "task_told": 5.0,
}
"""Seconds between questions, by kind, where they are not `_EVERY`: every process is asked for its objects, calls are
looked for among all events, and what keeps an object alive among all that a notebook has."""


_TASKS: Final = 1_000_000  # that can be looked up, as many as the GCS remembers: 30 MB


class ClusterAnswers(Protocol):
    """Who answers for the cluster. Used by one thread at a time."""

    def call(self, message: Any) -> Any:
        """What the GCS answers to a message."""
        ...

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Rows by name: ``actors``, ``jobs``, ``task_log:ID``, … (see questions.py)."""
        ...


class State:
    """What pages read.

    Attributes
    ----------
    model
        Tasks, and samples of the nodes.
    rows
        The state API's rows by name, as they were when they were asked last.
    failed
        By name, why rows could not be asked, in words.
    now
        Seconds since the epoch, when the state changed last.
    version
        Grows with each change.
    is_behind
        More events are there already than the model has taken in.
    record
        From when to when the past is known, in seconds since the epoch; 0: it is not.
    """

    def __init__(self, model: Model | None = None) -> None:
        self.model = model if model is not None else Model(tasks_kept=_TASKS)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.failed: dict[str, str] = {}
        self.now = 0.0
        self.version = 0
        self.is_behind = False
        self.record = (0.0, 0.0)

    def get(self, name: str) -> list[dict[str, Any]]:
        """Rows by name; none as long as they were not asked for."""
        return self.rows.get(name, [])


class StateRead(msgspec.Struct):
    """What one round of questions brought: to be applied in the thread that draws."""

    model: Read
    rows: dict[str, list[dict[str, Any]]]
    failed: dict[str, str]


class StateFeed:
    """Keeps a state current, and knows what it was before.

    Parameters
    ----------
    answers
        Who is asked.
    clock, wall
        Seconds on a clock that only goes forward, and since the epoch.
    """

    def __init__(
        self,
        answers: ClusterAnswers,
        state: State | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.state = state if state is not None else State()
        self._answers = answers
        self._clock = clock
        self._wall = wall
        self.recording = Recording(self.state.model)
        self._feed = ModelFeed(answers.call, self.state.model, clock, wall, self.recording)
        self._due: dict[str, float] = {}

    @property
    def record(self) -> tuple[float, float]:
        """See `State.record`."""
        return self.recording.begin, self.recording.end

    def past(self, at: float) -> State:
        """The state as it was, in seconds since the epoch: tasks and samples. Other rows are those of the present."""
        state = State(self.recording.at(at))
        state.model.take_samples(self.state.model, at)
        state.rows, state.now, state.version = self.state.rows, at, self.state.version
        return state

    def read(self, needs: Collection[str]) -> StateRead:
        """Ask what is new of the tasks, and for rows that it is time for.

        Raises
        ------
        ConnectionError
            The cluster is gone.
        """
        read = StateRead(self._feed.read(), {}, {})
        for name in [name for name in self._due if ":" in name and name not in needs]:
            del self._due[name]
        for name in needs:
            now = self._clock()
            if now < self._due.get(name, float("-inf")):
                continue
            self._due[name] = now + _SELDOM.get(name.partition(":")[0], _EVERY)
            try:
                read.rows[name] = self._answers.rows(name)
            except ConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 one kind that cannot be told leaves the others
                read.failed[name] = f"{type(error).__name__}: {error}"
        return read

    def apply(self, read: StateRead) -> bool:
        """Have the state take it in; whether anything changed."""
        before = self.state.model.version
        self._feed.apply(read.model)
        self.state.is_behind, self.state.record = read.model.is_behind, self.record
        for name in [name for name in self.state.rows if ":" in name and name not in self._due]:
            del self.state.rows[name]
        for name, rows in read.rows.items():
            self.state.rows[name] = rows
            self.state.failed.pop(name, None)
        self.state.failed |= read.failed
        changed = self.state.model.version != before or bool(read.rows) or bool(read.failed)
        if changed:
            self.state.version += 1
            self.state.now = read.model.at
        return changed
