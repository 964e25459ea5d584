"""What the REST API answers, as declarations: the handlers and the OpenAPI document are both made of them.

Each list of the state API is here by its own name, so what `himalia list` shows a program can ask for, and whatever
list is added there comes here by itself.
"""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from himalia.util.state import summarize_actors, summarize_objects, summarize_tasks
from himalia.util.state._filters import Filter, make_filter
from himalia.util.state._schemas import StateRecord
from himalia.util.state._source import ROWS

from ...cluster.protocol.common import from_units
from ...cluster.telemetry.timeline import chrome_trace
from ..actions import ACTIONS, Action, NothingThereError
from ..answers import GcsAnswers
from ..model import Model
from .declarations import Endpoint, Question, Text
from .looks import LOOKS

__all__ = ["ENDPOINTS", "parse_filters"]

_MOST_ROWS: Final = 100_000


class ListQuery(msgspec.Struct):
    """Which rows, and how many."""

    filter: list[str] = []  # ``state=RUNNING`` or ``name!=f``: all must hold
    limit: int = 100
    offset: int = 0


class JobQuery(msgspec.Struct):
    """Of which job; none: of all."""

    job: str = ""


class Version(msgspec.Struct):
    """What answers here."""

    himalia: str
    cluster_id: str
    session_dir: str


class ClusterNow(msgspec.Struct):
    """A cluster in short. Memory is in bytes."""

    cluster_id: str
    nodes: int
    resources_total: dict[str, float]
    resources_available: dict[str, float]
    actors: dict[str, int]
    jobs_running: int
    waiting: list[tuple[dict[str, float], int]]
    task_events: int
    task_events_dropped: int


class GroupNow(msgspec.Struct):
    """How far the tasks of one function of one cell are. Times are seconds; ``left_s`` is negative where not known."""

    name: str
    kind: str
    job_id: str
    cell: int | None
    total: int
    waiting: int
    running: int
    finished: int
    failed: int
    cancelled: int
    seconds: float
    rate: float
    left_s: float


class Groups(msgspec.Struct):
    """All of them."""

    rows: list[GroupNow]


class ActionAnswer(msgspec.Struct):
    """What it would hit (``done`` is false), or what became of it."""

    text: str
    hits: list[str]
    done: bool


class Described(msgspec.Struct):
    """One action."""

    name: str
    about: str
    arguments: dict[str, Any]


# -- lists ----------------------------------------------------------------------------------------------------------


def parse_filters(texts: list[str]) -> list[Filter]:
    """``state=RUNNING``, ``name!=f``."""
    found: list[Filter] = []
    for text in texts:
        for predicate in ("!=", "="):
            key, there, value = text.partition(predicate)
            if there and key:
                found.append((key.strip(), predicate, value.strip()))
                break
        else:
            raise ValueError(f"{text!r} is no filter: write state=RUNNING or name!=f")
    return found


def _rows(kind: str, accepts: Callable[[StateRecord], bool], question: Question) -> list[StateRecord]:
    return [row for row in ROWS[kind][1](question.asked.source) if accepts(row)]


def _list_endpoints() -> Iterator[Endpoint]:
    for kind, (record, _) in ROWS.items():
        rows = types.GenericAlias(list, (record,))
        title = "".join(word.capitalize() for word in kind.split("_"))
        answer = msgspec.defstruct(
            f"{title}List",
            [("rows", rows), ("total", int), ("offset", int), ("limit", int), ("warnings", list[str])],
        )
        about = (record.__doc__ or "").partition("\n")[0]
        yield Endpoint(
            "get", f"/{kind}", f"List {kind.replace('_', ' ')}. {about}", answer, _lister(kind, answer), ListQuery
        )
        if record.id_field:
            yield Endpoint(
                "get",
                f"/{kind}/{{id}}",
                f"The rows about one, by `{record.id_field}`. {about}",
                answer,
                _finder(kind, record, answer),
            )


def _lister(kind: str, answer: Any) -> Callable[[Question], Any]:
    def work(question: Question) -> Any:
        query: ListQuery = question.query
        if not 1 <= query.limit <= _MOST_ROWS or query.offset < 0:
            raise ValueError(f"limit is 1 to {_MOST_ROWS} and offset at least 0, not {query.limit} and {query.offset}")
        found = _rows(kind, make_filter(parse_filters(query.filter), ROWS[kind][0]), question)
        shown = found[query.offset : query.offset + query.limit]
        return answer(shown, len(found), query.offset, query.limit, _warnings(question))

    return work


def _finder(kind: str, record: type[StateRecord], answer: Any) -> Callable[[Question], Any]:
    def work(question: Question) -> Any:
        wanted = question.path["id"]
        found = _rows(kind, make_filter([(record.id_field, "=", wanted)], record), question)
        if not found:
            raise NothingThereError(f"there is none of the {kind.replace('_', ' ')} with the id {wanted!r}")
        return answer(found, len(found), 0, len(found), _warnings(question))

    return work


