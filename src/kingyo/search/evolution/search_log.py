"""The log of a search: ask trials, score outcomes, tell the strategy, and count the cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import TypeVar, cast

from kingyo.core.types import Axis, Evaluation, FiniteStrategy, Outcome, Trial
from kingyo.core.user_code.timeout import TooSlowError, within_on_main
from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import Screen
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.search.evolution.types import BudgetSpent, Event, Limits, Search, expected_trials, in_candidates
from kingyo.stats.irt import Responses
from kingyo.store import RunStore, StoredTrial


class SearchLog:
    """Connects the strategy of a search with the store; every step is stored before the next."""

    def __init__(
        self, search: Search, store: RunStore, items: Sequence[str], notify: Callable[[Event], None]
    ) -> None:
        self.search, self.store, self.items = search, store, list(items)
        self.scorer = Scorer(search.objectives, store.items()["fit"])
        groups = self.scorer.groups(self.scorer.task_of)
        self.screen = Screen(search.screen, search.seed, self.scorer.strata, groups)
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
        if search.like:
            costs = [cost for name in search.like for cost in self.store.costs(name, "fit").values()]
            learned = sum(each.items for name in search.like for each in self.store.lessons(name).values())
            trials = sum(len(self.store.trials(name)) for name in search.like)
            self._limits = Limits(
                candidates=trials + in_candidates(learned, self._most_items),
                item_evaluations=sum(items for items, _ in costs),
            )
        self._total = expected_trials(self._limits, self._most_items)
        if isinstance(search.strategy, FiniteStrategy):
            size = search.strategy.size
            self._total = size if self._total is None else min(size, self._total)
        self.notify(Event(kind="phase", search=search.name, split="fit", total=self._total))

    def room(self, batch: int) -> int:
        return self.spent.room(self._limits, batch, self._most_items)

    def ask(self, batch: int, n: int, first: int) -> list[StoredTrial]:
        trials = self.driver.ask(n, first)
        if not trials:
            return []
        new = [new_trial(trial, self.search.space.decode(trial.genome)) for trial in trials]
        return self.store.add_trials(self.search.name, batch, new, self.driver.n_told)

    def tell(self, trials: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]) -> None:
        outcomes = self.outcomes(trials, evaluations)
        self.store.add_outcomes(dict(zip([trial.id for trial in trials], outcomes, strict=True)))
        self.count_costs(trials)
        outcomes = [self.told(outcome) for outcome in outcomes]
        self.report(outcomes)
        self.driver.tell(outcomes)

    def count_costs(self, trials: Sequence[StoredTrial]) -> None:
        name = self.search.name
        costs, lessons = self.store.costs(name, "fit", trials[0].batch), self.store.lessons(name)
        self.spent.add([costs.get(trial.id, (0, 0.0)) for trial in trials])
        self.spent.learned += sum(lessons[trial.id].items for trial in trials if trial.id in lessons)

    def add_scores(self, trial: StoredTrial, row: Mapping[str, float]) -> None:
        """Add item scores of a trial to the responses; a failed trial keeps the scores from before."""
        if row:
            self.responses.add(trial.asked.number, row)

    def outcomes(self, trials: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]) -> list[Outcome]:
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


T = TypeVar("T")
FIX_STRATEGY = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


def call_strategy(search: Search, name: str, call: Callable[[], T]) -> T:
    """Return the result of a call of a strategy; its crash, or its time limit, becomes a KingyoError."""
    argument = f"search '{search.name}': {name} of {type(search.strategy).__name__}"
    with crashes_as_errors(argument, expected="a call that succeeds", remedy=FIX_STRATEGY):
        try:
            return within_on_main(search.timeout, call)
        except TooSlowError as error:
            raise KingyoError(
                argument,
                expected=f"a call that returns within {search.timeout:g} s (search.timeout)",
                received="one that does not",
                remedy=FIX_STRATEGY,
            ) from error


class StrategyDriver:
    """Asks and tells the strategy of a search.

    The stored log of asks and tells is the whole state of a search: to resume, both are repeated with a new
    strategy, which must ask for the stored trials.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self.n_told = 0

    def ask(self, n: int, first: int) -> list[Trial]:
        """Ask for n trials, numbered from ``first``, and check them.

        Returns:
            The trials, with genomes and parents as plain tuples of numbers, as the store returns them.
        """
        return call_strategy(self._search, "ask", lambda: self._asked(n, first))

    def _asked(self, n: int, first: int) -> list[Trial]:
        asked = cast(object, self._search.strategy.ask(n))
        trials = cast("list[object]", asked) if isinstance(asked, list | tuple) else None
        if trials is None or not all(isinstance(trial, Trial) for trial in trials):
            raise _invalid(self._search, first, "a list of trials", repr(cast(object, asked))[:80])
        if len(trials) > n:
            raise _invalid(self._search, first + n, f"at most {n} trials", str(len(trials)))
        return [_checked(self._search, cast(Trial, trial), k) for k, trial in enumerate(trials, first)]

    def ask_again(self, stored: Sequence[StoredTrial]) -> None:
        trials = self.ask(len(stored), stored[0].asked.number)
        if trials != [trial.asked for trial in stored]:
            raise KingyoError(
                f"search '{self._search.name}'",
                expected=f"the strategy to ask for the stored batch {stored[0].batch} again",
                received="other genomes",
                remedy="Resume with the versions of kingyo and its libraries, and on the kind of processor, "
                "that began the run.",
            )

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        call_strategy(self._search, "tell", lambda: self._search.strategy.tell(outcomes))
        self.n_told += len(outcomes)


def _checked(search: Search, trial: Trial, number: int) -> Trial:
    axes, genome, parents = search.space.axes, tuple(trial.genome), tuple(trial.parents)
    if trial.number != number:
        raise _invalid(search, trial.number, f"the number {number}", str(trial.number))
    if len(genome) != len(axes):
        raise _invalid(search, number, f"{len(axes)} genes", str(len(genome)))
    for axis, gene in zip(axes, genome, strict=True):
        if not _fits(axis, gene):
            kind = "a number" if axis.kind == "float" else "a whole number"
            expected = f"{kind} from {axis.low:g} to {axis.high:g} on axis {axis.name}"
            raise _invalid(search, number, expected, repr(gene))
    if not all(isinstance(parent, Integral) and parent < number for parent in parents):
        raise _invalid(search, number, "numbers of earlier trials as its parents", repr(parents))
    return replace(trial, genome=tuple(map(float, genome)), parents=tuple(map(int, parents)))


def _fits(axis: Axis, gene: object) -> bool:
    if not isinstance(gene, Real):
        return False
    number = float(cast(float, gene))
    inside = math.isfinite(number) and axis.low <= number <= axis.high
    return inside and (axis.kind == "float" or number.is_integer())


def _invalid(search: Search, number: int, expected: str, received: str) -> KingyoError:
    return KingyoError(
        f"search '{search.name}': trial {number} of {type(search.strategy).__name__}",
        expected=expected,
        received=received,
        remedy=FIX_STRATEGY,
    )
