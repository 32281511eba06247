"""The log of a search: ask trials, score outcomes, tell the strategy, and count the cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from kingyo.core.types import Evaluation, FiniteStrategy, Outcome
from kingyo.search.evolution.ask_tell import StrategyDriver
from kingyo.search.evolution.limits import BudgetSpent, Limits, expected_trials, in_candidates
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import Screen
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.search.evolution.types import Event, Search
from kingyo.stats.irt import Responses
from kingyo.store import RunStore, StoredTrial


class SearchLog:
    """Connects the strategy of a search with the store; every step is stored before the next."""

    def __init__(
        self, search: Search, store: RunStore, items: Sequence[str], notify: Callable[[Event], None]
    ) -> None:
        self.search, self.store, self.items = search, store, list(items)
        self.scorer = Scorer(search.objectives, store.items()["fit"])
        self.screen = Screen(
            search.screen, search.seed, self.scorer.strata, self.scorer.groups(self.scorer.task_of)
        )
        self.responses = Responses(self.items)
        self.spent = BudgetSpent()
        self.driver = StrategyDriver(search)
        self.notify = notify
        self._most_items = self.screen.most_items(len(self.items))
        self._limits = search.limits
        self._n_evaluated = 0
        self._total: int | None = None

    def begin(self) -> None:
        """Store the search if it is new, set its limits, and report that it begins."""
        search = self.search
        if search.name not in self.store.searches():
            self.store.add_search(search.name, search.description)
        self._limits = self._read_limits()
        self._total = expected_trials(self._limits, self._most_items)
        if isinstance(search.strategy, FiniteStrategy):
            size = search.strategy.size
            self._total = size if self._total is None else min(size, self._total)
        self.notify(Event(kind="phase", search=search.name, split="fit", total=self._total))

    def _read_limits(self) -> Limits:
        like = self.search.like
        if not like:
            return self.search.limits
        costs = [cost for name in like for cost in self.store.costs(name, "fit").values()]
        learned = sum(lesson.items for name in like for lesson in self.store.lessons(name).values())
        trials = sum(len(self.store.trials(name)) for name in like)
        return Limits(
            candidates=trials + in_candidates(learned, self._most_items),
            item_evaluations=sum(items for items, _ in costs),
        )

    def room(self, batch: int) -> int:
        """Return how many trials of a batch the budget allows."""
        return self.spent.room(self._limits, batch, self._most_items)

    def ask(self, batch: int, n: int, first: int) -> list[StoredTrial]:
        """Ask the strategy for n trials, numbered from ``first``, and store them as a batch."""
        trials = self.driver.ask(n, first)
        if not trials:
            return []
        new = [new_trial(trial, self.search.space.decode(trial.genome)) for trial in trials]
        return self.store.add_trials(self.search.name, batch, new, self.driver.n_told)

    def tell(self, trials: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]) -> None:
        """Store the outcomes of trials of one batch, count their cost, and tell the strategy."""
        outcomes = self.outcomes(trials, evaluations)
        self.store.add_outcomes(dict(zip([trial.id for trial in trials], outcomes, strict=True)))
        self.count_costs(trials)
        outcomes = [self.told(outcome) for outcome in outcomes]
        self.report(outcomes)
        self.driver.tell(outcomes)

    def count_costs(self, trials: Sequence[StoredTrial]) -> None:
        """Count the cost of evaluated trials of one batch."""
        name = self.search.name
        costs, lessons = self.store.costs(name, "fit", trials[0].batch), self.store.lessons(name)
        self.spent.add([costs.get(trial.id, (0, 0.0)) for trial in trials])
        self.spent.learned += sum(lessons[trial.id].items for trial in trials if trial.id in lessons)

    def add_scores(self, trial: StoredTrial, row: Mapping[str, float]) -> None:
        """Add item scores of a trial to the responses; a failed trial keeps the scores from before."""
        if row:
            self.responses.add(trial.asked.number, row)

    def outcomes(self, trials: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]) -> list[Outcome]:
        """Return the outcomes of trials, with their values, as they are stored."""
        successes = {number: each for number, each in evaluations.items() if each.failure is None}
        means, objectives = self.scorer.means(successes, self.responses), self.search.objectives
        outcomes: list[Outcome] = []
        for trial in trials:
            evaluation, own = evaluations[trial.asked.number], means.get(trial.asked.number)
            if own is None:
                outcomes.append(Outcome(trial=trial.asked, failure=evaluation.failure))
                continue
            outcomes.append(
                Outcome(
                    trial=trial.asked,
                    items=evaluation.items,
                    value=objectives.value(own),
                    objectives=objectives.values(own, trial, self.scorer.answers(evaluation.scores)),
                    is_partial=len(evaluation.scores) < len(self.items),
                )
            )
        return outcomes

    def told(self, outcome: Outcome) -> Outcome:
        """Return the outcome as the strategy gets it: a mean of all items is no estimate."""
        is_mean = self.search.objectives.is_plain and outcome.failure is None and not outcome.is_partial
        return replace(outcome, value=None) if is_mean else outcome

    def report_evaluation(self, trial: StoredTrial, evaluation: Evaluation, *, again: bool = False) -> None:
        """Report that a trial was evaluated; ``again`` if it was before, on fewer items."""
        self._n_evaluated += not again
        self.notify(
            Event(
                kind="more" if again else "ended",
                search=self.search.name,
                split="fit",
                done=self._n_evaluated,
                total=self._total,
                trial=trial,
                evaluation=evaluation,
                replayed=evaluation.replayed,
            )
        )

    def report(self, outcomes: Sequence[Outcome]) -> None:
        """Report that the strategy is told outcomes."""
        for outcome in outcomes:
            self.notify(
                Event(
                    kind="told",
                    search=self.search.name,
                    split="fit",
                    done=outcome.trial.number + 1,
                    total=self._total,
                    value=outcome.score,
                    is_estimate=outcome.is_partial,
                )
            )
