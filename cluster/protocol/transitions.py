"""Transitions that remember: what happened to one key, and an error that tells it.

A machine keeps a `History` for each node, actor and job. A fact that has no edge in the machine's table from the
present state raises `IllegalTransition`, whose text is the story of that key: enough to see which message came too
early or twice.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

__all__ = ["History", "IllegalTransition", "InvariantViolation", "Step"]

KEPT_STEPS: Final = 24  # several lives of an actor; older steps have never explained anything


class Step(NamedTuple):
    """One edge that was taken."""

    at: float
    fact: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.at:.3f}  {self.before} -> {self.after}  {self.fact}"


History = deque[Step]


def new_history() -> History:
    return deque(maxlen=KEPT_STEPS)


class IllegalTransition(Exception):
    """A fact arrived that cannot be true in this state.

    Attributes
    ----------
    subject, state, fact, history
        Whom it is about (``actor 01ab…``), its state, the fact, and the steps before.
    """

    def __init__(self, subject: str, state: str, fact: str, history: tuple[Step, ...]) -> None:
        super().__init__(subject, state, fact, history)
        self.subject = subject
        self.state = state
        self.fact = fact
        self.history = history

    def __str__(self) -> str:
        story = "".join(f"\n  {step}" for step in self.history) or "\n  (nothing before)"
        return f"{self.subject} is {self.state} and has no edge for: {self.fact}. Its history:{story}"


class InvariantViolation(AssertionError):
    """`check_invariants` found the state of a machine in contradiction with itself."""
