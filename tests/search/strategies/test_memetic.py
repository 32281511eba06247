"""Learned genomes within a search: when they are asked for, from where, and what the search makes of them."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import pytest

from kingyo.core.types import Axis, Genome, Lesson, Outcome, Strategy, Trial
from kingyo.search.strategies import build
from kingyo.search.strategies.combinators import families_of, grouping_of
from kingyo.search.strategies.memetic import LearnedSpace, Memetic
from kingyo.testing.strategies import MIXED_AXES, StrategyContract, failed, scored
from tests.search.strategies.problems import LAYERED

LESSON = Lesson(steps=3, targets=4, items=24, seconds=0.1, loss=(1.0, 0.5))
SMALL = {"settings": {"batch": 2, "initial": 2, "pool": 40, "memory": 30}}
GOAL: Genome = (1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0, 0.5, 1.0, 1.0)


def near_goal(_: int, start: Genome) -> tuple[Genome, Lesson]:
    return tuple(0.2 * gene + 0.8 * goal for gene, goal in zip(start, GOAL, strict=True)), LESSON


def outcome(trial: Trial) -> Outcome:
    distance = fmean(abs(gene - goal) for gene, goal in zip(trial.genome, GOAL, strict=True))
    return scored(trial, 1 - distance)


def searched(strategy: Memetic, n: int, learn: object = near_goal) -> list[Trial]:
    strategy.learn = learn  # type: ignore[assignment]
    trials: list[Trial] = []
    while len(trials) < n:
        batch = strategy.ask(2)
        strategy.tell([outcome(trial) for trial in batch])
        trials += batch
    return trials


def memetic(**options: object) -> Memetic:
    strategy = build("memetic", LAYERED, 0, {**SMALL, **options})
    assert isinstance(strategy, Memetic)
    return strategy


class TestMemetic(StrategyContract):
    axes = (*LAYERED, *MIXED_AXES)

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        strategy = build("memetic", axes, seed, {**SMALL, "first": 3, "every": 4})
        assert isinstance(strategy, Memetic)
        strategy.learn = lambda _, start: (tuple(start), LESSON)
        return strategy


def test_lessons_come_in_time_and_name_the_best_trial_as_their_parent() -> None:
    trials = searched(memetic(strategy="random", settings={}, first=4, every=6), 20)
    learned = [trial for trial in trials if trial.lesson is not None]
    assert [trial.number for trial in learned] == [4, 10]
    best = max(trials[:4], key=lambda trial: outcome(trial).score or 0.0)
    assert learned[0].parents == (best.number,)
    assert learned[0].genome == near_goal(4, best.genome)[0]


def test_before_the_first_lesson_families_have_one_gene_and_later_the_learned_pattern() -> None:
    trials = searched(memetic(first=4, lessons=1), 24)
    for trial in trials[:4]:
        assert len(set(trial.genome[:5])) == len(set(trial.genome[5:])) == 1
    after = trials[6:]
    assert any(len(set(trial.genome[:5])) > 1 for trial in after)
    before = max(outcome(trial).score or 0.0 for trial in trials[:4])
    assert fmean(outcome(trial).score or 0.0 for trial in after) > before


@pytest.mark.parametrize("tie", [True, False])
def test_without_lessons_it_is_the_inner_strategy_on_families_or_on_all_axes(tie: bool) -> None:
    trials = searched(memetic(first=4, tie=tie), 12, lambda _, __: None)
    groups = families_of(LAYERED, ordered=False) if tie else [[index] for index in range(len(LAYERED))]
    grouping = grouping_of(LAYERED, groups)
    inner = build("item-gp", grouping.axes, 0, SMALL["settings"])
    expected: list[Genome] = []
    while len(expected) < 12:
        batch = inner.ask(2)
        genomes = [grouping.expand(trial.genome) for trial in batch]
        own = [outcome(Trial(number=0, genome=genome)).score or 0.0 for genome in genomes]
        inner.tell([scored(trial, score) for trial, score in zip(batch, own, strict=True)])
        expected += genomes
    assert [trial.genome for trial in trials] == expected


def test_a_failed_lesson_changes_nothing() -> None:
    strategy = memetic(first=2, lessons=1)
    strategy.learn = near_goal
    first = strategy.ask(2)
    strategy.tell([outcome(trial) for trial in first])
    learned, other = strategy.ask(2)
    assert learned.lesson == LESSON
    strategy.tell([failed(learned), outcome(other)])
    for trial in strategy.ask(4):
        assert len(set(trial.genome[:5])) == 1


def test_solved_points_are_not_learned_from() -> None:
    strategy = memetic(first=2)
    strategy.learn = lambda _, __: pytest.fail("there is nothing to learn")
    for _ in range(6):
        strategy.tell([scored(trial, 1.0) for trial in strategy.ask(2)])


@pytest.mark.parametrize("n_sources", [3, 5, 9])
@pytest.mark.parametrize("learned", [0.0, 0.5, None])
def test_lessons_that_do_not_beat_the_best_end_and_narrow_nothing(
    n_sources: int, learned: float | None
) -> None:
    axes = [
        Axis(name=f"weight/s{source}/{part}", low=0.0, high=1.0, start=0.5, family=f"s{source}")
        for source in range(n_sources)
        for part in "ab"
    ]
    strategy = build("memetic", axes, 0, {"strategy": "random", "settings": {}, "first": 2, "every": 2})
    assert isinstance(strategy, Memetic)
    average = 1 / n_sources  # not always the mean of the known points, to the last bit
    weights = [[float(one == other) for other in range(n_sources)] for one in range(n_sources)]
    known = [tuple(np.repeat(row, 2).tolist()) for row in [*weights, [average] * n_sources]]
    trials = [Trial(number=-1 - number, genome=genome) for number, genome in enumerate(known)]
    strategy.warm_start([scored(trial, 0.1) for trial in trials])
    starts: list[Genome] = []

    def learn(_: int, start: Genome) -> tuple[Genome, Lesson]:
        starts.append(start)
        return tuple(0.9 * gene for gene in start), LESSON

    strategy.learn = learn
    asked: list[Trial] = []
    for _ in range(30):
        batch = strategy.ask(2)
        asked += batch
        results = [(trial, 0.8 if trial.lesson is None else learned) for trial in batch]
        strategy.tell([failed(trial) if score is None else scored(trial, score) for trial, score in results])
    assert len(starts) == 2 and starts[1] == known[-1]
    assert min(min(trial.genome) for trial in asked) < 0.1 and max(max(trial.genome) for trial in asked) > 0.9


def test_a_learned_genome_is_a_point_of_the_space_of_factors_and_strengths() -> None:
    families = grouping_of(LAYERED, families_of(LAYERED, ordered=False))
    space = LearnedSpace(axes=LAYERED, families=families)
    assert space.expand((0.3, 0.6)) == (0.3,) * 5 + (0.6,) * 5
    first = space.add_lesson(GOAL)
    assert space.expand(first) == pytest.approx(GOAL)
    zeros = (0.0,) * 5 + (1.0,) * 5
    second = space.add_lesson(zeros)
    assert space.expand(second) == pytest.approx(zeros)
    assert space.expand(space.padded(first)) == pytest.approx(GOAL)
    assert space.expand((*first[:2], 0.0, 0.0)) == (first[0],) * 5 + (first[1],) * 5
    assert [axis.name for axis in space.axes_of(None)[2:]] == ["strength of lesson 1", "strength of lesson 2"]
