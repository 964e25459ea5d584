"""The command line: ``himalia start --head``, ``himalia status``, ``himalia list tasks``; ``--help`` shows all."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from himalia.cli import _cluster, _dashboard, _logs, _memory, _profile, _state, _traces

__all__ = ["main"]


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    parser = argparse.ArgumentParser(prog="himalia", description="Start, stop and look at clusters.")
    parser.add_argument("--version", action="version", version=f"himalia {_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _cluster.add_commands(commands)
    _state.add_commands(commands)
    _logs.add_commands(commands)
    _memory.add_commands(commands)
    _dashboard.add_commands(commands)
    _profile.add_commands(commands)
    _traces.add_commands(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("himalia")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; its exit code. What a user can do something about is one line, and not a traceback."""
    arguments = make_parser().parse_args(argv)
    from himalia.cluster.gcs.client import GcsRefusedError
    from himalia.cluster.launchers.local import NodeStartError

    try:
        code: int = arguments.run(arguments)
    except (ConnectionError, GcsRefusedError, NodeStartError, ValueError, OSError) as error:
        print(f"himalia: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


if __name__ == "__main__":
    raise SystemExit(main())
