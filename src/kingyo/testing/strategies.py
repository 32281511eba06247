"""Contract tests for strategies: subclass them in pytest and implement ``make``.

class TestMine(StrategyContract):
    def make(self, axes, seed):
        return Mine(axes, seed, Mine.Settings())
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from kingyo.core.types import Axis, Genome, InformedStrategy, Outcome, Strategy, Trial
from kingyo.testing import raises

MIXED_AXES = (
    Axis(name="weight", low=-0.5, high=1.5, start=1.0),
    Axis(name="density", low=0.0, high=1.0),
    Axis(name="layers", low=-2, high=7, kind="int"),
    Axis(name="used", low=0, high=1, kind="binary"),
    Axis(name="method", low=0, high=2, kind="categorical", choices=("linear", "ties", "slerp")),
)
FLOAT_AXES = (
    Axis(name="weight/a", low=-0.5, high=1.5, start=1.0),
    Axis(name="weight/b", low=0.0, high=1.0),
    Axis(name="density", low=0.1, high=0.2),
)


def scored(trial: Trial, *scores: float) -> Outcome:
    return Outcome(trial=trial, items={f"item-{i}": score for i, score in enumerate(scores)})


def failed(trial: Trial, reason: str = "the model answered nothing but NaN") -> Outcome:
    return Outcome(trial=trial, failure=reason)


Event = int | tuple[Outcome, ...]
"""An event of a search's log: the number of trials of an ask, or the outcomes of a tell."""


