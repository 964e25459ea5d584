"""The one process of a node that is parent of all others: it forks, reaps, reports, and ends them.

Strategy: a single thread that waits in `poll` for five things: the raylet's requests, ends of children, signals, the
end of its owner, and on a head somebody who opens the dashboard (see `doorway`). It never makes a ZeroMQ context or a
thread, so a fork is safe at any moment. What the servers need is imported first and the servers forked; then what
workers need (numpy, cloudpickle, the worker itself), so that a worker shares those pages and starts in milliseconds.
`gc.freeze` keeps the collector from writing into shared pages.

Every child is tied to this process by the kernel (PR_SET_PDEATHSIG), so that killing it ends the node: workers at once,
the servers with a chance to remove files.

Rejected: the raylet as parent (it has ZeroMQ's threads, and its death would orphan the workers); `multiprocessing`'s
fork server (it does not tell its clients how a child ended); spawning interpreters (200 ms and 40 MB each).

It reads `NodeOptions` as JSON from stdin, and writes two lines of JSON to stdout: `Started` when the node can be used
or could not be made, `Ended` at the end.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

import msgspec

from ..protocol.ids import WORKER_ID_SIZE, process_id_from
from . import boot, child, session, wire
from .doorway import Door, DoorError, Keeper, open_door
from .servers import Servers, StartError

__all__ = ["Ended", "NodeHost", "Started", "main"]

_STOP_SECONDS: Final = 1.0
"""How long children may take to end after SIGTERM: a notebook's user waits for it."""
_START_POLL: Final = 0.1
_OWNER_POLL_SECONDS: Final = 1.0
"""How often the owner is looked at where the kernel has no pidfd_open."""

#: Keep numpy's libraries from starting threads in this process, and workers from running cores times cores of them.
_ONE_THREAD: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


class Started(msgspec.Struct, kw_only=True):
    """First line of output: how to reach the node, or why there is none."""

    connection: boot.ConnectionInfo | None = None
    error: str = ""


class Ended(msgspec.Struct, kw_only=True):
    """Last line of output: why the node ended; empty when it was asked to."""

    ended: str


@dataclass(slots=True)
class _Child:
    role: str  # "gcs", "raylet", "dashboard" or "worker"
    worker_id: bytes = b""


