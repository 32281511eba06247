"""MAP-Elites and CycleQD: the contract, the flow, what they find, and what they refuse."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from kingyo.errors import KingyoError
from kingyo.strategies import build
from kingyo.strategies.archive import Archive, coverage
from kingyo.strategies.cycle_qd import CycleQd, elite_weights
from kingyo.strategies.map_elites import MapElites
from kingyo.testing.strategies import FLOAT_AXES, MIXED_AXES, StrategyContract, failed, scored
from kingyo.types import Axis, Genome, InformedStrategy, Outcome, Strategy, Trial
from tests.strategies.problems import floats, sphere, work

Objectives = Callable[[Genome], tuple[float, ...]]
Illumination = MapElites | CycleQd
NAMES = ["map-elites", "cycleqd"]
SEEDS = range(5)


def judged(trial: Trial, objectives: Sequence[float], *, partial: bool = False) -> Outcome:
    """The outcome of a trial on several tasks."""
    mean = statistics.fmean(objectives)
    return replace(scored(trial, mean), value=mean, objectives=tuple(objectives), is_partial=partial)


# ---- the contract


class OfSeveralTasks(StrategyContract):
    tasks = 3

    def evaluate(self, trial: Trial) -> Outcome:
        outcome = super().evaluate(trial)
        if outcome.score is None:
            return outcome
        first = (trial.genome[0] - self.axes[0].low) / (self.axes[0].high - self.axes[0].low)
        return judged(trial, (outcome.score, first, 1 - first)[: self.tasks], partial=trial.number % 5 == 2)


class TestMapElites(OfSeveralTasks):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("map-elites", axes, seed, {"population": 8})


class TestMapElitesOfOneQuality(OfSeveralTasks):
    axes = FLOAT_AXES
    tasks = 2

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("map-elites", axes, seed, {"population": 5, "quality": 0, "line_step": 0, "initial": 3})


class TestMapElitesOfOneObjective(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("map-elites", axes, seed, {"population": 6, "genes": ["layers", "method", "density"]})


class TestMapElitesOfOneAxis(StrategyContract):
    axes = FLOAT_AXES[:1]

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("map-elites", axes, seed, {"population": 1, "cells": 1, "behaviour": "genes"})


class TestCycleQd(OfSeveralTasks):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cycleqd", axes, seed, {"population": 4})


class TestCycleQdOfTwoTasks(OfSeveralTasks):
    axes = FLOAT_AXES
    tasks = 2

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cycleqd", axes, seed, {"population": 6, "sigma": 1, "mutation_step": 0, "initial": 0})


class TestCycleQdOfOneObjective(StrategyContract):
    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cycleqd", axes, seed, {"population": 5, "behaviour": "genes", "cells": 3})


class TestCycleQdWithoutFloats(StrategyContract):
    axes = MIXED_AXES[2:]

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return build("cycleqd", axes, seed, {"population": 5})


# ---- the flow


def generation(strategy: Strategy, *objectives: Sequence[float] | None) -> list[Trial]:
    trials = strategy.ask(len(objectives))
    pairs = zip(trials, objectives, strict=True)
    strategy.tell([failed(t) if f is None else judged(t, f) for t, f in pairs])
    return trials


def build_archive(name: str, **options: object) -> Illumination:
    strategy = build(name, floats(4), 0, {"population": 4, **options})
    assert isinstance(strategy, MapElites | CycleQd)
    return strategy


def numbers(archive: Archive) -> list[int]:
    return sorted(elite.number for elite in archive.elites)


def covered(strategy: Illumination) -> float:
    """Share of the cells of all archives that hold a measured elite."""
    cells = sum(archive.size for archive in strategy.archives)
    return sum(len(archive.elites) for archive in strategy.archives) / cells


def known(axes: Sequence[Axis], *objectives: Sequence[float]) -> list[Outcome]:
    points = [tuple((index + 1) / 10 for _ in axes) for index in range(len(objectives))]
    trials = [Trial(number=-1 - index, genome=point) for index, point in enumerate(points)]
    return [judged(trial, f) for trial, f in zip(trials, objectives, strict=True)]


def test_each_archive_uses_its_task_as_quality_and_others_as_behaviour() -> None:
    strategy = build_archive("cycleqd", cells=2)
    generation(strategy, (0.9, 0.1), (0.8, 0.2), (0.3, 0.9), (0.1, 0.8))
    on_first, on_second = strategy.archives
    assert numbers(on_first) == [0, 2]  # by the second task: {0, 1} low, {2, 3} high; best at the first
    assert numbers(on_second) == [1, 2]  # by the first task: {2, 3} low, {0, 1} high; best at the second
    assert [elite.number for elite in strategy.elites] == [0, 1, 2]
    assert covered(strategy) == 1.0
    assert sum(archive.qd_score for archive in strategy.archives) == pytest.approx(0.9 + 0.3 + 0.2 + 0.9)


def test_the_quality_changes_with_every_generation() -> None:
    strategy = build_archive("cycleqd", cells=1)
    generation(strategy, (0.9, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 0.9), (0.2, 0.2, 0.2))
    assert [numbers(archive) for archive in strategy.archives] == [[0], [1], [2]]
    trials = strategy.ask(24)
    turns = [{trial.parents for trial in trials[i : i + 4]} for i in range(0, 24, 4)]
    assert turns == [{(1,)}, {(2,)}, {(0,)}, {(1,)}, {(2,)}, {(0,)}]


def test_map_elites_keeps_the_best_score_of_every_cell_of_objectives() -> None:
    strategy = build_archive("map-elites", cells=2)
    generation(strategy, (0.1, 0.2), (0.2, 0.3), (0.9, 0.1), None)
    assert covered(strategy) == 2 / 4
    assert sum(archive.qd_score for archive in strategy.archives) == pytest.approx(0.25 + 0.5)
    assert {number for trial in strategy.ask(40) for number in trial.parents} == {1, 2}


def test_map_elites_of_one_quality_has_the_others_as_axes() -> None:
    strategy = build_archive("map-elites", cells=2, quality=1)
    generation(strategy, (0.1, 0.2), (0.2, 0.1), (0.9, 0.1), (0.8, 0.3))
    assert [(elite.number, elite.quality) for elite in strategy.elites] == [(0, 0.2), (3, 0.3)]


def test_with_one_objective_niches_are_genes() -> None:
    strategy = build("map-elites", MIXED_AXES, 0, {"genes": ["used", "method"], "cells": 10})
    assert isinstance(strategy, MapElites)
    best_of: dict[Genome, float] = {}
    for trial, score in work(strategy, lambda genome: genome[1], 200):
        kind = trial.genome[3:]
        best_of[kind] = max(best_of.get(kind, 0.0), score or 0.0)
    assert strategy.archives[0].size == 2 * 3  # an axis has no more cells than values
    assert covered(strategy) == 1.0
    assert {elite.genome[3:]: elite.quality for elite in strategy.elites} == best_of


@pytest.mark.parametrize("name", NAMES)
def test_an_estimate_has_children_but_no_niche_of_a_measured_trial(name: str) -> None:
    strategy = build_archive(name, cells=1)
    trials = strategy.ask(4)
    strategy.tell([judged(trials[0], (0.9, 0.9), partial=True)])
    assert {trial.parents for trial in strategy.ask(4)} == {(0,)}
    assert (strategy.elites, covered(strategy)) == ((), 0.0)
    strategy.tell([judged(trials[1], (0.1, 0.1))])
    strategy.tell([judged(trials[2], (1.0, 1.0), partial=True)])
    assert {trial.parents for trial in strategy.ask(4)} == {(1,)}
    assert covered(strategy) == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_known_points_start_the_archive_without_parents(name: str) -> None:
    strategy = build_archive(name)
    assert isinstance(strategy, InformedStrategy)
    strategy.warm_start(known(floats(4), (0.9, 0.1), (0.1, 0.9), (0.5, 0.5)))
    assert [elite.number for elite in strategy.elites] == [-3, -2, -1]
    first = strategy.ask(4)
    assert all(trial.parents == () for trial in first)
    centre = np.mean([trial.genome for trial in first])
    assert centre < 0.4  # around 0.1 to 0.3, and not anywhere in the box
    strategy.tell([judged(trial, (0.95, 0.95)) for trial in first[:1]])
    assert {number for trial in strategy.ask(40) for number in trial.parents} == {0}


@pytest.mark.parametrize("name", NAMES)
def test_known_points_with_a_different_number_of_objectives_are_ignored(name: str) -> None:
    strategy = build_archive(name)
    strategy.warm_start(known(floats(4), (0.9,), (0.1,)))
    generation(strategy, *[(0.5, 0.5)] * 4)
    assert [elite.number for elite in strategy.elites] == [0]


@pytest.mark.parametrize("name", NAMES)
def test_reading_the_figures_changes_nothing(name: str) -> None:
    looked, plain = build_archive(name), build_archive(name)
    rng = Random(3)
    for _ in range(6):
        trials = looked.ask(4)
        assert trials == plain.ask(4)
        outcomes = [judged(trial, (rng.random(), rng.random())) for trial in trials]
        for outcome in outcomes[::-1]:
            looked.tell([outcome])
            assert 0.0 <= covered(looked) <= 1.0
        plain.tell(outcomes)
    assert looked.elites == plain.elites


@pytest.mark.parametrize("name", NAMES)
def test_the_archives_follow_their_rules_over_all_trials(name: str) -> None:
    strategy, rng = build_archive(name, cells=4), Random(1)
    log = {
        t.number: f
        for _ in range(20)
        for f in [(rng.random(), rng.random())]
        for t in generation(strategy, f)
    }
    assert strategy.elites
    for archive in strategy.archives:
        if name == "map-elites":
            assert len(archive.elites) / archive.size == coverage(log.values(), 4)
        for elite in archive.elites:
            assert elite.objectives == log[elite.number]


def test_genomes_repeat_only_in_a_used_up_space() -> None:
    axes = tuple(Axis(name=f"b{i}", low=0, high=1, kind="binary") for i in range(8))
    for name in NAMES:
        log = work(build(name, axes, 0, {}), sum, 150)
        assert len({trial.genome for trial, _ in log}) == 150


def test_elite_weights_by_hand() -> None:
    weights = elite_weights([(0.0, 1.0), (1.0, 1.0), (0.5, 0.0)], 0.5, 0.8)
    assert weights == pytest.approx([0.5 * 0.8, 0.8 * 0.8, 0.65 * 0.5])
    assert elite_weights([(0.3, 0.3)] * 2, 0.5, 0.8) == pytest.approx([0.64, 0.64])


def test_parents_are_picked_as_often_as_their_weights_say() -> None:
    strategy = build_archive("cycleqd", population=3, cells=3, alpha_low=0.2, alpha_high=1.0)
    generation(strategy, (0.2, 0.0), (0.6, 0.5), (1.0, 1.0))
    weights = np.array([0.2 * 0.2, 0.6 * 0.6, 1.0])
    assert numbers(strategy.archives[0]) == numbers(strategy.archives[1]) == [0, 1, 2]
    trials = [trial.parents for trial in strategy.ask(3000)]
    assert all(len(parents) == 2 for parents in trials)
    firsts = np.bincount([parents[0] for parents in trials], minlength=3) / 3000
    assert firsts == pytest.approx(weights / weights.sum(), abs=0.03)
    after = [two for one, two in trials if one == 2]
    assert after.count(1) / len(after) == pytest.approx(0.36 / 0.40, abs=0.03)


# ---- what they find


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


def spend(name: str, objectives: Objectives, budget: int, seed: int) -> list[tuple[float, ...]]:
    strategy = build(name, floats(9), seed, {})
    points: list[tuple[float, ...]] = []
    while len(points) < budget:
        trials = strategy.ask(strategy.batch)
        outcomes = [judged(trial, objectives(trial.genome)) for trial in trials]
        strategy.tell(outcomes)
        points += [outcome.objectives for outcome in outcomes]
    return points


def quality_diversity(points: Sequence[tuple[float, ...]]) -> float:
    """Mean over the tasks of the QD score of an archive as CycleQD has it, from stored trials alone."""
    total = 0.0
    for k in range(3):
        best_of: dict[tuple[int, ...], float] = {}
        for f in points:
            cell = tuple(min(9, int(value * 10 + 1e-9)) for value in (*f[:k], *f[k + 1 :]))
            best_of[cell] = max(best_of.get(cell, 0.0), f[k])
        total += sum(best_of.values()) / 3
    return total


@pytest.mark.parametrize("name", NAMES)
def test_ahead_of_random_on_tasks_that_interfere(name: str) -> None:
    runs = {each: [spend(each, interfering(seed), 800, seed) for seed in SEEDS] for each in (name, "random")}

    def lead(figure: Callable[[Sequence[tuple[float, ...]]], float]) -> float:
        figures, control = ([figure(points) for points in runs[each]] for each in (name, "random"))
        return statistics.fmean(figures) / statistics.fmean(control)

    assert lead(lambda points: coverage(points, 10)) > 1.05
    assert lead(lambda points: max(map(statistics.fmean, points))) > 1.04
    for k in range(3):
        assert lead(lambda points, k=k: max(f[k] for f in points)) > 1.0
    assert lead(quality_diversity) > 1.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", SEEDS)
def test_with_one_objective_every_niche_is_better_filled_than_by_random_search(name: str, seed: int) -> None:
    def loss(strategy: str) -> float:
        niches: dict[tuple[int, int], float] = {}
        for trial, score in work(build(strategy, floats(6), seed, {}), sphere, 800):
            cell = (int(trial.genome[0] * 4.999), int(trial.genome[1] * 4.999))
            niches[cell] = max(niches.get(cell, -6.0), score or 0.0)
        # What is left when each niche's own distance, which nobody can mend, is the best possible.
        ideal = [
            sphere((*(min(max(0.7, c / 4.999), (c + 1) / 4.999) for c in cell), *[0.7] * 4))
            for cell in niches
        ]
        assert len(niches) == 25
        return statistics.fmean(ideal) - statistics.fmean(niches.values())

    assert loss(name) < loss("random") * 0.75


# ---- what they refuse


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"population": 0}, "population"),
        ({"initial": -1}, "initial"),
        ({"cells": 0}, "cells"),
        ({"low": 1.0}, "high: expected more than low"),
        ({"behaviour": "score"}, "behaviour"),
        ({"genes": ["densty"]}, "genes.*Did you mean 'density'"),
        ({"genes": ["density", "density"]}, "genes: expected different axes"),
        ({"mutation_step": -1}, "mutation_step"),
    ],
)
def test_an_option_that_makes_no_sense_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        build(name, FLOAT_AXES, 0, options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("map-elites", {"quality": -1}, "quality"),
        ("map-elites", {"line_step": -1}, "line_step"),
        ("map-elites", {"mutation_step": 0}, "mutation_step"),
        ("cycleqd", {"alpha_low": 0}, "alpha_low"),
        ("cycleqd", {"alpha_high": 0.4}, "alpha_high"),
        ("cycleqd", {"sigma": 1.5}, "sigma"),
        ("cycleqd", {"singular_step": -1}, "singular_step"),
    ],
)
def test_an_option_of_one_of_them_is_named(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        build(name, FLOAT_AXES, 0, options)


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_of_objectives_needs_two(name: str) -> None:
    strategy = build_archive(name, behaviour="objectives")
    with pytest.raises(KingyoError, match=r"several tasks, or set search\.settings\.behaviour: genes"):
        strategy.warm_start(known(floats(4), (0.5,)))
    trial = strategy.ask(1)[0]
    with pytest.raises(KingyoError, match=r"several tasks, or set search\.settings\.behaviour: genes"):
        strategy.tell([scored(trial, 0.5)])


def test_an_unknown_quality_is_named_at_the_first_tell() -> None:
    strategy = build_archive("map-elites", quality=2)
    trial = strategy.ask(1)[0]
    with pytest.raises(KingyoError, match="quality: expected less than 2"):
        strategy.tell([judged(trial, (0.5, 0.5))])


@pytest.mark.parametrize("name", NAMES)
def test_a_changed_number_of_objectives_is_refused(name: str) -> None:
    strategy = build_archive(name)
    one, two = strategy.ask(2)
    strategy.tell([judged(one, (0.5, 0.5))])
    with pytest.raises(KingyoError, match="trial 1: expected 2 objectives"):
        strategy.tell([judged(two, (0.5, 0.5, 0.5))])
