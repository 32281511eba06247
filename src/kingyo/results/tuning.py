"""Compare the tuned model of a run with the bred one and the tuned parent, and say what it lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kingyo.results.comparisons import PairedComparison, compare_on_test
from kingyo.results.model_result import STATISTICS_SEED, ModelResult
from kingyo.results.unit import SHARES, percent
from kingyo.run.adapters import Training, read_training
from kingyo.run.config import TRAININGS, TUNED, TUNED_PARENT
from kingyo.run.keep import KEPT, Kept
from kingyo.stats import PairedDifference, interval_json, paired_difference
from kingyo.store import RunStore


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What a LoRA on the bred model lost on the items to keep.

    Attributes:
        candidate: its number.
        learning_rate: its own.
        score: mean score.
        difference: LoRA − bred, paired by item.
    """

    candidate: int
    learning_rate: float
    score: float
    difference: PairedDifference

    def __str__(self) -> str:
        difference = SHARES.bounded_difference(self.difference.interval)
        return f"with learning rate {self.learning_rate:g} {percent(self.score)} ({difference})"

    def to_json(self) -> dict[str, object]:
        difference = {**(interval_json(self.difference.interval) or {}), "p": self.difference.p}
        rate = {"candidate": self.candidate, "learning_rate": self.learning_rate}
        return {**rate, "score": self.score, "difference": difference}


@dataclass(frozen=True, kw_only=True)
class OtherAbilities:
    """Scores on items to keep, of other abilities.

    Attributes:
        file: their file.
        limit: points that may be lost.
        n: number of items.
        bred: mean score of the bred model.
        losses: of each LoRA on it that was scored.
    """

    file: str
    limit: float
    n: int
    bred: float
    losses: tuple[Loss, ...]

    def __str__(self) -> str:
        tuned = "; ".join(map(str, self.losses)) or "no LoRA was scored"
        return (
            f"Other abilities, {self.file} (n = {self.n}): bred {percent(self.bred)}; tuned {tuned}, paired "
            f"by item. At most {self.limit:g} points may be lost."
        )

    def to_json(self) -> dict[str, object]:
        losses = [each.to_json() for each in self.losses]
        return {"file": self.file, "limit": self.limit, "n": self.n, "bred": self.bred, "tuned": losses}


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Plans, costs and results of tuning.

    Attributes:
        tuned, parent: the training on the bred model, and on the best parent; None before it begins.
        chosen: search -> the candidate that validation chose; 0 is the model without training.
        comparisons: the tuned model with bred and the trained ones, on test.
        others: what other abilities lost; None without ``keep``.
    """

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
