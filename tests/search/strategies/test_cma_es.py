"""CMA-ES and its separable form against the library that they wrap, and the features added to it."""

import itertools
import random
from collections.abc import Callable

import numpy as np
import pytest
from cmaes import CMA, SepCMA

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies import build
from kingyo.search.strategies.cma_es import CmaEs, SepCmaEs
from kingyo.testing.strategies import MIXED_AXES, failed, scored
from tests.search.strategies.problems import (
    EVERY_KIND,
    Score,
    best,
    ellipsoid,
    floats,
    informed,
    score_of_every_kind,
    sphere,
    work,
)

Settings = CmaEs.Settings
NAMES = ["cma-es", "mixed-cma-es", "sep-cma-es"]


@pytest.mark.parametrize(("kind", "library_class"), [(CmaEs, CMA), (SepCmaEs, SepCMA)])
def test_its_distribution_is_the_librarys(
    kind: type[CmaEs | SepCmaEs], library_class: type[CMA | SepCMA]
) -> None:
    """With the same points and costs, the library samples from the same distribution."""
    strategy = kind(floats(5), 3, kind.Settings())  # pyright: ignore[reportArgumentType]
    log = [trial for trial, _ in work(strategy, sphere, 80)]
    library = library_class(mean=np.full(5, 0.5), sigma=1 / 6, bounds=np.tile([0.0, 1.0], (5, 1)), seed=0)
    for start in range(0, 80, 8):
        points = [np.array(trial.genome) for trial in log[start : start + 8]]
        library.tell([(point, -sphere(tuple(point))) for point in points])
    samples = np.array([trial.genome for trial in strategy.ask(20_000)])
    theirs = np.array([library.ask() for _ in range(20_000)])
    scale = theirs.std(axis=0)
    assert np.allclose(samples.mean(axis=0), theirs.mean(axis=0), atol=0.05 * scale.max())
    assert np.allclose(np.cov(samples.T), np.cov(theirs.T), atol=0.05 * scale.max() ** 2)


def test_it_starts_at_the_start_or_at_x0() -> None:
    axes = (Axis(name="a", low=-10, high=30, start=2.0), Axis(name="b", low=0, high=1))
    for settings, centre in (
        (Settings(sigma=0.05), (2.0, 0.5)),
        (Settings(x0=0.25, sigma=0.05), (0.0, 0.25)),
    ):
        genomes = [trial.genome for trial in CmaEs(axes, 0, settings).ask(4000)]
        assert np.mean(genomes, axis=0) == pytest.approx(centre, abs=0.15)
        assert np.std(genomes, axis=0) == pytest.approx([2.0, 0.05], rel=0.1)


def test_a_plateau_triggers_a_restart() -> None:
    """The same score everywhere: after 10 + 30 n / λ generations a new one starts at another point."""
    strategy = CmaEs(floats(4), 0, Settings(population=8, sigma=0.02))
    log = [trial for trial, _ in work(strategy, lambda _: 0.0, 60 * 8)]
    centres = [np.mean([t.genome for t in log[i : i + 8]], axis=0) for i in range(0, len(log), 8)]
    jumps = [float(np.abs(b - a).max()) for a, b in itertools.pairwise(centres)]
    assert sum(jump > 0.2 for jump in jumps) in (1, 2)


@pytest.mark.parametrize("score", [sphere, lambda _: None], ids=["collapsed", "only failures"])
@pytest.mark.parametrize("kind", [CmaEs, SepCmaEs])
def test_a_collapsed_distribution_starts_again_and_keeps_going(
    kind: type[CmaEs | SepCmaEs], score: Score
) -> None:
    strategy = kind(floats(2), 0, kind.Settings())  # pyright: ignore[reportArgumentType]
    late = [trial.genome for trial, _ in work(strategy, score, 3000)[-1500:]]
    assert float(np.std(late)) > 0.02
    assert all(0 <= gene <= 1 for genome in late for gene in genome)


# ---- known points


def known(score: Score, *genomes: Genome) -> list[Outcome]:
    trials = [Trial(number=-1 - index, genome=genome) for index, genome in enumerate(genomes)]
    return [scored(trial, score(trial.genome) or 0.0) for trial in trials]


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_between_the_best_known_points(name: str) -> None:
    points = known(lambda genome: -genome[0], (0.2, 0.6, 0.5), (0.4, 0.6, 0.5), (0.9, 0.0, 0.0), (1, 1, 1))
    weights = np.log(3) - np.log([1, 2])
    expected = float(weights @ [0.2, 0.4] / weights.sum())
    for order in (points, points[::-1]):
        trials = informed(name, floats(3), 0, order, sigma=0.02).ask(3000)
        centre = np.mean([trial.genome for trial in trials], axis=0)
        assert centre == pytest.approx([expected, 0.6, 0.5], abs=0.005)


