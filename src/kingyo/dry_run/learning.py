"""Forecast the learning of weights: how many, whether the budget allows it, and the memory of a step."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.run.learnable import why_not_learned
from kingyo.run.learning import PASSES, SHORTEST, TOTAL_SHARE, Allowance, learned_space
from kingyo.run.run import Run


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
    search = run.searches[0]
    space = learned_space(search) if run.learns else None
    if space is None:
        return LearningForecast(reason=why_not_learned(run.config, run.settings, run.kind, run.folder))
    allowance = Allowance.of(search, len(run.items["fit"]))
    if not allowance.is_enough:
        return LearningForecast(
            reason=f"a budget of {allowance.budget:,} item evaluations: a lesson costs at least {SHORTEST}, "
            f"and may cost {max(0, allowance.most or 0)} here"
        )
    weights = {gene for genes in space.genes_by_tensor.values() for gene in genes.values()}
    return LearningForecast(weights=len(weights), step_bytes=2 * live)
