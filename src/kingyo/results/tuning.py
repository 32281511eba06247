"""Compare the tuned model of a run with the bred one and the tuned parent, and say what it lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from kingyo.io.units import percent
from kingyo.results.comparisons import PairedComparison, compare_on_test
from kingyo.results.model_result import STATISTICS_SEED, ModelResult
from kingyo.run.adapters import Training, read_training
from kingyo.run.config import TRAININGS, TUNED, TUNED_PARENT
from kingyo.run.keep import Kept, read_kept
from kingyo.stats import PairedDifference, interval_json, paired_difference
from kingyo.store import RunStore


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What other abilities lost, by items to keep.

    Attributes:
        file: their file.
        limit: points that may be lost.
        bred, tuned: mean scores.
        difference: tuned − bred, paired by item.
    """

    file: str
    limit: float
    bred: float
    tuned: float
    difference: PairedDifference

    def __str__(self) -> str:
        """Return a sentence."""
        interval = self.difference.interval
        return (
            f"Other abilities, {self.file} (n = {interval.size}): bred {percent(self.bred)}, tuned "
            f"{percent(self.tuned)}; tuned − bred: {interval.in_percent(' points', '+')}, paired. At most "
            f"{self.limit:g} points may be lost."
        )

    def to_json(self) -> dict[str, object]:
        """Return the record in ``kingyo show --json``."""
        difference = {**(interval_json(self.difference.interval) or {}), "p": self.difference.p}
        scores = {"bred": self.bred, "tuned": self.tuned}
        return {"file": self.file, "limit": self.limit, **scores, "difference": difference}


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Plans, costs and results of tuning.

    Attributes:
        tuned, parent: the training on the bred model, and on the best parent; None before it begins.
        chosen: search -> the candidate that validation chose; 0 is the model without training.
        comparisons: the tuned model with bred and the trained ones, on test.
        loss: what other abilities lost; None without ``keep``.
    """

    tuned: Training
    parent: Training | None
    chosen: Mapping[str, int]
    comparisons: tuple[PairedComparison, ...]
    loss: Loss | None

    def sentences(self) -> Iterator[str]:
        """Yield what was trained, what validation chose, and what was lost."""
        yield f"Tuned: {_described(self.tuned, self.chosen.get(TUNED))}"
        if self.parent is not None:
            yield f"Tuned parent: {_described(self.parent, self.chosen.get(TUNED_PARENT))}"
        if self.loss is not None:
            yield str(self.loss)

    def to_json(self) -> dict[str, object]:
        """Return the record in ``kingyo show --json``."""
        return {
            "tuned": self.tuned.to_json(),
            **({} if self.parent is None else {"tuned_parent": self.parent.to_json()}),
            "chosen": dict(self.chosen),
            "comparisons": {each.other: each.to_json() for each in self.comparisons},
            **({} if self.loss is None else {"kept": self.loss.to_json()}),
        }


def read_tuning(
    store: RunStore, bred: ModelResult | None, controls: Mapping[str, ModelResult]
) -> Tuning | None:
    """Read the tuning of a run; None before it begins."""
    training = read_training(store, TUNED)
    if training is None:
        return None
    tuned = controls.get(TUNED)
    others = [each for name in TRAININGS if name != TUNED and (each := controls.get(name))]
    compared = (
        compare_on_test(store, tuned, [*([replace(bred, name="bred")] if bred else []), *others])
        if tuned
        else ()
    )
    chosen = {name: controls[name].trial.asked.number for name in (TUNED, TUNED_PARENT) if name in controls}
    return Tuning(
        tuned=training,
        parent=read_training(store, TUNED_PARENT),
        chosen=chosen,
        comparisons=compared,
        loss=_loss(read_kept(store), chosen.get(TUNED)),
    )


def _loss(kept: Kept | None, candidate: int | None) -> Loss | None:
    if kept is None or candidate is None or str(candidate) not in kept.scores:
        return None
    difference = paired_difference(
        [kept.pair(candidate)], seed=STATISTICS_SEED, groups=[kept.groups_of_items]
    )
    means = {"bred": kept.mean(0), "tuned": kept.mean(candidate)}
    return Loss(file=kept.file, limit=kept.limit, **means, difference=difference)


def _described(training: Training, chosen: int | None) -> str:
    if chosen is None:
        return str(training)
    if chosen == 0:
        return f"{training} Validation chose {training.parent} without training: no setting was ahead of it."
    rate = training.numbered[chosen].learning_rate
    return f"{training} Validation chose the learning rate {rate:g} of {len(training.settings)}."