@pytest.mark.parametrize(
    ("options", "points"),
    [
        ({}, known(lambda _: 0.5, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))),
        ({}, [failed(Trial(number=-1, genome=(0.1, 0.1, 0.1)))]),
        ({"warm_start": False}, known(sphere, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))),
        ({"x0": 0.5}, known(sphere, (0.1, 0.1, 0.1), (0.9, 0.9, 0.9))),
    ],
    ids=["equal scores", "a failure", "not wanted", "x0 is given"],
)
def test_uninformative_outcomes_change_no_proposals(
    options: dict[str, object], points: list[Outcome]
) -> None:
    strategy = informed("cma-es", floats(3), 4, points, **options)
    assert work(strategy, sphere, 30) == work(build("cma-es", floats(3), 4, options), sphere, 30)


# ---- what they find


@pytest.mark.parametrize(
    ("n", "score", "budget", "expected"),
    [(5, ellipsoid(np.eye(5)), 600, -1e-3), (40, ellipsoid(np.eye(40)), 4000, -0.6)],
)
def test_the_separable_form_finds_the_optimum(
    n: int, score: Callable[[Genome], float], budget: int, expected: float
) -> None:
    found = best("sep-cma-es", floats(n), score, budget, 0)
    assert found > expected
    assert n < 40 or found > best("cma-es", floats(n), score, budget, 0) / 3


def test_a_large_population_on_two_axes_does_not_break_the_covariance() -> None:
    """The separable learning rate would be above 1, so it is CMA-ES there."""
    assert best("sep-cma-es", floats(2), ellipsoid(np.eye(2)), 8000, 0, {"population": 200}) > -1e-6


# ---- mixed: every combination of kinds, known optima


KINDS = [
    tuple(axis for axis in MIXED_AXES if axis.kind in kinds)
    for size in range(1, 5)
    for kinds in itertools.combinations(("float", "int", "binary", "categorical"), size)
]


@pytest.mark.parametrize("axes", KINDS, ids=lambda axes: "+".join(dict.fromkeys(axis.kind for axis in axes)))
def test_every_combination_of_kinds(axes: tuple[Axis, ...]) -> None:
    """The optimum is high on every axis; noise and failures do not stop the search."""
    chance = random.Random(0)

    def score(genome: Genome) -> float:
        places = [(gene - axis.low) / (axis.high - axis.low) for axis, gene in zip(axes, genome, strict=True)]
        return sum(places) / len(places)

    assert best("mixed-cma-es", axes, score, 400, 0) > 0.999
    assert len(work(build("mixed-cma-es", axes, 0, {}), lambda _: None, 200)) == 200
    assert len(work(build("mixed-cma-es", axes, 0, {}), lambda _: chance.random(), 200)) == 200


@pytest.mark.parametrize(("name", "least"), [("mixed-cma-es", 3.99999), ("ga", 3.99)])
def test_a_recipe_with_a_known_optimum(name: str, least: float) -> None:
    assert min(best(name, EVERY_KIND, score_of_every_kind, 400, seed) for seed in range(2)) > least


def test_an_int_that_starts_on_its_bound_can_leave_it() -> None:
    axes = tuple(Axis(name=f"i{i}", low=0, high=2, kind="int", start=0) for i in range(4))
    trials = build("mixed-cma-es", axes, 0, {"sigma": 0.01}).ask(200)
    assert {gene for trial in trials for gene in trial.genome} >= {0.0, 1.0}
    assert best("mixed-cma-es", axes, sum, 200, 0) == 8


def test_categories_start_equally_likely() -> None:
    points = known(score_of_every_kind, (0.2, 10.0, 1.0, 1.0), (0.9, 30.0, 0.0, 1.0))
    strategy = informed("mixed-cma-es", EVERY_KIND, 0, points)
    genomes = np.array([trial.genome for trial in strategy.ask(4000)])
    assert genomes[:, :2].mean(axis=0) == pytest.approx([0.25, 10], abs=0.5)
    assert genomes[:, 2].mean() == pytest.approx(0.5, abs=0.05)
    assert np.bincount(genomes[:, 3].astype(int)) / 4000 == pytest.approx([0.2] * 5, abs=0.03)


def test_categories_that_find_no_better_start_again() -> None:
    """A trap: the optimum is isolated, so the search needs restarts to find it."""
    axes = tuple(Axis(name=f"b{i}", low=0, high=1, kind="binary") for i in range(6))
    log = [trial.genome for trial, _ in work(build("mixed-cma-es", axes, 0, {}), sum, 3000)]
    shares = [np.mean(log[start : start + 90]) for start in range(0, 3000, 90)]
    settled = next(i for i, share in enumerate(shares) if share > 0.9)
    assert min(shares[settled:]) < 0.85
