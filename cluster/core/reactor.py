"""Who drives a core's sockets: whoever waits for them.

Strategy (leader and followers): a thread that blocks in `get` takes the lead, polls the sockets and runs the machines
itself, so a result needs no hop between threads. When nobody waits, an IO thread leads. One lock says who does;
everything under it (sockets, machines) needs no other. Rejected: an IO thread alone, which costs a call two context
switches.

- User threads leave work in `inbox` (append is atomic) and wake the leader only if it sleeps in poll.
- The IO thread stays away while user threads come and go (`GRACE`): taking the lead back between two calls would cost
  more than what it does. It looks again after `GRACE`, so nothing waits longer than that.
- A user thread that finds another one leading follows: it waits for an event, which the leader sets when its condition
  holds, or when it stops leading and the follower is the next. The IO thread stops as soon as it has a follower. Nobody
  waits for the lock itself: whoever takes it may lead for hours, and would not know of those.
- SIGINT is noted while the main thread leads and raised when it has stopped: no machine is interrupted half way.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import zmq

from ..transport.bus import Bus

__all__ = ["Reactor"]

GRACE: Final = 0.004
_MAX_POLL: Final = 1.0  # seconds: the longest a leader sleeps, when no timer asks for less
_DRAIN_AT_ONCE: Final = 512


def _never() -> bool:
    return False


class Reactor:
    """Leads, follows, polls. ``step`` callbacks come from the core:

    ``before()`` runs what is due, pumps the machines and flushes; returns seconds until the next timer (or None);
    ``on_client(frames)`` and ``on_server(frames)`` take a message.
    """

    def __init__(
        self,
        bus: Bus,
        before: Callable[[], float | None],
        on_client: Callable[[list[bytes]], None],
        on_server: Callable[[list[bytes]], None],
        has_work: Callable[[], Any],
        *,
        defer_sigint: bool = True,
    ) -> None:
        self.bus = bus
        self._before = before
        self._on_client = on_client
        self._on_server = on_server
        self._has_work = has_work  # asked after `sleeping` was set, so that no wake is missed
        self._defer_sigint = defer_sigint
        self._lock = threading.Lock()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.sleeping = False  # the leader is in poll, or about to be: what is put in the inbox needs a wake
        self._io_leads = False
        self._io_deep = False
        self._io_event = threading.Event()
        self._followers: list[tuple[Callable[[], Any], threading.Event]] = []
        self._last_user = 0.0
        self._drives = 0
        self._closing = False
        self._interrupted = False
        self.main_inside = False  # the main thread drives: a signal handler must not raise, but call `interrupt`
        self._leader = 0
        self._fd_handlers: dict[int, Callable[[], None]] = {}
        self._poller = zmq.Poller()
        self._poller.register(bus.client, zmq.POLLIN)
        self._poller.register(bus.server, zmq.POLLIN)
        self._poller.register(self._wake_fd, zmq.POLLIN)
        if bus.zap is not None:
            self._poller.register(bus.zap, zmq.POLLIN)
        self._thread = threading.Thread(target=self._io_main, name="himalia-io", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start the IO thread."""
        self._thread.start()

    def watch_fd(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` when `fd` is readable (a pidfd: when the process has ended).

        Before `start`, or by the leader.
        """
        self._fd_handlers[fd] = handler
        self._poller.register(fd, zmq.POLLIN)

    def unwatch_fd(self, fd: int) -> None:
        """Undo `watch_fd`."""
        if self._fd_handlers.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def wake(self) -> None:
        """End the leader's sleep. Cheap when it does not sleep."""
        if self.sleeping:
            self.sleeping = False
            os.eventfd_write(self._wake_fd, 1)

    def wake_up(self) -> None:
        """End the leader's sleep even if what it waits for came without the inbox."""
        os.eventfd_write(self._wake_fd, 1)

    def interrupt(self) -> None:
        """Have the main thread, which leads, stop and raise KeyboardInterrupt. From a signal handler."""
        self._interrupted = True
        os.eventfd_write(self._wake_fd, 1)

    # -- user threads -----------------------------------------------------------------------------------------------

    def drive(self, done: Callable[[], Any], deadline: float | None = None) -> bool:
        """Run the core until `done()` is true, or until `deadline` (of time.monotonic); returns whether it is.

        Raises
        ------
        KeyboardInterrupt
            SIGINT came while the main thread waited.
        """
        if self._leader == threading.get_ident():
            raise RuntimeError("this would wait for the core inside the core; use a callback instead")
        if done():
            return True
        if threading.current_thread() is not threading.main_thread():
            return self._drive(done, deadline, False)
        # From before the lock is taken until after it was released SIGINT is only noted: raised in between, it
        # would leave the lock with a thread that has gone elsewhere.
        handler = signal.getsignal(signal.SIGINT) if self._defer_sigint else None
        self._interrupted = False
        self.main_inside = True
        if callable(handler):
            signal.signal(signal.SIGINT, self._note_sigint)
        try:
            return self._drive(done, deadline, True)
        finally:
            self.main_inside = False
            if callable(handler):
                signal.signal(signal.SIGINT, handler)
            if self._interrupted:
                self._interrupted = False
                if callable(handler):
                    handler(signal.SIGINT, None)
                else:
                    raise KeyboardInterrupt

    def _drive(self, done: Callable[[], Any], deadline: float | None, main: bool) -> bool:
        while not done():
            if main and self._interrupted:
                return False
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                # One look at what has come: with a timeout of 0 the caller asks for the state, not for luck.
                if self._lock.acquire(blocking=False):
                    try:
                        self._leader = threading.get_ident()
                        self._step(0.0)
                    finally:
                        self._leader = 0
                        self._leave()  # tells the IO thread, which may have seen us lead and gone to sleep
                return bool(done())
            if self._closing:
                return bool(done())
            if self._lock.acquire(blocking=False):
                self._lead_as_user(done, deadline, main)
            else:
                self._follow(done, remaining)
        if not self._lock.locked():
            self._hand_on()  # it may have been our turn to lead, and we have what we waited for
        return True

    def run_once(self, flush_only: bool = False) -> None:
        """Take the lead for one look at the sockets, without waiting."""
        if self._lead_at_once():
            try:
                if flush_only:
                    self._before()
                else:
                    self._step(0.0)
            finally:
                self._leader = 0
                self._leave()

    def look(self) -> bool:
        """Take the lead for one look, for an event loop that waits for the sockets itself; True if there is more to do.

        Otherwise the loop may sleep: what is put in the inbox from now on ends its sleep. All of it under the lead: the
        sockets may be asked by one thread at a time only, and a wake is noticed by who leads, or another one sleeps on.
        """
        if not self._lead_at_once():
            return False
        try:
            self._clear_wake()
            self._step(0.0)
            if self._closing:
                return False
            self.sleeping = True
            # A send may swallow the edge that announced a message, so the descriptors alone do not tell.
            return bool(self._has_work()) or self._has_come(self.bus.client) or self._has_come(self.bus.server)
        finally:
            self._leader = 0
            self._leave()

    def _lead_at_once(self) -> bool:
        """Take the lead; False if a user thread has it, which does what there is for us."""
        while not self._lock.acquire(blocking=False):
            if not self._io_leads:
                self.wake()
                return False
            self._follow(_never, None)
        self._leader = threading.get_ident()
        return True

    @staticmethod
    def _has_come(socket: zmq.Socket[bytes]) -> bool:
        return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)

    def descriptors(self) -> list[int]:
        """What an event loop watches that drives the core by `look`."""
        bus = self.bus
        sockets = [bus.client, bus.server] if bus.zap is None else [bus.client, bus.server, bus.zap]
        return [self._wake_fd, *(int(socket.fileno()) for socket in sockets)]

    def _clear_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # there was none
            os.eventfd_read(self._wake_fd)

    def _follow(self, done: Callable[[], Any], remaining: float | None) -> None:
        event = threading.Event()
        entry = (done, event)
        self._followers.append(entry)
        if self._lock.locked():  # else the leader stopped before it could know of us
            self.wake()
            event.wait(0.05 if remaining is None else min(0.05, remaining))
        with contextlib.suppress(ValueError):  # it was our turn: who told us so took us from the list
            self._followers.remove(entry)

    def _lead_as_user(self, done: Callable[[], Any], deadline: float | None, main: bool) -> None:
        """Lead until done; the lock is held, and released at the end."""
        try:
            self._leader = threading.get_ident()
            while not done() and not (main and self._interrupted) and not self._closing:
                timeout = _MAX_POLL
                if deadline is not None:
                    timeout = min(timeout, deadline - time.monotonic())
                    if timeout <= 0:
                        break
                self._step(timeout, done)
        finally:
            self._leader = 0
            self._leave()

    def _leave(self) -> None:
        self._last_user = time.monotonic()
        self._drives += 1
        self._lock.release()
        self._hand_on()
        if self._io_deep:
            self._io_deep = False
            self._io_event.set()

    def _hand_on(self) -> None:
        """Nobody leads: it is the first follower's turn."""
        with contextlib.suppress(IndexError):  # another thread was faster
            if self._followers:
                self._followers.pop(0)[1].set()

    def _note_sigint(self, signum: int, frame: Any) -> None:
        self._interrupted = True
        os.eventfd_write(self._wake_fd, 1)

    # -- the IO thread ----------------------------------------------------------------------------------------------

    def _io_main(self) -> None:
        try:
            while not self._closing:
                drives = self._drives
                in_use = bool(self._followers) or time.monotonic() - self._last_user < GRACE
                if in_use or not self._lock.acquire(blocking=False):
                    time.sleep(GRACE)
                    if self._drives == drives and self._lock.locked() and not self._closing:
                        # A user thread has led all this time: it may do so for hours.
                        self._io_event.clear()
                        self._io_deep = True
                        if self._drives == drives:
                            self._io_event.wait()
                    continue
                self._io_leads = True
                self._leader = threading.get_ident()
                try:
                    while not self._followers and not self._closing:
                        self._step(_MAX_POLL)
                finally:
                    self._leader = 0
                    self._io_leads = False
                    self._last_user = time.monotonic()  # so that the follower comes first
                    self._lock.release()
                    self._hand_on()
        except BaseException as error:
            self.failure = error
            raise

    # -- one step ---------------------------------------------------------------------------------------------------

    def _step(self, timeout: float, done: Callable[[], Any] | None = None) -> None:
        if self._closing:
            return
        due = self._before()
        if self._drain():
            self._before()
            self._tell_followers()
            return
        if due is not None and due < timeout:
            timeout = due
        if timeout <= 0 or (done is not None and done()):
            return
        self.sleeping = True
        if self._has_work() or (self._io_leads and self._followers):
            self.sleeping = False
            return
        events = self._poller.poll(int(timeout * 1000) + 1)
        self.sleeping = False
        for source, _ in events:
            if source == self._wake_fd:
                self._clear_wake()
            elif isinstance(source, int):
                handler = self._fd_handlers.get(source)
                if handler is not None:
                    handler()
        self._drain()
        self._before()
        self._tell_followers()

    def _tell_followers(self) -> None:
        if self._followers:
            for done, event in list(self._followers):
                if done():
                    event.set()

    def _drain(self) -> bool:
        """Take what has come; True if there was anything."""
        bus = self.bus
        if bus.zap is not None:
            bus.handle_zap()
        any_message = False
        for sock, handle in ((bus.client, self._on_client), (bus.server, self._on_server)):
            receive = sock.recv_multipart
            for _ in range(_DRAIN_AT_ONCE):
                try:
                    frames = receive(zmq.NOBLOCK)
                except zmq.Again:
                    break
                any_message = True
                if bus.aliases and frames[0] in bus.aliases:
                    frames[0] = bus.aliases[frames[0]]
                handle(frames)
        return any_message

    # -- end --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Have nobody lead any more; the sockets are closed by the caller afterwards."""
        if self._closing:
            return
        self._closing = True
        self._io_event.set()
        os.eventfd_write(self._wake_fd, 1)
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(2.0)
        # A user's thread that leads has the sockets in its hands until it has seen that this is the end.
        if self._leader != threading.get_ident() and self._lock.acquire(timeout=2.0):
            self._lock.release()
        for _, event in self._followers:
            event.set()

    def close_fds(self) -> None:
        """Close what remains, after the bus."""
        os.close(self._wake_fd)