def _warnings(question: Question) -> list[str]:
    return [*question.asked.source.warnings, *question.asked.source.missing]


# -- the rest -------------------------------------------------------------------------------------------------------


def _version(question: Question) -> Version:
    from importlib.metadata import version

    return Version(version("himalia"), question.asked.where.cluster_id, question.asked.where.session_dir)


def _cluster(question: Question) -> ClusterNow:
    stats, resources = question.asked.source.ask("stats"), question.asked.source.ask("resources")
    return ClusterNow(
        cluster_id=stats["cluster_id"],
        nodes=stats["nodes"],
        resources_total=from_units(resources["total"]),
        resources_available=from_units(resources["available"]),
        actors=stats["actors"],
        jobs_running=stats["jobs_running"],
        waiting=[(from_units(need), count) for need, count in (*stats["pending"], *stats["actors_waiting"])],
        task_events=stats["task_events"],
        task_events_dropped=stats["task_events_dropped"],
    )


def _groups(question: Question) -> Groups:
    return question.asked.counts.read(question.asked.client, _groups_of)


def _groups_of(model: Model) -> Groups:
    return Groups(
        [
            GroupNow(
                name=group.name,
                kind=group.kind.name,
                job_id=group.cell.job_id.hex() if group.cell is not None else "",
                cell=group.cell.execution or None if group.cell is not None else None,
                total=group.total,
                waiting=group.waiting,
                running=group.running,
                finished=group.finished,
                failed=group.failed,
                cancelled=group.cancelled,
                seconds=group.seconds,
                rate=group.rate,
                left_s=group.left_s,
            )
            for group in model.groups.all
        ]
    )


def _summary(question: Question) -> dict[str, Any]:
    summarize = {"actors": summarize_actors, "objects": summarize_objects, "tasks": summarize_tasks}
    kind = question.path["kind"]
    if kind not in summarize:
        raise NothingThereError(f"there is no summary of {kind!r}, but of {', '.join(summarize)}")
    answer: dict[str, Any] = summarize[kind](address=question.asked.where.session_dir, raise_on_missing_output=False)
    cluster: dict[str, Any] = answer["cluster"]
    return cluster


def _timeline(question: Question) -> list[dict[str, Any]]:
    query: JobQuery = question.query
    records = question.asked.source.records()
    return chrome_trace(
        [record for record in records if record.job_id.hex() == query.job] if query.job else records,
    )


def _report(question: Question) -> Text:
    from ..report import make_report  # with Bokeh

    answers = GcsAnswers(question.asked.where)
    try:
        made = time.strftime("recorded %Y-%m-%d %H:%M:%S")
        return Text(make_report(answers, made, question.query.job), "text/html; charset=utf-8")
    finally:
        answers.close()


def _describe_actions(question: Question) -> list[Described]:
    return [Described(one.name, one.about, msgspec.json.schema(one.arguments)) for one in ACTIONS.values()]


def _actor_of(action: Action) -> Callable[[Question], ActionAnswer]:
    def work(question: Question) -> ActionAnswer:
        plan = action.plan(question.asked.source, question.body)
        if question.body.dry_run:
            return ActionAnswer(plan.text, plan.hits, done=False)
        return ActionAnswer(plan.carry_out(), plan.hits, done=True)

    return work


def _action_endpoints() -> Iterator[Endpoint]:
    for action in ACTIONS.values():
        body = msgspec.defstruct(
            f"{action.arguments.__name__}Request",
            [("dry_run", bool, False)],
            bases=(action.arguments,),
            namespace={"__doc__": f"{action.arguments.__doc__} ``dry_run`` only says what it would hit."},
        )
        path = f"/actions/{action.name}"
        yield Endpoint("post", path, action.about, ActionAnswer, _actor_of(action), body=body, tag="actions")


ENDPOINTS: Final = (
    Endpoint("get", "/version", "Which release answers, and for which cluster.", Version, _version),
    Endpoint("get", "/cluster", "The cluster in short.", ClusterNow, _cluster),
    *_list_endpoints(),
    Endpoint("get", "/groups", "How far the tasks of each function of each cell are.", Groups, _groups),
    Endpoint("get", "/summary/{kind}", "Actors, objects or tasks, counted.", dict[str, Any], _summary),
    *LOOKS,
    Endpoint("get", "/timeline", "What ran when, as a Chrome trace.", list[dict[str, Any]], _timeline, JobQuery),
    Endpoint(
        "get",
        "/report",
        "The recorded run as one HTML file, which opens without a server.",
        Text,
        _report,
        JobQuery,
        kind="text/html",
    ),
    Endpoint(
        "get",
        "/actions",
        "What can be done, and with which arguments.",
        list[Described],
        _describe_actions,
        tag="actions",
    ),
    *_action_endpoints(),
)
