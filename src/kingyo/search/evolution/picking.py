"""Pick the winner of a search: score its finalists on validation, and combine fit and validation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from kingyo.core.io.units import counted
from kingyo.core.types import Axis, Evaluation, Genome, PredictingStrategy, Split
from kingyo.errors import KingyoError
from kingyo.search.evolution.objectives import read_front
from kingyo.search.evolution.race import ValidationRace
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.search_log import SearchLog, call_strategy
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.search.strategies.pareto import knee
from kingyo.stats import ROUNDING
from kingyo.store import Fact, RunStore, StoredTrial

Scored = Sequence[tuple[StoredTrial, Evaluation]]
"""Finalists that were scored on all of validation, by rank, with their evaluations there."""


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A finalist that was scored on all of validation, and the numbers that decided."""

    trial: int
    fit: float
    validation: float
    together: float


def read_finalists(store: RunStore, search: str) -> tuple[Finalist, ...]:
    return store.fact(finalists_fact(search))


def finalists_fact(search: str) -> Fact[tuple[Finalist, ...]]:
    return Fact(f"finalists of {search}", tuple[Finalist, ...], ())


def pick_winner(log: SearchLog, evaluator: TrialEvaluator, n_finalists: int) -> StoredTrial | None:
    """Score the finalists of a search that has ended on validation; return the winner, and store it.

    It is the best on fit and validation together of the finalists that were scored on all of validation; on
    validation alone if weights were learned from answers to fit. If the search keeps a point, that point wins
    unless the best other finalist is clearly ahead, see ``Search.keep``. With several objectives, the knee of
    the front's points on validation wins. A control without success, which should not end the run, has no
    winner.
    """
    search, store = log.search, log.store
    stored = store.winner(search.name)
    if stored is not None:
        return stored
    finalists = _finalists(log, n_finalists)
    scorer = Scorer(search.objectives, store.items()["validation"])
    kept = [trial for trial in finalists if trial.asked.genome in search.keep]
    scored = ValidationRace(store, evaluator, scorer, finalists, search.seed).run(search.name, keep=kept)
    if not scored and search.like:
        return None
    if not scored:
        raise _without_success(store, search.name, "validation")
    winner = _best(log, scorer, scored)
    evaluations = {trial.id: evaluation for trial, evaluation in scored}
    kept_one = next((trial for trial in kept if trial.id in evaluations), winner)
    is_open = not search.objectives.names and kept_one is not winner
    if is_open and not scorer.is_ahead(evaluations[winner.id], evaluations[kept_one.id]):
        winner = kept_one
    store.set_winner(search.name, winner.id)
    return winner


def _best(log: SearchLog, scorer: Scorer, scored: Scored) -> StoredTrial:
    """Return the best finalist; ties within rounding go to the better rank.

    Fit and validation are weighted by their numbers of items: on fit, the smallest of any finalist. If set
    measures count, or candidates or lessons learn from fit, only validation counts.
    """
    search, store, trials = log.search, log.store, [trial for trial, _ in scored]
    means = [scorer.observed_means(evaluation) for _, evaluation in scored]
    if search.objectives.names:
        rows = zip(means, scored, strict=True)
        values = [
            search.objectives.values(own, trial, scorer.answers(evaluation.scores))
            for own, (trial, evaluation) in rows
        ]
        return trials[knee(values)]
    n_fit = min(len(store.scores_of(trial.id, "fit")) for trial in trials)
    ignores_fit = search.learns_fit or store.lessons(search.name) or search.objectives.by_set
    share = 0.0 if ignores_fit else n_fit / (n_fit + len(scorer.task_of))
    finalists = tuple(
        Finalist(
            trial=trial.asked.number,
            fit=fit,
            validation=(value := search.objectives.value(own)),
            together=share * fit + (1 - share) * value,
        )
        for trial, fit, own in zip(trials, _expected(log, trials), means, strict=True)
    )
    store.set_fact(finalists_fact(search.name), finalists)
    best = max(finalist.together for finalist in finalists)
    pairs = zip(trials, finalists, strict=True)
    return next(trial for trial, finalist in pairs if finalist.together >= best - ROUNDING)


def _finalists(log: SearchLog, n_finalists: int) -> list[StoredTrial]:
    """Return the finalists by rank, and then those that an earlier session scored on validation."""
    search, store, trials = log.search, log.store, ranked_trials(log)
    if not trials and not search.like:
        raise _without_success(store, search.name, "fit")
    seen = [row.trial for row in store.summaries("validation") if row.search == search.name]
    if search.objectives.names:
        chosen = [point.trial for point in read_front(store, search.name).spread(n_finalists)]
    else:
        genomes = [trial.asked.genome for trial in trials]
        n = len(trials) if search.learns_fit else n_finalists  # fit cannot rank these
        picked = spread_out(genomes, search.space.axes, n)
        kept = [index for index, genome in enumerate(genomes) if genome in search.keep]
        if store.lessons(search.name):  # scores on fit prefer what was learned from fit
            tied = (index for index, genome in enumerate(genomes) if _is_tied(genome, search.space.axes))
            kept += islice(tied, 1)
        again = [index for index, trial in enumerate(trials) if trial.id in set(seen)]
        chosen = [trials[i] for i in sorted({*picked, *kept, *again})]
    known = {trial.id for trial in chosen}
    return [*chosen, *(store.trial(trial) for trial in seen if trial not in known)]


