"""What tasks print and show: to the worker's log, and to the driver whose cell submitted the task.

Strategy: ``sys.stdout`` and ``sys.stderr`` are replaced by streams that know on whose behalf the calling thread writes.
Whole lines go to the log at once, and through the throttle of their cell into `ready`; whoever leads next sends that,
before the result of the task, on the same connection: what a task printed is there when `get` returns. Text that is
drawn over (progress bars) is kept on a screen, which is sent now and then.

What goes past Python (C code, subprocesses, forked children) lands in the files that file descriptors 1 and 2 are; it
is picked up at the end of a task that took long enough to have done such a thing, and at every tick.

A short task that prints nothing costs one look at its `voice`. Whoever prints holds one lock; it can be entered again,
since a destructor or signal handler may print in the middle of a print. A cancel that comes while it is held waits
for its release: no machine is interrupted half way.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

import msgspec

from ..protocol.comm_messages import CommData
from ..protocol.common import Address, Cell
from ..protocol.core_messages import DisplayData, LogLines, TaskScreen, UnseenErrors
from ..protocol.ids import make_task_id
from ..telemetry.allowance_machine import Allowance
from ..telemetry.left_displays import LeftDisplays
from ..telemetry.task_log import Speaker, TaskLog
from .peers import Job
from .screen_machine import Screen, redraws
from .throttle_machine import Piece, Throttle

if TYPE_CHECKING:
    from ..core.runtime import Core

__all__ = ["Output", "Voice"]

_MAX_LINE: Final = 64 * 1024  # characters kept back for the end of a line; a longer one is sent in parts
_NOTEBOOK: Final = (64 * 1024, 8 * 1024, 8 * 1024)
"""Allowance of a notebook's cell in each worker. The driver lets through about as much for all workers together."""
_SCRIPT: Final = (8 << 20, 1 << 20, 64 * 1024)
"""Allowance of a program: its terminal or file takes whatever comes, but the way there should not fill up."""
_DRAWN_EVERY: Final = 0.1  # seconds between two states of a screen
_AT_REST: Final = 0.05  # seconds after which a cursor below everything will not go up again


class Channel(msgspec.Struct, eq=False):
    """Tasks of one function, in one cell, of one owner: what is the same for all that they print."""

    number: int  # in the log
    name: str
    actor: str
    cell: Cell | None
    owner: bytes
    driver: Address | None  # None: the owner is the driver
    throttle: Throttle


class Voice(msgspec.Struct, eq=False):
    """One task that has printed or shown something."""

    channel: Channel
    counter: int
    attempt: int
    task_id: bytes
    partial: list[str]  # the beginning of a line, for each stream
    screens: list[Screen | None]
    parts: list[int]  # how many screens of the stream are over
    drawn: float = 0.0  # when something was drawn last
    sent: float = 0.0  # when a screen was sent last
    is_stale: bool = False  # what was sent is not what stands on the screen
    shown: int = 0  # displays since the last `clear_output`
    most_shown: int = 0  # displays that there are


