"""The verdict of a task on an answer: the product of its graders' scores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kingyo.tasks.grader import GRADERS, Checking, Grader, build_grader, call_check, call_grader
from kingyo.tasks.grader_process import GRADER_PROCESS, Action, GraderReference, Question, reference_to
from kingyo.types import Item
from kingyo.user_code.timeout import has_alarm

_RUN_PATTERNS = ("regex",)
"""Built-in graders that run a user's pattern, which may never return and holds Python's lock meanwhile."""


@dataclass(frozen=True, kw_only=True)
class _NamedGrader:
    """A grader. One with a reference runs in another process, since only a kill stops it.

    A user's own grader always does, and a pattern where no alarm can stop it: off the main thread.
    """

    name: str
    grader: Grader
    reference: GraderReference | None
    is_own: bool

    def results(self, action: Action, questions: Sequence[Question], timeout: float | None) -> list[float]:
        if not questions:
            return []
        is_apart = self.is_own or not has_alarm()
        if self.reference is not None and timeout is not None and is_apart:
            return GRADER_PROCESS.ask(self.reference, action, questions, timeout)
        call = self.grader if action == "grade" else partial(call_check, self.grader)
        return [call_grader(self.name, call, each, timeout) for each in questions]


@dataclass(frozen=True, kw_only=True)
class CombinedGrader:
    """The product of several graders' scores.

    A grader may take ``timeout`` seconds per answer; None means no limit, with all graders in this process.
    """

    graders: tuple[_NamedGrader, ...]
    timeout: float | None = None

    def __call__(self, answer: str, item: Item) -> float:
        """Return the score of one answer; see ``grade``."""
        return self.grade([(answer, item)])[0]

    def grade(self, answers: Sequence[tuple[str, Item]]) -> list[float]:
        """Return the score of each answer; an answer with score 0 skips the remaining graders."""
        scores = [1.0] * len(answers)
        for each in self.graders:
            remaining = [index for index, score in enumerate(scores) if score]
            results = each.results("grade", [answers[index] for index in remaining], self.timeout)
            for index, score in zip(remaining, results, strict=True):
                scores[index] *= score
        return scores

    def check(self, items: Sequence[Item]) -> None:
        """Check that every grader can grade every item."""
        for each in self.graders:
            if isinstance(each.grader, Checking):
                each.results("check", [(item,) for item in items], self.timeout)


def build_verdict(
    specs: Sequence[tuple[str, object]], folder: Path, timeout: float | None = None
) -> CombinedGrader:
    """Build the graders of a task from their names and options; see ``build_grader``."""
    graders = tuple(_named(name, option, folder) for name, option in specs)
    return CombinedGrader(graders=graders, timeout=timeout)


def _named(name: str, option: object, folder: Path) -> _NamedGrader:
    is_own = not GRADERS.is_registered(name)
    may_hang = os.name == "posix" and (is_own or name in _RUN_PATTERNS)
    reference = reference_to(name, option, folder) if may_hang else None
    grader = build_grader(name, option, folder)
    return _NamedGrader(name=name, grader=grader, reference=reference, is_own=is_own)
