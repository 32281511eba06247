"""M2N2: the paper's formulas by hand, niches, crossover at a split point, and the contract."""

import math
import statistics
from collections.abc import Sequence

import numpy as np
import pytest

from kingyo.core.types import Axis, Genome, Outcome, Trial
from kingyo.search.strategies.m2n2 import (
    M2N2,
    Breeder,
    Member,
    Niches,
    attraction,
    share_fitness,
    slerp,
    split_slerp,
)
from kingyo.testing.strategies import failed, scored
from tests.search.strategies.problems import floats

Settings = M2N2.Settings


# the formulas


def test_shared_fitness_and_attraction_by_hand() -> None:
    """Items are eaten by 2, 1, 1 and 0 of three members."""
    s = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    f = share_fitness(s, alpha=1.0)
    assert f.tolist() == [[0.5, 1, 0, 0], [0.5, 0, 0, 0], [0, 0, 1, 0]]
    assert attraction(f, 0).tolist() == [0, 0, 1]
    assert attraction(f, 1).tolist() == [1, 0, 1]
    assert attraction(f, 2).tolist() == [1.5, 0.5, 0]
    assert share_fitness(s, alpha=0.0).sum(axis=1).tolist() == [2, 1, 1]
    assert share_fitness(s, alpha=2.0)[:, 0].tolist() == [0.25, 0.25, 0]


def test_the_capacity_of_a_continuous_item_is_the_best_score_on_it() -> None:
    """z = 0.5 and 0.8; c = 0.4 and 0.8."""
    s = np.array([[0.4, 0.0], [0.1, 0.8]])
    assert share_fitness(s, alpha=1.0) == pytest.approx(
        np.array([[0.4 * 0.4 / 0.5, 0], [0.4 * 0.1 / 0.5, 0.8]])
    )


def test_slerp_by_hand() -> None:
    a, b = np.array([2.0, 0.0]), np.array([0.0, 1.0])
    assert slerp(a, b, 0.0) == pytest.approx(a)
    assert slerp(a, b, 1.0) == pytest.approx(b)
    assert slerp(a, b, 1 / 3) == pytest.approx([2 * math.sin(math.pi / 3), math.sin(math.pi / 6)])


@pytest.mark.parametrize(("a", "b"), [([1.0, 1.0], [3.0, 3.0]), ([0.0, 0.0], [1.0, 2.0])])
def test_slerp_is_linear_without_an_arc(a: list[float], b: list[float]) -> None:
    expected = 0.75 * np.array(a) + 0.25 * np.array(b)
    assert slerp(np.array(a), np.array(b), 0.25) == pytest.approx(expected)


def test_non_float_genes_come_from_the_nearer_parent() -> None:
    a, b = np.array([0.0, 3.0, 3.0, 0.0]), np.array([1.0, 5.0, 5.0, 1.0])
    left, floating = np.array([True, True, False, False]), np.array([True, False, False, True])
    child = split_slerp(a, b, ratio=0.25, left=left, floats=floating)
    assert child.tolist() == [0.25, 3.0, 5.0, 0.75]


def test_children_of_known_parents_lie_on_arcs_with_one_split_in_place_space() -> None:
    """Axes are listed from the output to the input; places, not the order, decide what is left."""
    axes = [Axis(name=f"x{i}", low=0, high=1, place=1 - i / 3) for i in range(4)]
    strategy = M2N2(axes, 0, Settings(mutation_step=0.0))
    strategy.warm_start(
        [outcome_at(-1, (0.0, 0.0, 0.0, 0.0), a=1, b=0), outcome_at(-2, (1.0, 1.0, 1.0, 1.0), a=0, b=1)]
    )
    splits: set[int] = set()
    for trial in strategy.ask(200):
        changes = [i for i in range(3) if abs(trial.genome[i] - trial.genome[i + 1]) > 1e-5]
        assert len(changes) <= 1
        assert (
            all(g == pytest.approx(1 - trial.genome[0], abs=2e-6) for g in trial.genome[-1:]) or not changes
        )
        splits.update(changes)
    assert splits == {0, 1, 2}


# niches


def outcome_at(number: int, genome: Genome, **items: float) -> Outcome:
    return Outcome(trial=Trial(number=number, genome=genome), items=items)


def archive(alpha: float, *rows: Sequence[float]) -> list[int]:
    niches = Niches(population=3, alpha=alpha)
    for number, row in enumerate(rows):
        scores = niches.score_row({f"item-{i}": score for i, score in enumerate(row)})
        niches.add(Member(number=number, genes=np.zeros(1), scores=scores, value=statistics.mean(row)))
    return [member.number for member in niches.members]