class NodeHost:
    """One node's host. ``output`` is the descriptor for `Started` and `Ended`."""

    def __init__(self, options: boot.NodeOptions, output: int) -> None:
        self.options = options
        self.pid = os.getpid()
        self.node_id = process_id_from(os.urandom(WORKER_ID_SIZE))
        self.session_dir = ""
        self.record: session.SessionRecord | None = None
        self._output = output
        self._children: dict[int, _Child] = {}
        self._workers: dict[bytes, int] = {}
        self._raylet_fd = -1
        self._wake_read = self._wake_write = -1
        self._owner_fd = -1
        self._arena_bytes = 0
        self._template: boot.WorkerBoot | None = None
        self._door: Door | None = None
        self._keeper: Keeper | None = None

    # -- making the node ------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Make the node, serve until it ends, and clean up. Returns the exit code."""
        reason = ""
        try:
            self._watch_signals()
            self._watch_owner()
            servers = self._make_node()
            with servers.polled_while_importing(partial(self._announce, servers)):
                self._warm()
            if servers.waiting:
                self._wait_for(servers)
                self._announce(servers)
            reason = self._serve()
        except StartError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 the logs go with the session: whoever started us is told
            traceback.print_exc()
            reason = f"the node host failed with {type(error).__name__}: {error}"
        finally:
            self._end_children(reason)
            if self.session_dir:
                session.remove_session(self.session_dir, self.record)
        is_started = self._template is not None
        self._say(Ended(ended=reason) if is_started else Started(error=reason))
        return 0 if is_started else 1

    def _make_node(self) -> Servers:
        """Fork the servers; they start while this process goes on."""
        from ..raylet.resources import arena_size
        from ..telemetry.task_log import log_limits

        session.sweep_stale_sessions()
        options = self.options
        try:
            self.session_dir = session.create_session(self.node_id)
            self._arena_bytes = arena_size(options.object_store_memory)
            log_limits()  # what a user misspelt is said here, and not by each worker
            self._open_door()
        except (OSError, ValueError, DoorError) as error:
            raise StartError(str(error)) from error
        self.record = session.SessionRecord(
            node_id=self.node_id,
            cluster_id=options.cluster_id or os.urandom(8).hex(),
            pid=self.pid,
            pid_started=session.process_started(self.pid),
            spill_dir=str(session.spill_root() / f"spill-{self.node_id.hex()}"),
            is_head=options.gcs is None,
            owner_pid=options.owner_pid,
        )
        session.write_record(self.session_dir, self.record)
        child.redirect(self._log("node_host", "log"), self._log("node_host", "log"))
        gc.freeze()
        servers = Servers(self.options, self.record, self.session_dir, self._fork_server)
        servers.start(self._arena_bytes)
        self._raylet_fd = servers.raylet_fd
        return servers

    def _open_door(self) -> None:
        """Have an address for the dashboard, on a head."""
        if self.options.gcs is not None or (door := open_door(self.options)) is None:
            return
        self._door = door
        self.options = msgspec.structs.replace(self.options, dashboard_url=door.url, dashboard_token=door.token)
        session.write_token(self.session_dir, door.token)

    def _announce(self, servers: Servers) -> None:
        """All serve: the node can be used."""
        info = servers.connection()
        session.write_connection_file(info)
        self._template = boot.WorkerBoot(
            worker_id=b"",
            node_id=self.node_id,
            token=b"",
            ipc="",
            raylet=info.raylet,
            gcs=info.gcs,
            session_dir=self.session_dir,
            arena_path=servers.arena_path,
            arena_bytes=self._arena_bytes,
            stdout_path="",
            stderr_path="",
            public_key=info.public_key,
            secret_key=info.secret_key,
            tcp_host=self.options.tcp_host,
            log_level=self.options.log_level,
        )
        if self._door is not None:
            self._keeper = Keeper(self._door, self.options, info, self._fork_server)
        self._say(Started(connection=info))

    def _wait_for(self, servers: Servers) -> None:
        """Wait for those that do not serve yet; our own end is an error."""
        while not servers.poll():
            watched = [*servers.waiting, self._wake_read, *([self._owner_fd] if self._owner_fd >= 0 else [])]
            found = select.select(watched, [], [], _START_POLL)[0]
            if self._owner_fd in found or (self._wake_read in found and self._woken_to_end()):
                raise StartError("it was stopped while it started")

    def _fork_server(self, role: str, main: Callable[[], None], keep: tuple[int, ...]) -> None:
        log = self._log(role, "log")
        run = partial(
            child.become,
            main,
            parent=self.pid,
            death_signal=signal.SIGTERM,
            title=f"himalia:{role}",
            stdout=log,
            stderr=log,
            keep=keep,
        )
        self._children[child.fork(run)] = _Child(role)

    def _log(self, name: str, kind: str) -> str:
        return f"{self.session_dir}/logs/{name}.{kind}"

    def _warm(self) -> None:
        """Import what every worker needs, once, into pages that they share."""
        for name in _ONE_THREAD:
            os.environ.setdefault(name, "1")
        _import_worker(self.options.worker_module)
        gc.collect()
        gc.freeze()

    # -- serving --------------------------------------------------------------------------------------------------

    def _watch_signals(self) -> None:
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, _note_signal)

    def _watch_owner(self) -> None:
        if not self.options.owner_pid:
            return
        try:
            self._owner_fd = os.pidfd_open(self.options.owner_pid)
        except ProcessLookupError:
            raise StartError("the process that asked for it ended") from None
        except OSError:  # an old kernel, or a sandbox
            self._owner_fd = -1

    def _woken_to_end(self) -> bool:
        """Take the signals that came; whether one of them asks us to end."""
        try:
            numbers = os.read(self._wake_read, 4096)
        except BlockingIOError:
            return False
        return any(number != signal.SIGCHLD for number in numbers)

    def _serve(self) -> str:
        """Do what the raylet asks until the node is to end; returns why (empty: as asked)."""
        poll = select.poll()
        poll.register(self._raylet_fd, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        timeout = None
        if self._owner_fd >= 0:
            poll.register(self._owner_fd, select.POLLIN)
        elif self.options.owner_pid:
            timeout = _OWNER_POLL_SECONDS * 1000
        self._wake_up()  # a child may have ended before
        keeper = self._keeper
        while True:
            found = poll.poll(timeout if keeper is None else keeper.before_waiting(poll, timeout))
            for number, _ in found:
                if number == self._wake_read and self._woken_to_end():
                    return ""
                if number == self._owner_fd:
                    return "the driver that owned the cluster ended"
                if number == self._raylet_fd:
                    ended = self._serve_raylet()
                    if ended is not None:
                        return ended
            if keeper is not None:
                keeper.after_waiting(any(number == keeper.fd for number, _ in found))
            if timeout is not None and not session.process_started(self.options.owner_pid):
                return "the driver that owned the cluster ended"
            reason = self._reap()
            if reason:
                return reason

    def _wake_up(self) -> None:
        os.write(self._wake_write, bytes([signal.SIGCHLD]))

    def _serve_raylet(self) -> str | None:
        """Take the raylet's requests; a reason if the node is to end."""
        while (data := wire.receive(self._raylet_fd)) is not None:
            if not data:
                return None  # it ended: `_reap` says how
            message = wire.decode_for_host(data)
            if isinstance(message, wire.Fork):
                self._fork_worker(message)
            elif isinstance(message, wire.Kill):
                self._signal_worker(message.worker_id, message.signal)
            else:
                reason: str = message.reason
                return reason
        return None

    def _fork_worker(self, request: wire.Fork) -> None:
        assert self._template is not None
        worker_id = request.worker_id
        if request.cwd and not os.path.isdir(request.cwd):
            self._tell(wire.ForkFailed(worker_id, f"its working directory {request.cwd!r} is not there"))
            return
        name = f"worker-{worker_id.hex()}"
        worker_boot = msgspec.structs.replace(
            self._template,
            worker_id=worker_id,
            token=request.token,
            ipc=boot.worker_ipc(self.session_dir, worker_id),
            env=request.env,
            cwd=request.cwd,
            job_id=request.job_id,
            runtime_env=request.runtime_env,
            stdout_path=self._log(name, "out"),
            stderr_path=self._log(name, "err"),
        )
        run = partial(
            child.become,
            partial(_run_worker, self.options.worker_module, worker_boot),
            parent=self.pid,
            death_signal=signal.SIGKILL,
            title="himalia:worker",
            stdout=worker_boot.stdout_path,
            stderr=worker_boot.stderr_path,
            env=request.env,
            cwd=request.cwd,
        )
        try:
            pid = child.fork(run)
        except OSError as error:
            self._tell(wire.ForkFailed(worker_id, f"the system made no process: {error.strerror}"))
            return
        self._children[pid] = _Child("worker", worker_id)
        self._workers[worker_id] = pid
        self._tell(wire.Forked(worker_id, pid))

    def _signal_worker(self, worker_id: bytes, number: int) -> None:
        pid = self._workers.get(worker_id)
        if pid is None:
            return  # it ended, and its end is on the way to the raylet
        _signal(pid, number)

    def _tell(self, message: wire.ForRaylet) -> None:
        """Send to the raylet. It reads at once, so a full buffer means that it hangs: wait for it a moment."""
        data = wire.encode(message)
        for _ in range(2):
            try:
                os.write(self._raylet_fd, data)
                return
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._raylet_fd, select.POLLOUT)
                poll.poll(_STOP_SECONDS * 1000)
            except (BrokenPipeError, ConnectionResetError):
                return  # its end is about to be reaped

    def _reap(self) -> str:
        """Report the workers that ended; a reason if a server ended, since the node cannot go on without it."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return ""
            if found is None:
                return ""
            pid = found.si_pid
            # Before it is reaped its group's number cannot be taken again, so this ends what it started and no other.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            ended = self._children.pop(pid, None)
            if ended is None:
                continue
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            if ended.role == "dashboard":
                assert self._keeper is not None
                self._keeper.ended(in_order=code == 0)
                continue
            if ended.role != "worker":
                how = f"with code {code}" if number is None else f"by {signal.Signals(number).name}"
                return f"the {ended.role} (pid {pid}) ended {how}"
            del self._workers[ended.worker_id]
            self._tell(wire.Exited(ended.worker_id, pid, code, number))

    # -- the end --------------------------------------------------------------------------------------------------

    def _end_children(self, reason: str) -> None:
        """End all children: ask, wait, and then do not ask any more."""
        if self._door is not None:
            self._door.close()
        if self._raylet_fd >= 0:
            self._tell(wire.NodeEnds(reason))
        deadline = time.monotonic() + _STOP_SECONDS
        for pid, ending in self._children.items():
            if ending.role != "raylet":  # which ends when it has passed the reason on
                _signal(pid, signal.SIGTERM)
        while self._children and (left := deadline - time.monotonic()) > 0:
            self._reap_quietly()
            if self._children:
                select.select([self._wake_read], [], [], min(left, 0.1))
                self._woken_to_end()
        for pid in self._children:
            _signal(pid, signal.SIGKILL)
        while self._children:
            self._reap_quietly(block=True)

    def _reap_quietly(self, block: bool = False) -> None:
        options = os.WEXITED | os.WNOWAIT | (0 if block else os.WNOHANG)
        while self._children:
            try:
                found = os.waitid(os.P_ALL, 0, options)
            except ChildProcessError:
                self._children.clear()
                return
            if found is None:
                return
            _signal(found.si_pid, signal.SIGKILL)
            os.waitpid(found.si_pid, 0)
            self._children.pop(found.si_pid, None)

    def _say(self, line: Started | Ended) -> None:
        if self._output < 0:
            return
        try:
            os.write(self._output, msgspec.json.encode(line) + b"\n")
        except BrokenPipeError:  # whoever started us did not wait
            self._output = -1


def _signal(pid: int, number: int) -> None:
    """Signal a child that is not reaped; SIGKILL also to what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if number == signal.SIGKILL:
            os.killpg(pid, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _note_signal(number: int, frame: object) -> None:
    """The wake-up descriptor carries it to the loop; a handler is needed for that to happen."""


def _import_worker(module: str) -> None:
    front_door = sys.modules["himalia"]
    spec = front_door.__spec__
    if spec is not None and spec.loader is not None and "__builtins__" not in vars(front_door):
        spec.loader.exec_module(front_door)  # until now it was a package without content: see `local`
    for name in ("cloudpickle", "numpy", module):
        importlib.import_module(name)
    # Errors name this module as theirs: pickled by name only if it is there.
    importlib.import_module("himalia.exceptions")


def _run_worker(module: str, worker_boot: boot.WorkerBoot) -> object:
    return sys.modules[module].run_worker(worker_boot)


def main() -> NoReturn:
    """Entry point: `python -m himalia.cluster.launchers.node_host`, as `local.py` calls it."""
    gc.disable()
    with open(0, "rb", closefd=False) as stdin:
        options = msgspec.json.decode(stdin.read(), type=boot.NodeOptions)
    output = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    child.set_title("himalia:host")
    code = NodeHost(options, output).run()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
