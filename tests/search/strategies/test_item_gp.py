"""Search through single items: few of them per candidate are enough."""

from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.core.types import (
    Axis,
    ContinuingStrategy,
    Genome,
    Outcome,
    PredictingStrategy,
    Strategy,
    TaskAware,
    Trial,
)
from kingyo.search.strategies import build
from kingyo.testing.strategies import FLOAT_AXES, scored
from tests.search.strategies.problems import informed

AXES = tuple(Axis(name=f"x{n}", low=-1, high=2) for n in range(5))
PEAK = np.array([0.2, 1.1, 0.9, 0.0, 0.4])
ITEMS = np.linspace(-3, 3, 60)


def ability(genome: Genome) -> float:
    return 4 - 6 * float(((np.array(genome) - PEAK) ** 2).mean())


def score(trial: Trial, items: Sequence[int], rng: np.random.Generator) -> Outcome:
    chance = 1 / (1 + np.exp(ITEMS[list(items)] - ability(trial.genome)))
    right = rng.random(len(items)) < chance
    return Outcome(
        trial=trial,
        items={f"i{item}": float(each) for item, each in zip(items, right, strict=True)},
        is_partial=True,
    )


def search(name: str, seed: int, n: int, per: int) -> tuple[list[Trial], Strategy, list[float]]:
    rng = np.random.default_rng(seed)
    strategy = build(name, AXES, seed, {})
    trials: list[Trial] = []
    scores: list[float] = []
    while len(trials) < n:
        proposed = strategy.ask(strategy.batch)
        items = [int(item) for item in rng.choice(len(ITEMS), per, replace=False)]
        outcomes = [score(trial, items, rng) for trial in proposed]
        strategy.tell(outcomes)
        trials += proposed
        scores += [outcome.score or 0.0 for outcome in outcomes]
    return trials, strategy, scores


def test_without_right_answers_it_proposes_strong_mixtures_of_all_or_half() -> None:
    axes = [
        Axis(name=f"weight/s{k}", low=0.0, high=1.5, family=f"weight/s{k}", neutral=0.0) for k in range(5)
    ]
    strategy = build("item-gp", axes, 0, {"initial": 4, "pool": 60})
    strategy.tell([scored(trial, 0.0, 0.0, 0.0) for trial in strategy.ask(4)])
    for _ in range(4):
        trials = strategy.ask(6)
        points = np.array([trial.genome for trial in trials])
        assert set(np.count_nonzero(points, axis=1)) <= {3, 5}
        assert points.sum(axis=1).min() > 0.6 * np.sqrt(3) - 0.01
        strategy.tell([scored(trial, 0.0, 0.0, 0.0) for trial in trials])
    first, *others = strategy.ask(6)
    strategy.tell([scored(first, 1.0, 1.0, 1.0), *(scored(trial, 0.0, 0.0, 0.0) for trial in others)])
    near = np.array([trial.genome for trial in strategy.ask(6)]) - np.array(first.genome)
    gaps = np.abs(near).max(axis=1)
    assert gaps[0] < 0.2 and np.sort(gaps)[2] < 0.5, "some are near the point that solved something"


def deceived(trial: Trial, items: Sequence[int] = range(120)) -> Outcome:
    """The first source solves a quarter; the two others solve the rest, together and without the first."""
    first, *others = trial.genome
    harm = 8 * max(0.0, sum(trial.genome) - 1.5)
    parent = 6 * min(first, 1) - 3 - harm
    pair = 10 * min(*others, 0.6) - 3.5 - 12 * first - harm
    right = [(parent if item % 4 == 0 else pair) > ITEMS[item % 60] / 2 for item in items]
    scores = {f"i{item:03}": float(each) for item, each in zip(items, right, strict=True)}
    return Outcome(trial=trial, items=scores, is_partial=len(scores) < 120)


def test_it_explores_while_no_candidate_beats_the_best_known_model() -> None:
    scores: list[float] = []
    for seed in range(5):
        known = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
        points = [deceived(Trial(number=-1 - n, genome=each)) for n, each in enumerate(known)]
        strategy, rng = informed("item-gp", WEIGHTS, seed, points), np.random.default_rng(seed)
        best = 0.0
        for _ in range(12):
            trials = strategy.ask(3)
            items = sorted(map(int, rng.choice(120, 32, replace=False)))
            strategy.tell([deceived(trial, items) for trial in trials])
            best = max(best, *(deceived(trial).score or 0.0 for trial in trials))
        scores.append(best)
    assert min(scores) > 0.5, "the parent solves 25%"


def test_known_points_are_proposed_again_only_as_the_best() -> None:
    rng = np.random.default_rng(3)
    for axes in (WEIGHTS, WEIGHTS[:1], WEIGHTS[:2]):
        alone = (1.0,) + (0.0,) * (len(axes) - 1)
        point = solved_by_the_first(Trial(number=-1, genome=alone))
        strategy, outcomes = informed("item-gp", axes, 3, [point]), list[Trial]()
        for _ in range(20):
            outcomes += strategy.ask(3)
            items = sorted(map(int, rng.choice(60, 32, replace=False)))
            strategy.tell([solved_by_the_first(trial, items) for trial in outcomes[-3:]])
        known = np.array([alone, *(trial.genome for trial in outcomes)])
        fresh = np.array([trial.genome for trial in strategy.ask(3)][1:])
        gap = np.abs(fresh[:, None] - known[None]).max(axis=2).min() / 1.5
        assert gap > (0.06 - 1e-9 if len(axes) > 1 else 1e-6)


