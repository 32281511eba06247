"""Choose the best model of a run among the bred model, the winners of controls, and the baselines.

Test plays no part. A winner of a search is the best of many candidates and looks better than it is, so each
step away from a model that is preferred without evidence, the bred one and then the best baseline, takes a
lead of more than a standard error (Breiman et al. 1984, Classification and Regression Trees, the 1 SE rule),
over all items of fit and validation that both models answered, paired by item.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from kingyo.core.types import Evaluation, Split
from kingyo.search.evolution.objectives import Objectives
from kingyo.search.evolution.scorer import Scorer
from kingyo.stats import ROUNDING, SampleSize, size_of, with_groups
from kingyo.store import RunStore, StoredTrial


@dataclass(frozen=True, kw_only=True)
class Lead(SampleSize):
    """One model compared with another before test, on the items of fit and validation that both answered.

    Attributes:
        trial, over: ids of the two trials.
        lead: value of the first minus that of the second.
        is_clear: whether the first is preferred to the second.
    """

    trial: int
    over: int
    lead: float
    is_clear: bool


@dataclass(frozen=True, kw_only=True)
class BestOfRun:
    """The best of a run (id of its trial), and the comparisons that decided, in order."""

    best: int
    leads: tuple[Lead, ...] = ()


def choose_best(
    scorer: Scorer, winners: Mapping[int, Evaluation], baselines: Mapping[int, Evaluation]
) -> BestOfRun:
    """Choose among models by their scores on fit and validation.

    1. The first winner, the bred model, unless winners of controls are ahead of it by more than a standard
       error; then the one with the largest lead.
    2. The best baseline, unless that winner beats it (``Scorer.beats_baseline``).

    Args:
        scorer: of the items of fit and validation.
        winners: id of a trial -> its scores; the bred model comes first.
        baselines: the same for baselines; ties go to the first.
    """
    bred, *controls = winners
    leads = [_lead(scorer, winners, control, bred) for control in controls]
    best = max((each for each in leads if each.is_clear), key=lambda each: each.lead, default=None)
    chosen = bred if best is None else best.trial
    if not baselines:
        return BestOfRun(best=chosen, leads=tuple(leads))
    values = {trial: scorer.objectives.value(scorer.observed_means(own)) for trial, own in baselines.items()}
    known = next(trial for trial, value in values.items() if value >= max(values.values()) - ROUNDING)
    rows = {chosen: winners[chosen], known: baselines[known]}
    leads.append(_lead(scorer, rows, chosen, known, is_clear=scorer.beats_baseline(*rows.values())))
    return BestOfRun(best=chosen if leads[-1].is_clear else known, leads=tuple(leads))


def _lead(
    scorer: Scorer,
    rows: Mapping[int, Evaluation],
    trial: int,
    over: int,
    *,
    is_clear: bool | None = None,
) -> Lead:
    lead, shared = scorer.lead(rows[trial], rows[over])
    is_clear = scorer.is_ahead(rows[trial], rows[over]) if is_clear is None else is_clear
    compared = Lead(trial=trial, over=over, lead=lead, n=len(shared), is_clear=is_clear)
    return with_groups(compared, size_of(len(shared), scorer.groups(shared)))


def best_of_run(
    store: RunStore,
    objectives: Objectives,
    winners: Sequence[StoredTrial],
    baselines: Sequence[StoredTrial],
    trained: Collection[str],
) -> BestOfRun | None:
    """Choose the best trial of a run; only baselines that were scored on all of validation count.

    Args:
        store: the run.
        objectives: its objectives, with their set measures if these count.
        winners: winners of its searches, the bred model first.
        baselines: its baselines.
        trained: searches that learned from fit, so that only validation counts for their candidates.

    Returns:
        None for several objectives, and if a winner was not scored on all of validation.
    """
    items = store.items()

    def is_validated(trial: StoredTrial) -> bool:
        evaluation = store.evaluation(trial.id, "validation")
        return evaluation is not None and len(evaluation.scores) == len(items["validation"])

    if objectives.names or not winners or not all(map(is_validated, winners)):
        return None
    return choose_best(
        Scorer(objectives, (*items["fit"], *items["validation"])),
        {trial.id: _before_test(store, trial, trained) for trial in winners},
        {trial.id: _before_test(store, trial, trained) for trial in filter(is_validated, baselines)},
    )


def _before_test(store: RunStore, trial: StoredTrial, trained: Collection[str]) -> Evaluation:
    splits: tuple[Split, ...] = ("validation",) if trial.search in trained else ("fit", "validation")
    evaluations = [store.evaluation(trial.id, split) for split in splits]
    return Evaluation(scores=tuple(score for each in evaluations if each for score in each.scores))
