"""``%cluster``: start, look at, join and stop a cluster from a cell."""

from __future__ import annotations

import difflib
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class

from ..cluster.core import api, current, session
from .arguments import MagicParser, UsageProblem, byte_count, positive
from .html import BUSY, IDLE, note
from .status import NAME_LABEL, cluster_bundle, gone_bundle

__all__ = ["ClusterMagics"]

_ACTIONS: Final = ("start", "status", "connect", "stop")


def _start_parser() -> MagicParser:
    parser = MagicParser("%cluster start")
    parser.add_argument("--cpus", type=positive, metavar="N")
    parser.add_argument("--gpus", type=positive, metavar="N")
    parser.add_argument("--memory", type=byte_count, metavar="BYTES")
    parser.add_argument("--object-memory", type=byte_count, metavar="BYTES")
    parser.add_argument("--name", metavar="NAME")
    parser.add_argument("--namespace", metavar="NAME")
    return parser


def _connect_parser() -> MagicParser:
    parser = MagicParser("%cluster connect")
    parser.add_argument("address", nargs="?", default="auto", metavar="ADDRESS")
    parser.add_argument("--namespace", metavar="NAME")
    return parser


@magics_class
class ClusterMagics(Magics):
    """The magics of the extension."""

    @line_magic
    def cluster(self, line: str) -> None:
        """Start, look at, join and stop a cluster.

        %cluster start [--cpus N] [--gpus N] [--memory BYTES] [--object-memory BYTES] [--name NAME] [--namespace NAME]
            A new cluster on this machine, with all of it unless told otherwise. It ends with the kernel.
            --memory is what tasks may ask for with ``memory=``, --object-memory the shared memory for objects; both can
            be written as 500MB or 2GiB. --name is what ``%cluster status`` calls it, --namespace where names of actors
            are looked up.
        %cluster status
            What there is and what of it is in use.
        %cluster connect [ADDRESS] [--namespace NAME]
            Join a cluster that runs: a connection file, a session folder, host:port, or "auto" for the newest of this
            machine. It goes on when the kernel ends.
        %cluster stop
            End the cluster, or leave it if it was joined.
        """
        action, _, rest = line.strip().partition(" ")
        run = {"start": self._start, "status": self._status, "connect": self._connect, "stop": self._stop}.get(action)
        if run is None:
            raise UsageError(_no_such_action(action))
        try:
            run(rest)
        except UsageProblem as problem:
            raise UsageError(str(problem)) from None

    def _start(self, rest: str) -> None:
        arguments = _start_parser().parse_line(rest)
        if current.find_core() is not None:
            if self._say_if_gone():
                return
            self._say("A cluster runs already: %cluster stop ends it.", IDLE)
            self._show_status()
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
        self._show_status()

    def _status(self, rest: str) -> None:
        MagicParser("%cluster status").parse_line(rest)
        if current.find_core() is None:
            self._say("No cluster ran: started one with all of this machine. %cluster stop ends it.", BUSY)
            session.use_default_cluster()
        self._show_status()

    def _connect(self, rest: str) -> None:
        arguments = _connect_parser().parse_line(rest)
        if current.find_core() is not None:
            raise UsageProblem("this kernel is connected already: %cluster stop first")
        try:
            api.init(arguments.address, namespace=arguments.namespace)
        except ConnectionError as error:
            raise UsageProblem(str(error)) from None
        self._show_status()

    def _stop(self, rest: str) -> None:
        MagicParser("%cluster stop").parse_line(rest)
        live = session.current_session()
        if live is None:
            self._say("No cluster runs: there is nothing to stop.", IDLE)
            return
        api.shutdown()
        ended = "The cluster has ended." if live.cluster is not None else "Left the cluster, which goes on."
        self._say(f"{ended} References of it can not be read any more.", IDLE)

    # -- showing ----------------------------------------------------------------------------------------------------

    def _show_status(self) -> None:
        if self._say_if_gone():
            return
        core = current.get_core()
        try:
            bundle = cluster_bundle(core)
        except Exception as error:  # noqa: BLE001 - whatever ails the cluster, this shows it
            bundle = gone_bundle(str(error))
        self._show(bundle)

    def _say_if_gone(self) -> bool:
        core = current.find_core()
        if core is None or core.fatal is None:
            return False
        self._show(gone_bundle(str(core.fatal)))
        return True

    def _say(self, text: str, colour: str) -> None:
        self._show({"text/html": note(text, colour), "text/plain": text})

    @staticmethod
    def _show(bundle: dict[str, Any]) -> None:
        from IPython.display import display

        display(bundle, raw=True)  # type: ignore[no-untyped-call]


def _no_such_action(action: str) -> str:
    usage = "usage: %cluster start|status|connect|stop"
    if not action:
        return usage
    meant = difflib.get_close_matches(action, _ACTIONS, n=1)
    return f"%cluster has no {action!r}" + (f"; did you mean {meant[0]!r}?" if meant else "") + f"\n{usage}"
