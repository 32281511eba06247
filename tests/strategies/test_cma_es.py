"""CMA-ES against the library that it wraps, and the features added to it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from cmaes import CMA

from kingyo.strategies.cma_es import CmaEs
from kingyo.testing.strategies import failed, scored
from kingyo.types import Axis, Trial
from tests.strategies.problems import floats, sphere, work

Settings = CmaEs.Settings


def test_its_distribution_is_the_librarys() -> None:
    """With the same points and costs, the library samples from the same distribution."""
    strategy = CmaEs(floats(5), 3, Settings())
    log = [trial for trial, _ in work(strategy, sphere, 80)]
    library = CMA(mean=np.full(5, 0.5), sigma=1 / 6, bounds=np.tile([0.0, 1.0], (5, 1)), seed=0)
    for start in range(0, 80, 8):
        points = [np.array(trial.genome) for trial in log[start : start + 8]]
        library.tell([(point, -sphere(tuple(point))) for point in points])
    samples = np.array([trial.genome for trial in strategy.ask(20_000)])
    theirs = np.array([library.ask() for _ in range(20_000)])
    scale = theirs.std(axis=0)
    assert np.allclose(samples.mean(axis=0), theirs.mean(axis=0), atol=0.05 * scale.max())
    assert np.allclose(np.cov(samples.T), np.cov(theirs.T), atol=0.05 * scale.max() ** 2)


@pytest.mark.parametrize("n", [1, 2, 3, 6, 20])
def test_population_is_the_published_one(n: int) -> None:
    assert CmaEs(floats(n), 0, Settings()).batch == 4 + math.floor(3 * math.log(n))
    assert CmaEs(floats(n), 0, Settings(population=17)).batch == 17


def test_it_starts_at_the_start_or_at_x0() -> None:
    axes = (Axis(name="a", low=-10, high=30, start=2.0), Axis(name="b", low=0, high=1))
    for settings, centre in (
        (Settings(sigma=0.05), (2.0, 0.5)),
        (Settings(x0=0.25, sigma=0.05), (0.0, 0.25)),
    ):
        trials = CmaEs(axes, 0, settings).ask(4000)
        mean = np.mean([trial.genome for trial in trials], axis=0)
        assert mean == pytest.approx(centre, abs=0.15)
    spread = np.std([t.genome for t in CmaEs(axes, 0, Settings(sigma=0.05)).ask(4000)], axis=0)
    assert spread == pytest.approx([2.0, 0.05], rel=0.1)


@pytest.mark.parametrize("x0", [0.0, 1.0])
def test_a_start_on_the_bounds_stays_inside_them(x0: float) -> None:
    for trial in CmaEs(floats(30, low=-0.1, high=0.3), 0, Settings(x0=x0)).ask(50):
        assert all(-0.1 <= gene <= 0.3 for gene in trial.genome)


def test_one_axis() -> None:
    log = work(CmaEs(floats(1), 0, Settings()), sphere, 80)
    assert max(score for _, score in log if score is not None) > -1e-5


def test_trials_have_no_parents() -> None:
    assert all(trial.parents == () for trial, _ in work(CmaEs(floats(3), 0, Settings()), sphere, 70))


def test_a_generation_waits_for_its_outcomes_and_takes_them_by_number() -> None:
    """Mixed outcomes of two generations in one tell act like two tells."""
    early, late = (CmaEs(floats(3), 0, Settings(population=6)) for _ in range(2))
    trials = early.ask(12)
    assert late.ask(12) == trials
    outcomes = [scored(trial, sphere(trial.genome)) for trial in trials]
    early.tell(outcomes[:6])
    early.tell(outcomes[6:])
    late.tell(outcomes[::-1])
    assert early.ask(6) == late.ask(6)


def test_a_failure_is_worse_than_the_worst_score() -> None:
    """A failed generation member counts like a score below all others."""
    failing, low = (CmaEs(floats(3), 0, Settings(population=6)) for _ in range(2))
    for generation in range(5):
        trials = failing.ask(6)
        assert low.ask(6) == trials

        def score(trial: Trial) -> float:
            return -50 + sphere(trial.genome)

        bad = trials[generation]
        others = [scored(trial, score(trial)) for trial in trials if trial != bad]
        failing.tell([failed(bad), *others])
        low.tell([scored(bad, -1000.0), *others])


def test_a_plateau_triggers_a_restart() -> None:
    """The same score everywhere: after 10 + 30 n / λ generations a new one starts at another point."""
    strategy = CmaEs(floats(4), 0, Settings(population=8, sigma=0.02))
    log = [trial for trial, _ in work(strategy, lambda _: 0.0, 60 * 8)]
    centres = [np.mean([t.genome for t in log[i : i + 8]], axis=0) for i in range(0, len(log), 8)]
    jumps = [float(np.abs(b - a).max()) for a, b in itertools.pairwise(centres)]
    assert sum(jump > 0.2 for jump in jumps) in (1, 2)
    assert log == [
        trial
        for trial, _ in work(CmaEs(floats(4), 0, Settings(population=8, sigma=0.02)), lambda _: 0.0, 480)
    ]


def test_a_collapsed_distribution_starts_again_and_keeps_going() -> None:
    log = work(CmaEs(floats(2), 0, Settings()), sphere, 3000)
    late = [trial.genome for trial, _ in log[-1500:]]
    assert float(np.std(late)) > 0.02
    assert all(0 <= gene <= 1 for genome in late for gene in genome)


def test_late_outcomes_of_the_old_distribution_do_not_move_the_new_one() -> None:
    def plateau(strategy: CmaEs) -> list[Trial]:
        """The last trial of every generation has no outcome."""
        missing: list[Trial] = []
        for _ in range(40):
            *trials, last = strategy.ask(9)
            strategy.tell([scored(trial, 0.0) for trial in trials])
            missing.append(last)
        return missing

    with_late, without = (CmaEs(floats(4), 0, Settings(population=8, sigma=0.01)) for _ in range(2))
    old = plateau(with_late)[:5]
    plateau(without)
    restarted = with_late.ask(8)
    assert without.ask(8) == restarted
    assert np.abs(np.array(restarted[0].genome) - np.array(old[0].genome)).max() > 0.1
    with_late.tell([scored(trial, 1.0) for trial in old])
    for strategy in (with_late, without):
        strategy.tell([scored(trial, sphere(trial.genome)) for trial in restarted])
    assert with_late.ask(8) == without.ask(8)


def test_only_failures() -> None:
    log = work(CmaEs(floats(3), 0, Settings()), lambda _: None, 900)
    assert float(np.std([trial.genome for trial, _ in log])) > 0.1
