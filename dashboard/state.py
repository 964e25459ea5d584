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

from ..cluster.protocol.gcs_messages import ListState
from .feed import ModelFeed, Read
from .jobs import KnownJobs, rows_of_job
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


_ENDS: Final = 4  # jobs that have ended, of which it is remembered how they were then
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
    jobs
        Ids and labels of the jobs that can be shown alone.
    job
        The one that is, by its id; empty: all. The model and `get` tell only of it.
    is_over
        That job has ended: there is nothing newer than this.
    """

    job = ""
    is_over = False

    def __init__(self, model: Model | None = None) -> None:
        self.model = model if model is not None else Model(tasks_kept=_TASKS)
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.failed: dict[str, str] = {}
        self.now = 0.0
        self.version = 0
        self.is_behind = False
        self.record = (0.0, 0.0)
        self.jobs: list[tuple[str, str]] = []

    def get(self, name: str) -> list[dict[str, Any]]:
        """Rows by name; none as long as they were not asked for."""
        rows = self.rows.get(name, [])
        return rows_of_job(rows, self.job, self.rows.get("workers", ())) if self.job else rows


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
        self._jobs = KnownJobs()
        self._shown: dict[str, State] = {}  # of one job each, as it is now
        self._ends: dict[str, tuple[float, Model]] = {}  # of a job that has ended: when, and how it was then

    @property
    def record(self) -> tuple[float, float]:
        """See `State.record`."""
        return self.recording.begin, self.recording.end

    @property
    def has_choice(self) -> bool:
        """Several jobs are recorded, so that one of them can be chosen."""
        return len(self._jobs.ids) > 1

    def past(self, at: float, job: str = "") -> State:
        """The state as it was, in seconds since the epoch: tasks and samples. Other rows are those of the present.

        Parameters
        ----------
        job
            The id of the job that is shown alone; empty: all.
        """
        return self.state_of(self._model_at(at), at, job)

    def present(self, job: str = "") -> State:
        """The state as it is, of one job or all; of a job that has ended, as it was at its end."""
        if not job:
            return self.state
        shown = self._shown.get(job)
        if shown is not None and shown.version == self.state.version:
            return shown
        span = self._jobs.span(job, self.state.get("jobs"))
        model, at = self.state.model, self.state.now
        if span.end and self.record[1]:
            at = span.within(self.record)[1]
            model = self._model_at_end(job, at)
        shown = self._shown[job] = self.state_of(model, at, job)
        return shown

    def knows(self, job: str) -> bool:
        """Whether anything is recorded of a job, or of any if it is empty."""
        return not job or job in self._jobs.ids

    def is_settled(self, at: float, job: str) -> bool:
        """Whether all is there that tells what was at a moment."""
        return not self.state.is_behind and self.record[1] >= at and (not job or "jobs" in self.state.rows)

    def _model_at(self, at: float) -> Model:
        model = self.recording.at(at)
        model.take_samples(self.state.model, at)
        return model

    def _model_at_end(self, job: str, at: float) -> Model:
        known = self._ends.get(job)
        if known is not None and known[0] == at:
            return known[1]
        model = self._model_at(at)
        if len(self._ends) >= _ENDS:
            self._ends.clear()
        self._ends[job] = (at, model)
        return model

    def state_of(self, model: Model, at: float, job: str) -> State:
        """A moment's state, with the rows of the present: of one job, or all if it is empty."""
        span = self._jobs.span(job, self.state.get("jobs"))
        state = State(model.of_job(bytes.fromhex(job)) if job else model)
        state.rows, state.failed, state.now = self.state.rows, self.state.failed, at
        state.version, state.is_behind, state.jobs = self.state.version, self.state.is_behind, self.state.jobs
        state.job, state.is_over = job, bool(span.end)
        state.record = span.within(self.record) if job else self.record
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
            except Exception as error:  # noqa: BLE001 one kind that cannot be told leaves the others
                if isinstance(error, ConnectionError):
                    self._answers.call(ListState("nodes"))  # it may be a node that is silent: raises if all are gone
                read.failed[name] = f"{type(error).__name__}: {error}"
        return read

    def apply(self, read: StateRead) -> bool:
        """Have the state take it in; whether anything changed."""
        before = self.state.model.version
        self._feed.apply(read.model)
        self.state.is_behind, self.state.record = read.model.is_behind, self.record
        self._jobs.look(self.state.model.groups)
        for known in (self.state.rows, self.state.failed):
            for name in [name for name in known if ":" in name and name not in self._due]:
                del known[name]
        for name, rows in read.rows.items():
            self.state.rows[name] = rows
            self.state.failed.pop(name, None)
        self.state.failed |= read.failed
        self.state.jobs = self._jobs.choice(self.state.get("jobs")) if self.has_choice else []
        changed = self.state.model.version != before or bool(read.rows) or bool(read.failed)
        if changed:
            self.state.version += 1
            self.state.now = read.model.at
            self._shown.clear()
        return changed