def solved_by_the_first(trial: Trial, items: Sequence[int] = range(60)) -> Outcome:
    """The first source alone solves half of the items, the maximum."""
    able = -8 * abs(trial.genome[0] - 1) - 4 * sum(trial.genome[1:])
    scores = {f"i{item:02}": float(item < 30 + able) for item in items}
    return Outcome(trial=trial, items=scores, is_partial=len(scores) < 60)


def test_a_few_items_per_candidate_lead_to_the_peak() -> None:
    """480 coin tosses in all; the answer is near the peak, whose ability is 4, and better than at random."""
    answers = [_answer("item-gp", seed) for seed in range(4)]
    others = [_answer("random", seed) for seed in range(4)]
    assert min(answers) > 2.5
    assert np.mean(answers) > np.mean(others) + 0.5


def _answer(name: str, seed: int) -> float:
    """How able the point is that the search would answer: by its belief, or by its best mean."""
    trials, strategy, scores = search(name, seed, 60, 8)
    genomes = [trial.genome for trial in trials]
    beliefs = strategy.predict(genomes) if isinstance(strategy, PredictingStrategy) else scores
    assert beliefs is not None
    return ability(genomes[int(np.argmax(beliefs))])


def test_generations_grow_with_the_search_up_to_a_quarter_of_the_memory() -> None:
    strategy = build("item-gp", AXES, 0, {"batch": 4, "initial": 5, "pool": 20, "memory": 40})
    sizes = [strategy.batch]
    for n in (199, 101, 300):
        strategy.ask(n)  # asked before all tells are in, it proposes from what it knows
        sizes.append(strategy.batch)
    assert sizes == [4, 4, 6, 10]


EASY, RARE = 40, 8  # items of two tasks that want different weights
TASK_OF = {f"{task}/{n}": task for task, size in (("a", EASY), ("b", RARE)) for n in range(size)}


def two_tasks(trial: Trial) -> Outcome:
    """Task a is solved near 0 of the first axis, b near 1: half an item more or less for each step."""
    place = trial.genome[0]
    solved = {"a": EASY * max(0.0, 1 - abs(place)), "b": RARE * max(0.0, 1 - abs(1 - place))}
    scores = {item: float(int(item.split("/")[1]) + 0.5 < solved[task]) for item, task in TASK_OF.items()}
    return Outcome(trial=trial, items=scores)


@pytest.mark.parametrize("name", ["item-gp", "coarse-to-fine", "memetic"])
@pytest.mark.parametrize(("weight_of_b", "expected"), [(0.1, 0.0), (10.0, 1.0)])
def test_tasks_count_by_weight_not_by_number_of_items(name: str, weight_of_b: float, expected: float) -> None:
    strategy = build(name, (Axis(name="x", low=-1, high=2),), 0, {})
    assert isinstance(strategy, TaskAware)
    strategy.learn_tasks(TASK_OF, {"a": 1.0, "b": weight_of_b})
    trials: list[Trial] = []
    while len(trials) < 60:
        proposed = strategy.ask(strategy.batch)
        strategy.tell([two_tasks(trial) for trial in proposed])
        trials += proposed
    latest = [trial.genome[0] for trial in trials[-12:]]
    assert abs(float(np.median(latest)) - expected) < 0.2
    if isinstance(strategy, PredictingStrategy):
        there, other = strategy.predict([(expected,), (1.0 - expected,)]) or []
        assert there == pytest.approx(10 / 11, abs=0.1)
        assert other < 0.5


def test_known_points_are_not_repeated() -> None:
    axes = [Axis(name=f"x{n}", low=0, high=1, kind="binary", start=1.0) for n in range(8)]
    plain, start = build("item-gp", axes, 0, {}), (1.0,) * 8
    assert plain.ask(1)[0].genome == start
    first = informed("item-gp", axes, 0, [scored(Trial(number=-1, genome=start), 1.0, 0.0)]).ask(7)
    assert start not in {trial.genome for trial in first}
    assert [trial.genome for trial in first] == [trial.genome for trial in plain.ask(7)]


def test_a_search_that_continues_knows_points_beyond_its_axes_and_explores_no_more() -> None:
    strategy, plain = (build("item-gp", AXES, 3, {}) for _ in range(2))
    assert isinstance(strategy, ContinuingStrategy)
    rng = np.random.default_rng(0)
    points: list[Genome] = [*map(tuple, rng.uniform(-1, 2, (9, 5)).tolist()), (3.0,) * 5]
    strategy.continue_from(
        [score(Trial(number=-1 - n, genome=point), range(60), rng) for n, point in enumerate(points)]
    )
    genomes = np.array([trial.genome for trial in strategy.ask(3)])
    assert genomes.min() >= -1 and genomes.max() <= 2
    explored = {trial.genome for trial in plain.ask(8)}
    assert not explored & set(map(tuple, genomes.tolist()))


WEIGHTS = tuple(
    Axis(name=f"weight/{name}", low=0.0, high=1.5, family=f"weight/{name}", neutral=0.0) for name in "abc"
)


def test_it_has_no_estimate_before_a_score() -> None:
    strategy = build("item-gp", FLOAT_AXES, 0, {})
    assert isinstance(strategy, PredictingStrategy)
    genomes = [trial.genome for trial in strategy.ask(2)]
    assert strategy.predict(genomes) is None
