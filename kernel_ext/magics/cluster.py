"""``%cluster``: start, look at, join and stop a cluster from a cell."""

from __future__ import annotations

import argparse
import contextlib
from typing import ClassVar, Final

from IPython.core.magic import line_magic, magics_class

from ...cluster.core import api, current, session
from ...cluster.core.progress.watching import settings
from ...cluster.launchers.boot import NodeOptions
from ...cluster.launchers.local import find_connection, stop_all
from ..arguments import MagicParser, UsageProblem, byte_count, positive
from ..html import BUSY, GOOD, IDLE
from ..status import NAME_LABEL, cluster_bundle, gone_bundle
from .base import Action, Family, answers
from .scale import ADAPT, SCALE

__all__ = ["ClusterMagics"]


def _start_parser() -> MagicParser:
    parser = MagicParser("%cluster start")
    parser.add_argument("--cpus", type=positive, metavar="N")
    parser.add_argument("--gpus", type=positive, metavar="N")
    parser.add_argument("--memory", type=byte_count, metavar="BYTES")
    parser.add_argument("--object-memory", type=byte_count, metavar="BYTES")
    parser.add_argument("--name", metavar="NAME")
    parser.add_argument("--namespace", metavar="NAME")
    parser.add_argument("--keep", action="store_true")
    return parser


def _connect_parser() -> MagicParser:
    parser = MagicParser("%cluster connect")
    parser.add_argument("address", nargs="?", default="auto", metavar="ADDRESS")
    parser.add_argument("--namespace", metavar="NAME")
    return parser


def _start(magics: Family, arguments: argparse.Namespace) -> None:
    if current.find_core() is not None:
        if magics.say_if_gone():
            return
        magics.say("A cluster runs already: %cluster stop ends it.", IDLE)
        _show_status(magics)
        return
    if arguments.keep:
        _start_kept(magics, arguments)
        return
    api.init(
        "local",
        num_cpus=arguments.cpus,
        num_gpus=arguments.gpus,
        object_store_memory=arguments.object_memory,
        namespace=arguments.namespace,
        labels={NAME_LABEL: arguments.name} if arguments.name else None,
        _memory=arguments.memory,
    )
    _show_status(magics)


def _start_kept(magics: Family, arguments: argparse.Namespace) -> None:
    from ..kept import find_kept, rejoin, start_kept

    if find_kept() is not None:
        if rejoin():
            magics.extension.show_kept()
        return
    start_kept(
        NodeOptions(
            num_cpus=arguments.cpus,
            num_gpus=arguments.gpus,
            memory=arguments.memory,
            object_store_memory=arguments.object_memory,
            labels={NAME_LABEL: arguments.name} if arguments.name else {},
        ),
        arguments.namespace,
    )
    magics.say("This cluster outlives the kernel: only %cluster stop ends it.", BUSY)
    _show_status(magics)


def _status(magics: Family, arguments: argparse.Namespace) -> None:
    if current.find_core() is None:
        magics.start_default()
    _show_status(magics)


def _connect(magics: Family, arguments: argparse.Namespace) -> None:
    if current.find_core() is not None:
        if not _is_connected_to(arguments.address):
            raise UsageProblem("this kernel is connected already: %cluster stop first")
        _show_status(magics)  # a notebook whose cells are all run again
        return
    try:
        api.init(arguments.address, namespace=arguments.namespace)
    except ConnectionError as error:
        raise UsageProblem(str(error)) from None
    _show_status(magics)


def _is_connected_to(address: str) -> bool:
    live = session.current_session()
    try:
        return live is not None and find_connection(address).cluster_id == live.connection.cluster_id
    except (OSError, ValueError):
        return False  # there is none, so it is not that


def _stop(magics: Family, arguments: argparse.Namespace) -> None:
    live = session.current_session()
    if live is None:
        magics.say("No cluster runs: there is nothing to stop.", IDLE)
        return
    from ..kept import is_kept

    kept = is_kept(live.connection)
    api.shutdown()
    if kept:
        stop_all(live.connection.session_dir)
    ended = "The cluster has ended." if kept or live.cluster is not None else "Left the cluster, which goes on."
    magics.say(f"{ended} References of it can not be read any more.", IDLE)


def _autoreload_parser() -> MagicParser:
    parser = MagicParser("%cluster autoreload")
    parser.add_argument("state", nargs="?", default="status", choices=("on", "off", "status"))
    return parser


