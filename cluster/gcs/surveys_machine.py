"""Questions that only nodes can answer: asked when somebody wants to know, and of all nodes at once.

Strategy: what a node measures is neither reported nor kept while nobody looks. The first who asks begins a round: each
living node is asked, and answers with rows that stay encoded here. Who asks while a round is under way is answered with
it, and who asks within a second after it is answered at once: a hundred viewers cost a node one sample a second, as one
does. A node that does not answer in time is named as missing, and nobody waits for it longer.

Rejected: measurements in each report of a node (an idle cluster would pay for them), and readers that ask raylets
themselves (each would need a connection to each node).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from ..protocol.node_messages import NODE_QUESTIONS, NodeAnswer, NodeQuestion
from ..protocol.transitions import InvariantViolation
from .commands import Outbox
from .nodes_machine import Nodes

__all__ = ["KEPT", "PATIENCE", "Surveys"]

KEPT: Final = 1.0
"""Seconds that answers count as new: what is drawn of them changes about as often."""

PATIENCE: Final = 3.0
"""Seconds that a node has to answer: its first sample takes a tenth of one, on a busy machine several."""


class _Survey:
    """All rounds of one question. ``asked``: nodes that have not answered this round; empty between rounds."""

    __slots__ = ("answers", "asked", "due", "missing", "round", "shaped", "waiting", "what")

    def __init__(self, what: str) -> None:
        self.what = what
        self.round = 0
        self.asked: set[bytes] = set()
        self.answers: dict[bytes, msgspec.Raw] = {}
        self.missing: list[bytes] = []
        self.shaped: Any = None  # what is answered, once it was made of the answers
        self.waiting: list[tuple[bytes, int]] = []  # peer and number of its request
        self.due: float | None = None  # of a round: when it ends at the latest; of answers: when they are old


class Surveys:
    """What nodes were asked, and answered a moment ago."""

    def __init__(self, out: Outbox, nodes: Nodes) -> None:
        self._out = out
        self._nodes = nodes
        self._by_name: dict[str, _Survey] = {}
        self.shapes: dict[str, Callable[[list[msgspec.Raw], list[bytes]], Any]] = {}
        """By question: makes the answer of the nodes' rows and of those missing, where rows alone are not enough."""

    def ask(self, peer: bytes, request: int, what: str, now: float) -> None:
        """Somebody wants to know; the answer comes at once, or when the nodes have answered."""
        survey = self._by_name.get(what)
        if survey is None:
            survey = self._by_name[what] = _Survey(what)
        if not survey.asked and survey.due is not None and now < survey.due:
            self._answer(survey, peer, request)
            return
        survey.waiting.append((peer, request))
        if not survey.asked:
            self._begin(survey, now)

    def _begin(self, survey: _Survey, now: float) -> None:
        survey.round += 1
        survey.answers, survey.missing, survey.shaped = {}, [], None
        survey.due = now + PATIENCE
        survey.asked = {node.node_id for node in self._nodes.living()}
        for node_id in survey.asked:
            self._out.raylet(node_id, NodeQuestion(survey.what, survey.round))
        if not survey.asked:
            self._end(survey, now)

    def answered(self, node_id: bytes, message: NodeAnswer, now: float) -> None:
        """A node answered. What comes for a round that is over is of no use any more."""
        survey = self._by_name.get(message.what)
        if survey is None or message.round != survey.round or node_id not in survey.asked:
            return
        survey.asked.discard(node_id)
        survey.answers[node_id] = message.rows
        if not survey.asked:
            self._end(survey, now)

    def node_died(self, node_id: bytes, now: float) -> None:
        """It will not answer, and what it answered is not true any more."""
        for survey in self._by_name.values():
            if survey.answers.pop(node_id, None) is not None:
                survey.shaped = None
            if node_id in survey.asked:
                survey.asked.discard(node_id)
                if not survey.asked:
                    self._end(survey, now)

    def _end(self, survey: _Survey, now: float) -> None:
        survey.due = now + KEPT
        waiting, survey.waiting = survey.waiting, []
        for peer, request in waiting:
            self._answer(survey, peer, request)

    def _answer(self, survey: _Survey, peer: bytes, request: int) -> None:
        if survey.shaped is None:
            rows = list(survey.answers.values())
            shape = self.shapes.get(survey.what)
            survey.shaped = {"nodes": rows, "missing": survey.missing} if shape is None else shape(rows, survey.missing)
        self._out.answer(peer, request, survey.shaped)

    def tick(self, now: float) -> None:
        """Wait no longer for who is late, and keep nothing that is old."""
        for survey in self._by_name.values():
            if survey.due is None or now < survey.due:
                continue
            if survey.asked:
                survey.missing = sorted(survey.asked)
                survey.asked = set()
                self._end(survey, now)
            else:
                # The number of the round stays: a late answer must not count for a later one.
                survey.answers, survey.missing, survey.shaped, survey.due = {}, [], None, None

    def next_due(self) -> float | None:
        """When `tick` has something to do."""
        return min((s.due for s in self._by_name.values() if s.due is not None), default=None)

    def check(self) -> None:
        """Raise if somebody waits though no node is asked."""
        for what, survey in self._by_name.items():
            if bool(survey.waiting) > bool(survey.asked):
                raise InvariantViolation(f"somebody waits for {what}, and no node is asked")
            if what not in NODE_QUESTIONS or (survey.asked and survey.due is None):
                raise InvariantViolation(f"the survey of {what} would never end")
