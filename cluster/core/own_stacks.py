"""A process tells itself where its threads are: for those who may not look at it from outside (`raylet/spying.py`).

Strategy: the leader answers, which is another thread than the one whose stack matters. A profile is taken by a thread
that looks at all others at its rate; a thread counts as at work if its own CPU clock went on since the last look. Looks
need the interpreter's lock, so what holds it for long (C code that does not let go of it) is seen late, and a process
that never lets go of it does not answer at all.

Rejected: `faulthandler` on a signal, which needs no lock: it has to be set up in every worker from the start, takes a
signal away from users, and tells no names of threads.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Final

from ..protocol.stack_messages import Frame, Profile, StackAnswer, StackQuestion, Stacks, StackStop, ThreadStack
from ..protocol.traceback_text import is_internal
from ..telemetry.profiles import ProfileMaker
from .commands import Reply

if TYPE_CHECKING:
    from .runtime import Core

__all__ = ["BY", "OwnStacks", "own_stacks"]

BY: Final = "the process itself"
_AT_WORK: Final = 0.1
"""Part of the time between two looks that a thread must have spent on a CPU to be one at work."""
_MOST_SECONDS: Final = 600.0
_MOST_RATE: Final = 1_000
_NAME: Final = "himalia-profile"
_THREAD_CLOCK: Final = (
    6  # Linux: the CPU clock of a thread has the number ~tid << 3 | 4 (of a thread) | 2 (in nanoseconds)
)


def own_stacks() -> Stacks:
    """Where all threads of this process are, but the calling one's last steps."""
    threads = {thread.ident: thread for thread in threading.enumerate()}
    found: list[ThreadStack] = []
    for ident, frame in sys._current_frames().items():
        thread = threads.get(ident)
        found.append(ThreadStack(thread.name if thread is not None else "", _frames(frame), None, _number(thread)))
    return Stacks(os.getpid(), found, BY)


def _frames(innermost: FrameType | None) -> list[Frame]:
    """The outermost first."""
    frames: list[Frame] = []
    while innermost is not None:
        code = innermost.f_code
        frames.append(Frame(code.co_qualname, code.co_filename, innermost.f_lineno or 0, is_internal(code.co_filename)))
        innermost = innermost.f_back
    return frames[::-1]


class OwnStacks:
    """Answers for one process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._profiles: dict[tuple[bytes, int], threading.Event] = {}

    def on_question(self, peer: bytes, question: StackQuestion) -> None:
        """In the leader."""
        answer = StackAnswer(question.request)
        if not question.seconds:
            answer.stacks = own_stacks()
        elif not (0 < question.seconds <= _MOST_SECONDS and 1 <= question.rate <= _MOST_RATE):
            answer.error = f"a profile may have up to {_MOST_SECONDS:g} seconds at a rate of up to {_MOST_RATE}"
        elif self._profiles:
            answer.error = f"process {os.getpid()} is being profiled already: try again when that is over"
        else:
            stop = self._profiles[peer, question.request] = threading.Event()
            threading.Thread(target=self._take, args=(peer, question, stop), name=_NAME, daemon=True).start()
            return
        self._core.out.append(Reply(peer, answer))

    def on_stop(self, peer: bytes, message: StackStop) -> None:
        """In the leader."""
        stop = self._profiles.get((peer, message.request))
        if stop is not None:
            stop.set()

    def _take(self, peer: bytes, question: StackQuestion, stop: threading.Event) -> None:
        answer = StackAnswer(question.request)
        try:
            answer.profile = take_profile(question.seconds, question.rate, question.idle, stop)
        except Exception as error:  # noqa: BLE001 whoever asked is told
            answer.error = f"the process could not profile itself: {error!r}"

        def send() -> None:
            del self._profiles[peer, question.request]
            self._core.out.append(Reply(peer, answer))

        self._core.post(send)


def take_profile(seconds: float, rate: int, idle: bool, stop: threading.Event) -> Profile:
    """A profile of all threads but the calling one, until the time is over or ``stop`` is set."""
    maker = ProfileMaker()
    clocks: dict[int, float] = {}
    begun = last = time.monotonic()
    own = threading.get_ident()
    while not stop.wait(max(0.0, last + 1 / rate - time.monotonic())) and last - begun < seconds:
        now = time.monotonic()
        threads = {thread.ident: thread for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            thread = threads.get(ident)
            if ident == own or (thread is None and not idle):
                continue  # what C code started has no clock that we could find
            if idle or _spent(_number(thread), clocks) >= _AT_WORK * (now - last):
                maker.add(thread.name if thread is not None else "", _frames(frame))
        last = now
    took = min(seconds, time.monotonic() - begun)
    return Profile([os.getpid()], took, rate, maker.frames(), maker.stacks(), [BY], idle)


def _number(thread: threading.Thread | None) -> int:
    """The system's number of a thread. In a forked process the main thread still has that of the other process."""
    if thread is threading.main_thread():
        return os.getpid()
    return (thread.native_id or 0) if thread is not None else 0


def _spent(tid: int, clocks: dict[int, float]) -> float:
    """CPU seconds of a thread since the last look.

    By the system's number of the thread, as `pthread_getcpuclockid` may crash for one that has just ended.
    """
    try:
        now = time.clock_gettime((~tid << 3) | _THREAD_CLOCK)
    except OSError:  # it has ended
        return 0.0
    before = clocks.get(tid, now)
    clocks[tid] = now
    return now - before
