"""Pick the winner of a search: score its finalists on validation, and combine fit and validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from kingyo.errors import KingyoError
from kingyo.evolution.finalists import spread_out
from kingyo.evolution.front import read_front
from kingyo.evolution.scorer import Scorer
from kingyo.evolution.search import SearchRun
from kingyo.evolution.trial_evaluation import TrialEvaluator
from kingyo.evolution.types import Event, Search
from kingyo.evolution.validation import ValidationRace
from kingyo.io.units import counted
from kingyo.stats import ROUNDING
from kingyo.store import RunStore, StoredTrial
from kingyo.strategies.pareto import knee
from kingyo.types import Evaluation

Scored = Sequence[tuple[StoredTrial, Evaluation]]
"""Finalists that were scored on all of validation, by rank, with their evaluations there."""


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A finalist that was scored on all of validation, and the numbers that decided.

    Attributes:
        trial: its number in its search.
        fit: its expected score on fit when the winner was picked.
        validation: its score on validation.
        together: the mean of both, weighted by their numbers of items.
    """

    trial: int
    fit: float
    validation: float
    together: float


def read_finalists(store: RunStore, search: str) -> tuple[Finalist, ...]:
    """Return the finalists that a winner was picked from, by rank; none for several objectives."""
    stored = cast("list[dict[str, Any]]", store.fact(finalists_fact(search)) or [])
    return tuple(Finalist(**row) for row in stored)


def finalists_fact(search: str) -> str:
    """Return the key of the fact that stores the finalists of a search."""
    return f"finalists of {search}"


@dataclass(frozen=True, kw_only=True)
class Picker:
    """Scores finalists on validation, and stores the winner.

    Attributes:
        store: the run's database.
        evaluator: evaluates trials.
        finalists: how many of a search's best on fit are scored on validation; none are neighbours.
        notify: called with every event.
    """

    store: RunStore
    evaluator: TrialEvaluator
    finalists: int
    notify: Callable[[Event], None]

    def pick(self, run: SearchRun) -> StoredTrial | None:
        """Return the winner of a search, and store it.

        It is the best on fit and validation together of the finalists that were scored on all of validation.
        If the search keeps a point, that point wins unless the best other finalist is clearly ahead, see
        ``Search.keep``. With several objectives, the knee of the front's points on validation wins.

        Returns:
            The winner, or the one that is stored. None for a control without success, which should not end
            the run.

        Raises:
            KingyoError: no trial of a main search succeeded, or no finalist could be scored.
        """
        search = run.search
        stored = self.store.winner(search.name)
        if stored is not None:
            return stored
        finalists = self._finalists(run)
        scorer = Scorer(search.objectives, self.store.items()["validation"])
        race = ValidationRace(store=self.store, evaluator=self.evaluator, scorer=scorer, notify=self.notify)
        kept = [trial for trial in finalists if trial.asked.genome in search.keep]
        scored = race.run(search.name, finalists, search.seed, keep=kept)
        if not scored and search.like:
            return None
        if not scored:
            raise self._no_finalist(search, finalists)
        winner = _kept(search, scorer, self._best(run, scorer, scored), scored)
        self.store.set_winner(search.name, winner.id)
        return winner

    def _no_finalist(self, search: Search, finalists: Sequence[StoredTrial]) -> KingyoError:
        last = self.store.evaluation(finalists[-1].id, "validation")
        return KingyoError(
            f"search '{search.name}'",
            expected="at least one trial that can be scored on validation",
            received=f"failures only, the last: {last.failure if last else None}",
            remedy="Fix the cause, and start a new run.",
        )

    def _best(self, run: SearchRun, scorer: Scorer, scored: Scored) -> StoredTrial:
        """Return the best finalist; ties within rounding go to the better rank.

        The score is the weighted mean of the expected score on fit and the score on validation. The weights
        are the numbers of items: on fit, the smallest of any finalist. If set measures count, or candidates
        learn from fit, only validation counts, because the fit score of the best of many is biased.
        """
        search, trials = run.search, [trial for trial, _ in scored]
        means = [scorer.observed_means(evaluation) for _, evaluation in scored]
        if search.objectives.names:
            pairs = zip(means, trials, strict=True)
            return trials[knee([search.objectives.values(own, trial) for own, trial in pairs])]
        n_fit = min(len(self.store.scores_of(trial.id, "fit")) for trial in trials)
        ignores_fit = search.learns_fit or search.objectives.by_set
        share = 0.0 if ignores_fit else n_fit / (n_fit + len(scorer.task_of))
        finalists = [
            Finalist(
                trial=trial.asked.number,
                fit=fit,
                validation=(value := search.objectives.value(own)),
                together=share * fit + (1 - share) * value,
            )
            for trial, fit, own in zip(trials, run.ranking.expected(trials), means, strict=True)
        ]
        self.store.set_fact(finalists_fact(search.name), [asdict(finalist) for finalist in finalists])
        best = max(finalist.together for finalist in finalists)
        pairs = zip(trials, finalists, strict=True)
        return next(trial for trial, finalist in pairs if finalist.together >= best - ROUNDING)

    def _finalists(self, run: SearchRun) -> list[StoredTrial]:
        """Return the best on fit without neighbours, best first, and all trials that validation has seen."""
        trials = run.ranking.ranked()
        search = run.search
        if not trials and not search.like:
            raise KingyoError(
                f"search '{search.name}'",
                expected="at least one trial that succeeds",
                received=_failures(self.store, search.name),
                remedy="Fix the cause, or give a larger budget, and start a new run.",
            )
        seen = [row.trial for row in self.store.summaries("validation") if row.search == search.name]
        if search.objectives.names:
            chosen = [point.trial for point in read_front(self.store, search.name).spread(self.finalists)]
        else:
            genomes = [trial.asked.genome for trial in trials]
            picked = spread_out(genomes, search.space.axes, self.finalists)
            kept = [index for index, genome in enumerate(genomes) if genome in search.keep]
            again = [index for index, trial in enumerate(trials) if trial.id in set(seen)]
            chosen = [trials[i] for i in sorted({*picked, *kept, *again})]
        known = {trial.id for trial in chosen}
        return [*chosen, *(self.store.trial(trial) for trial in seen if trial not in known)]


def _kept(search: Search, scorer: Scorer, winner: StoredTrial, scored: Scored) -> StoredTrial:
    """Return the point that the search keeps, unless the winner is clearly ahead of it."""
    kept = next((trial for trial, _ in scored if trial.asked.genome in search.keep), winner)
    if search.objectives.names or kept is winner:
        return winner
    evaluations = {trial.id: evaluation for trial, evaluation in scored}
    return winner if scorer.is_ahead(evaluations[winner.id], evaluations[kept.id]) else kept


def _failures(store: RunStore, search: str) -> str:
    reasons = [row.failure for row in store.summaries("fit") if row.search == search and row.failure]
    if not reasons:
        return "no trials at all: the budget is smaller than one evaluation, or the strategy asked for none"
    return f"{counted(len(reasons), 'failure')}, the last: {reasons[-1]}"
