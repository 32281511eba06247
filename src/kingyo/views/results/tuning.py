"""What training brought a run: tuning of its bred model, and weights that were learned during its search."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
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
from kingyo.store import RunStore, StoredTrial
from kingyo.views.results.genes import families_of
from kingyo.views.results.model_result import STATISTICS_SEED, ModelResult, PairedComparison, compare_on_test
from kingyo.views.results.plain_data import plain_data
from kingyo.views.results.trials import SHARES, percent


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a LoRA on the bred model lost on the items to keep: LoRA − bred, paired by item."""

    candidate: int
    learning_rate: float
    score: float
    difference: PairedDifference

    def to_json(self) -> dict[str, object]:
        difference = {**(interval_json(self.difference.interval) or {}), "p": self.difference.p}
        return {**vars(self), "difference": difference}


@dataclass(frozen=True, kw_only=True)
class OtherAbilities:
    """Scores on items to keep, of other abilities; ``limit``: points that may be lost."""

    file: str
    limit: float
    n: int
    bred: float
    tuned: tuple[Loss, ...]

    def __str__(self) -> str:
        tuned = "; ".join(
            f"with learning rate {each.learning_rate:g} {percent(each.score)} "
            f"({SHARES.bounded_difference(each.difference.interval)})"
            for each in self.tuned
        )
        return (
            f"Other abilities, {self.file} (n = {self.n}): bred {percent(self.bred)}; tuned "
            f"{tuned or 'no LoRA was scored'}, paired by item. At most {self.limit:g} points may be lost."
        )


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
        known = {"tuned": self.tuned, "tuned_parent": self.parent, "kept": self.others}
        comparisons = {each.other: each for each in self.comparisons}
        whole = {"chosen": self.chosen, "comparisons": comparisons}
        return plain_data({key: value for key, value in (known | whole).items() if value is not None})


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
    return OtherAbilities(file=kept.file, limit=kept.limit, n=n, bred=kept.mean(0), tuned=tuple(losses))


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
"""How a trial was made: learned, from learned weights, or owing nothing to a lesson."""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """The lessons of the main search: their cost, and the best scores on fit as the search received them.

    ``trials``: numbers of the learned ones. ``search_items``: item evaluations of search and lessons.
    ``best_before``, ``best_learned``, ``best_after``: before any lesson, of learned trials, of others since.
    ``bred``: how the winner was made; None before there is one.
    """

    lessons: int
    trials: tuple[int, ...]
    targets: int
    steps: int
    items: int
    search_items: int
    seconds: float
    best_before: float | None
    best_learned: float | None
    best_after: float | None
    estimated: bool
    bred: Origin | None

    def __str__(self) -> str:
        trials = f"trial{'s' if self.lessons > 1 else ''} {joined([str(number) for number in self.trials])}"
        mark = "≈ " if self.estimated else ""
        bests = {
            "the best trial before": self.best_before,
            "the best learned one": self.best_learned,
            "the best other one since": self.best_after,
        }
        scores = [f"{who} scored {mark}{percent(score)}" for who, score in bests.items() if score is not None]
        text = (
            f"Weights were learned in {counted(self.lessons, 'lesson')} ({trials}) from up to "
            f"{counted(self.targets, 'right answer')}, for {self.items:,} of the search's "
            f"{self.search_items:,} item evaluations, in {self.seconds:,.0f} s. On fit, "
            f"{joined(scores) or 'no trial is scored yet'}."
        )
        return text if self.bred is None else f"{text} {_BRED[self.bred]}"


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


def read_learning(store: RunStore, bred: StoredTrial | None) -> Learning | None:
    """Read what was learned in the main search; None if nothing was."""
    lessons = store.lessons(MAIN)
    if not lessons:
        return None
    first, numbers = min(lessons), {trial.id: trial.asked.number for trial in store.trials(MAIN)}
    rows = [row for row in store.summaries("fit") if row.search == MAIN]
    values = {row.trial: row.value for row in rows if row.value is not None}
    before = (value for trial, value in values.items() if trial < first)
    learned = (value for trial, value in values.items() if trial in lessons)
    after = (value for trial, value in values.items() if trial > first and trial not in lessons)
    return Learning(
        lessons=len(lessons),
        trials=tuple(numbers[trial] for trial in lessons),
        targets=max(lesson.targets for lesson in lessons.values()),
        steps=sum(lesson.steps for lesson in lessons.values()),
        items=sum(lesson.items for lesson in lessons.values()),
        search_items=sum(items for items, _ in store.costs(MAIN, "fit").values()),
        seconds=round(sum(lesson.seconds for lesson in lessons.values()), 3),
        best_before=max(before, default=None),
        best_learned=max(learned, default=None),
        best_after=max(after, default=None),
        estimated=any(row.is_partial for row in rows),
        bred=None if bred is None else origin_of(store, bred),
    )


def origin_of(store: RunStore, trial: StoredTrial) -> Origin:
    """Return whether a trial was learned, or has learned ancestors or learned differences of its genes."""
    lessons = store.lessons(MAIN)
    if trial.search != MAIN or not lessons:
        return "plain"
    if trial.id in lessons:
        return "learned"
    description, trials = store.searches()[MAIN], {each.asked.number: each for each in store.trials(MAIN)}
    families = families_of(description).values() if description.get("strategy") == MEMETIC else ()
    given = description.get("given", 0)

    def owes(each: StoredTrial) -> bool:
        genome, number = each.asked.genome, each.asked.number
        differs = any(len({genome[place] for place in own}) > 1 for own in families)
        return each.id in lessons or (differs and not (isinstance(given, int) and number < given))

    left, seen = [trial.asked.number], set[int]()
    while left:
        number = left.pop()
        if owes(trials[number]):
            return "descends"
        seen.add(number)
        left += [parent for parent in trials[number].asked.parents if parent in trials and parent not in seen]
    return "plain"
