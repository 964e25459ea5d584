"""`himalia traces`: send tasks to a collector of OpenTelemetry."""

from __future__ import annotations

import argparse

__all__ = ["add_commands"]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    traces = commands.add_parser("traces", help="send the tasks that ended to a collector of OpenTelemetry")
    traces.add_argument(
        "endpoint",
        nargs="?",
        help="URL of a collector that speaks OTLP over HTTP (default: $OTEL_EXPORTER_OTLP_ENDPOINT, "
        "else http://localhost:4318)",
    )
    traces.add_argument("--follow", action="store_true", help="go on with what ends from now on")
    traces.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    traces.set_defaults(run=_traces)


def _traces(arguments: argparse.Namespace) -> int:
    from himalia.util.tracing import export_traces

    try:
        sent = export_traces(arguments.endpoint, address=arguments.address, follow=arguments.follow)
    except ImportError as error:
        raise ValueError(str(error)) from error
    print(f"Sent {sent} {'span' if sent == 1 else 'spans'}.")
    return 0
