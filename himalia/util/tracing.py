"""Tasks as OpenTelemetry traces, for a collector such as Jaeger or Tempo. Needs `pip install 'himalia[otel]'`.

    from himalia.util.tracing import export_traces
    export_traces()                                         # what has ended, to $OTEL_EXPORTER_OTLP_ENDPOINT
    export_traces("http://localhost:4318", follow=True)     # and what ends from now on, until interrupted

A notebook cell with all that came of it is one trace. Tasks carry nothing for this: spans are made from the events that
the cluster keeps anyway, by whoever exports them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from himalia.cluster.telemetry.feed import TaskFeed
from himalia.cluster.telemetry.spans import Span, SpanFeed
from himalia.util.state._source import open_source

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

__all__ = ["export_traces"]

_INTERVAL: Final = 0.5
_BATCH: Final = 500  # spans in one request
_TIMEOUT: Final = 30.0


def export_traces(
    endpoint: str | None = None,
    *,
    address: str | None = None,
    follow: bool = False,
    exporter: SpanExporter | None = None,
) -> int:
    """Send the tasks that have ended, of which the cluster remembers the last million, as spans.

    Parameters
    ----------
    endpoint
        URL of a collector that speaks OTLP over HTTP, without the path; None: as the variables of OpenTelemetry say
        (``OTEL_EXPORTER_OTLP_ENDPOINT``), else http://localhost:4318.
    address
        Of a cluster; None: the one this process is connected to, or the newest on this machine.
    follow
        Go on with what ends from now on, until interrupted or until the cluster ends.
    exporter
        Any exporter of OpenTelemetry's SDK, instead of a collector.

    Returns
    -------
    How many spans were sent.

    Raises
    ------
    ImportError
        OpenTelemetry is not installed.
    ConnectionError
        There is no cluster, or the collector does not take them.
    """
    sink = exporter if exporter is not None else _collector(endpoint)
    sent = 0
    try:
        with open_source(address, _TIMEOUT) as source:
            spans = SpanFeed(source.ask("stats")["cluster_id"])
            feed = TaskFeed(source.call)
            while True:
                spans.take(feed.read(), time.monotonic())
                if feed.is_behind:
                    continue
                sent += _send(sink, spans.due(time.monotonic() if follow else float("inf")))
                if not follow:
                    return sent
                time.sleep(_INTERVAL)
    except KeyboardInterrupt:
        return sent + _send(sink, spans.due(float("inf")))
    finally:
        if exporter is None:
            sink.shutdown()


def _collector(endpoint: str | None) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ImportError(f"traces need OpenTelemetry: pip install 'himalia[otel]' ({error})") from error
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces" if endpoint else None)


def _send(sink: SpanExporter, spans: list[Span]) -> int:
    if not spans:
        return 0
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import SpanExportResult

    resource = Resource.create({"service.name": "himalia"})
    for begin in range(0, len(spans), _BATCH):
        part = [_readable(span, resource) for span in spans[begin : begin + _BATCH]]
        if sink.export(part) is not SpanExportResult.SUCCESS:
            raise ConnectionError(f"the collector did not take {len(part)} spans: is it there, and does it speak OTLP?")
    return len(spans)


def _readable(span: Span, resource: Any) -> ReadableSpan:
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

    trace_id = int.from_bytes(span.trace_id, "big")

    def context(span_id: bytes) -> SpanContext:
        return SpanContext(trace_id, int.from_bytes(span_id, "big"), is_remote=False, trace_flags=TraceFlags(1))

    end = int(span.end * 1e9)
    events = []
    status = Status(StatusCode.OK)
    if span.error:
        kind, _, text = span.error.partition(": ")
        events = [Event("exception", {"exception.type": kind, "exception.message": text}, end)]
        status = Status(StatusCode.ERROR, span.error)
    return ReadableSpan(
        span.name,
        context=context(span.span_id),
        parent=context(span.parent) if span.parent else None,
        resource=resource,
        attributes=span.attributes,
        events=events,
        kind=SpanKind.INTERNAL,
        status=status,
        start_time=int(span.start * 1e9),
        end_time=end,
    )
