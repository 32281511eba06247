"""The winner of a search: its finalists meet validation, and the best on fit and validation together wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from kingyo.errors import KingyoError
from kingyo.evolution.finalists import spread_out
from kingyo.evolution.front import read_front
from kingyo.evolution.objectives import Scorer
from kingyo.evolution.search import AnySearchRun
from kingyo.evolution.trial_evaluation import TrialEvaluator
from kingyo.evolution.types import Event, Search
from kingyo.evolution.validation import ValidationRace
from kingyo.io.units import counted
from kingyo.stats import ROUNDING
from kingyo.store import RunStore, StoredTrial
from kingyo.strategies.pareto import knee
from kingyo.types import Evaluation


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A finalist that was scored on all of validation, and the numbers that decided whether it won.

    Attributes:
        trial: its number in its search.
        fit: its expected score on fit when the winner was picked.
        validation: its score there.
        together: the mean of both, weighted by the items behind them.
    """

    trial: int
    fit: float
    validation: float
    together: float


def read_finalists(store: RunStore, search: str) -> tuple[Finalist, ...]:
    """Return the finalists that a winner was picked from, by rank; none of several objectives."""
    stored = cast("list[dict[str, Any]]", store.fact(finalists_fact(search)) or [])
    return tuple(Finalist(**each) for each in stored)


def finalists_fact(search: str) -> str:
    """Return the key under which a run stores them."""
    return f"finalists of {search}"


@dataclass(frozen=True, kw_only=True)
class Picker:
    """Scores finalists on validation, and stores the winner.

    Attributes:
        store: the run's database.
        evaluator: evaluates trials.
        finalists: how many of a search's best on fit, no two of them neighbours, are scored on validation.
        notify: told of every step.
    """

    store: RunStore
    evaluator: TrialEvaluator
    finalists: int
    notify: Callable[[Event], None]

    def pick(self, run: AnySearchRun) -> StoredTrial | None:
        """Return the winner of a search: the best on fit and validation together of its finalists.

        Only those count that met all of validation, see ``_best``. Where the search keeps a point, it wins
        unless the best of the others is clearly ahead, see ``Search.keep``. With several objectives, the
        knee of what the front's points reach on validation wins.

        Returns:
            The stored winner if there is one. None for a control that only failed: that is a finding, and no
            reason to lose the main search.

        Raises:
            KingyoError: no trial of a main search succeeded, or no finalist could be scored.
        """
        search = run.search
        chosen = self.store.winner(search.name)
        if chosen is not None:
            return chosen
        finalists = self._finalists(run)
        scorer = Scorer(search.objectives, self.store.items()["validation"])
        race = ValidationRace(store=self.store, evaluator=self.evaluator, scorer=scorer, notify=self.notify)
        kept = [trial for trial in finalists if trial.asked.genome in search.keep]
        scored = race.run(search.name, finalists, search.seed, keep=kept)
        if not scored and search.like:
            return None
        if not scored:
            reasons = [self.store.evaluation(trial.id, "validation") for trial in finalists]
            raise KingyoError(
                f"search '{search.name}'",
                expected="at least one trial that can be scored on validation",
                received=f"failures only, the last: {reasons[-1].failure if reasons[-1] else None}",
                remedy="Fix the cause, and start a new run.",
            )
        winner = self._kept(search, scorer, self._best(run, scorer, scored), scored)
        self.store.set_winner(search.name, winner.id)
        return winner

    def _best(
        self, run: AnySearchRun, scorer: Scorer, scored: Sequence[tuple[StoredTrial, Evaluation]]
    ) -> StoredTrial:
        """The best of finalists that met all of validation, given in the order of their ranks.

        What counts is the weighted mean of what each is believed to score on fit and what it scored on
        validation. The weights are the numbers of items behind the two, for all of them the fewest on fit.
        Where measures count, validation alone does: what the best of many measured on fit is no belief.
        Ties, also those that rounding hides, go to rank.
        """
        search, trials = run.search, [trial for trial, _ in scored]
        means = [scorer.measured(found) for _, found in scored]
        if search.objectives.names:
            pairs = zip(means, trials, strict=True)
            return trials[knee([search.objectives.values(each, trial) for each, trial in pairs])]
        n_fit = min(len(self.store.scores_of(trial.id, "fit")) for trial in trials)
        is_blind = search.learns_fit or search.objectives.by_set
        share = 0.0 if is_blind else n_fit / (n_fit + len(scorer.task_of))
        found = [
            Finalist(
                trial=trial.asked.number,
                fit=belief,
                validation=(value := search.objectives.value(each)),
                together=share * belief + (1 - share) * value,
            )
            for trial, belief, each in zip(trials, run.believed(trials), means, strict=True)
        ]
        self.store.set_fact(finalists_fact(search.name), [asdict(each) for each in found])
        best = max(each.together for each in found)
        return next(
            trial for trial, each in zip(trials, found, strict=True) if each.together >= best - ROUNDING
        )

    def _kept(
        self,
        search: Search,
        scorer: Scorer,
        winner: StoredTrial,
        scored: Sequence[tuple[StoredTrial, Evaluation]],
    ) -> StoredTrial:
        """The point that the search keeps, unless the winner is clearly ahead of it."""
        kept = next((trial for trial, _ in scored if trial.asked.genome in search.keep), winner)
        if search.objectives.names or kept is winner:
            return winner
        found = {trial.id: evaluation for trial, evaluation in scored}
        return winner if scorer.is_ahead(found[winner.id], found[kept.id]) else kept

    def _finalists(self, run: AnySearchRun) -> list[StoredTrial]:
        """The best on fit of different places, the best first, and all that validation has seen before."""
        ranked = run.ranked()
        search = run.search
        if not ranked and not search.like:
            raise KingyoError(
                f"search '{search.name}'",
                expected="at least one trial that succeeds",
                received=_failures(self.store, search.name),
                remedy="Fix the cause, or give a larger budget, and start a new run.",
            )
        seen = [each.trial for each in self.store.summaries("validation") if each.search == search.name]
        trials = [trial for trial, _ in ranked]
        if search.objectives.names:
            chosen = [point.trial for point in read_front(self.store, search.name).spread(self.finalists)]
        else:
            genomes = [trial.asked.genome for trial in trials]
            picked = spread_out(genomes, search.space.axes, self.finalists)
            kept = [index for index, genome in enumerate(genomes) if genome in search.keep]
            chosen = [trials[i] for i in sorted({*picked, *kept, *_places(trials, seen)})]
        known = {trial.id for trial in chosen}
        return [*chosen, *(self.store.trial(each) for each in seen if each not in known)]


def _places(trials: Sequence[StoredTrial], seen: Sequence[int]) -> list[int]:
    known = set(seen)
    return [index for index, trial in enumerate(trials) if trial.id in known]


def _failures(store: RunStore, search: str) -> str:
    reasons = [each.failure for each in store.summaries("fit") if each.search == search and each.failure]
    if not reasons:
        return "no trials at all: the budget is smaller than one evaluation, or the strategy asked for none"
    return f"{counted(len(reasons), 'failure')}, the last: {reasons[-1]}"