def _is_tied(genome: Genome, axes: Sequence[Axis]) -> bool:
    values: dict[str, set[object]] = {}
    for axis, gene in zip(axes, genome, strict=True):
        values.setdefault(axis.family or axis.name, set()).add(gene)
    return all(len(each) == 1 for each in values.values())


def _without_success(store: RunStore, search: str, split: Split) -> KingyoError:
    reasons = [row.failure for row in store.summaries(split) if row.search == search and row.failure]
    failures = f"{counted(len(reasons), 'failure')}, the last: {reasons[-1]}" if reasons else "no trials"
    expected = f"at least one trial that succeeds on {split}"
    remedy = "Fix the cause, or give a larger budget, and start a new run."
    return KingyoError(f"search '{search}'", expected, failures, remedy)


MAX_RANKED = 200  # trials that are compared jointly
EQUAL = 0.25  # of a fit item: smaller differences count as none


def ranked_trials(log: SearchLog) -> list[StoredTrial]:
    """Return the successful trials of different recipes by expected fit score, best first.

    Ties go to the older trial; candidates that learn from fit are all ties. The first is the simplest of the
    trials that are less than a quarter of an item behind the best, which fit cannot distinguish.
    """
    values, simplicity = _values(log), log.search.simplicity
    distinct: dict[str, StoredTrial] = {}
    for trial in log.store.trials(log.search.name):
        if values.get(trial.id) is not None:
            distinct.setdefault(trial.recipe_hash, trial)
    if log.search.learns_fit:
        return [*distinct.values()]
    trials = sorted(distinct.values(), key=lambda trial: (-(values[trial.id] or 0.0), trial.id))
    scores = _predicted(log, trials)
    if scores is None:
        trials = trials[:MAX_RANKED]
        scores = _estimated(log, trials)
    pairs = sorted(zip(trials, scores, strict=True), key=lambda pair: (-pair[1], pair[0].id))
    ranked = [trial for trial, _ in pairs]
    if simplicity is None or not ranked:
        return ranked
    recipes = [read_recipe(trial) for trial, score in pairs if score >= pairs[0][1] - _tolerance(log)]
    first = max(range(len(recipes)), key=lambda index: (simplicity(recipes[index]), -index))
    return [ranked[first], *ranked[:first], *ranked[first + 1 :]]


def _expected(log: SearchLog, trials: Sequence[StoredTrial]) -> list[float]:
    """Return the expected fit score of each trial; give at least one, all successful.

    These are the strategy's predictions, or else estimates of the Rasch model, so that luck on few items does
    not make a winner; if set measures count, measured values. Scores less than a quarter of an item behind
    the best of these trials are set equal to it.
    """
    scores = _predicted(log, trials)
    if scores is None:
        scores = _estimated(log, trials)
    best = max(scores)
    return [best if score >= best - _tolerance(log) else score for score in scores]


def _tolerance(log: SearchLog) -> float:
    return ROUNDING if log.search.objectives.by_set else EQUAL / len(log.items)


def _predicted(log: SearchLog, trials: Sequence[StoredTrial]) -> list[float] | None:
    strategy = log.search.strategy
    if not isinstance(strategy, PredictingStrategy) or log.search.objectives.by_set:
        return None
    genomes = [trial.asked.genome for trial in trials]

    def predict() -> list[float] | None:
        scores = strategy.predict(genomes)
        n = len(genomes) if scores is None else len(scores)
        assert n == len(genomes), f"{n} predictions for {len(genomes)} points"
        return scores

    return call_strategy(log.search, "predict", predict)


def _estimated(log: SearchLog, trials: Sequence[StoredTrial]) -> list[float]:
    objectives = log.search.objectives
    if objectives.by_set:
        values = _values(log)
        return [values[trial.id] or 0.0 for trial in trials]
    numbers = [trial.asked.number for trial in trials]
    return [objectives.value(own) for own in log.scorer.estimated_means(log.responses, numbers)]


def _values(log: SearchLog) -> dict[int, float | None]:
    return {trial: outcome.value for trial, outcome in log.store.outcomes(log.search.name).items()}


APART = 0.1  # of an axis' range: genomes that are closer on every axis are neighbours


def spread_out(genomes: Sequence[Genome], axes: Sequence[Axis], n: int) -> list[int]:
    """Pick the first of each neighbourhood, fill up with the best of the rest, and return rising positions.

    A search ends near its believed optimum, so its best trials are neighbours, and validation of neighbours
    could not contradict fit. Others differ by a tenth of the range of some axis, or in a category.
    """
    picked: list[int] = []
    for index, genome in enumerate(genomes):
        if len(picked) == n:
            break
        if all(_is_apart(genome, genomes[other], axes) for other in picked):
            picked.append(index)
    taken = set(picked)
    others = [index for index in range(len(genomes)) if index not in taken]
    return sorted([*picked, *others[: n - len(picked)]])


def _is_apart(one: Genome, other: Genome, axes: Sequence[Axis]) -> bool:
    return any(
        one[k] != other[k]
        if axis.kind in ("binary", "categorical")
        else abs(one[k] - other[k]) >= APART * (axis.high - axis.low) > 0
        for k, axis in enumerate(axes)
    )
