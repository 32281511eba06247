"""What learned weights cost and brought to the main search of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from kingyo.evolution import MAIN
from kingyo.io.units import counted, joined
from kingyo.results.genes import axes_of, families_of
from kingyo.results.unit import percent
from kingyo.run.learnable import LEARNS, MEMETIC
from kingyo.run.learning import FAILURE, NO_LESSON
from kingyo.store import EvaluationRow, RunStore, StoredTrial
from kingyo.types import Lesson

Origin = Literal["learned", "descends", "plain"]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The lessons of the main search: their cost, and the best scores on fit as the search received them.

    Attributes:
        lessons: number of a learned trial -> its lesson.
        items: item evaluations of the search, including the cost of lessons.
        before: best score of the trials before the first lesson; None without one.
        learned: best score of the trials that were learned.
        after: best score of the other trials after the first lesson.
        is_estimate: whether such scores are estimates, because trials were scored on some items.
        origins: id of a trial -> how it was made, unless it owes nothing to a lesson.
    """

    lessons: Mapping[int, Lesson]
    items: int
    before: float | None
    learned: float | None
    after: float | None
    is_estimate: bool
    origins: Mapping[int, Origin]

    def origin(self, trial: StoredTrial) -> Origin:
        """Return whether a trial was learned, or descends from one that was."""
        return self.origins.get(trial.id, "plain")

    def cost(self, what: Literal["steps", "items", "seconds"]) -> float:
        """Return the steps, item evaluations or seconds of all lessons."""
        return sum(getattr(lesson, what) for lesson in self.lessons.values())

    def in_words(self, bred: StoredTrial | None) -> str:
        """Say what learning cost and brought, and whether the bred model is learned."""
        n, answers = len(self.lessons), sorted({lesson.targets for lesson in self.lessons.values()})
        trials = f"trial{'s' if n > 1 else ''} {joined([str(number) for number in self.lessons])}"
        times = {1: "once", 2: "twice"}.get(n, f"{n} times")
        right = counted(answers[-1], "right answer")
        right = right if len(answers) == 1 else f"{answers[0]} to {right}"
        cost, seconds = self.cost("items"), self.cost("seconds")
        mark = "≈ " if self.is_estimate else ""
        bests = {
            "the best trial before": self.before,
            "the best learned one": self.learned,
            "the best other one since": self.after,
        }
        scores = [f"{who} scored {mark}{percent(score)}" for who, score in bests.items() if score is not None]
        text = (
            f"Weights were learned {times} ({trials}) from {right}, for {cost:,} of the search's "
            f"{self.items:,} item evaluations, in {seconds:,.0f} s. On fit, "
            f"{joined(scores) or 'no trial is scored yet'}."
        )
        return text if bred is None else f"{text} {_BRED[self.origin(bred)]}"

    def to_json(self, bred: StoredTrial | None) -> dict[str, object]:
        return {
            "lessons": len(self.lessons),
            "trials": [*self.lessons],
            "targets": max(lesson.targets for lesson in self.lessons.values()),
            "steps": self.cost("steps"),
            "items": self.cost("items"),
            "search_items": self.items,
            "seconds": round(self.cost("seconds"), 3),
            "best_before": self.before,
            "best_learned": self.learned,
            "best_after": self.after,
            "estimated": self.is_estimate,
            "bred": None if bred is None else self.origin(bred),
        }


_BRED: Mapping[Origin, str] = {
    "learned": "The bred model is one of the learned trials.",
    "descends": "The bred model descends from learned weights.",
    "plain": "The bred model has no learned weights.",
}


def describe_lesson(trial: StoredTrial, lesson: Lesson) -> str:
    """Describe how a trial was learned: "learned from trial 12: 30 steps, 24 answers, loss 1.8 to 0.9"."""
    start = "".join(f" from trial {parent}" for parent in trial.asked.parents[:1])
    first, last = (f"{loss:.2g}" for loss in lesson.loss)
    steps, answers = counted(lesson.steps, "step"), counted(lesson.targets, "answer")
    return f"learned{start}: {steps}, {answers}, loss {first} to {last}"


def why_not_learned(store: RunStore) -> str | None:
    """Say why no weights were learned in a finished run that could learn; None for another run."""
    if not store.fact(LEARNS) or store.status() != "finished" or store.lessons(MAIN):
        return None
    reason = store.fact(FAILURE) or store.fact(NO_LESSON) or "the best candidate leaves too little to gain"
    return f"No weights were learned by gradient: {str(reason).rstrip('.')}."


def read_learning(store: RunStore) -> Learning | None:
    """Read what was learned in the main search; None if nothing was."""
    lessons = store.lessons(MAIN)
    if not lessons:
        return None
    rows = [row for row in store.summaries("fit") if row.search == MAIN]
    first = min(lessons)
    numbers = {trial.id: trial.asked.number for trial in store.trials(MAIN)}
    plain = [row for row in rows if row.trial not in lessons]
    return Learning(
        lessons={numbers[trial]: lesson for trial, lesson in lessons.items()},
        items=sum(items for items, _ in store.costs(MAIN, "fit").values()),
        before=_best(row for row in plain if row.trial < first),
        learned=_best(row for row in rows if row.trial in lessons),
        after=_best(row for row in plain if row.trial > first),
        is_estimate=any(row.is_partial for row in rows),
        origins=_origins(store.searches()[MAIN], store.trials(MAIN), lessons),
    )


def _best(rows: Iterable[EvaluationRow]) -> float | None:
    return max((row.value for row in rows if row.value is not None), default=None)


def _origins(
    description: Mapping[str, object], trials: Sequence[StoredTrial], lessons: Mapping[int, Lesson]
) -> dict[int, Origin]:
    """Return the origins of the trials that were learned, have learned ancestors, or learned differences."""
    families = families_of(description).values() if description.get("strategy") == MEMETIC else ()
    n_axes, given = len(axes_of(description)), description.get("given", 0)
    origins: dict[int, Origin] = {}
    ids = {trial.asked.number: trial.id for trial in trials}
    for trial in trials:
        genome, is_given = trial.asked.genome, isinstance(given, int) and trial.asked.number < given
        differs = len(genome) == n_axes and any(len({genome[place] for place in own}) > 1 for own in families)
        if trial.id in lessons:
            origins[trial.id] = "learned"
        elif any(ids.get(parent) in origins for parent in trial.asked.parents) or (differs and not is_given):
            origins[trial.id] = "descends"
    return origins
