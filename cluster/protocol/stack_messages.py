"""Where the threads of a process are at a moment, or were during some seconds: plain data, and the questions for it.

The raylet of a node is asked first, which has an outside view by py-spy; the process itself can be asked the same, if
that is not possible. Anybody who has the cluster's key may ask.
"""

from __future__ import annotations

import msgspec

from .common import Address

__all__ = [
    "FilesNamed",
    "FoldedStack",
    "Frame",
    "ListProcesses",
    "NameFiles",
    "NodeProcess",
    "Processes",
    "Profile",
    "StackAnswer",
    "StackQuestion",
    "StackStop",
    "Stacks",
    "ThreadStack",
]


class Frame(msgspec.Struct, array_like=True, frozen=True):
    """A function at one of its lines. ``cell`` names the notebook cell that the file stands for: ``In [3]``.

    ``internal``: it is Himalia's own code, which the user did not write.
    """

    name: str
    file: str
    line: int
    internal: bool = False
    cell: str = ""


class ThreadStack(msgspec.Struct, array_like=True):
    """Where a thread is: its frames, the outermost first. ``active`` is None where that can not be seen."""

    name: str
    frames: list[Frame]
    active: bool | None = None
    thread_id: int = 0  # as the system knows it; 0: not known


class Stacks(msgspec.Struct, array_like=True):
    """All threads of a process at one moment. ``by``: who looked, "py-spy" or "the process itself"."""

    pid: int
    threads: list[ThreadStack]
    by: str
    note: str = ""  # why it was not py-spy


class FoldedStack(msgspec.Struct, array_like=True):
    """A stack that was seen so many times: its frames by number, the outermost first."""

    thread: str
    frames: list[int]
    count: int


class Profile(msgspec.Struct, array_like=True):
    """What the threads of one or several processes did, looked at ``rate`` times a second for ``seconds``.

    A count is a look at one thread that found it at work: ``count / rate`` seconds of it.
    """

    pids: list[int]
    seconds: float
    rate: int
    frames: list[Frame]
    stacks: list[FoldedStack]
    by: list[str]
    idle: bool = False  # threads that waited are counted, too
    notes: list[str] = []


# -- asked of a raylet, or of a process itself ------------------------------------------------------------------------


class StackQuestion(msgspec.Struct, array_like=True, tag=84):
    """Where is ``process``? With ``seconds``: a profile of as long. Answered with `StackAnswer`.

    ``process`` is the id of a worker or driver; a raylet's own id, and of a node host or GCS ("host", "gcs").
    """

    process: bytes
    seconds: float = 0.0
    rate: int = 100
    idle: bool = False
    request: int = 0


class StackStop(msgspec.Struct, array_like=True, tag=86):
    """End the profile that was asked for by this request of mine; its answer comes now."""

    request: int


class StackAnswer(msgspec.Struct, array_like=True, tag=85):
    """``error``: why there is neither. ``ask_itself``: the process itself may be able to tell."""

    request: int
    stacks: Stacks | None = None
    profile: Profile | None = None
    error: str = ""
    ask_itself: bool = False


class ListProcesses(msgspec.Struct, array_like=True, tag=89):
    """To a raylet: which processes can be asked about? Answered with `Processes`."""

    request: int = 0


class NodeProcess(msgspec.Struct, array_like=True):
    """A worker, or a driver, of a node. A worker that only just starts has no address yet."""

    worker_id: bytes
    pid: int
    is_driver: bool
    address: Address | None = None


class Processes(msgspec.Struct, array_like=True, tag=89):
    """Answer to `ListProcesses`."""

    request: int
    processes: list[NodeProcess]


class NameFiles(msgspec.Struct, array_like=True, tag=87):
    """To a driver: which of these are cells of yours?"""

    files: list[str]
    request: int = 0


class FilesNamed(msgspec.Struct, array_like=True, tag=88):
    """Answer to `NameFiles`: the name of the cell by file."""

    request: int
    names: dict[str, str]
