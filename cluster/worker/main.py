"""A worker process from fork to exit. `run_worker` is called by the node host in the child."""

from __future__ import annotations

import json
import logging
import mmap
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from ..core import current
from ..core.holders import Kind, Root, thread_roots
from ..core.runtime import Core, CoreOptions
from ..core.tasks import task_var
from ..core.working_dir import archive_key, unpack
from ..protocol.gcs_messages import KvGet
from ..protocol.raylet_messages import AssignActor, Exit
from ..telemetry.recorder import WorkerRecorder
from ..telemetry.run_notes import PAGE_BYTES
from . import streams
from .actor_host import ActorHost
from .display import RichOutput
from .executor import Executor
from .noting import Noting
from .output import Output

if TYPE_CHECKING:
    from ..launchers.boot import WorkerBoot

__all__ = ["run_worker"]


def run_worker(boot: WorkerBoot) -> NoReturn:
    """Serve tasks until told to leave.

    Then end the process without the interpreter's clean-up, which user code may hang.
    """
    code = 1
    try:
        code = _serve(boot)
    except BaseException:
        logging.getLogger("himalia.worker").exception("worker failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(boot: WorkerBoot) -> int:
    core = Core(
        CoreOptions(
            kind="worker",
            worker_id=boot.worker_id,
            node_id=boot.node_id,
            ipc=boot.ipc,
            raylet=boot.raylet,
            gcs=boot.gcs,
            session_dir=boot.session_dir,
            public_key=boot.public_key,
            secret_key=boot.secret_key,
            tcp_host=boot.tcp_host,
            token=boot.token,
            runtime_env=boot.runtime_env,
        )
    )
    core.job_id = boot.job_id
    if boot.cwd:
        sys.path.insert(0, boot.cwd)
    core._open_store(boot.arena_path, boot.arena_bytes)
    current.set_core(core)
    page = started_page(f"{boot.session_dir}/{boot.worker_id.hex()}.run")
    executor = Executor(core, page)
    core.executor = executor
    _capture_output(core, executor)
    executor.breakpoints.install()
    signal.signal(signal.SIGTERM, lambda signum, frame: os._exit(0))

    def become_actor(peer: bytes, message: AssignActor) -> None:
        executor.actor = ActorHost(executor, message)
        core.name_roots = lambda: _actor_roots(executor)

    def leave(peer: bytes, message: Exit) -> None:
        if message.graceful and executor.actor is not None:
            executor.actor.end(message.reason)
        elif message.graceful:
            executor.exiting = message.reason or "asked to leave"
        else:
            # In the thread that leads, which has the sockets: what ran is told, what runs is not waited for.
            recorder.flush()
            core._before()
            core.bus.close_gently()
            os._exit(0)

    core.answer_handlers[AssignActor] = become_actor
    core.answer_handlers[Exit] = leave
    enter_working_dir(core)
    # Before the start, as the first task may come at once.
    Noting.install(core, executor)  # before the recorder, whose tick takes away what ran
    recorder = WorkerRecorder.install(core, executor)
    core.connect()
    core.start()
    executor.run()
    executor.drain()
    recorder.flush()
    said: list[bool] = []
    core.post(lambda: said.append(True))
    core.reactor.drive(lambda: said)  # not only looked at: whoever leads has sent all that stood before this
    core.reactor.close()
    core.bus.close_gently()
    return executor.exit_code


def enter_working_dir(core: Core) -> None:
    """Go to the folder that the runtime environment brings. Before the hello: a failure is one to start."""
    fields = json.loads(core.options.runtime_env or "{}")
    key = archive_key(fields.get("working_dir") or "")
    if key:
        core.bus.connect(core.options.gcs)
        folder = unpack(core.gcs_call(KvGet(key, wait=True)), key, core.options.session_dir)
        os.chdir(folder)
        sys.path.insert(0, folder)


def started_page(path: str) -> memoryview:
    """A page of memory, shared by way of a file: the counter of the task that began last, then the notes."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(fd, PAGE_BYTES)
        return memoryview(mmap.mmap(fd, PAGE_BYTES)).cast("Q")
    finally:
        os.close(fd)


def _actor_roots(executor: Executor) -> list[Root]:
    """What has a name in a worker with an actor: its attributes, and what its methods have in hand."""
    return [Root(Kind.VARIABLE, "self", executor.actor.instance), *thread_roots(None)]


def _capture_output(core: Core, executor: Executor) -> None:
    def source() -> Any:
        return task_var.get() or executor.running or output.background

    output = Output(core, f"{core.options.session_dir}/logs", source)
    executor.output = executor.outgoing.output = output
    core.tick_hooks.append(output.tick)
    streams.install(output)
    executor.rich = RichOutput(output)
    executor.rich.install()