def _autoreload(magics: Family, arguments: argparse.Namespace) -> None:
    from ..autoreload import autoreload_of

    watcher = autoreload_of(magics.shell)
    if arguments.state == "on":
        watcher.switch_on()
    elif arguments.state == "off":
        watcher.switch_off()
    magics.say(watcher.describe(), GOOD if watcher.is_on else IDLE)


def _progress_parser() -> MagicParser:
    parser = MagicParser("%cluster progress")
    parser.add_argument("state", nargs="?", default="status", choices=("on", "off", "status"))
    parser.add_argument("--after", type=positive, metavar="SECONDS")
    return parser


def _progress(magics: Family, arguments: argparse.Namespace) -> None:
    if arguments.after is not None:
        if arguments.state == "off":
            raise UsageProblem(
                "--after says when bars appear, and with off they do not\nusage: %cluster progress on --after SECONDS"
            )
        settings.after = arguments.after
    if arguments.state != "status":
        settings.enabled = arguments.state == "on"
    if settings.enabled:
        magics.say(f"What blocks a cell for {settings.after:g} seconds shows how far it is.", GOOD)
    else:
        magics.say("Nothing shows by itself how far it is; himalia.util.progress(refs) does all the same.", IDLE)


def _show_status(magics: Family) -> None:
    if magics.say_if_gone():
        return
    core = current.get_core()
    try:
        if magics.extension.cards is not None:
            with contextlib.suppress(NotImplementedError):  # not here: it is shown as it is now
                magics.extension.cards.show_cluster()
                return
        bundle = cluster_bundle(core)
    except Exception as error:  # noqa: BLE001 - whatever ails the cluster, this shows it
        bundle = gone_bundle(str(error))
    magics.show(bundle)


ACTIONS: Final = {
    "start": Action(_start_parser, _start),
    "status": Action(lambda: MagicParser("%cluster status"), _status),
    "connect": Action(_connect_parser, _connect),
    "scale": SCALE,
    "adapt": ADAPT,
    "stop": Action(lambda: MagicParser("%cluster stop"), _stop),
    "autoreload": Action(_autoreload_parser, _autoreload),
    "progress": Action(_progress_parser, _progress),
}
"""What follows ``%cluster``. An action may live in a module of its own; its help stands below."""


@magics_class
class ClusterMagics(Family):
    """``%cluster``."""

    parsers: ClassVar = {f"cluster {name}": action.parser for name, action in ACTIONS.items()}

    @line_magic
    @answers
    def cluster(self, line: str) -> None:
        """Start, look at, join and stop a cluster.

        %cluster start [--cpus N] [--gpus N] [--memory BYTES] [--object-memory BYTES] [--name NAME] [--namespace NAME]
                       [--keep]
            A new cluster on this machine, with all of it unless told otherwise. It ends with the kernel.
            --memory is what tasks may ask for with ``memory=``, --object-memory the shared memory for objects; both can
            be written as 500MB or 2GiB. --name is what ``%cluster status`` calls it, --namespace where names of actors
            are looked up. With --keep the cluster outlives the kernel, with what himalia.util.keep was given:
            %load_ext himalia in the next kernel of this notebook joins it again, and only %cluster stop ends it.
        %cluster status
            What there is and what of it is in use.
        %cluster connect [ADDRESS] [--namespace NAME]
            Join a cluster that runs: a connection file, a session folder, host:port, or "auto" for the newest of this
            machine. It goes on when the kernel ends. Saying it again is harmless.
        %cluster scale N
            Have N CPUs from now on, that is N tasks of one CPU at a time; for a cluster of one machine. With fewer than
            before, what runs goes on to its end.
        %cluster adapt [--min N] [--max N] [--idle SECONDS]
            Have as many CPUs as work asks for, between --min (1) and --max (the machine's cores): more as soon as work
            waits, fewer when they were not needed for --idle seconds (10).
        %cluster stop
            End the cluster, or leave it if it was joined.
        %cluster autoreload [on|off|status]
            Reload edited modules, here before each cell and in workers before the tasks that are submitted then.
            Tasks that run, and actors, keep the code they have. Installed packages are not looked at.
        %cluster progress [on|off|status] [--after SECONDS]
            Whether a cell that waits for tasks shows how far they are, and after how long (2 seconds).
        """
        name, rest = self.action_of("cluster", line)
        ACTIONS[name].run(self, self.parse(f"cluster {name}", rest))