def test_specialists_survive_unlike_with_plain_fitness() -> None:
    generalists = [(1, 1, 1, 0, 0, 0), (1, 1, 0, 1, 0, 0), (1, 0, 1, 1, 0, 0)]  # F = 4/3 each
    assert archive(1.0, (0, 0, 0, 0, 1, 1), *generalists) == [0, 2, 3]
    assert archive(0.0, (0, 0, 0, 0, 1, 1), *generalists) == [1, 2, 3]


def test_a_child_that_is_worse_than_all_does_not_enter_and_of_equals_the_oldest_leaves() -> None:
    assert archive(1.0, (1, 1), (1, 0), (0, 1), (0, 0)) == [0, 1, 2]
    assert archive(1.0, (1, 0), (1, 0), (1, 0), (1, 0)) == [1, 2, 3]


def test_negative_scores_count_from_the_lowest() -> None:
    assert archive(1.0, (-5.0,), (-1.0,), (-3.0,), (-2.0,)) == [1, 2, 3]


def test_items_that_were_not_scored_count_as_the_value() -> None:
    niches = Niches(population=5, alpha=1.0)
    full = niches.score_row({"a": 1.0, "b": 0.0})
    niches.add(Member(number=0, genes=np.zeros(1), scores=full, value=0.5))
    part = niches.score_row({"a": 1.0, "c": 1.0})
    niches.add(Member(number=1, genes=np.zeros(1), scores=part, value=0.25))
    # s is (1, 0, 0.5) and (1, 0.25, 1); z is (2, 0.25, 1.5); c is (1, 0.25, 1).
    assert niches.shares() == pytest.approx(np.array([[0.5, 0, 1 / 3], [0.5, 0.25, 2 / 3]]))


# who mates


def test_the_second_parent_completes_the_first() -> None:
    """0 and 1 answer the same; 2 answers the rest: with 0 or 1 first it is always the second."""
    strategy = M2N2(floats(2), 0, Settings(population=3))
    rows = [(1, 1, 0), (1, 1, 0), (0, 0, 1)]
    trials = strategy.ask(3)
    strategy.tell([scored(trial, *row) for trial, row in zip(trials, rows, strict=True)])
    pairs = [trial.parents for trial in strategy.ask(300)]
    assert set(pairs) == {(0, 2), (1, 2), (2, 0), (2, 1)}
    first = [pair[0] for pair in pairs]  # F = 1, 1, 1
    assert all(70 < first.count(number) < 130 for number in range(3))


def test_known_points_start_the_archive_without_parents() -> None:
    strategy = M2N2(floats(2), 0, Settings())
    strategy.warm_start([outcome_at(-1, (1.0, 0.0), a=1, b=0), outcome_at(-2, (0.0, 1.0), a=0, b=1)])
    assert sorted(member.number for member in strategy.breeder.niches.members) == [-2, -1]
    assert [trial.parents for trial in strategy.ask(5)] == [()] * 5
    # Each gene is a side of its own: (1 − w, 1 − w), but for mutations of 0.03.
    gaps = [abs(trial.genome[0] - trial.genome[1]) for trial in strategy.ask(100)]
    assert max(gaps) < 0.25


def test_one_survivor_has_mutants_and_failures_have_no_children() -> None:
    strategy = M2N2(floats(3), 0, Settings(population=4))
    trials = strategy.ask(4)
    strategy.tell([scored(t, 0.5) if t.number == 2 else failed(t) for t in trials])
    assert {trial.parents for trial in strategy.ask(20)} == {(2,)}


def test_the_strategy_is_the_breeder_with_trials() -> None:
    """A benchmark may run the breeder on arrays; it must be the same search."""
    settings = Settings(population=4, mutation_step=0.1)
    strategy, breeder = M2N2(floats(3), 7, settings), Breeder(floats(3), 7, settings)
    for number in range(60):
        trial = strategy.ask(1)[0]
        point = breeder.random_point() if number < 4 else breeder.child()[0]
        assert trial.genome == tuple(point.tolist())
        strategy.tell([scored(trial, *trial.genome)])
        scores = breeder.niches.score_row({f"item-{i}": score for i, score in enumerate(point.tolist())})
        breeder.niches.add(Member(number=number, genes=point, scores=scores, value=float(point.mean())))


def test_tasks_count_by_weight_not_by_number_of_items() -> None:
    strategy = M2N2((Axis(name="x", low=0, high=1),), 0, M2N2.Settings(alpha=0.0))
    task_of = {**{f"a{n}": "a" for n in range(8)}, "b0": "b", "b1": "b"}
    strategy.learn_tasks(task_of, {"a": 1.0, "b": 3.0})
    for number, good in enumerate("ab"):
        items = {i: float(t == good) for i, t in task_of.items()}
        strategy.warm_start([Outcome(trial=Trial(number=-1 - number, genome=(0.5 * number,)), items=items)])
    of_a, of_b = strategy.breeder.niches.fitness()
    assert of_a + of_b == pytest.approx(len(task_of))
    assert of_b == pytest.approx(3 * of_a)
