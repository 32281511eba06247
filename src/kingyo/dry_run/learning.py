"""Forecast the learning of weights: how many, whether the budget allows it, and the memory of a step."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.run.learnable import why_not_learned
from kingyo.run.learning import (
    BATCH_SIZE,
    FEWEST_LEFT,
    FEWEST_STEPS,
    PASSES,
    SHARE,
    TOTAL_SHARE,
    Teacher,
    teacher_of,
)
from kingyo.run.run import Run
from kingyo.runners.evaluate import InPlaceMerger


@dataclass(frozen=True, kw_only=True)
class LearningForecast:
    """How a run learns weights by gradient, or why it does not.

    Attributes:
        weights: number of weights that are learned; 0 if none are.
        share: share of the search's budget that learning costs at most.
        passes: cost of an example in a step, in item evaluations.
        step_bytes: memory of a step beside the live model: twice the size of its weights.
        reason: why no weights are learned, if run.yaml does not choose it.
    """

    weights: int = 0
    share: float = TOTAL_SHARE
    passes: int = PASSES
    step_bytes: int = 0
    reason: str | None = None


def forecast_learning(run: Run, live: int) -> LearningForecast:
    """Forecast the learning of weights.

    Args:
        run: opened.
        live: bytes of the weights of the live model.
    """
    teacher = None
    if run.learns:
        teacher = teacher_of(run.searches[0], run.task, _no_merger, len(run.items["fit"]))
    if teacher is None:
        return LearningForecast(reason=why_not_learned(run.config, run.settings, run.kind, run.folder))
    reason = _too_small(teacher)
    if reason is not None:
        return LearningForecast(reason=reason)
    weights = {gene for genes in teacher.space.genes_by_tensor.values() for gene in genes.values()}
    return LearningForecast(weights=len(weights), step_bytes=2 * live)


def _too_small(teacher: Teacher) -> str | None:
    """Return that the budget is too small for the shortest lesson; None if it is not."""
    budget = teacher.allowance.budget
    if budget is None:
        return None
    cost = FEWEST_STEPS * BATCH_SIZE * PASSES
    most = min(SHARE * budget, budget - FEWEST_LEFT * teacher.allowance.most_items)
    if most >= cost:
        return None
    return (
        f"a budget of {budget:,} item evaluations: {FEWEST_STEPS} steps of {BATCH_SIZE} examples, "
        f"the fewest that help, would cost {cost}, more than a third of it"
    )


def _no_merger() -> InPlaceMerger:
    raise AssertionError("nothing is learned in a dry run")