class Output:
    """The output of one worker."""

    def __init__(self, core: Core, folder: str, source: Callable[[], Job | None]) -> None:
        self.core = core
        self.source = source
        self.lock = threading.RLock()
        self.ready: list[Any] = []  # pieces of text and other messages, in order
        self.is_interrupted = False  # a cancel came while the main thread was in here
        self.is_forked = False
        self.at_end: list[Callable[[Job], None]] = []  # what libraries want done when a task is over
        self.files: Any = None  # what comes past Python, once there is a process with files
        self._log = TaskLog(folder, core.worker_id)
        self._left = LeftDisplays(f"{folder}/worker-{core.worker_id.hex()}")
        self._throttles: WeakValueDictionary[tuple[bytes, Cell | None], Throttle] = WeakValueDictionary()
        self._restless: set[Throttle] = set()
        self._drawing: dict[int, Voice] = {}
        self._last: Job | None = None
        self.background: Job | None = None  # in whose name an actor's own threads print
        self._told_of_failure = False

    # -- printing, in any thread --------------------------------------------------------------------------------------

    def write(self, job: Job, number: int, text: str) -> None:
        """A task writes to stream 1 or 2."""
        with self.lock:
            voice: Voice = job.voice or self.voice_of(job)
            index = number - 1
            if voice.partial[index]:
                text = voice.partial[index] + text
                voice.partial[index] = ""
            screen = voice.screens[index]
            if screen is not None and screen.at_rest and "\r" not in text and "\x1b" not in text:
                self._end_screen(voice, number)  # the bars are done, and this is text again
                screen = None
            if screen is not None or ("\r" in text and redraws(text)):
                self._draw(voice, number, text)
            else:
                end = text.rfind("\n") + 1
                if not end and len(text) >= _MAX_LINE:
                    end = len(text)
                if end < len(text):
                    voice.partial[index] = text[end:]
                    text = text[:end]
                if end:
                    self._pass(voice, number, text)
        if self.is_interrupted:
            self._raise_interrupt()

    def flush(self, job: Job, number: int) -> None:
        """A task wants to be seen what it has printed: also half a line, which is drawn until it ends."""
        if job.voice is None or not job.voice.partial[number - 1]:
            return
        with self.lock:
            text = job.voice.partial[number - 1]
            job.voice.partial[number - 1] = ""
            self._draw(job.voice, number, text)
        if self.is_interrupted:
            self._raise_interrupt()

    def _pass(self, voice: Voice, number: int, text: str) -> None:
        self._write_log(voice, number, text)
        throttle = voice.channel.throttle
        throttle.add(voice, number, text, time.monotonic())
        if throttle.restless:
            self._restless.add(throttle)
        if self.ready:
            self.core.reactor.wake()

    def _write_log(self, voice: Voice, number: int, text: str) -> None:
        log = self._log
        log.write(voice.channel.number, voice.counter, voice.attempt, number, text, int(time.time() * 1000))
        if log.failed and not self._told_of_failure:
            self._told_of_failure = True
            why = f"himalia: worker {self.core.pid} can not keep its log any more: {log.failed}\n"
            self.ready.append(Piece(voice, 2, why))

    def _draw(self, voice: Voice, number: int, text: str) -> None:
        self._write_log(voice, number, text)
        screen = voice.screens[number - 1]
        if screen is None:
            screen = voice.screens[number - 1] = Screen()
            self._drawing[id(voice)] = voice
        screen.feed(text)
        if screen.scrolled:
            lines, screen.scrolled = screen.scrolled, []
            voice.channel.throttle.add(voice, number, "".join(f"{line}\n" for line in lines), time.monotonic())
        voice.drawn = time.monotonic()
        voice.is_stale = True
        if voice.drawn - voice.sent >= _DRAWN_EVERY:
            self.core.reactor.wake()

    def voice_of(self, job: Job) -> Voice:
        """The voice of a task, which it gets when it first has something to say."""
        loaded = job.loaded
        channel: Channel | None = loaded.channel
        if channel is None:
            channel = loaded.channel = self._open(job)
        task_id = make_task_id(channel.owner, job.task.counter)
        voice = Voice(channel, job.task.counter, job.task.attempt, task_id, ["", ""], [None, None], [0, 0])
        job.voice = voice
        return voice

    def _open(self, job: Job) -> Channel:
        core, loaded = self.core, job.loaded
        cell, root, owner = loaded.cell, loaded.root, job.peer.worker_id
        target = owner if root is None else root.worker_id
        throttle = self._throttles.get((target, cell))
        if throttle is None:
            allowance = Allowance(*(_NOTEBOOK if cell is not None and cell.message_id else _SCRIPT))
            throttle = self._throttles[target, cell] = Throttle(allowance, self.ready)
        speaker = Speaker(loaded.name, owner.hex(), pid=core.pid)
        if cell is not None:
            speaker.job, speaker.cell, speaker.message = cell.job_id.hex(), cell.execution, cell.message_id
        if loaded.method:
            speaker.name, speaker.actor = f"{core.actor_name}.{loaded.method}", core.actor_id.hex()
        actor = core.actor_name if loaded.method else ""
        return Channel(self._log.introduce(speaker), loaded.name, actor, cell, owner, job.driver(), throttle)

    def finish(self, job: Job) -> None:
        """The task is over: what it printed without an end of line goes too, and whatever it started wrote."""
        if self.files is not None:
            self.files.look(job)
        for hook in self.at_end:
            hook(job)
        if job.voice is not None:
            self._finish(job.voice)
        self._last = job

    def _finish(self, voice: Voice) -> None:
        with self.lock:
            for number in (1, 2):
                rest, voice.partial[number - 1] = voice.partial[number - 1], ""
                if rest:
                    self._pass(voice, number, rest)
                self._end_screen(voice, number)
            self._drawing.pop(id(voice), None)
            voice.channel.throttle.end(time.monotonic())

    # -- showing ------------------------------------------------------------------------------------------------------

    def show(self, job: Job, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """A task displays something. What has no name of its own gets one, so that `clear` can have it replaced."""
        with self.lock:
            voice: Voice = job.voice or self.voice_of(job)
            if not display_id:
                voice.shown += 1
                update = voice.shown <= voice.most_shown
                voice.most_shown = max(voice.most_shown, voice.shown)
                display_id = f"himalia-{voice.task_id.hex()}-{voice.shown}"
            self._write_log(voice, 1, f"{data.get('text/plain', '')}\n")
            channel, core = voice.channel, self.core
            message = DisplayData(
                channel.cell, channel.name, core.pid, core.node_id, data, metadata, channel.actor, voice.task_id
            )
            message.display_id, message.update = display_id, update
            self.ready.append((voice, message))
        core.reactor.wake()
        if self.is_interrupted:
            self._raise_interrupt()

    def leave_behind(self, message: Any) -> None:
        """The driver that a message is for is dead: what has no copy in the log is kept for the one that comes next."""
        if isinstance(message, UnseenErrors):
            text = message.describe()
            data = {"text/plain": text, "text/html": f"<pre>{escape(text)}</pre>"}
            message = DisplayData(message.cell, message.task, message.pid, message.node_id, data)
        if isinstance(message, DisplayData):
            self._left.add(message)

    def send_comm(
        self,
        job: Job,
        comm_id: str,
        kind: str,
        data: dict[str, Any],
        metadata: dict[str, Any],
        paths: list[Any],
        buffers: list[bytes],
        target: str,
        omitted: int,
    ) -> None:
        """A widget of a task says something (`comms.py`), in order with what the task displays."""
        with self.lock:
            voice: Voice = job.voice or self.voice_of(job)
            channel, core = voice.channel, self.core
            message = CommData(channel.cell, channel.name, core.pid, core.node_id, comm_id, kind, data, metadata)
            message.paths, message.buffers, message.target = paths, buffers, target
            message.actor, message.task_id, message.omitted = channel.actor, voice.task_id, omitted
            if kind == "open":
                message.worker = core.address
            self.ready.append((voice, message))
        core.reactor.wake()

    def clear(self, job: Job) -> None:
        """`clear_output`: what the task shows next takes the place of what it showed so far."""
        voice: Voice | None = job.voice
        if voice is not None:
            voice.shown = 0

    # -- sending, in the leader ---------------------------------------------------------------------------------------

    def collect(self) -> list[tuple[Channel, Any]]:
        """Messages to send, with the channel that says where to."""
        if not self.ready and not self._drawing:
            return []
        with self.lock:
            if self._drawing:
                self._send_screens(time.monotonic())
            items, self.ready[:] = self.ready[:], []
        return list(self._messages(items))

    def tick(self, now: float) -> None:
        """Some time has passed."""
        job = self.source() or self._last
        if self.files is not None and job is not None:
            self.files.look(job)
        if not self._restless:
            return
        with self.lock:
            for throttle in list(self._restless):
                throttle.settle(time.monotonic())
                if not throttle.restless:
                    self._restless.discard(throttle)

    def _messages(self, items: list[Any]) -> Any:
        """One message for all text of a task that stands together."""
        last: Piece | None = None
        parts: list[str] = []
        for item in items:
            if type(item) is not Piece:
                if last is not None:
                    yield last.voice.channel, self._lines(last, parts)
                    last = None
                yield item[0].channel, item[1]
                continue
            if (
                last is not None
                and last.voice is item.voice
                and last.stream == item.stream
                and last.count == item.count == 1
                and not item.omitted
            ):
                parts.append(item.text)
                continue
            if last is not None:
                yield last.voice.channel, self._lines(last, parts)
            last, parts = item, [item.text]
        if last is not None:
            yield last.voice.channel, self._lines(last, parts)

    def _lines(self, piece: Piece, parts: list[str]) -> LogLines:
        channel, core = piece.voice.channel, self.core
        text, task_id = "".join(parts), piece.voice.task_id
        where = (channel.cell, channel.name, core.pid, core.node_id)
        return LogLines(*where, piece.stream, text, channel.actor, task_id, piece.count, piece.omitted)

    def _send_screens(self, now: float) -> None:
        for key, voice in list(self._drawing.items()):
            if now - voice.sent < _DRAWN_EVERY:
                continue
            resting = now - voice.drawn > _AT_REST
            for number in (1, 2):
                screen = voice.screens[number - 1]
                if screen is None:
                    continue
                if resting and screen.at_rest:
                    self._end_screen(voice, number)
                elif voice.is_stale:
                    self._send_screen(voice, number, screen, False)
            voice.is_stale = False
            voice.sent = now
            if voice.screens == [None, None]:
                del self._drawing[key]

    def _end_screen(self, voice: Voice, number: int) -> None:
        screen = voice.screens[number - 1]
        if screen is not None:
            voice.screens[number - 1] = None
            self._send_screen(voice, number, screen, True)
            voice.parts[number - 1] += 1

    def _send_screen(self, voice: Voice, number: int, screen: Screen, is_over: bool) -> None:
        channel, core = voice.channel, self.core
        where = (channel.cell, channel.name, core.pid, core.node_id)
        part = 2 * voice.parts[number - 1] + number - 1
        self.ready.append(
            (voice, TaskScreen(*where, screen.shown(), channel.actor, voice.task_id, part, number, is_over))
        )

    # -- cancelling and forking ---------------------------------------------------------------------------------------

    def busy_in_main(self) -> bool:
        """In a signal handler: whether the main thread prints at this moment. Then it raises when it has done so."""
        if not self.lock._is_owned():  # type: ignore[attr-defined]
            return False
        self.is_interrupted = True
        return True

    def raise_if_interrupted(self) -> None:
        """When the lock was let go: let a cancel take effect that came meanwhile."""
        if self.is_interrupted:
            self._raise_interrupt()

    def _raise_interrupt(self) -> None:
        if threading.current_thread() is threading.main_thread() and not self.lock._is_owned():  # type: ignore[attr-defined]
            self.is_interrupted = False
            signal.raise_signal(signal.SIGINT)

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def after_fork(self) -> None:
        """In a forked child: nobody here sends. What it prints goes to the files, where the parent finds it."""
        self.is_forked = True
        self.lock = threading.RLock()
