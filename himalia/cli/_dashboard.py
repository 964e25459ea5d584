"""`himalia dashboard`: the URL and a browser that opens it, or the recorded run as a file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from himalia.cluster.launchers.boot import ConnectionInfo

__all__ = ["add_commands"]

_REDIRECT = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={url}"><title>Himalia</title></head>
<body><a href="{url}">Open the dashboard</a></body></html>
"""


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    dashboard = commands.add_parser("dashboard", help="open the dashboard of a cluster, or print its URL")
    dashboard.add_argument("page", nargs="?", default="", help="overview, tasks, …: one page alone (default: all)")
    dashboard.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    dashboard.add_argument("--no-browser", action="store_true", help="only print the URL")
    dashboard.add_argument(
        "--export", metavar="FILE", help="write the recorded run as one HTML file, which opens without a cluster"
    )
    dashboard.add_argument("--job", default="", metavar="ID", help="with --export: only what this job did")
    dashboard.set_defaults(run=_dashboard)


def _dashboard(arguments: argparse.Namespace) -> int:
    from himalia.cluster.launchers.boot import dashboard_link
    from himalia.cluster.launchers.local import find_connection

    connection = find_connection(arguments.address or "auto")
    if arguments.export:
        return _export(connection, Path(arguments.export), arguments.job)
    if arguments.job:
        raise ValueError("--job chooses what --export writes: give both")
    if not connection.dashboard_url:
        raise ValueError(
            f"The cluster in {connection.session_dir} was started without a dashboard, or it listens on the head's own "
            "machine alone: open it there, or start the head with --dashboard-host. --export works without it"
        )
    if not arguments.page.replace("-", "").replace("_", "").isalnum() and arguments.page:
        raise ValueError(f"{arguments.page!r} is no name of a page")
    url = dashboard_link(connection.dashboard_url, connection.dashboard_token, arguments.page)
    print(url)
    if arguments.no_browser or not _has_screen():
        return 0
    import webbrowser

    # Arguments of processes are there for everybody to read, so the browser is given a file that only its user can.
    page = Path(connection.session_dir) / "open_dashboard.html"
    page.unlink(missing_ok=True)
    with open(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(_REDIRECT.format(url=url))
    if not webbrowser.open(page.as_uri()):
        print("No browser could be opened: open the URL above.", file=sys.stderr)
    return 0


def _export(connection: ConnectionInfo, file: Path, job: str) -> int:
    from himalia.dashboard.report import save_report

    size = save_report(connection, file, job)
    print(f"Wrote {file} ({size / 1e6:.1f} MB): open it in a browser, it needs nothing else.")
    return 0


def _has_screen() -> bool:
    return sys.stdout.isatty() and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
