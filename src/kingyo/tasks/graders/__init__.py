"""The graders of a task, together: the product of their scores, or a mean with weights.

Beside: ``grader`` (what a grader is), ``process`` (where users' graders run), and one file per family:
``texts`` (exact, contains, regex, choice, rouge-l), ``numbers``, ``language`` and ``images``.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kingyo.core.types import Item
from kingyo.tasks.graders.grader import (
    GRADERS,
    Answer,
    Kind,
    arguments_for,
    build_grader,
    call_grader,
)
from kingyo.tasks.graders.process import GRADER_PROCESS, Action, GraderReference, reference_to
from kingyo.tasks.kinds import GradedSettings

_RUN_PATTERNS = ("regex",)  # run a user's pattern, which may never return
BATCH = 64  # answers that all graders score before the next ones, so that each image is decoded once


@dataclass(frozen=True, kw_only=True)
class _NamedGrader:
    name: str
    grader: Callable[..., object]
    reference: GraderReference | None

    def run(
        self,
        action: Action,
        items: Sequence[Item],
        answers: Sequence[Answer] | None,
        timeout: float | None,
    ) -> list[float]:
        own: Any = self.grader
        call = own if action == "grade" else own.check
        calls = arguments_for(call, items, answers)
        if calls and self.reference is not None and timeout is not None:
            return GRADER_PROCESS.ask(self.reference, action, calls, timeout)
        return [score for each in calls for score in call_grader(self.name, call, each)]


@dataclass(frozen=True, kw_only=True)
class Graders:
    """Several graders, with the weights of their mean (empty for the product).

    ``timeout`` is in seconds for each answer; None means no limit, with all graders in this process.
    """

    graders: tuple[_NamedGrader, ...]
    weights: tuple[float, ...] = ()
    timeout: float | None = None

    def score(self, answer: Answer, item: Item) -> float:
        return self.grade([answer], [item])[0]

    def grade(self, answers: Sequence[Answer], items: Sequence[Item]) -> list[float]:
        """Return the score of each answer, from 0 to 1.

        If scores are multiplied, an answer with score 0 skips the remaining graders.
        """
        batches = [slice(start, start + BATCH) for start in range(0, len(answers), BATCH)]
        return [score for batch in batches for score in self._grade(answers[batch], items[batch])]

    def _grade(self, answers: Sequence[Answer], items: Sequence[Item]) -> list[float]:
        if self.weights:
            columns = [each.run("grade", items, answers, self.timeout) for each in self.graders]
            total = sum(self.weights)
            return [sum(map(float.__mul__, self.weights, row)) / total for row in zip(*columns, strict=True)]
        scores = [1.0] * len(answers)
        for each in self.graders:
            left = [i for i, score in enumerate(scores) if score]
            own = each.run("grade", [items[i] for i in left], [answers[i] for i in left], self.timeout)
            for i, score in zip(left, own, strict=True):
                scores[i] *= score
        return scores

    def check(self, items: Sequence[Item]) -> None:
        for each in self.graders:
            if hasattr(each.grader, "check"):
                each.run("check", items, None, self.timeout)


def build_graders(
    specs: Sequence[tuple[str, object]],
    folder: Path,
    grades: Kind = "texts",
    *,
    weights: Sequence[float] | None = None,
    timeout: float | None = None,
) -> Graders:
    graders: list[_NamedGrader] = []
    for name, option in specs:
        may_hang = os.name == "posix" and (name in _RUN_PATTERNS or not GRADERS.is_registered(name))
        reference = reference_to(name, option, folder, grades) if may_hang else None
        grader = build_grader(name, option, folder, grades)
        graders.append(_NamedGrader(name=name, grader=grader, reference=reference))
    return Graders(graders=tuple(graders), weights=tuple(map(float, weights or ())), timeout=timeout)


def graders_of_task(settings: GradedSettings, folder: Path) -> Graders:
    grades: Kind = getattr(settings, "grades", "texts")
    return build_graders(
        settings.graders, folder, grades, weights=settings.weights, timeout=settings.grader_timeout
    )