class StrategyContract:
    """Contract of a strategy. Subclass it and implement ``make``; restrict ``axes`` if needed."""

    axes: tuple[Axis, ...] = MIXED_AXES  # the search space, for a strategy that supports only some kinds
    exhaustible: bool = False  # whether the strategy may run out of points in this space, such as a grid

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        raise NotImplementedError("implement make: return a new strategy")

    def evaluate(self, trial: Trial) -> Outcome:
        """Return the outcome of a trial; by default a smooth score, and a failure for one trial in seven."""
        if trial.number % 7 == 3:
            return failed(trial)
        return scored(trial, self.score(trial.genome))

    def score(self, genome: Genome) -> float:
        places = [(g - a.low) / (a.high - a.low) for a, g in zip(self.axes, genome, strict=True)]
        return 1 - sum((place - 1 / 3) ** 2 for place in places) / len(places)

    def test_numbers_count_on_from_zero(self) -> None:
        """Trials are numbered from 0 over all asks; an ask for none returns none. The batch is an int."""
        strategy = self.make(self.axes, 0)
        batch: object = strategy.batch
        assert isinstance(batch, int) and batch >= 1, f"batch is {batch!r}"
        trials = [*strategy.ask(2), *strategy.ask(0), *strategy.ask(3)]
        self._expect_count(len(trials), 5)
        assert [trial.number for trial in trials] == list(range(len(trials)))

    def test_genomes_respect_bounds_and_kinds(self) -> None:
        for seed in range(3):
            trials, _ = self._search(self.make(self.axes, seed), generations=6)
            self._expect_genomes(trials)

    def test_parents_are_earlier_trials(self) -> None:
        trials, _ = self._search(self.make(self.axes, 1), generations=6)
        for trial in trials:
            assert all(0 <= parent < trial.number for parent in trial.parents), trial
            assert len(set(trial.parents)) == len(trial.parents), f"{trial} names a parent twice"

    def test_asks_do_not_wait_for_tells(self) -> None:
        strategy = self.make(self.axes, 0)
        asks = (strategy.batch, 1, 3 * strategy.batch + 1)
        trials = [trial for n in asks for trial in strategy.ask(n)]
        self._expect_count(len(trials), sum(asks))
        self._expect_genomes(trials)

    def test_replay_asks_the_same(self) -> None:
        """Outcomes may arrive in parts, late or never; a replay of the log proposes the same trials."""
        trials, log = self._untidy_search(self.make(self.axes, 5))
        assert [trial.number for trial in trials] == list(range(len(trials)))
        self._expect_genomes(trials)
        assert _replay(self.make(self.axes, 5), log) == trials

    def test_order_of_tells_does_not_matter(self) -> None:
        def one_by_one(strategy: Strategy, outcomes: list[Outcome]) -> None:
            for outcome in outcomes[::-1]:
                strategy.tell([outcome])

        self._expect_twin(lambda strategy, outcomes: strategy.tell(outcomes[::-1]))
        self._expect_twin(one_by_one)

    def test_repeated_and_empty_tells_are_ignored(self) -> None:
        past: list[Outcome] = []

        def repeat(strategy: Strategy, outcomes: list[Outcome]) -> None:
            past.extend(outcomes)
            strategy.tell([])
            strategy.tell([*outcomes, *outcomes[:1]])
            strategy.tell(past)

        self._expect_twin(repeat)

    def test_failures_do_not_stop_it(self) -> None:
        strategy = self.make(self.axes, 0)
        for succeeds in (False, False, True, True, False, False):
            trials = strategy.ask(strategy.batch)
            self._expect_genomes(trials)
            strategy.tell([self.evaluate(trial) if succeeds else failed(trial) for trial in trials])

    def test_several_objectives_are_taken(self) -> None:
        self._expect_taken(_of_two)

    def test_partial_scores_are_taken(self) -> None:
        self._expect_taken(_cut_short)

    def test_known_points_are_learned(self) -> None:
        trials, log = self._search(self._informed(), generations=4)
        self._expect_genomes(trials)
        assert all(parent >= 0 for trial in trials for parent in trial.parents), "a known point is a parent"
        assert _replay(self._informed(), log) == trials

    def test_wrong_outcomes_are_refused(self) -> None:
        """A trial that was never asked, another genome or a NaN score is an error and changes nothing."""

        def swap(trials: list[Trial]) -> Outcome:
            other = next(t for t in trials if t.genome != trials[0].genome)
            return scored(Trial(number=0, genome=other.genome, parents=trials[0].parents), 0.5)

        self._expect_refusal(lambda trials: scored(Trial(number=999_999, genome=trials[0].genome), 0.5))
        self._expect_refusal(swap)
        self._expect_refusal(lambda trials: scored(trials[0], math.nan))

    def _informed(self) -> Strategy:
        strategy, known = self.make(self.axes, 0), self.make(self.axes, 9).ask(3)
        trials = [Trial(number=-1 - index, genome=trial.genome) for index, trial in enumerate(known)]
        if isinstance(strategy, InformedStrategy):
            strategy.warm_start([each for each in map(self.evaluate, trials) if each.failure is None])
        return strategy

    def _search(self, strategy: Strategy, generations: int) -> tuple[list[Trial], list[Event]]:
        trials: list[Trial] = []
        log: list[Event] = []
        for _ in range(generations):
            batch = strategy.batch
            asked = strategy.ask(batch)
            outcomes = tuple(self.evaluate(trial) for trial in asked)
            strategy.tell(outcomes)
            trials += asked
            log += [batch, outcomes]
        return trials, log

    def _untidy_search(self, strategy: Strategy) -> tuple[list[Trial], list[Event]]:
        """Search like a cluster: varying counts; outcomes in parts, late, out of order, or missing."""
        chance = random.Random(11)
        trials: list[Trial] = []
        log: list[Event] = []
        waiting: list[Trial] = []
        for _ in range(25):
            n = chance.randint(0, strategy.batch)
            asked = strategy.ask(n)
            trials += asked
            waiting += [trial for trial in asked if trial.number % 10 != 9]
            chance.shuffle(waiting)
            cut = chance.randint(0, len(waiting))
            outcomes = tuple(self.evaluate(trial) for trial in waiting[:cut])
            waiting = waiting[cut:]
            strategy.tell(outcomes)
            log += [n, outcomes]
        return trials, log

    def _expect_taken(self, changed: Callable[[Outcome], Outcome]) -> None:
        strategy = self.make(self.axes, 0)
        for _ in range(4):
            strategy.tell([changed(self.evaluate(trial)) for trial in strategy.ask(strategy.batch)])
        self._expect_genomes(strategy.ask(strategy.batch))

    def _expect_twin(self, tell: Callable[[Strategy, list[Outcome]], None]) -> None:
        plain, twin = self.make(self.axes, 3), self.make(self.axes, 3)
        for generation in range(5):
            n = plain.batch + generation % 3
            trials = plain.ask(n)
            assert twin.ask(n) == trials, f"other trials after generation {generation}"
            outcomes = [self.evaluate(trial) for trial in trials]
            plain.tell(outcomes)
            tell(twin, list(outcomes))

    def _expect_refusal(self, wrong: Callable[[list[Trial]], Outcome]) -> None:
        plain, twin = self.make(self.axes, 3), self.make(self.axes, 3)
        trials = plain.ask(plain.batch + 1)
        assert twin.ask(twin.batch + 1) == trials
        outcomes = [self.evaluate(trial) for trial in trials]
        for told in ([wrong(trials)], [*outcomes[1:], wrong(trials)]):
            assert raises(ValueError, lambda told=told: twin.tell(told)), "a wrong outcome is taken"
        plain.tell(outcomes)
        twin.tell(outcomes)
        assert twin.ask(5) == plain.ask(5), "a refused tell changed the search"

    def _expect_count(self, asked: int, wanted: int) -> None:
        is_right = asked <= wanted if self.exhaustible else asked == wanted
        assert is_right, f"asked for {wanted} trials, got {asked}"

    def _expect_genomes(self, trials: Sequence[Trial]) -> None:
        for genome in (trial.genome for trial in trials):
            assert isinstance(genome, tuple), "a genome is a tuple"  # pyright: ignore[reportUnnecessaryIsInstance]
            for axis, gene in zip(self.axes, genome, strict=True):
                assert type(gene) is float, f"{axis.name}: a gene is a float, got {type(gene).__name__}"
                assert axis.low <= gene <= axis.high, f"{axis.name}: {gene} is out of bounds"
                assert axis.kind == "float" or gene.is_integer(), f"{axis.name}: {gene} is not whole"


def _of_two(outcome: Outcome) -> Outcome:
    score = outcome.score
    return outcome if score is None else replace(outcome, objectives=(score, 1 - score**2), value=score)


def _cut_short(outcome: Outcome) -> Outcome:
    score = outcome.score
    if score is None or outcome.trial.number % 2:
        return outcome
    return replace(outcome, value=score * 0.9, is_partial=True)


def _replay(strategy: Strategy, log: Sequence[Event]) -> list[Trial]:
    trials: list[Trial] = []
    for event in log:
        if isinstance(event, int):
            trials += strategy.ask(event)
        else:
            strategy.tell(event)
    return trials
