"""Rank the trials of a search by their expected score on fit."""

from __future__ import annotations

from collections.abc import Sequence

from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.evolution.user_strategy import call_strategy
from kingyo.stats import ROUNDING
from kingyo.store import StoredTrial
from kingyo.types import PredictingStrategy

MAX_RANKED = 200  # trials that are compared jointly
EQUAL = 0.25  # of a fit item: smaller differences count as none


class Ranking:
    """Ranks trials by the scores in a search log."""

    def __init__(self, log: SearchLog) -> None:
        self._log, self._search, self._store = log, log.search, log.store
        self._tolerance = ROUNDING if log.search.objectives.by_set else EQUAL / len(log.items)

    def ranked(self) -> list[StoredTrial]:
        """Return the successful trials of different recipes by expected fit score, best first.

        Ties go to the older trial. The first is the simplest of the trials that are less than a quarter of an
        item behind the best, because fit cannot distinguish them: the one-standard-error rule (Breiman et al.
        1984), with the resolution of fit instead of the error.
        """
        values = self._values()
        distinct: dict[str, StoredTrial] = {}
        for trial in self._store.trials(self._search.name):
            if values.get(trial.id) is not None:
                distinct.setdefault(trial.recipe_hash, trial)
        trials = sorted(distinct.values(), key=lambda trial: (-(values[trial.id] or 0.0), trial.id))
        scores = self._predicted(trials)
        if scores is None:
            trials = trials[:MAX_RANKED]
            scores = self._estimated(trials)
        pairs = zip(trials, scores, strict=True)
        return self._simplest_first(sorted(pairs, key=lambda pair: (-pair[1], pair[0].id)))

    def expected(self, trials: Sequence[StoredTrial]) -> list[float]:
        """Return the expected fit score of each trial; give at least one, all successful.

        These are the strategy's predictions, which use neighbouring points, or else estimates of the Rasch
        model, so that luck on few items does not make a winner. Scores less than a quarter of an item behind
        the best of these trials are set equal to it. If set measures count, the measured values are returned.
        """
        scores = self._predicted(trials)
        if scores is None:
            scores = self._estimated(trials)
        best = max(scores)
        return [best if score >= best - self._tolerance else score for score in scores]

    def _predicted(self, trials: Sequence[StoredTrial]) -> list[float] | None:
        strategy = self._search.strategy
        if not isinstance(strategy, PredictingStrategy) or self._search.objectives.by_set:
            return None
        genomes = [trial.asked.genome for trial in trials]

        def predict() -> list[float] | None:
            scores = strategy.predict(genomes)
            n = len(genomes) if scores is None else len(scores)
            assert n == len(genomes), f"{n} predictions for {len(genomes)} points"
            return scores

        return call_strategy(self._search, "predict", predict)

    def _estimated(self, trials: Sequence[StoredTrial]) -> list[float]:
        objectives = self._search.objectives
        if objectives.by_set:
            values = self._values()
            return [values[trial.id] or 0.0 for trial in trials]
        numbers = [trial.asked.number for trial in trials]
        means = self._log.scorer.estimated_means(self._log.responses, numbers)
        return [objectives.value(own) for own in means]

    def _values(self) -> dict[int, float | None]:
        """Return the value that the strategy was told of each trial (its id)."""
        return {outcome.trial: outcome.value for outcome in self._store.outcomes(self._search.name)}

    def _simplest_first(self, ranked: list[tuple[StoredTrial, float]]) -> list[StoredTrial]:
        trials, simplicity = [trial for trial, _ in ranked], self._search.simplicity
        if simplicity is None or not ranked:
            return trials
        least = ranked[0][1] - self._tolerance
        recipes = [read_recipe(trial) for trial, score in ranked if score >= least]
        first = max(range(len(recipes)), key=lambda index: (simplicity(recipes[index]), -index))
        return [trials[first], *trials[:first], *trials[first + 1 :]]
