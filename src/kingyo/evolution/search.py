"""One search: ask, measure, tell, until its limits; and the same again from the log when it is resumed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kingyo.evolution.ask_tell import Ask, Step, StrategyDriver, Tell
from kingyo.evolution.budget import BudgetSpent, expected_trials
from kingyo.evolution.earlier_sessions import EarlierSessions, paused_garbage_collection
from kingyo.evolution.objectives import Scorer
from kingyo.evolution.trial_evaluation import ScoringRequest, TrialEvaluation, TrialEvaluator
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.evolution.types import BASELINES, Event, Limits, Search
from kingyo.evolution.user_strategy import call_strategy
from kingyo.irt import Responses
from kingyo.recipe import Recipe
from kingyo.screens import Screen
from kingyo.stats import ROUNDING
from kingyo.store import NewTrial, RunStore, StoredOutcome, StoredTrial
from kingyo.strategies.checks import check_strategy
from kingyo.types import (
    Evaluation,
    FiniteStrategy,
    InformedStrategy,
    ItemScore,
    Outcome,
    PredictingStrategy,
    TaskAware,
    Trial,
)

MOST_RANKED = 200  # trials that are compared jointly
EQUAL = 0.25  # of an item on fit: less is no difference


class AnySearchRun(ABC):
    """Runs one search of a journey, or the rest of it, in an order of asks and tells that subclasses say.

    A subclass defines ``_search``. What begins with one underscore here is shared with it: how trials are
    asked for and logged (``_asked``), counted, remembered and judged (``_outcomes``), and told again from the
    log (``_told_again``).

    Args:
        search: what to run.
        store: the run's database.
        evaluator: evaluates trials.
        notify: told of every step.
    """

    def __init__(
        self, search: Search, store: RunStore, evaluator: TrialEvaluator, notify: Callable[[Event], None]
    ) -> None:
        self.search = search
        self._store = store
        self._measurer = evaluator
        self._notify = notify
        self._items = list(evaluator.items["fit"])
        self._judge = Scorer(search.objectives, store.items()["fit"])
        self._screen = Screen(search.screen, search.seed, self._judge.strata)
        self._equal = ROUNDING if search.objectives.by_set else EQUAL / len(self._items)
        self._responses = Responses(self._items)
        self._spent = BudgetSpent()
        self._strategist = StrategyDriver(search)
        self._ended = 0
        self._total: int | None = None

    def run(self) -> None:
        """Search until a limit is reached, or the space or the strategy has no more to give."""
        search, store = self.search, self._store
        if search.name not in store.searches():
            store.add_search(search.name, search.description)
        with paused_garbage_collection():
            past = EarlierSessions(store, search.name)
        limits = self._limits()
        most = self._screen.most_items(len(self._items))
        self._total = expected_trials(limits, most)
        if isinstance(search.strategy, FiniteStrategy):
            size = search.strategy.size
            self._total = size if self._total is None else min(size, self._total)
        self._notify(Event(kind="phase", search=search.name, split="fit", total=self._total))
        if search.prepare is not None:
            search.prepare(store)
        self._begin()
        self._search(past, limits, most)

    @abstractmethod
    def _search(self, past: EarlierSessions, limits: Limits, most: int) -> None:
        """Go to where earlier sessions ended, and on from there until a limit is reached.

        Args:
            past: what earlier sessions logged.
            limits: of this search.
            most: items that a trial may be scored on.
        """

    def _asked(self, batch: int, n: int, first: int) -> list[StoredTrial]:
        """Ask for new trials and log them."""
        asked = self._strategist.ask(n, first)
        if not asked:
            return []
        new = [new_trial(trial, self.search.space.decode(trial.genome)) for trial in asked]
        return self._store.add_trials(self.search.name, batch, new, self._strategist.n_told)

    def ranked(self) -> list[tuple[StoredTrial, float]]:
        """The trials of different recipes with what they are believed to score on fit, the best first.

        Age breaks ties. The first is the simplest of those that are believed to be less than a quarter of an
        item behind the best, which fit cannot tell from it: the one-standard-error rule (Breiman et al.
        1984), with what fit resolves in place of the error. It is a preference where fit says nothing, and no
        finding that small changes are better.
        """
        told = {each.trial: each.value for each in self._store.outcomes(self.search.name)}
        fine: dict[str, StoredTrial] = {}
        for trial in self._store.trials(self.search.name):
            if told.get(trial.id) is not None:
                fine.setdefault(trial.recipe_hash, trial)
        trials = sorted(fine.values(), key=lambda trial: (-(told[trial.id] or 0.0), trial.id))
        beliefs = self._predicted(trials)
        if beliefs is None:
            trials = trials[:MOST_RANKED]
            beliefs = self._expected(trials)
        pairs = zip(trials, beliefs, strict=True)
        return self._simplest_first(sorted(pairs, key=lambda pair: (-pair[1], pair[0].id)))

    def believed(self, trials: Sequence[StoredTrial]) -> list[float]:
        """Return the expected fit score of each trial; give at least one, and only trials that succeeded.

        Beliefs are shrunken: a strategy's own where it has some (neighbours vouch for a point), else those of
        the Rasch model, so that few and lucky items do not make a winner. Those that are less than a quarter
        of an item behind the best of these trials count as equal to it. Where measures count, nothing is
        believed but what was measured.
        """
        beliefs = self._predicted(trials)
        if beliefs is None:
            beliefs = self._expected(trials)
        best = max(beliefs)
        return [best if belief >= best - self._equal else belief for belief in beliefs]

    def _predicted(self, trials: Sequence[StoredTrial]) -> list[float] | None:
        strategy = self.search.strategy
        if not isinstance(strategy, PredictingStrategy) or self.search.objectives.by_set:
            return None
        genomes = [trial.asked.genome for trial in trials]

        def predict() -> list[float] | None:
            beliefs = strategy.predict(genomes)
            n = len(genomes) if beliefs is None else len(beliefs)
            assert n == len(genomes), f"{n} beliefs of {len(genomes)} points"
            return beliefs

        return call_strategy(self.search, "predict", predict)

    def _expected(self, trials: Sequence[StoredTrial]) -> list[float]:
        if self.search.objectives.by_set:
            told = {each.trial: each.value for each in self._store.outcomes(self.search.name)}
            return [told[trial.id] or 0.0 for trial in trials]
        found = self._judge.expected(self._responses, [trial.asked.number for trial in trials])
        return [self.search.objectives.value(means) for means in found]

    def _simplest_first(self, ranked: list[tuple[StoredTrial, float]]) -> list[tuple[StoredTrial, float]]:
        simplicity = self.search.simplicity
        if simplicity is None or not ranked:
            return ranked
        least = ranked[0][1] - self._equal
        equals = [trial for trial, belief in ranked if belief >= least]
        recipes = [read_recipe(trial) for trial in equals]
        first = max(range(len(equals)), key=lambda index: (simplicity(recipes[index]), -index))
        return [ranked[first], *ranked[:first], *ranked[first + 1 :]]

    def _limits(self) -> Limits:
        like = self.search.like
        if not like:
            return self.search.limits
        costs = [cost for name in like for cost in self._store.costs(name, "fit").values()]
        return Limits(
            candidates=sum(len(self._store.trials(name)) for name in like),
            item_evaluations=sum(items for items, _ in costs),
        )

    def _begin(self) -> None:
        """Let screen and strategy know what the baselines scored."""
        scores = self._store.scores(BASELINES, "fit")
        known: dict[int, tuple[StoredTrial, Evaluation]] = {}
        for index, trial in enumerate(self._store.trials(BASELINES)):
            row = scores.get(trial.id, {})
            if not row:
                continue
            self._responses.add(-1 - index, row)
            genome = self.search.known.get(str(trial.name))
            if genome is not None:
                mine = self._as_point(trial, Trial(number=-1 - index, genome=genome))
                known[-1 - index] = mine, self._evaluation(trial, row)
        strategy, objectives = self.search.strategy, self.search.objectives
        if len(objectives.tasks) > 1 and isinstance(strategy, TaskAware):
            call_strategy(
                self.search,
                "learn_tasks",
                lambda: strategy.learn_tasks(self._judge.task_of, objectives.tasks),
            )
        if known and isinstance(strategy, InformedStrategy):
            points = self._known(known)
            call_strategy(self.search, "warm_start", lambda: strategy.warm_start(points))

    def _evaluation(self, trial: StoredTrial, row: Mapping[str, float]) -> Evaluation:
        """The scores of a baseline on fit; with its answers where a measure reads them."""
        whole = self._store.evaluation(trial.id, "fit") if self.search.objectives.by_set else None
        return whole or Evaluation(scores=_item_scores(row, self._items))

    def _as_point(self, baseline: StoredTrial, mine: Trial) -> StoredTrial:
        """A baseline as the point of the space that it is, with the recipe of its genome."""
        new = new_trial(mine, self.search.space.decode(mine.genome))
        return replace(baseline, asked=mine, recipe=new.recipe, recipe_hash=new.recipe_hash)

    def _known(self, known: Mapping[int, tuple[StoredTrial, Evaluation]]) -> list[Outcome]:
        found = {number: evaluation for number, (_, evaluation) in known.items()}
        if self.search.objectives.is_plain:
            return [Outcome(trial=trial.asked, scores=each.scores) for trial, each in known.values()]
        stored = self._judged([trial for trial, _ in known.values()], found)
        return [
            self._outcome(trial, each.scores, line)
            for (trial, each), line in zip(known.values(), stored, strict=True)
        ]

    def _told_again(self, trials: Sequence[StoredTrial], past: EarlierSessions) -> Tell:
        """Count and remember trials that were told in an earlier session; return what was told."""
        before = self._spent.items
        outcomes: list[Outcome] = []
        for trial in trials:
            stored, row = past.outcomes[trial.id], past.scores.get(trial.id, {})
            items, seconds = past.costs.get(trial.id, (0, 0.0))
            self._count(items, seconds)
            self._remember(trial.asked.number, row)
            scores = () if stored.failure is not None else _item_scores(row, self._items)
            evaluation = Evaluation(scores=scores, failure=stored.failure)
            self._tell_ended(trial, TrialEvaluation(evaluation=evaluation, replayed=True))
            outcomes.append(self._outcome(trial, scores, stored))
        self._note_idle(before, len(trials))
        self._tell_told(outcomes)
        return Tell(outcomes=outcomes)

    def _remember(self, number: int, row: Mapping[str, float]) -> None:
        """Keep what a trial scored, of one that failed what it scored before: as a replay reads it."""
        if row:
            self._responses.add(number, row)

    def _outcomes(self, trials: Sequence[StoredTrial], found: Mapping[int, Evaluation]) -> list[Outcome]:
        stored = self._judged(trials, found)
        self._store.add_outcomes(stored)
        pairs = zip(trials, stored, strict=True)
        return [self._outcome(trial, found[trial.asked.number].scores, each) for trial, each in pairs]

    def _judged(self, trials: Sequence[StoredTrial], found: Mapping[int, Evaluation]) -> list[StoredOutcome]:
        """What counts of each trial; ``found`` is by its number."""
        fine = {number: each for number, each in found.items() if each.failure is None}
        means, objectives = self._judge.means(fine, self._responses), self.search.objectives
        stored: list[StoredOutcome] = []
        for trial in trials:
            evaluation, mine = found[trial.asked.number], means.get(trial.asked.number)
            stored.append(
                StoredOutcome(
                    trial=trial.id,
                    failure=evaluation.failure,
                    value=None if mine is None else objectives.value(mine),
                    objectives=() if mine is None else objectives.values(mine, trial),
                    is_partial=0 < len(evaluation.scores) < len(self._items),
                )
            )
        return stored

    def _outcome(self, trial: StoredTrial, scores: tuple[ItemScore, ...], stored: StoredOutcome) -> Outcome:
        return Outcome(
            trial=trial.asked,
            scores=scores,
            failure=stored.failure,
            value=stored.value if stored.is_partial or not self.search.objectives.is_plain else None,
            objectives=stored.objectives,
            is_partial=stored.is_partial,
        )

    def _note_idle(self, before: int, n: int) -> None:
        self._spent.idle = 0 if self._spent.items > before else self._spent.idle + n

    def _count(self, items: int, seconds: float) -> None:
        self._spent.trials += 1
        self._spent.items += items
        self._spent.seconds += seconds

    def _tell_ended(self, trial: StoredTrial, measured: TrialEvaluation, *, again: bool = False) -> None:
        self._ended += not again
        self._notify(
            Event(
                kind="more" if again else "ended",
                search=self.search.name,
                split="fit",
                done=self._ended,
                total=self._total,
                trial=trial,
                evaluation=measured.evaluation,
                replayed=measured.replayed,
            )
        )

    def _tell_told(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._notify(
                Event(
                    kind="told",
                    search=self.search.name,
                    split="fit",
                    done=outcome.trial.number + 1,
                    total=self._total,
                    value=outcome.score,
                    is_estimate=outcome.is_partial,
                    raw=self._raw(outcome),
                    n_raw=len(outcome.scores),
                )
            )

    def _raw(self, outcome: Outcome) -> float | None:
        """What was measured of an outcome: without answers, its items alone."""
        if self.search.objectives.by_set:
            return outcome.score
        return self._judge.value(Evaluation(scores=outcome.scores, failure=outcome.failure))


class SearchRun(AnySearchRun):
    """Runs one search of a journey generation by generation, or the rest of it."""

    def _search(self, past: EarlierSessions, limits: Limits, most: int) -> None:
        batch, trials = self._resume(past)
        while trials := trials or self._ask(batch, limits, most):
            before = self._spent.items
            outcomes = self._measured(trials, batch)
            self._note_idle(before, len(trials))
            self._strategist.tell(outcomes)
            batch, trials = batch + 1, []

    def _resume(self, past: EarlierSessions) -> tuple[int, list[StoredTrial]]:
        """Go to where earlier sessions ended; return the generation that comes next, if it was begun."""
        steps: list[Step] = []
        begun: list[StoredTrial] = []
        with paused_garbage_collection():
            logged = _by_batch(self._store.trials(self.search.name))
            for trials in logged.values():
                steps.append(Ask(trials=trials))
                if any(trial.id not in past.outcomes for trial in trials):
                    begun = trials
                else:
                    steps.append(self._told_again(trials, past))
        self._strategist.catch_up(steps)
        return len(logged) - bool(begun), begun

    def _ask(self, batch: int, limits: Limits, most: int) -> list[StoredTrial]:
        """A new generation; nothing when the budget is spent, or there is no more to try."""
        wanted = call_strategy(self.search, "batch", self._wanted)
        n = self._spent.room(limits, wanted, most)
        return self._asked(batch, n, self._spent.trials) if n > 0 else []

    def _wanted(self) -> int:
        check_strategy(f"search '{self.search.name}'", self.search.strategy)
        return int(self.search.strategy.batch)

    def _measured(self, trials: Sequence[StoredTrial], batch: int) -> list[Outcome]:
        """Score a generation, round by round, and log what the strategy is told of it."""
        by_number = {trial.asked.number: trial for trial in trials}
        rounds = self._screen.rounds(self._responses, list(by_number), batch)
        found: dict[int, TrialEvaluation] = {}
        failed: set[int] = set()
        while (step := rounds.next(self._responses, failed)) is not None:
            items = [self._items[column] for column in step.items]
            requests = [ScoringRequest(trial=by_number[n], split="fit", items=items) for n in step.trials]
            new: dict[int, TrialEvaluation] = {}
            for trial, measured in self._measurer.measure_all(requests):
                self._tell_ended(trial, measured, again=trial.asked.number in found)
                new[trial.asked.number] = measured
            for number in step.trials:  # in order of asking, whatever the order of finishing
                evaluation = new[number].evaluation
                if evaluation.failure is not None:
                    failed.add(number)
                self._remember(number, self._store.scores_of(by_number[number].id, "fit"))
                found[number] = new[number]
        outcomes = self._outcomes(trials, {number: each.evaluation for number, each in found.items()})
        costs = self._store.costs(self.search.name, "fit", batch)
        for trial in trials:
            self._count(*costs[trial.id])
        self._tell_told(outcomes)
        return outcomes


def new_trial(trial: Trial, recipe: Recipe, name: str | None = None) -> NewTrial:
    """Make the row of a trial; baselines have names."""
    text = json.dumps(recipe.to_dict(), ensure_ascii=False)
    return NewTrial(asked=trial, recipe=text, recipe_hash=recipe.hash, name=name)


def _item_scores(row: Mapping[str, float], items: Sequence[str]) -> tuple[ItemScore, ...]:
    return tuple([ItemScore(item, row[item], "") for item in items if item in row])


def _by_batch(trials: Sequence[StoredTrial]) -> dict[int, list[StoredTrial]]:
    batches: dict[int, list[StoredTrial]] = {}
    for trial in trials:
        batches.setdefault(trial.batch, []).append(trial)
    return batches
