"""Compare the tuned model of a run with the bred one and the tuned parent, and say what it lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from kingyo.core.io.units import counted, joined
from kingyo.core.types import Lesson
from kingyo.runs.adapters import Training, read_training
from kingyo.runs.config import TRAININGS, TUNED, TUNED_PARENT
from kingyo.runs.learning import FAILURE, NO_LESSON
from kingyo.runs.settings import LEARNS, MEMETIC
from kingyo.runs.tune import KEPT, Kept
from kingyo.search.evolution import MAIN
from kingyo.stats import PairedDifference, interval_json, paired_difference
from kingyo.store import EvaluationRow, RunStore, StoredTrial
from kingyo.views.results.genes import axes_of, families_of
from kingyo.views.results.model_result import STATISTICS_SEED, ModelResult, PairedComparison, compare_on_test
from kingyo.views.results.trials import SHARES, percent


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a LoRA on the bred model lost on the items to keep: LoRA − bred, paired by item."""

    candidate: int
    learning_rate: float
    score: float
    difference: PairedDifference


@dataclass(frozen=True, kw_only=True)
class OtherAbilities:
    """Scores on items to keep, of other abilities; ``limit``: points that may be lost."""

    file: str
    limit: float
    n: int
    bred: float
    losses: tuple[Loss, ...]

    def __str__(self) -> str:
        tuned = "; ".join(
            f"with learning rate {each.learning_rate:g} {percent(each.score)} "
            f"({SHARES.bounded_difference(each.difference.interval)})"
            for each in self.losses
        )
        return (
            f"Other abilities, {self.file} (n = {self.n}): bred {percent(self.bred)}; tuned "
            f"{tuned or 'no LoRA was scored'}, paired by item. At most {self.limit:g} points may be lost."
        )

    def to_json(self) -> dict[str, object]:
        losses = [
            {
                **asdict(each),
                "difference": {**(interval_json(each.difference.interval) or {}), "p": each.difference.p},
            }
            for each in self.losses
        ]
        return {"file": self.file, "limit": self.limit, "n": self.n, "bred": self.bred, "tuned": losses}


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Plans, costs and results of tuning."""

    tuned: Training
    parent: Training | None
    chosen: Mapping[str, int]
    comparisons: tuple[PairedComparison, ...]
    others: OtherAbilities | None

    def sentences(self) -> Iterator[str]:
        """Yield what was trained, what validation chose, and what was lost."""
        yield f"Tuned: {_described(self.tuned, self.chosen.get(TUNED))}"
        if self.parent is not None:
            yield f"Tuned parent: {_described(self.parent, self.chosen.get(TUNED_PARENT))}"
        if self.others is not None:
            yield str(self.others)

    def to_json(self) -> dict[str, object]:
        return {
            "tuned": self.tuned.to_json(),
            **({} if self.parent is None else {"tuned_parent": self.parent.to_json()}),
            "chosen": dict(self.chosen),
            "comparisons": {each.other: each.to_json() for each in self.comparisons},
            **({} if self.others is None else {"kept": self.others.to_json()}),
        }


def read_tuning(
    store: RunStore, bred: ModelResult | None, winners: Mapping[str, ModelResult]
) -> Tuning | None:
    """Read the tuning of a run from the winners of its searches; None before it begins."""
    training = read_training(store, TUNED)
    if training is None:
        return None
    chosen = {name: winners[name].trial.asked.number for name in (TUNED, TUNED_PARENT) if name in winners}
    tuned = winners[TUNED] if chosen.get(TUNED) else None  # else it is the bred model
    others = [each for name in TRAININGS if name != TUNED and (each := winners.get(name))]
    compared = (
        compare_on_test(store, tuned, [*([replace(bred, name="bred")] if bred else []), *others])
        if tuned
        else ()
    )
    return Tuning(
        tuned=training,
        parent=read_training(store, TUNED_PARENT),
        chosen=chosen,
        comparisons=compared,
        others=_others(store.fact(KEPT), training),
    )


def _others(kept: Kept | None, training: Training) -> OtherAbilities | None:
    if kept is None or not kept.scores:
        return None
    losses = [
        Loss(
            candidate=number,
            learning_rate=setting.learning_rate,
            score=kept.mean(number),
            difference=paired_difference(
                [kept.pair(number)], seed=STATISTICS_SEED, groups=[kept.groups_of_items]
            ),
        )
        for number, setting in training.numbered.items()
        if str(number) in kept.scores
    ]
    n = len(kept.scores["0"])
    return OtherAbilities(file=kept.file, limit=kept.limit, n=n, bred=kept.mean(0), losses=tuple(losses))


def _described(training: Training, chosen: int | None) -> str:
    if chosen is None:
        return str(training)
    if all(setting.failure is not None for setting in training.settings):
        return f"{training} So {training.parent} stays without training."
    if chosen == 0:
        return f"{training} Validation chose {training.parent} without training: no LoRA was ahead of it."
    rate = training.numbered[chosen].learning_rate
    return f"{training} Of {len(training.settings)} learning rates, validation chose {rate:g}."


Origin = Literal["learned", "descends", "plain"]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The lessons of the main search: their cost, and the best scores on fit as the search received them.

    ``lessons``: number of a learned trial -> its lesson. ``items``: those of search and lessons.
    ``before``, ``learned``, ``after``: best scores before any lesson, of learned trials, of others since.
    ``origins``: id of a trial -> how it was made, unless it owes nothing to a lesson.
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

    def best(rows: Iterable[EvaluationRow]) -> float | None:
        return max((row.value for row in rows if row.value is not None), default=None)

    return Learning(
        lessons={numbers[trial]: lesson for trial, lesson in lessons.items()},
        items=sum(items for items, _ in store.costs(MAIN, "fit").values()),
        before=best(row for row in plain if row.trial < first),
        learned=best(row for row in rows if row.trial in lessons),
        after=best(row for row in plain if row.trial > first),
        is_estimate=any(row.is_partial for row in rows),
        origins=_origins(store.searches()[MAIN], store.trials(MAIN), lessons),
    )


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
