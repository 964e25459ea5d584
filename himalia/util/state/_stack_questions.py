"""One question to some processes, about their stacks: who is asked, who has to be asked again, and what came back.

The raylet of a process is asked first, which looks by py-spy. Where that is not there, or not allowed, it says so at
once, and the process is asked itself.
"""

from __future__ import annotations

import time
from typing import Final

import msgspec

from himalia.cluster.gcs.client import GcsClient
from himalia.cluster.protocol.common import Address
from himalia.cluster.protocol.stack_messages import StackAnswer, StackQuestion, StackStop

__all__ = ["Questions", "StackError", "Target"]

_PATIENCE: Final = 20.0
"""Seconds beyond those of a profile that its answer may take; more than the raylet gives py-spy."""


class StackError(RuntimeError):
    """A process could not be looked at; the text says why, and what to do."""


class Target(msgspec.Struct):
    """A process to look at. ``itself`` is None if it can not be asked itself."""

    name: str
    process: bytes
    raylet: Address
    itself: Address | None = None


class Questions:
    """What was asked, and is answered. Used by one thread at a time, as its connection.

    Parameters
    ----------
    timeout
        Seconds that an answer may take; a profile's, beyond those of the profile.
    failed
        Where it is noted, by the names of processes, why some could not be looked at.
    """

    def __init__(
        self, client: GcsClient, targets: list[Target], question: StackQuestion, timeout: float, failed: dict[str, str]
    ) -> None:
        self._client = client
        self._question = question
        self._failed = failed
        self._patience = max(timeout, _PATIENCE) if question.seconds else timeout
        self._deadline = time.monotonic() + question.seconds + self._patience
        self._asked: dict[int, tuple[Target, Address]] = {}  # by request: about whom, and who
        self._refused: dict[str, str] = {}  # by name: why the raylet did not look
        self._answers: dict[str, StackAnswer] = {}
        self._is_stopped = False
        for target in targets:
            self._ask(target, target.raylet, "its raylet can not be reached")

    def _ask(self, target: Target, address: Address, otherwise: str) -> None:
        message = msgspec.structs.replace(self._question, process=target.process)
        try:
            request = self._client.post(address, message, is_raylet=address == target.raylet)
        except ConnectionError as error:
            self._failed[target.name] = f"{otherwise}: {error}"
        else:
            self._asked[request] = target, address

    def take(self, seconds: float) -> bool:
        """Wait so long for the next answer; whether there are more to come."""
        left = min(seconds, self._deadline - time.monotonic())
        # One at a time: what it makes us ask is to be heard, too.
        answer = next(self._client.answers(list(self._asked), left), None)
        if isinstance(answer, StackAnswer):
            self._take(answer)
        return bool(self._asked) and time.monotonic() < self._deadline

    def _take(self, answer: StackAnswer) -> None:
        target = self._asked.pop(answer.request)[0]
        refused = self._refused.get(target.name, "")
        if not answer.error:
            self._answers[target.name] = answer
            if refused and answer.stacks is not None:
                answer.stacks.note = refused
            if refused and answer.profile is not None:
                answer.profile.notes.append(refused)
        elif not answer.ask_itself or target.itself is None or self._is_stopped:
            self._failed[target.name] = f"{refused}; {answer.error}" if refused else answer.error
        else:
            self._refused[target.name] = answer.error
            self._deadline = max(self._deadline, time.monotonic() + self._question.seconds + _PATIENCE)
            self._ask(target, target.itself, "it can not be reached")

    def stop(self) -> None:
        """End profiles early."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self._deadline = min(self._deadline, time.monotonic() + self._patience)
        for request, (target, address) in self._asked.items():
            try:
                self._client.post(address, StackStop(request), is_raylet=address == target.raylet)
            except ConnectionError:
                continue  # it has ended, and its profile with it

    def end(self) -> dict[str, StackAnswer]:
        """The answers by the names of processes; who has not answered by now is noted as one that did not.

        Raises
        ------
        StackError
            None of them could be looked at.
        """
        for target, _ in self._asked.values():
            refused = self._refused.get(target.name)
            self._failed[target.name] = (
                f"{refused}; and the process itself did not answer in time: it holds the interpreter's lock, as C code "
                "may that does not let go of it"
                if refused is not None
                else "its raylet did not answer in time"
            )
        self._asked.clear()
        if not self._answers:
            raise StackError("; ".join(f"{name}: {text}" for name, text in self._failed.items()))
        return self._answers
