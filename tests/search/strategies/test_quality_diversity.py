"""CycleQD: the contract, archives, children, and what it finds."""

import itertools
import statistics
from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest

from kingyo.core.types import Axis, Outcome, Strategy, Trial
from kingyo.search.strategies import build
from kingyo.search.strategies.quality_diversity import (
    Archive,
    GridAxis,
    elite_weights,
    linear_mix,
    singular_root,
    singular_step,
)
from kingyo.testing.strategies import MIXED_AXES, StrategyContract, failed
from tests.search.strategies.problems import Objectives, floats, informed, judged, work_on_several

# ---- the contract


class TestCycleQdOfThreeTasks(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cycleqd", axes, seed, {"population": 4})

    def evaluate(self, trial: Trial) -> Outcome:
        outcome = super().evaluate(trial)
        if outcome.score is None:
            return outcome
        first = (trial.genome[0] - self.axes[0].low) / (self.axes[0].high - self.axes[0].low)
        return judged(trial, (outcome.score, first, 1 - first), partial=trial.number % 5 == 2)


# ---- archives


def test_cells_contain_their_lower_end_and_the_outer_ones_all_beyond() -> None:
    values = (0.0, 0.2499, 0.25, 0.5, 0.9999, 1.0, -7.0, 7.0)
    assert [GridAxis(low=0.0, high=1.0, cells=4).cell(value) for value in values] == [0, 0, 1, 2, 3, 3, 0, 3]
    for cells in (3, 7, 50, 100):
        axis = GridAxis(low=0.0, high=1.0, cells=cells)
        assert [axis.cell(right / cells) for right in range(cells)] == list(range(cells))


def test_the_better_takes_the_cell_in_any_order_of_offers() -> None:
    """An estimate never displaces a measured trial; of equal trials the earlier stays."""
    offers = [(0.1, 0, 0.5, False), (0.2, 1, 0.5, False), (0.2, 2, 0.9, True), (0.7, 3, 0.2, True)]
    offers.append((0.7, 4, 0.3, True))
    for order in itertools.permutations(offers):
        archive = Archive(GridAxis(low=0.0, high=1.0, cells=4), 1)
        for place, number, quality, partial in order:
            archive.offer(judged(Trial(number=number, genome=()), (place, quality), partial=partial))
        assert [member.number for member in archive.members] == [0, 4]


def generation(strategy: Strategy, *objectives: Sequence[float] | None) -> list[Trial]:
    trials = strategy.ask(len(objectives))
    pairs = zip(trials, objectives, strict=True)
    strategy.tell([failed(t) if f is None else judged(t, f) for t, f in pairs])
    return trials


def build_four(**options: object) -> Strategy:
    return build("cycleqd", floats(4), 0, {"population": 4, **options})


def parents(trials: Sequence[Trial]) -> set[int]:
    return {number for trial in trials for number in trial.parents}


def known(axes: Sequence[Axis], *objectives: Sequence[float]) -> list[Outcome]:
    points = [tuple((index + 1) / 10 for _ in axes) for index in range(len(objectives))]
    trials = [Trial(number=-1 - index, genome=point) for index, point in enumerate(points)]
    return [judged(trial, f) for trial, f in zip(trials, objectives, strict=True)]


def test_each_archive_uses_its_task_as_quality_and_others_as_behaviour() -> None:
    strategy = build_four(cells=2)
    generation(strategy, (0.9, 0.1), (0.8, 0.2), (0.3, 0.9), (0.1, 0.8))
    on_second, on_first = strategy.ask(4), strategy.ask(4)
    assert parents(on_first) == {0, 2}  # by the second task: {0, 1} low, {2, 3} high; best at the first
    assert parents(on_second) == {1, 2}  # by the first task: {2, 3} low, {0, 1} high; best at the second


def test_known_points_start_the_archive_without_parents() -> None:
    points = known(floats(4), (0.9, 0.1), (0.1, 0.9), (0.5, 0.5))
    strategy = informed("cycleqd", floats(4), 0, points, population=4)
    first = strategy.ask(4)
    assert all(trial.parents == () for trial in first)
    assert np.mean([trial.genome for trial in first]) < 0.4  # around 0.1 to 0.3, not anywhere in the box
    strategy.tell([judged(trial, (0.95, 0.95)) for trial in first[:1]])
    assert parents(strategy.ask(40)) == {0}


def test_known_points_with_a_different_number_of_objectives_are_ignored() -> None:
    strategy = informed("cycleqd", floats(4), 0, known(floats(4), (0.9,), (0.1,)), population=4)
    generation(strategy, *[(0.5, 0.5)] * 4)
    assert {trial.parents for trial in strategy.ask(8)} == {(0,)}


# ---- children


def test_elite_weights_by_hand() -> None:
    weights = elite_weights([(0.0, 1.0), (1.0, 1.0), (0.5, 0.0)], 0.5, 0.8)
    assert weights == pytest.approx([0.5 * 0.8, 0.8 * 0.8, 0.65 * 0.5])
    assert elite_weights([(0.3, 0.3)] * 2, 0.5, 0.8) == pytest.approx([0.64, 0.64])


def test_parents_are_picked_as_often_as_their_weights_say() -> None:
    strategy = build_four(population=3, cells=3, alpha_low=0.2, alpha_high=1.0)
    generation(strategy, (0.2, 0.0), (0.6, 0.5), (1.0, 1.0))
    weights = np.array([0.2 * 0.2, 0.6 * 0.6, 1.0])
    trials = [trial.parents for trial in strategy.ask(3000)]
    assert all(len(parents) == 2 for parents in trials)
    firsts = np.bincount([parents[0] for parents in trials], minlength=3) / 3000
    assert firsts == pytest.approx(weights / weights.sum(), abs=0.03)
    after = [two for one, two in trials if one == 2]
    assert after.count(1) / len(after) == pytest.approx(0.36 / 0.40, abs=0.03)


def test_a_mix_lies_on_the_line_through_its_parents() -> None:
    rng, one, two = Random(0), (0.2, 0.4, 0.1), (0.6, 0.5, 0.9)
    shares: list[float] = []
    for _ in range(500):
        child = linear_mix(floats(3, -9, 9), one, two, 0.3, rng)
        share = (child[0] - two[0]) / (one[0] - two[0])
        shares.append(share)
        line = [share * a + (1 - share) * b for a, b in zip(one, two, strict=True)]
        assert child == pytest.approx(line, abs=2e-3)
    assert statistics.fmean(shares) == pytest.approx(0.5, abs=0.03)


def test_non_float_genes_come_from_either_parent() -> None:
    rng, one, two = Random(0), (0.0, 0.1, -2.0, 0.0, 0.0), (1.0, 0.9, 7.0, 1.0, 2.0)
    children = [linear_mix(MIXED_AXES, one, two, 0.1, rng)[2:] for _ in range(600)]
    for place, (a, b) in enumerate(zip(one[2:], two[2:], strict=True)):
        assert {child[place] for child in children} == {a, b}
        assert 240 < sum(child[place] == a for child in children) < 360


def test_singular_steps_follow_the_spread_of_the_archive() -> None:
    axes = floats(3, low=-2, high=2)
    genomes = [(0.0, 0.0, 0.5), (1.0, 1.0, 0.5), (-1.0, -1.0, 0.5), (0.1, -0.1, 0.5), (-0.1, 0.1, 0.5)]
    root = singular_root(axes, genomes)
    assert root @ root == pytest.approx(np.cov(np.array(genomes).T, bias=True) / 16)
    rng = Random(0)
    steps = np.array([singular_step(axes, (0.0, 0.0, 0.5), root, 0.5, rng) for _ in range(2000)])
    assert set(steps[:, 2]) == {0.5}
    along, across = (steps[:, 0] + steps[:, 1]).std(), (steps[:, 0] - steps[:, 1]).std()
    assert along == pytest.approx(0.5 * (8 / 5) ** 0.5, rel=0.06)
    assert across == pytest.approx(0.5 * (0.08 / 5) ** 0.5, rel=0.06)
    assert not singular_root(floats(2), [(0.1, 0.2)]).any(), "one member"


# ---- what it finds


def interfering(seed: int) -> Objectives:
    """Three tasks of 50 items. An item is right where a linear function of nine coefficients is high enough.

    Every third of the coefficients (a source, three groups of layers) helps its own task; most of the others
    hurt it.
    """
    rng = np.random.default_rng(seed)
    tasks = [(rng.normal(-0.5, 0.6, (50, 9)), rng.normal(-1.2, 1.0, 50)) for _ in range(3)]
    for k, (weights, _) in enumerate(tasks):
        weights[:, 3 * k : 3 * k + 3] += rng.uniform(1.2, 2.2, 3)
    return lambda genome: tuple(float(np.mean(w @ np.array(genome) + b > 0)) for w, b in tasks)


def test_ahead_of_random_on_tasks_that_interfere() -> None:
    names = ("cycleqd", "random")
    runs = {
        name: [work_on_several(build(name, floats(9), seed, {}), interfering(seed), 800) for seed in range(5)]
        for name in names
    }

    def lead(figure: Callable[[Sequence[tuple[float, ...]]], float]) -> float:
        figures, control = ([figure(points) for points in runs[each]] for each in names)
        return statistics.fmean(figures) / statistics.fmean(control)

    assert lead(lambda points: max(map(statistics.fmean, points))) > 1.04
    for k in range(3):
        assert lead(lambda points, k=k: max(f[k] for f in points)) > 1.0
