"""The contract of a strategy, as tests: subclass it under pytest and say how yours is made.

    class TestMine(StrategyContract):
        def make(self, axes, seed):
            return Mine(axes, seed, Mine.Settings())

Each test states one promise of ``kingyo.types.Strategy``. They see the strategy from outside only, and need
nothing but ``assert``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kingyo.types import Axis, Genome, InformedStrategy, ItemScore, Outcome, Strategy, Trial

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
    """Build the outcome of a trial with one item per score."""
    items = tuple(ItemScore(item=f"item-{i}", score=score, answer="") for i, score in enumerate(scores))
    return Outcome(trial=trial, scores=items)


def failed(trial: Trial, reason: str = "the model answered nothing but NaN") -> Outcome:
    """Build the outcome of a trial that failed."""
    return Outcome(trial=trial, failure=reason)


@dataclass(frozen=True)
class Asked:
    """An event of a search's log: n trials were asked for."""

    n: int


Event = Asked | tuple[Outcome, ...]


class StrategyContract:
    """What every strategy promises. Subclass it, implement ``make``; narrow ``axes`` if need be.

    Attributes:
        axes: the space that the tests search; for a strategy of one kind of axis, give only those.
        exhaustible: true for a strategy that may run out of points in this space, such as a grid.
    """

    axes: tuple[Axis, ...] = MIXED_AXES
    exhaustible: bool = False

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        """Make a new strategy."""
        raise NotImplementedError("a contract test says how its strategy is made")

    def evaluate(self, trial: Trial) -> Outcome:
        """Give a trial its outcome; by default a smooth score, and a failure for one trial in seven."""
        if trial.number % 7 == 3:
            return failed(trial)
        return scored(trial, self.score(trial.genome))

    def score(self, genome: Genome) -> float:
        """Score a genome in [0, 1]: best at a third of each axis."""
        places = [(g - a.low) / (a.high - a.low) for a, g in zip(self.axes, genome, strict=True)]
        return 1 - sum((place - 1 / 3) ** 2 for place in places) / len(places)

    # what it asks

    def test_batch_is_a_positive_whole_number(self) -> None:
        """The batch is what a runner asks for at once."""
        batch: object = self.make(self.axes, 0).batch
        assert isinstance(batch, int) and batch >= 1, f"batch is {batch!r}"

    def test_numbers_count_on_from_zero(self) -> None:
        """Trials are numbered within the search, over all asks; asking for none gives none."""
        strategy = self.make(self.axes, 0)
        trials = [*strategy.ask(2), *strategy.ask(0), *strategy.ask(3)]
        self._expect_count(len(trials), 5)
        assert [trial.number for trial in trials] == list(range(len(trials)))

    def test_genomes_respect_bounds_and_kinds(self) -> None:
        """One float per axis, inside the bounds; a whole number where the axis is not a float."""
        for seed in range(3):
            trials, _ = self._search(self.make(self.axes, seed), generations=6)
            for trial in trials:
                self._expect_genome(trial.genome)

    def test_parents_are_earlier_trials(self) -> None:
        """Parents are different numbers of trials that were asked before their child."""
        trials, _ = self._search(self.make(self.axes, 1), generations=6)
        for trial in trials:
            assert all(0 <= parent < trial.number for parent in trial.parents), f"{trial} has a later parent"
            assert len(set(trial.parents)) == len(trial.parents), f"{trial} names a parent twice"

    def test_asks_do_not_wait_for_tells(self) -> None:
        """Asked for far more than its batch, with nothing told, it still proposes."""
        strategy = self.make(self.axes, 0)
        asks = (strategy.batch, 1, 3 * strategy.batch + 1)
        trials = [trial for n in asks for trial in strategy.ask(n)]
        self._expect_count(len(trials), sum(asks))
        for trial in trials:
            self._expect_genome(trial.genome)

    # what it asks depends on axes, settings, seed and history alone

    def test_replay_asks_the_same(self) -> None:
        """The log of asks and tells is the state: replayed into a new strategy, the same asks."""
        trials, log = self._untidy_search(self.make(self.axes, 5))
        assert _replay(self.make(self.axes, 5), log) == trials

    def test_global_random_state_is_neither_used_nor_changed(self) -> None:
        """Its randomness is its own."""
        python_state, numpy_state = random.getstate(), np.random.get_state()
        try:
            runs: list[list[Trial]] = []
            for noise in (1, 2):
                random.seed(noise)
                np.random.seed(noise)
                before = (random.getstate(), str(np.random.get_state()))
                runs.append(self._search(self.make(self.axes, 0), generations=3)[0])
                after = (random.getstate(), str(np.random.get_state()))
                assert before == after, "the global random state was changed"
            assert runs[0] == runs[1], "the global random state decides what it asks"
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)

    def test_order_of_tells_does_not_matter(self) -> None:
        """The same set told before the next ask, in any order and in any parts: the same next ask."""

        def reverse(strategy: Strategy, outcomes: list[Outcome]) -> None:
            strategy.tell(outcomes[::-1])

        def one_by_one(strategy: Strategy, outcomes: list[Outcome]) -> None:
            random.Random(8).shuffle(outcomes)
            for outcome in outcomes:
                strategy.tell([outcome])

        for told in (reverse, one_by_one):
            self._expect_twin(told)

    def test_repeated_tell_is_ignored(self) -> None:
        """The same outcome told again, at once or later, changes nothing."""
        past: list[Outcome] = []

        def repeat(strategy: Strategy, outcomes: list[Outcome]) -> None:
            past.extend(outcomes)
            strategy.tell([*outcomes, *outcomes[:1]])
            strategy.tell(past)

        self._expect_twin(repeat)

    def test_empty_tell_is_ignored(self) -> None:
        """Telling nothing changes nothing."""

        def pause(strategy: Strategy, outcomes: list[Outcome]) -> None:
            strategy.tell([])
            strategy.tell(outcomes)

        self._expect_twin(pause)

    # what it is told

    def test_partial_and_late_tells(self) -> None:
        """Outcomes may come in parts, generations later or never."""
        trials, _ = self._untidy_search(self.make(self.axes, 2))
        assert [trial.number for trial in trials] == list(range(len(trials)))
        for trial in trials:
            self._expect_genome(trial.genome)

    def test_failures_do_not_stop_it(self) -> None:
        """Whole generations may fail, first or later."""
        strategy = self.make(self.axes, 0)
        for generation in range(8):
            batch = strategy.batch
            trials = strategy.ask(batch)
            self._expect_count(len(trials), batch)
            for trial in trials:
                self._expect_genome(trial.genome)
            fine = generation in (3, 4)
            strategy.tell([self.evaluate(trial) if fine else failed(trial) for trial in trials])

    def test_scores_of_any_size_are_taken(self) -> None:
        """Equal, zero, negative and large scores are all finite numbers."""
        strategy = self.make(self.axes, 0)
        for value in (0.0, 0.0, -3.0, 1e6, -1e6):
            trials = strategy.ask(strategy.batch)
            strategy.tell([scored(trial, value) for trial in trials])
        for trial in strategy.ask(strategy.batch):
            self._expect_genome(trial.genome)

    def test_several_objectives_are_taken(self) -> None:
        """Outcomes may have one number per objective, and a value for who looks for one thing only."""
        strategy = self.make(self.axes, 0)
        for _ in range(4):
            trials = strategy.ask(strategy.batch)
            strategy.tell([_of_two(self.evaluate(trial)) for trial in trials])
        for trial in strategy.ask(strategy.batch):
            self._expect_genome(trial.genome)

    def test_partial_scores_are_taken(self) -> None:
        """Some trials may have been scored on some of the items only; their value is an estimate."""
        strategy = self.make(self.axes, 0)
        for _ in range(4):
            trials = strategy.ask(strategy.batch)
            strategy.tell([_cut_short(self.evaluate(trial)) for trial in trials])
        for trial in strategy.ask(strategy.batch):
            self._expect_genome(trial.genome)

    def test_known_points_are_learned(self) -> None:
        """A strategy that can learn what was measured before asks the same whenever it learns the same."""
        trials, log = self._search(self._informed(), generations=4)
        for trial in trials:
            self._expect_genome(trial.genome)
            assert all(parent >= 0 for parent in trial.parents), "a known point has no number"
        assert _replay(self._informed(), log) == trials

    def test_unknown_trial_is_refused(self) -> None:
        """A trial that was never asked cannot end; the error leaves the search as it was."""
        self._expect_refusal(lambda trials: scored(Trial(number=999_999, genome=trials[0].genome), 0.5))

    def test_other_genome_is_refused(self) -> None:
        """A trial ends with the genome that was asked."""

        def swap(trials: list[Trial]) -> Outcome:
            elsewhere = next(t for t in trials if t.genome != trials[0].genome)
            return scored(Trial(number=0, genome=elsewhere.genome, parents=trials[0].parents), 0.5)

        self._expect_refusal(swap)

    def test_contradicting_tell_is_refused(self) -> None:
        """A trial ends once: a second, different outcome is an error."""
        strategy = self.make(self.axes, 0)
        trial = strategy.ask(1)[0]
        strategy.tell([scored(trial, 0.5)])
        _expect_error(strategy, scored(trial, 0.25))
        _expect_error(strategy, failed(trial))

    def test_not_a_number_is_refused(self) -> None:
        """An evaluation without a score is a failure, not NaN."""
        self._expect_refusal(lambda trials: scored(trials[0], math.nan))

    def test_arguments_are_left_alone(self) -> None:
        """It changes neither its axes nor the outcomes, and keeps no list of the caller's."""
        axes = list(self.axes)
        strategy, twin = self.make(axes, 0), self.make(self.axes, 0)
        assert axes == list(self.axes), "the axes were changed"
        axes.clear()
        for _ in range(3):
            trials = strategy.ask(strategy.batch)
            assert twin.ask(twin.batch) == trials, "it reads the caller's list of axes after it was made"
            outcomes = [self.evaluate(trial) for trial in trials][::-1]
            given = list(outcomes)
            strategy.tell(given)
            assert given == outcomes, "the list of outcomes was changed"
            given.clear()
            trials.clear()
            twin.tell(outcomes)

    # how the tests look

    def _informed(self) -> Strategy:
        """A strategy that knows some points, if it can learn."""
        strategy = self.make(self.axes, 0)
        trials = [
            Trial(number=-1 - index, genome=trial.genome)
            for index, trial in enumerate(self.make(self.axes, 9).ask(3))
        ]
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
            log += [Asked(batch), outcomes]
        return trials, log

    def _untidy_search(self, strategy: Strategy) -> tuple[list[Trial], list[Event]]:
        """Search as a cluster would: odd counts; outcomes in parts, late, out of order, some never."""
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
            log += [Asked(n), outcomes]
        return trials, log

    def _expect_twin(self, told: Callable[[Strategy, list[Outcome]], None]) -> None:
        """Tell two equal strategies the same set, one plainly, one by ``told``: they must ask the same."""
        plain, twin = self.make(self.axes, 3), self.make(self.axes, 3)
        for generation in range(5):
            n = plain.batch + generation % 3
            trials = plain.ask(n)
            assert twin.ask(n) == trials, f"other trials after generation {generation}"
            outcomes = [self.evaluate(trial) for trial in trials]
            plain.tell(outcomes)
            told(twin, list(outcomes))

    def _expect_refusal(self, wrong: Callable[[list[Trial]], Outcome]) -> None:
        """Telling the wrong outcome, alone or among right ones, is an error and leaves no trace."""
        plain, twin = self.make(self.axes, 3), self.make(self.axes, 3)
        trials = plain.ask(plain.batch + 1)
        assert twin.ask(twin.batch + 1) == trials
        outcomes = [self.evaluate(trial) for trial in trials]
        _expect_error(twin, wrong(trials))
        _expect_error(twin, *outcomes[1:], wrong(trials))
        plain.tell(outcomes)
        twin.tell(outcomes)
        assert twin.ask(5) == plain.ask(5), "a refused tell changed the search"

    def _expect_count(self, asked: int, wanted: int) -> None:
        fine = asked <= wanted if self.exhaustible else asked == wanted
        assert fine, f"asked for {wanted} trials, got {asked}"

    def _expect_genome(self, genome: Genome) -> None:
        assert isinstance(genome, tuple), f"a genome is a tuple, got {type(genome).__name__}"  # pyright: ignore[reportUnnecessaryIsInstance]
        assert len(genome) == len(self.axes), f"{len(self.axes)} axes, genome {genome}"
        for axis, gene in zip(self.axes, genome, strict=True):
            assert type(gene) is float, f"{axis.name}: a gene is a float, got {type(gene).__name__}"
            assert axis.low <= gene <= axis.high, f"{axis.name}: {gene} is out of {axis.low}..{axis.high}"
            assert axis.kind == "float" or gene.is_integer(), f"{axis.name}: {gene} is not a whole number"


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
        if isinstance(event, Asked):
            trials += strategy.ask(event.n)
        else:
            strategy.tell(event)
    return trials


def _expect_error(strategy: Strategy, *outcomes: Outcome) -> None:
    try:
        strategy.tell(outcomes)
    except ValueError:  # KingyoError is one
        return
    raise AssertionError(f"told {outcomes[-1]}, it raised no KingyoError or ValueError")
