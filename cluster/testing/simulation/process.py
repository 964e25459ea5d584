"""A driver or worker of a simulation: the real core (and executor), on a simulated bus, clock and thread.

Strategy: user code blocks (`get`, `wait`, a long task), and a worker's main thread is a loop that blocks. Such a thread
is a greenlet here: where the real reactor would wait in poll, this one goes back to the simulation, which switches to
it again when its condition holds, its deadline has passed or it is interrupted. So no line of the core or the executor
is modelled; only what is around them is: sockets, the clock, threads, the fork. A model of a worker was rejected: it
would have had the rules its author believed in.

While a greenlet waits, messages go to the core all the same, as the IO thread of a real process would have it.

What is one for each process in reality is switched with them: the current core, the factory of references, and `drops`
(what destructors leave for the core). A drop of a borrowed object does not say in which process it was; so each process
notes what it borrows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import greenlet

from ...core import current
from ...core.borrowed import Borrowed
from ...core.refs import Extra, ObjectRef, drops
from ...core.runtime import Core, CoreOptions
from ...serialization import context
from .kernel import Timer

if TYPE_CHECKING:
    from .cluster import SimulatedCluster

__all__ = ["Killed", "Process", "SimulatedReactor"]

Frames = list[bytes]

_LAG: Final = 0.0004
"""At most so many seconds from a message to what follows from it: others that come meanwhile are handled in one go."""


class Killed(BaseException):
    """The process of this greenlet is no more: leave."""


class SimulatedReactor:
    """What a `Core` has in place of its `Reactor`."""

    def __init__(
        self,
        bus: Any,
        before: Callable[[], float | None],
        on_client: Callable[[Frames], None],
        on_server: Callable[[Frames], None],
        has_work: Callable[[], Any],
        *,
        defer_sigint: bool = True,
    ) -> None:
        self.before = before
        self.on_client = on_client
        self.on_server = on_server
        self.sleeping = True  # whoever leaves work wakes us
        self.process: Process | None = None
        self.failure: BaseException | None = None

    def start(self) -> None:
        """There is no IO thread to start."""

    def close(self) -> None:
        """Nor one to end."""

    def close_fds(self) -> None:
        """Nor descriptors."""

    def watch_fd(self, fd: int, handler: Callable[[], None]) -> None:
        raise AssertionError("nothing of a simulation has descriptors")

    unwatch_fd: Any = None

    def wake(self) -> None:
        if self.process is not None:
            self.process.want_step()

    wake_up = wake

    def interrupt(self) -> None:
        raise AssertionError("a simulated process is interrupted by `Process.interrupt`")

    def run_once(self, flush_only: bool = False) -> None:
        assert self.process is not None
        self.process.lead()

    def drive(self, done: Callable[[], Any], deadline: float | None = None) -> bool:
        assert self.process is not None
        return self.process.drive(done, deadline)


class _Borrowed(Borrowed):
    """The borrowed references of one process, which notes whose their `Extra`s are."""

    holders: dict[int, tuple[Extra, Process]]
    process: Process

    def add(self, ref: ObjectRef) -> ObjectRef:
        assert ref._x is not None
        self.holders[id(ref._x)] = (ref._x, self.process)
        return super().add(ref)


class Process:
    """One process. ``main(process)`` runs in its greenlet; when it returns, the process leaves."""

    def __init__(
        self, cluster: SimulatedCluster, options: CoreOptions, pid: int, main: Callable[[Process], int | None]
    ) -> None:
        self.cluster = cluster
        self.kernel = cluster.kernel
        self.identity = options.worker_id
        self.node_id = options.node_id
        self.pid = pid
        self.kind = options.kind
        self.is_alive = True
        self.name = ""  # how the keys of what it submits begin
        self.on_exit: Callable[[int | None, int | None], None] = lambda code, signal: None
        self.drops: deque[Extra] = deque()
        self._main = main
        self._step: Timer | None = None
        self._waits_for: Callable[[], Any] | None = None
        self._alarm: Timer | None = None
        self._is_asleep = False
        self.core = Core(options)
        reactor: Any = self.core.reactor
        reactor.process = self
        borrowed = _Borrowed()
        borrowed.holders, borrowed.process = cluster.holders, self
        self.core.references.borrowed = borrowed
        self._fiber = greenlet.greenlet(self._run, cluster.hub)
        cluster.network.join(self)

    def start(self, delay: float) -> None:
        """Let it run, a little later."""
        self.kernel.after(delay, lambda: self._within(self._fiber.switch))

    def _run(self) -> None:
        code: int | None = 1
        try:
            code = self._main(self)
        except Killed:
            return
        except BaseException as error:  # noqa: BLE001 - the simulation reports it, whatever it is
            self.cluster.failed(error, f"{self.kind} {self.identity.hex()}")
        if self.is_alive:
            self.lead()
            self.end(code or 0, None, last_words=1.0)

    # -- from the outside ---------------------------------------------------------------------------------------------

    def _within(self, work: Callable[[], Any]) -> None:
        """Do something as this process."""
        if not self.is_alive:
            return
        current.set_core(self.core)
        context.set_ref_factory(self.core.rebuild_ref)
        context.set_out_of_band_hook(self.core.pin_forever)
        drops.extend(self.drops)
        self.drops.clear()
        try:
            work()
        finally:
            self.cluster.route_drops()
            current.set_core(None)

    def take_request(self, peer: bytes, frames: Frames) -> None:
        self._take(lambda: self.core._on_server([peer, *frames]))

    def take_answer(self, peer: bytes, frames: Frames) -> None:
        self._take(lambda: self.core._on_client([peer, *frames]))

    def connection_lost(self, peer: bytes) -> None:
        """A core learns of deaths from the GCS and its raylet."""

    def _take(self, handle: Callable[[], None]) -> None:
        self._within(handle)
        self.want_step()

    def want_step(self) -> None:
        """There may be something to do."""
        self._plan_step(self.kernel.now + self.kernel.random.uniform(0.0, _LAG))

    def _plan_step(self, when: float) -> None:
        if self._step is not None:
            if self._step.at <= when:
                return
            self._step.cancel()
        self._step = self.kernel.at(when, self._do_step)

    def _do_step(self) -> None:
        self._step = None
        self._within(self._lead_and_resume)

    def _lead_and_resume(self) -> None:
        self.lead()
        if self._waits_for is not None and self._waits_for():
            self._fiber.switch()

    def lead(self) -> None:
        """What the thread that leads does between two looks at the sockets."""
        reactor: Any = self.core.reactor
        due = reactor.before()
        self.core.completion.parked.clear()  # as telemetry does
        if self.is_alive:
            self.cluster.check_core(self)
            self._plan_step(self.kernel.now + (1.0 if due is None else due))

    # -- in the greenlet ----------------------------------------------------------------------------------------------

    def drive(self, done: Callable[[], Any], deadline: float | None) -> bool:
        """Wait until ``done()`` or the deadline; whether it is done."""
        assert greenlet.getcurrent() is self._fiber, "the core waits for itself"
        if done():
            return True
        self.lead()
        while not done():
            if deadline is not None and self.kernel.now >= deadline:
                return bool(done())
            self._waits_for = done
            if deadline is not None:
                self._alarm = self.kernel.at(deadline, self._wake)
            self._park()
        return True

    def sleep(self, seconds: float) -> None:
        """What a task does that takes its time."""
        assert greenlet.getcurrent() is self._fiber
        until = self.kernel.now + seconds
        while self.kernel.now < until:
            self._alarm = self.kernel.at(until, self._wake)
            self._is_asleep = True
            self._park()

    def _wake(self) -> None:
        self._alarm = None
        self._within(self._fiber.switch)

    def _park(self) -> None:
        try:
            self.cluster.hub.switch()
        finally:
            self._waits_for = None
            self._is_asleep = False
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
        if not self.is_alive:
            raise Killed

    def interrupt(self, still: Callable[[], bool]) -> None:
        """Raise KeyboardInterrupt in the greenlet where it waits, if ``still()``, a moment from now."""

        def strike() -> None:
            if (self._waits_for is not None or self._is_asleep) and still():
                self._within(lambda: self._fiber.throw(KeyboardInterrupt))

        self.kernel.after(self.kernel.random.uniform(0.0, _LAG), strike)

    # -- the end ------------------------------------------------------------------------------------------------------

    def end(self, code: int | None, signal: int | None, *, last_words: float) -> None:
        """The process is no more. Its greenlet stays where it is until the simulation ends."""
        if not self.is_alive:
            return
        self.is_alive = False
        for timer in (self._step, self._alarm):
            if timer is not None:
                timer.cancel()
        self.cluster.network.leave(self.identity, last_words)
        self.on_exit(code, signal)

    def bury(self) -> None:
        """Let the greenlet end, when the simulation is over."""
        self.is_alive = False
        if self._fiber and not self._fiber.dead:
            self._fiber.throw(Killed)
        self.core.inbox.clear()
