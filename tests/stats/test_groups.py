"""Intervals, tests and predictions of scores of items that belong together."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from kingyo.stats import Groups, Interval, interval, paired_difference, weighted_mean, wilson
from kingyo.stats.groups import size_of
from kingyo.stats.paired import (
    bounds_around,
    half_sample_bounds,
    half_sample_difference,
    half_sample_values,
)
from kingyo.stats.prediction import SplitGroups, predict_winner
from kingyo.tasks.classify import MacroF1
from tests.slow import slow

PROMPTS, PICTURES = 30, 10
GROUPS = Groups(numbers=np.repeat(np.arange(PROMPTS), PICTURES), noun="prompt")
RUNS = {False: 300, True: 30}
"""By whether scores are graded, whose intervals take longer."""
Array = NDArray[np.float64]


def draw(rng: np.random.Generator, ability: float, easiness: Array, graded: bool = False) -> list[float]:
    """Draw scores of pictures whose prompts are easy or hard, also for this model alone."""
    own = rng.normal(size=PROMPTS)
    chances = np.repeat(expit(ability + easiness + own), PICTURES)
    if graded:
        return np.clip(chances + 0.1 * rng.normal(size=len(chances)), 0, 1).tolist()
    return (rng.random(len(chances)) < chances).astype(float).tolist()


def test_groups_of_labels() -> None:
    assert Groups.of(["", "", ""]) is None
    assert Groups.of(["prompt a", "prompt b"]) is None, "each item is the only one of its group"
    groups = Groups.of(["prompt a", "", "prompt b", "prompt a", ""])
    assert groups is not None
    assert (groups.numbers.tolist(), groups.noun) == ([0, 1, 2, 0, 3], "prompt")
    mixed = Groups.of(["prompt a", "prompt a", "image b", "image b"])
    plain = Groups.of(["a", "a"])
    assert mixed is not None and plain is not None and (mixed.noun, plain.noun) == ("group", "group")


def test_the_number_of_groups_is_named() -> None:
    score = interval([1.0, 0.0] * 150, GROUPS)
    assert (score.n, score.n_groups, score.size) == (300, 30, "300 items of 30 prompts")
    assert (score.items, score.size_json) == (score.size, {"n": 300, "groups": 30})
    alone = interval([1.0, 0.0])
    assert (alone.n_groups, alone.size, alone.items, alone.size_json) == (0, "2", "2 items", {"n": 2})
    both = weighted_mean([score, alone], [1.0, 1.0])
    assert both.size == "302 items of 32 groups"


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_are_worth_one_item_per_group(value: float) -> None:
    grouped, few = interval([value] * 300, GROUPS), wilson(int(value * PROMPTS), PROMPTS)
    assert grouped.low == pytest.approx(few.low, abs=0.02) and grouped.high == pytest.approx(
        few.high, abs=0.02
    )
    assert grouped.low <= few.low and grouped.high >= few.high


def test_one_wrong_answer_does_not_make_groups_independent() -> None:
    """With nearly equal scores the correlation within groups is unknown, so it is assumed to be large."""
    all_right = interval([1.0] * 300, GROUPS)
    one_wrong = interval([1.0] * 299 + [0.0], GROUPS)
    assert one_wrong.low == pytest.approx(all_right.low, abs=0.03)


def test_one_group_shows_nothing() -> None:
    groups = Groups(numbers=np.zeros(8, dtype=np.intp))
    score = interval([1.0, 0.0] * 4, groups)
    assert score.low < 0.01 and score.high > 0.99
    difference = paired_difference([([1.0] * 8, [0.0] * 8)], groups=[groups])
    assert difference.interval.low == -1 and difference.p > 0.2
    assert half_sample_bounds([0.0, 1.0] * 4, lambda drawn: 1.0, groups) == (-np.inf, np.inf)


@pytest.mark.parametrize("graded", [False, *slow(True)])
@pytest.mark.parametrize("ability", [2.5, *slow(0.0)])
def test_means_and_predictions_hold_their_level(ability: float, graded: bool) -> None:
    rng = np.random.default_rng(0)
    spread = np.sqrt(1 + 2.0**2)
    true = float(expit(ability + spread * np.random.default_rng(1).normal(size=200_000)).mean())
    means, predictions, independent = list[bool](), list[bool](), list[bool]()
    for _ in range(RUNS[graded]):
        easiness = 2.0 * rng.normal(size=PROMPTS)
        rows = [draw(rng, ability, easiness, graded) for _ in range(3)]
        tested = draw(rng, ability, 2.0 * rng.normal(size=PROMPTS), graded)
        splits = SplitGroups(validation=GROUPS, test=GROUPS)
        means.append(_holds(interval(rows[0], GROUPS), true, slack=0.02 if graded else 0.0))
        predictions.append(_holds(predict_winner([rows], 0, [300], groups=[splits]), float(np.mean(tested))))
        independent.append(graded or _holds(interval(rows[0]), true))
    assert np.mean(means) > 0.93 and np.mean(predictions) > 0.93
    assert graded or np.mean(independent) < 0.75, "these scores are far from independent"


def _holds(bounds: Interval, value: float, slack: float = 0.0) -> bool:
    """Return whether bounds hold a value; clipped scores have a slightly different mean."""
    return bounds.low - slack <= value <= bounds.high + slack


@pytest.mark.parametrize("graded", [False, True])
def test_equal_models_rarely_differ(graded: bool) -> None:
    rng = np.random.default_rng(0)
    found, naive = list[bool](), list[bool]()
    for _ in range(RUNS[graded]):
        easiness = rng.normal(size=PROMPTS)
        pair = draw(rng, 0.0, easiness, graded), draw(rng, 0.0, easiness, graded)
        difference = paired_difference([pair], groups=[GROUPS])
        assert (difference.p <= 0.05) == (not difference.interval.low <= 0 <= difference.interval.high)
        found.append(difference.p <= 0.05)
        naive.append(graded or paired_difference([pair]).p <= 0.05)
    assert np.mean(found) <= 0.06
    assert np.mean(naive) > 0.15


def test_differences_of_several_tasks_go_by_group() -> None:
    rng = np.random.default_rng(0)
    easiness = rng.normal(size=PROMPTS)
    pairs = [(draw(rng, 1.0, easiness), draw(rng, 0.0, easiness)) for _ in range(2)]
    grouped = paired_difference(pairs, [1.0, 1.0], groups=[GROUPS, GROUPS]).interval
    alone = paired_difference(pairs, [1.0, 1.0]).interval
    assert grouped.score == alone.score and grouped.size == "600 items of 60 prompts"
    assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)


def test_groups_of_different_sizes() -> None:
    """A large group is one group: its scores count as often as its items, its independence does not."""
    labels = ["prompt big"] * 50 + [f"prompt {i // 2}" for i in range(50)]
    groups = Groups.of(labels)
    assert groups is not None and groups.freedom < 4
    score = interval([1.0] * 50 + [0.0] * 50, groups)
    assert score.score == 0.5 and score.low < 0.05 and score.high > 0.95


def test_items_of_several_groups() -> None:
    groups = Groups.of(["image a\nimage b", "image b\nimage c", "image c\nimage d", "", "image a"])
    assert groups is not None and groups.members is not None
    assert groups.count == 4 and size_of(5, groups).size == "5 items of 4 images"
    assert groups.size == pytest.approx((3 + 3 + 2 + 1 + 2) / 5)
    one_each = Groups(numbers=GROUPS.numbers, members=np.stack([np.arange(300), GROUPS.numbers], axis=1))
    values = np.random.default_rng(0).random(300)
    assert one_each.variance(values) == pytest.approx(GROUPS.variance(values))


def test_intervals_of_questions_about_several_images_hold_their_level() -> None:
    """Chains of shared images join nearly all questions, though each shares images with a few."""
    rng = np.random.default_rng(0)
    found = {True: list[bool](), False: list[bool]()}
    for _ in range(200):
        images = np.stack([rng.permutation(60)[:2] for _ in range(100)])
        groups = Groups.of("\n".join(f"image {each}" for each in own) for own in images.tolist())
        easiness = 4 * rng.normal(size=60)[images].sum(axis=1)
        one, other = ((rng.random(100) < expit(easiness)).astype(float) for _ in range(2))
        for is_grouped, held in found.items():
            held.append(_holds(interval(one.tolist(), groups if is_grouped else None), 0.5))
        gap = paired_difference([(one.tolist(), other.tolist())], groups=[groups])
        assert gap.interval.high - gap.interval.low < 0.5
    assert np.mean(found[True]) > 0.93 and np.mean(found[False]) < 0.93


def test_whole_groups_are_halved() -> None:
    values = np.repeat(np.random.default_rng(0).random(PROMPTS), PICTURES).tolist()

    def mean(drawn: object) -> float:
        return float(np.mean(drawn))  # type: ignore[arg-type]

    low, high = half_sample_bounds(values, mean, GROUPS)
    few_low, few_high = half_sample_bounds(values[::PICTURES], mean)
    assert (low, high) == pytest.approx((few_low, few_high), abs=0.02)
    assert high - low > 2 * np.subtract(*half_sample_bounds(values, mean)[::-1])


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_answers_have_no_bounds_and_no_difference(n: int) -> None:
    values = [
        half_sample_values([[score] * n], lambda parts: float(str(parts[0][0]))) for score in (1.0, 0.0)
    ]
    assert bounds_around(1.0, values[0]) == (-np.inf, np.inf)
    with pytest.raises(ValueError, match="finite value"):
        half_sample_difference(1.0, n, *values)


def test_bounds_of_a_biased_measure_hold_it() -> None:
    """The distance of two means, such as FID's, is biased by few and by repeated answers."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 64))

    def distance(drawn: object) -> float:
        return -float((np.mean(drawn, axis=0) ** 2).sum())  # type: ignore[arg-type]

    low, high = half_sample_bounds([*vectors], distance)
    assert low < distance(vectors) < high


@pytest.mark.parametrize("accuracy", [0.4, 0.8])
def test_bounds_of_macro_f1_with_many_classes_hold_it(accuracy: float) -> None:
    n_classes, n = 30, 120
    rng, measure = np.random.default_rng(0), MacroF1()

    def answers(size: int) -> list[object]:
        labels = rng.integers(n_classes, size=size)
        given = np.where(rng.random(size) < accuracy, labels, rng.integers(n_classes, size=size))
        return [*zip(map(str, labels), map(str, given), strict=True)]

    true = measure.value(answers(60_000))
    held: list[bool] = []
    for _ in range(60):
        few = answers(n)
        drawn = half_sample_values([few], lambda parts: measure.value(parts[0]), draws=100)
        low, high = bounds_around(measure.value(few), drawn)
        held.append(low <= true <= high)
    assert np.mean(held) >= 0.88
