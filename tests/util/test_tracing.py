"""Tasks as traces: to an exporter, and to a collector over HTTP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import himalia
from himalia.__main__ import main
from himalia.util.tracing import export_traces
from tests.support.clusters import eventually


@pytest.fixture
def traced(cluster: Any) -> None:
    """Tasks have run."""

    @himalia.remote
    def traced_parent() -> int:
        @himalia.remote
        def traced_child() -> int:
            return 1

        return sum(himalia.get([traced_child.remote() for _ in range(2)]))

    @himalia.remote
    def traced_failure() -> None:
        raise ValueError("for the trace")

    assert himalia.get(traced_parent.remote()) == 2
    with pytest.raises(ValueError, match="for the trace"):
        himalia.get(traced_failure.remote())


def exported() -> dict[str, list[Any]]:
    sink = InMemorySpanExporter()
    count = export_traces(exporter=sink)
    spans = sink.get_finished_spans()
    assert count == len(spans)
    found: dict[str, list[Any]] = {}
    for span in spans:
        found.setdefault(span.name, []).append(span)
    return found


def test_spans_are_nested_as_tasks_were_submitted_and_errors_are_told(traced: None) -> None:
    spans = eventually(
        lambda: (
            len((found := exported()).get("traced_child", ())) >= 2
            and "traced_failure" in found
            and all(span.parent for span in found["traced_child"])
            and "traced_parent" in found
            and found
        ),
        "all spans",
    )
    parent = spans["traced_parent"][-1]
    child = spans["traced_child"][-1]
    assert child.parent.span_id == parent.context.span_id
    assert child.context.trace_id == parent.context.trace_id
    assert parent.start_time <= child.start_time <= child.end_time <= parent.end_time
    assert child.attributes["code.function.name"].endswith("traced_child")
    (failure,) = spans["traced_failure"][-1:]
    assert failure.status.status_code is StatusCode.ERROR
    assert failure.events[0].attributes["exception.type"] == "ValueError"
    assert "for the trace" in failure.events[0].attributes["exception.message"]
    assert parent.resource.attributes["service.name"] == "himalia"


class Collector(HTTPServer):
    """Notes what it is sent; says no if told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.paths: set[str] = set()
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
        self.server.names += [span.name for span in spans]
        self.server.paths.add(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is the library's
        """Be quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_collector_is_sent_them_by_the_command(
    traced: None, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    eventually(lambda: "traced_parent" in exported(), "that it is known")
    assert main(["traces", f"http://127.0.0.1:{collector.server_port}/"]) == 0
    assert "traced_parent" in collector.names
    assert collector.paths == {"/v1/traces"}
    assert capsys.readouterr().out == f"Sent {len(collector.names)} spans.\n"


def test_a_collector_that_is_not_there_is_an_error_of_one_line(
    traced: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    eventually(lambda: "traced_parent" in exported(), "that it is known")
    assert main(["traces", "http://127.0.0.1:9"]) == 1
    assert "the collector did not take" in capsys.readouterr().err
