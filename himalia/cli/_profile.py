"""`himalia stack` and `himalia profile`: where processes are, and what takes their time."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

__all__ = ["add_commands"]

_STYLES = ("html", "folded", "speedscope")
_WHAT = 'a worker by id or process id, a task or actor by id, a node\'s id for its raylet, "gcs" or "host"'


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    stack = commands.add_parser("stack", help="show where the threads of processes are")
    stack.add_argument("what", nargs="*", help=f"{_WHAT} (default: all workers)")
    stack.add_argument("--engine", action="store_true", help="show the frames of Himalia's own code, too")
    _common(stack)
    stack.set_defaults(run=_stack)

    profile = commands.add_parser(
        "profile",
        help="show which functions take the CPU time of processes",
        description="Looks at processes for some seconds; without --out, a table of what took most.",
    )
    profile.add_argument("what", nargs="*", help=f"{_WHAT} (default: all workers)")
    profile.add_argument("--seconds", type=float, default=5.0, help="how long to look")
    profile.add_argument("--rate", type=int, default=100, help="looks a second")
    profile.add_argument("--idle", action="store_true", help="count threads that wait, too")
    profile.add_argument("--out", metavar="FILE", help="write a flame graph (.html), folded stacks, or for speedscope")
    profile.add_argument(
        "--format", choices=_STYLES, help="of the file (default: by its ending: .html, .folded, .json)"
    )
    profile.add_argument("--engine", action="store_true", help="draw the frames of Himalia's own code, too")
    _common(profile)
    profile.set_defaults(run=_profile)


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", help="of the cluster (default: the newest on this machine)")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for each answer")


def _stack(arguments: argparse.Namespace) -> int:
    from himalia.cluster.telemetry.profiles import stacks_text
    from himalia.util.state._stacks import get_stacks

    found, failed = get_stacks(arguments.what or None, address=arguments.address, timeout=arguments.timeout)
    print("\n\n".join(stacks_text(one, arguments.engine) for one in found))
    for name, text in failed.items():
        print(f"{name}: {text}", file=sys.stderr)
    return 0


def _style(arguments: argparse.Namespace) -> str:
    endings = {".html": "html", ".folded": "folded", ".txt": "folded", ".json": "speedscope"}
    style: str | None = arguments.format or endings.get(Path(arguments.out).suffix)
    if style is None:
        raise ValueError(f"the ending of {arguments.out!r} names no format: give --format {' or '.join(_STYLES)}")
    return style


def _profile(arguments: argparse.Namespace) -> int:
    from himalia.cluster.telemetry.profiles import folded_text, speedscope
    from himalia.dashboard.plots.flame import flame_page, flame_text
    from himalia.util.state import profile

    if arguments.format and not arguments.out:
        raise ValueError("--format is that of a file: name it by --out")
    style = _style(arguments) if arguments.out else ""
    found = profile(
        arguments.what or None,
        seconds=arguments.seconds,
        rate=arguments.rate,
        idle=arguments.idle,
        address=arguments.address,
        timeout=arguments.timeout,
    )
    if not style:
        print(flame_text(found))
        return 0
    texts = {
        "html": lambda: flame_page(found, engine=arguments.engine),
        "folded": lambda: folded_text(found),
        "speedscope": lambda: speedscope(found),
    }
    Path(arguments.out).write_text(texts[style]())
    how = {"html": "open it in a browser", "folded": "for flamegraph.pl and the like"}
    print(f"{len(found.stacks)} stacks in {arguments.out}: {how.get(style, 'open it at https://www.speedscope.app')}")
    for note in found.notes:
        print(note)
    return 0
