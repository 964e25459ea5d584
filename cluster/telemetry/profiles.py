"""Stacks and profiles as data: made of what py-spy writes, merged, and written in the formats of others. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from ..protocol.places import place_text
from ..protocol.stack_messages import FoldedStack, Frame, Profile, Stacks, ThreadStack

__all__ = [
    "ProfileMaker",
    "folded_text",
    "frame_text",
    "merge_profiles",
    "parse_dump",
    "parse_recording",
    "rename_files",
    "speedscope",
    "stacks_text",
]

PY_SPY: Final = "py-spy"
IsInternal = Callable[[str], bool]
_THREAD: Final = re.compile(r'^Thread (?:0x)?[0-9A-Fa-f]+(?: "(.*)")?$', re.DOTALL)


class ProfileMaker:
    """Collects stacks that were seen, the same ones in one entry."""

    def __init__(self) -> None:
        self._frames: dict[Frame, int] = {}
        self._counts: dict[tuple[str, tuple[int, ...]], int] = {}

    def number(self, frame: Frame) -> int:
        """The number of a frame."""
        return self._frames.setdefault(frame, len(self._frames))

    def add(self, thread: str, stack: Iterable[Frame], count: int = 1) -> None:
        """A stack was seen, its outermost frame first."""
        key = thread, tuple(map(self.number, stack))
        self._counts[key] = self._counts.get(key, 0) + count

    def stacks(self) -> list[FoldedStack]:
        """What was seen, the most frequent first."""
        ordered = sorted(self._counts.items(), key=lambda item: -item[1])
        return [FoldedStack(thread, list(frames), count) for (thread, frames), count in ordered]

    def frames(self) -> list[Frame]:
        """The frames by number."""
        return list(self._frames)


# -- what py-spy writes -----------------------------------------------------------------------------------------------


class _DumpFrame(msgspec.Struct):
    name: str
    filename: str
    line: int


class _DumpThread(msgspec.Struct):
    thread_name: str | None
    os_thread_id: int | None
    active: bool
    frames: list[_DumpFrame]


def parse_dump(data: bytes, pid: int, is_internal: IsInternal) -> Stacks:
    """Of ``py-spy dump --json``."""
    threads = [
        ThreadStack(
            thread.thread_name or "",
            [_frame(one.name, one.filename, one.line, is_internal) for one in reversed(thread.frames)],
            thread.active,
            thread.os_thread_id or 0,
        )
        for thread in msgspec.json.decode(data, type=list[_DumpThread])
    ]
    return Stacks(pid, threads, PY_SPY)


class _ScopeFrame(msgspec.Struct):
    name: str
    file: str | None = None
    line: int | None = None


class _ScopeShared(msgspec.Struct):
    frames: list[_ScopeFrame]


class _ScopeProfile(msgspec.Struct):
    name: str
    samples: list[list[int]]
    endValue: float = 0.0  # noqa: N815 the name in the format


class _Scope(msgspec.Struct):
    profiles: list[_ScopeProfile]
    shared: _ScopeShared


def parse_recording(data: bytes, pid: int, rate: int, idle: bool, seconds: float, is_internal: IsInternal) -> Profile:
    """Of ``py-spy record --format speedscope``."""
    scope = msgspec.json.decode(data, type=_Scope)
    frames = [_frame(one.name, one.file or "", one.line or 0, is_internal) for one in scope.shared.frames]
    maker = ProfileMaker()
    for thread in scope.profiles:
        found = _THREAD.match(thread.name)
        name = (found[1] or "") if found else thread.name
        for sample in thread.samples:
            maker.add(name, [frames[number] for number in sample])
    return Profile([pid], seconds, rate, maker.frames(), maker.stacks(), [PY_SPY], idle)


def _frame(name: str, file: str, line: int, is_internal: IsInternal) -> Frame:
    return Frame(name, file, line, is_internal(file))


# -- several, and other names -----------------------------------------------------------------------------------------


def merge_profiles(profiles: Iterable[Profile]) -> Profile:
    """One profile of several processes, or of several times. Looks are added up; so the rates have to be equal.

    Raises
    ------
    ValueError
        There is none, or their rates differ.
    """
    found = list(profiles)
    rates = {one.rate for one in found}
    if len(rates) != 1:
        raise ValueError(f"profiles of one rate can be merged, not of {sorted(rates) or 'none'}")
    maker = ProfileMaker()
    for one in found:
        for stack in one.stacks:
            maker.add(stack.thread, [one.frames[number] for number in stack.frames], stack.count)
    return Profile(
        [pid for one in found for pid in one.pids],
        max(one.seconds for one in found),
        rates.pop(),
        maker.frames(),
        maker.stacks(),
        sorted({by for one in found for by in one.by}),
        any(one.idle for one in found),
        list(dict.fromkeys(note for one in found for note in one.notes)),
    )


def rename_files(frames: list[Frame], names: Mapping[str, str]) -> list[Frame]:
    """The frames with the names of their cells."""
    return [msgspec.structs.replace(one, cell=names[one.file]) if one.file in names else one for one in frames]


# -- as text, and in the formats of others ----------------------------------------------------------------------------


def frame_text(frame: Frame) -> str:
    """A function with its place."""
    return f"{frame.name} ({place_text(frame.file, frame.line, frame.cell)})"


def folded_text(profile: Profile) -> str:
    """A line for each stack, its frames parted by semicolons, and its count: what `flamegraph.pl` and others read."""
    names = [frame_text(frame).replace(";", ":").replace("\n", " ") for frame in profile.frames]
    lines = [
        ";".join([*([stack.thread.replace(";", ":")] if stack.thread else []), *(names[one] for one in stack.frames)])
        + f" {stack.count}\n"
        for stack in profile.stacks
    ]
    return "".join(lines)


def speedscope(profile: Profile, name: str = "himalia") -> str:
    """The JSON that https://www.speedscope.app opens, a profile for each thread's name."""
    frames = [{"name": one.name, "file": one.cell or one.file, "line": one.line} for one in profile.frames]
    threads: dict[str, list[FoldedStack]] = {}
    for stack in profile.stacks:
        threads.setdefault(stack.thread or "thread", []).append(stack)
    found: list[dict[str, Any]] = [
        {
            "type": "sampled",
            "name": thread,
            "unit": "seconds",
            "startValue": 0,
            "endValue": sum(stack.count for stack in stacks) / profile.rate,
            "samples": [stack.frames for stack in stacks],
            "weights": [stack.count / profile.rate for stack in stacks],
        }
        for thread, stacks in threads.items()
    ]
    schema = "https://www.speedscope.app/file-format-schema.json"
    return json.dumps({"$schema": schema, "name": name, "profiles": found, "shared": {"frames": frames}})


def stacks_text(stacks: Stacks, engine: bool = False) -> str:
    """All threads, the innermost frame of each first. ``engine``: with the frames of Himalia's own code."""
    lines = [f"Process {stacks.pid}, seen by {stacks.by}" + (f" ({stacks.note})" if stacks.note else "")]
    for thread in stacks.threads:
        states = {True: "active", False: "idle", None: ""}[thread.active]
        head = " ".join(part for part in ("Thread", str(thread.thread_id or ""), f'"{thread.name}"') if part)
        lines.append(f"  {head}{f', {states}' if states else ''}")
        shown = [frame for frame in reversed(thread.frames) if engine or not frame.internal]
        lines += [f"    {frame_text(frame)}" for frame in shown]
        hidden = len(thread.frames) - len(shown)
        if hidden:
            lines.append(f"    … {hidden} {'frame' if hidden == 1 else 'frames'} of Himalia itself")
    return "\n".join(lines)
