"""A worker process of a simulation: the real executor, without signals and shared pages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ...protocol.raylet_messages import AssignActor, Exit
from ...worker.actor_host import ActorHost
from ...worker.executor import Executor
from ...worker.peers import Job
from .process import Killed, Process

__all__ = ["SimulatedExecutor", "worker_main"]


class SimulatedExecutor(Executor):
    """Interrupts its greenlet where the real one sends its process a signal."""

    process: Process

    def interrupt(self, job: Job) -> None:
        self.interrupt_target = job

        def strikes() -> bool:
            if self.running is not job or not self.interruptible or self.interrupt_target is not job:
                return False
            self.interrupt_target = None
            return True

        self.process.interrupt(strikes)


def worker_main(page: Any) -> Callable[[Process], int | None]:
    """The main function of a worker that notes in ``page[0]`` which task it began last. See `worker.main`."""

    def main(process: Process) -> int | None:
        core = process.core
        executor = SimulatedExecutor(core, page)
        executor.process = process
        executor.main = threading.get_ident()
        core.executor = executor

        def become_actor(peer: bytes, message: AssignActor) -> None:
            executor.actor = ActorHost(executor, message)

        def leave(peer: bytes, message: Exit) -> None:
            if message.graceful and executor.actor is not None:
                executor.actor.end(message.reason)
            elif message.graceful:
                executor.exiting = message.reason or "asked to leave"
            else:
                process.end(0, None, last_words=0.0)

        core.answer_handlers[AssignActor] = become_actor
        core.answer_handlers[Exit] = leave
        core.connect()
        executor.run()
        executor.drain()
        if not process.is_alive:
            raise Killed
        core.reactor.run_once()
        return executor.exit_code

    return main
