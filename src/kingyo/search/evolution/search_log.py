"""The log of a search: ask trials, tell outcomes, repeat stored ones, and count the cost."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import TypeVar, cast

from kingyo.core.types import (
    Axis,
    Evaluation,
    FiniteStrategy,
    InformedStrategy,
    ItemScore,
    Outcome,
    TaskAware,
    Trial,
)
from kingyo.core.user_code.timeout import TooSlowError, within_on_main
from kingyo.errors import KingyoError, crashes_as_errors
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import Screen
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.search.evolution.types import (
    BASELINES,
    BudgetSpent,
    Event,
    Limits,
    Search,
    expected_trials,
    in_candidates,
)
from kingyo.search.strategies.base import check_strategy
from kingyo.stats.irt import Responses
from kingyo.store import RunStore, StoredTrial


class SearchLog:
    """Connects the strategy of a search with the store; every step is stored before the next.

    ``stored`` has the outcomes of earlier sessions, in the order in which they were told.
    """

    def __init__(
        self, search: Search, store: RunStore, items: Sequence[str], notify: Callable[[Event], None]
    ) -> None:
        self.search, self.store, self.items = search, store, list(items)
        self.scorer = Scorer(search.objectives, store.items()["fit"])
        self.responses = Responses(self.items)
        self.spent = BudgetSpent()
        self.notify = notify
        self.stored: Mapping[int, Outcome] = {}
        self._stored_scores: dict[int, dict[str, float]] = {}
        self._screen = Screen(search.screen, search.seed, self.scorer.strata)
        self._most_items = self._screen.most_items(len(self.items))
        self._limits = search.limits
        self._n_told = 0
        self._n_evaluated = 0
        self._total: int | None = None

    def begin(self) -> None:
        search, store = self.search, self.store
        if search.name not in store.searches():
            store.add_search(search.name, search.description)
        self.stored = store.outcomes(search.name)
        self._stored_scores = store.scores(search.name, "fit") if self.stored else {}
        if search.like:
            costs = [cost for name in search.like for cost in store.costs(name, "fit").values()]
            learned = sum(each.items for name in search.like for each in store.lessons(name).values())
            trials = sum(len(store.trials(name)) for name in search.like)
            self._limits = Limits.model_construct(  # 0 is possible
                candidates=trials + in_candidates(learned, self._most_items),
                item_evaluations=sum(items for items, _ in costs),
            )
        self._total = expected_trials(self._limits, self._most_items)
        if isinstance(search.strategy, FiniteStrategy):
            size = search.strategy.size
            self._total = size if self._total is None else min(size, self._total)
        self.notify(Event(kind="phase", search=search.name, split="fit", total=self._total))

    def warm_start(self) -> None:
        """Add the baselines' scores, and pass those in the space to the strategy, as trials -1, -2, …"""
        search, strategy = self.search, self.search.strategy
        scores = self.store.scores(BASELINES, "fit")
        points: list[StoredTrial] = []
        evaluations: dict[int, Evaluation] = {}
        for number, trial in enumerate(self.store.trials(BASELINES), 1):
            row, genome = scores.get(trial.id, {}), search.known.get(str(trial.name))
            if row:
                self.responses.add(-number, row)
            if row and genome is not None:
                new = new_trial(Trial(number=-number, genome=genome), search.space.decode(genome))
                points.append(replace(trial, asked=new.asked, recipe=new.recipe, recipe_hash=new.recipe_hash))
                with_answers = (
                    self.store.evaluation(trial.id, "fit") if search.objectives.need_answers else None
                )
                evaluations[-number] = with_answers or Evaluation(scores=self._item_scores(row))
        if len(search.objectives.tasks) > 1 and isinstance(strategy, TaskAware):
            weights = search.objectives.tasks
            call_strategy(search, "learn_tasks", lambda: strategy.learn_tasks(self.scorer.task_of, weights))
        if points and isinstance(strategy, InformedStrategy):
            if search.objectives.is_plain:
                outcomes = [
                    Outcome(trial=each.asked, items=evaluations[each.asked.number].items) for each in points
                ]
            else:
                outcomes = self._outcomes(points, evaluations)
            call_strategy(search, "warm_start", lambda: strategy.warm_start(outcomes))

    @property
    def batch(self) -> int:
        search = self.search

        def size() -> int:
            check_strategy(f"search '{search.name}'", search.strategy)
            return int(search.strategy.batch)

        return call_strategy(search, "batch", size)

    def room(self, batch: int) -> int:
        return self.spent.room(self._limits, batch, self._most_items)

    def items_of(self, batch: int) -> list[str]:
        return [self.items[column] for column in self._screen.columns(self.responses, batch)]

    def ask(self, batch: int, n: int, first: int) -> list[StoredTrial]:
        """Ask for n trials, numbered from ``first``, and store them; none if the space is exhausted."""
        trials = self._ask(n, first) if n > 0 else []
        if not trials:
            return []
        new = [new_trial(trial, self.search.space.decode(trial.genome)) for trial in trials]
        return self.store.add_trials(self.search.name, batch, new, self._n_told)

    def ask_again(self, stored: Sequence[StoredTrial]) -> None:
        trials = self._ask(len(stored), stored[0].asked.number)
        if trials != [trial.asked for trial in stored]:
            expected = f"the strategy to ask for the stored batch {stored[0].batch} again"
            remedy = (
                "Resume with the versions of kingyo and its libraries, and the processor, of the beginning."
            )
            raise KingyoError(f"search '{self.search.name}'", expected, "other genomes", remedy)

    def tell(self, trials: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]) -> None:
        outcomes = self._outcomes(trials, evaluations)
        self.store.add_outcomes(dict(zip([trial.id for trial in trials], outcomes, strict=True)))
        self._tell(trials, outcomes)

    def tell_again(self, trials: Sequence[StoredTrial]) -> None:
        """Tell stored outcomes, with their trials reported as replayed."""
        outcomes: list[Outcome] = []
        for trial in trials:
            stored, row = self.stored[trial.id], self._stored_scores.pop(trial.id, {})
            self.add_scores(trial, row)
            scores = () if stored.failure is not None else self._item_scores(row)
            evaluation = Evaluation(scores=scores, failure=stored.failure, replayed=True)
            self.report_evaluation(trial, evaluation)
            outcomes.append(replace(stored, items=evaluation.items))
        self._tell(trials, outcomes)

    def add_scores(self, trial: StoredTrial, row: Mapping[str, float]) -> None:
        if row:
            self.responses.add(trial.asked.number, row)

    def report_evaluation(self, trial: StoredTrial, evaluation: Evaluation) -> None:
        self._n_evaluated += 1
        self.notify(Event.of(trial, "fit", evaluation, self._n_evaluated, self._total))

    def _item_scores(self, row: Mapping[str, float]) -> tuple[ItemScore, ...]:
        return tuple([ItemScore(item, row[item], "") for item in self.items if item in row])

    def _outcomes(
        self, trials: Sequence[StoredTrial], evaluations: Mapping[int, Evaluation]
    ) -> list[Outcome]:
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

    def _tell(self, trials: Sequence[StoredTrial], outcomes: Sequence[Outcome]) -> None:
        name, is_plain = self.search.name, self.search.objectives.is_plain
        costs, lessons = self.store.costs(name, "fit", trials[0].batch), self.store.lessons(name)
        self.spent.add([costs.get(trial.id, (0, 0.0)) for trial in trials])
        self.spent.learned += sum(lessons[trial.id].items for trial in trials if trial.id in lessons)
        told = [  # a mean of all items is no estimate
            replace(each, value=None) if is_plain and each.failure is None and not each.is_partial else each
            for each in outcomes
        ]
        for outcome in told:
            self.notify(
                Event(
                    kind="told",
                    search=name,
                    split="fit",
                    done=outcome.trial.number + 1,
                    total=self._total,
                    value=outcome.score,
                    is_estimate=outcome.is_partial,
                )
            )
        call_strategy(self.search, "tell", lambda: self.search.strategy.tell(told))
        self._n_told += len(told)

    def _ask(self, n: int, first: int) -> list[Trial]:
        """Ask for trials and check them; genomes and parents become plain tuples, as the store has them."""

        def asked() -> list[Trial]:
            answer = cast(object, self.search.strategy.ask(n))
            trials = cast("list[object]", answer) if isinstance(answer, list | tuple) else None
            if trials is None or not all(isinstance(trial, Trial) for trial in trials):
                raise _invalid(self.search, first, "a list of trials", repr(cast(object, answer))[:80])
            if len(trials) > n:
                raise _invalid(self.search, first + n, f"at most {n} trials", str(len(trials)))
            return [_checked(self.search, cast(Trial, trial), k) for k, trial in enumerate(trials, first)]

        return call_strategy(self.search, "ask", asked)


T = TypeVar("T")
FIX_STRATEGY = "Fix the strategy; kingyo.testing.strategies holds its contract. What was scored is stored."


def call_strategy(search: Search, name: str, call: Callable[[], T]) -> T:
    """Return the result of a call of a strategy; its crash, or its time limit, becomes a KingyoError."""
    argument = f"search '{search.name}': {name} of {type(search.strategy).__name__}"
    with crashes_as_errors(argument, expected="a call that succeeds", remedy=FIX_STRATEGY):
        try:
            return within_on_main(search.timeout, call)
        except TooSlowError as error:
            expected = f"a call that returns within {search.timeout:g} s (search.timeout)"
            raise KingyoError(argument, expected, "one that does not", FIX_STRATEGY) from error


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
    where = f"search '{search.name}': trial {number} of {type(search.strategy).__name__}"
    return KingyoError(where, expected, received, FIX_STRATEGY)
