"""The REST API: what it lists, how it selects, what it says when it can not, and that its document tells the truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest

import himalia
from himalia.dashboard.server.declarations import Text
from himalia.dashboard.server.endpoints import ENDPOINTS, parse_filters
from himalia.util.state._source import ROWS
from tests.support.clusters import eventually

from .conftest import Client

API = "/api/v1"


@pytest.fixture(scope="module")
def worked(cluster: Any) -> Iterator[Any]:
    """The cluster has run tasks, and has an actor and objects."""

    @himalia.remote
    def listed(x: int) -> int:
        print("said by", x)
        return x

    @himalia.remote
    def fails() -> None:
        raise ValueError("<script>alert('from an error')</script>")

    @himalia.remote
    class Listed:
        def ping(self) -> int:
            return 1

    kept = himalia.put(b"x" * 200_000)
    himalia.get([listed.options(name="<img src=x onerror=alert(1)>").remote(1), *(listed.remote(i) for i in range(5))])
    with pytest.raises(ValueError, match="script"):
        himalia.get(fails.remote())
    actor = Listed.remote()
    himalia.get(actor.ping.remote())
    yield kept, actor
    himalia.kill(actor)


def rows_of(member: Client, path: str) -> list[dict[str, Any]]:
    answer = member.get(f"{API}{path}")
    assert answer.status == 200, answer.text
    rows: list[dict[str, Any]] = answer.json["rows"]
    return rows


def names_of(member: Client, query: str = "") -> list[str]:
    return [row["name"] for row in rows_of(member, f"/tasks?limit=1000{query}")]


def known(member: Client) -> bool:
    """Whether the events of all tasks have come."""
    return names_of(member).count("listed") == 5 and "fails" in names_of(member)


def document(member: Client) -> dict[str, Any]:
    found: dict[str, Any] = member.get(f"{API}/openapi.json").json
    return found


PLAIN = sorted(
    endpoint.path
    for endpoint in ENDPOINTS
    if endpoint.method == "get" and "{" not in endpoint.path and endpoint.answer is not Text
)


@pytest.mark.parametrize("path", PLAIN)
def test_what_it_answers_is_what_its_document_says(member: Client, worked: Any, path: str) -> None:
    described = document(member)
    schema = described["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer = member.get(f"{API}{path}")
    assert answer.status == 200, answer.text
    jsonschema.validate(answer.json, {**schema, "components": described["components"]})


def test_the_recorded_run_is_one_file(member: Client, worked: Any) -> None:
    eventually(lambda: known(member), "all tasks")
    assert list(document(member)["paths"]["/report"]["get"]["responses"]["200"]["content"]) == ["text/html"]
    answer = member.get(f"{API}/report")
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    assert 'id="himalia-record"' in answer.text
    assert "onerror=alert" not in answer.text  # the record is packed


def test_a_trace_and_a_report_of_one_job(member: Client, worked: Any) -> None:
    eventually(lambda: known(member), "all tasks")
    (job,) = {row["job_id"] for row in member.get(f"{API}/jobs").json["rows"]}
    assert member.get(f"{API}/timeline?job={job}").json == member.get(f"{API}/timeline").json != []
    assert member.get(f"{API}/timeline?job=00ff").json == []
    refused = member.get(f"{API}/report?job=00ff")
    assert refused.status == 404
    assert "there is no job '00ff'" in refused.json["error"]


def test_the_document_has_every_list_and_every_reference_leads_somewhere(member: Client) -> None:
    described = document(member)
    assert described["openapi"] == "3.1.0"
    assert {f"/{kind}" for kind in ROWS} <= set(described["paths"])
    for name in re.findall(r'"#/components/schemas/([^"]+)"', member.get(f"{API}/openapi.json").text):
        assert name in described["components"]["schemas"]
    ids = [operation["operationId"] for path in described["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))
    for path, operations in described["paths"].items():
        for operation in operations.values():
            named = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))


def test_an_error_is_what_its_document_says(member: Client) -> None:
    described = document(member)
    schema = described["paths"]["/tasks"]["get"]["responses"]["default"]["content"]["application/json"]["schema"]
    answer = member.get(f"{API}/tasks?limit=0")
    jsonschema.validate(answer.json, {**schema, "components": described["components"]})


def test_tasks_are_selected_by_filters_and_in_parts(member: Client, worked: Any) -> None:
    eventually(lambda: known(member), "all tasks")
    assert set(names_of(member, "&filter=name=listed")) == {"listed"}
    assert "listed" not in names_of(member, "&filter=name!=listed")
    assert names_of(member, "&filter=state=FAILED") == ["fails"]
    assert names_of(member, "&filter=state=FAILED&filter=name=listed") == []
    answer = member.get(f"{API}/tasks?filter=name=listed&limit=2&offset=4").json
    assert (len(answer["rows"]), answer["total"], answer["offset"], answer["limit"]) == (1, 5, 4, 2)


def test_one_is_found_by_its_id(member: Client, worked: Any) -> None:
    eventually(lambda: known(member), "all tasks")
    (row,) = rows_of(member, "/tasks?filter=state=FAILED")
    assert rows_of(member, f"/tasks/{row['task_id']}") == [row]
    (actor,) = [row for row in rows_of(member, "/actors") if row["class_name"].endswith("Listed")]
    assert rows_of(member, f"/actors/{actor['actor_id']}")[0]["state"] == "ALIVE"


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/tasks?limit=0", 400, "limit is 1 to"),
        ("/tasks?limit=many", 400, "limit"),
        ("/tasks?offset=-1", 400, "offset"),
        ("/tasks?filter=nonsense", 400, "no filter"),
        ("/tasks?filter=colour=red", 400, "no field 'colour'"),
        ("/tasks?filter=%ff", 400, "unicode"),
        ("/tasks?colour=red", 400, "has no 'colour'"),
        ("/version?x=1", 400, "has no x"),
        ("/tasks/ffff", 404, "ffff"),
        ("/summary/nodes", 404, "no summary of 'nodes'"),
        ("/nothing", 404, "no such page"),
        ("/logs/text", 400, "exactly one"),
        ("/logs/text?task=00&actor=00", 400, "exactly one"),
        ("/logs/search?limit=0", 400, "limit is 1 to"),
        ("/logs/search?task=00&actor=00", 400, "either"),
        ("/logs/search?pattern=(&regex=true", 400, ""),
        ("/logs/search?stream=up", 400, "up"),
        ("/stack/ffffffffffffffff", 400, ""),
        ("/profile/all?seconds=1000", 400, "up to 60 seconds"),
        ("/profile/all?format=gif", 400, "gif"),
        ("/why/nonsense", 404, "no id of a task"),
        ("/logs/text?file=raylet.log&tail=0", 400, "tail is 1 to"),
        ("/logs/text?file=../cluster.json", 400, ""),
        ("/logs/text?file=%2Fetc%2Fpasswd", 400, ""),
    ],
)
def test_what_can_not_be_answered_is_said_with_a_reason(member: Client, path: str, status: int, said: str) -> None:
    answer = member.get(f"{API}{path}")
    assert answer.status == status, answer.text
    assert said in answer.json["error"]
    assert "secret_key" not in answer.text
    assert "root:" not in answer.text


def test_a_method_that_an_address_does_not_have_is_refused(member: Client) -> None:
    answer = member.post(f"{API}/tasks", {})
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET"


def test_logs_are_listed_and_read(member: Client, worked: Any) -> None:
    names = member.get(f"{API}/logs").json
    assert "raylet.log" in str(names)
    assert member.get(f"{API}/logs/text?file=raylet.log").status == 200
    eventually(lambda: known(member), "all tasks")
    (task,) = [row for row in rows_of(member, "/tasks?limit=1000") if row["name"].startswith("<img")]
    answer = member.get(f"{API}/logs/text?task={task['task_id']}")
    assert answer.text == "said by 1\n"
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_lines_are_searched_a_page_at_a_time(member: Client, worked: Any) -> None:
    def search(query: str) -> dict[str, Any]:
        answer = member.get(f"{API}/logs/search?{query}")
        assert answer.status == 200, answer.text
        described = document(member)
        schema = described["paths"]["/logs/search"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, {**schema, "components": described["components"]})
        found: dict[str, Any] = answer.json
        return found

    first = search("pattern=SAID&ignore_case=true&limit=4")
    assert len(first["lines"]) == 4
    rest = search(f"pattern=SAID&ignore_case=true&cursor={quote(first['cursor'], safe='')}")
    texts = sorted(line["text"] for line in (*first["lines"], *rest["lines"]))
    assert texts == sorted(["said by 1", *(f"said by {n}" for n in range(5))])
    assert search("pattern=by%20[34]&regex=true")["lines"]
    for outside in ("../cluster.json", "*/../../cluster.json", "/etc/passwd"):
        assert search(f"files={outside}")["lines"] == []


def test_a_process_is_looked_at_from_afar(member: Client, worked: Any) -> None:
    (driver,) = [row for row in rows_of(member, "/workers?filter=is_alive=true") if row["worker_type"] == "DRIVER"]
    by_id = member.get(f"{API}/stack/{driver['worker_id']}")
    assert by_id.status == 200, by_id.text
    assert "test_a_process_is_looked_at_from_afar" in by_id.text
    assert member.get(f"{API}/stack/{driver['pid']}").json["pid"] == driver["pid"]
    profile = member.get(f"{API}/profile/{driver['worker_id']}?seconds=0.3&idle=true")
    assert profile.status == 200, profile.text
    assert "test_a_process_is_looked_at_from_afar" in profile.text
    scope = member.get(f"{API}/profile/{driver['worker_id']}?seconds=0.3&idle=true&format=speedscope")
    assert scope.json["profiles"]


def test_it_is_told_why_a_task_waits(member: Client, worked: Any) -> None:
    @himalia.remote(num_cpus=100)
    def much_too_large() -> None:
        pass

    ref = much_too_large.remote()

    def said() -> str:
        return str(member.get(f"{API}/why/{ref.task_id().hex()}").json.get("text", ""))

    eventually(lambda: "100" in said(), "that it needs 100 CPUs")
    himalia.cancel(ref)


def test_scripts_in_names_and_errors_come_as_data_that_no_browser_runs(member: Client, worked: Any) -> None:
    eventually(lambda: known(member), "all tasks")
    answer = member.get(f"{API}/tasks?limit=1000")
    assert "<img src=x onerror=alert(1)>" in [row["name"] for row in answer.json["rows"]]
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    hostile = member.get(f"{API}/tasks/<script>alert(1)</script>")
    assert hostile.headers["Content-Type"] == "application/json"
    assert member.get("/page/%3Cscript%3E").headers["Content-Type"].startswith("text/plain")


def test_progress_is_told_by_function(member: Client, worked: Any) -> None:
    def listed() -> dict[str, Any] | None:
        return next((row for row in rows_of(member, "/groups") if row["name"] == "listed"), None)

    row = eventually(lambda: (found := listed()) and found["finished"] == 5 and found, "all of them ended")
    assert (row["total"], row["running"], row["failed"]) == (5, 0, 0)


@pytest.mark.parametrize("kind", ["tasks", "actors", "objects"])
def test_summaries_are_those_of_the_state_api(member: Client, worked: Any, kind: str) -> None:
    assert member.get(f"{API}/summary/{kind}").json["summary"]


def test_filters_are_read() -> None:
    assert parse_filters(["state=RUNNING", "name!=f=g"]) == [("state", "=", "RUNNING"), ("name", "!=", "f=g")]
