"""Screens: the items of each generation, and estimates from some of them."""

from __future__ import annotations

import numpy as np
import pytest

from kingyo.search.evolution.screens import Screen, ScreenSettings, estimate_means
from kingyo.stats.irt import Responses, sigmoid

ITEMS = [f"i{n}" for n in range(64)]


@pytest.mark.parametrize(("most", "n"), [(None, 64), (16, 16), (1000, 64)])
def test_a_generation_has_at_most_so_many_items_each_once(most: int | None, n: int) -> None:
    screen = Screen(ScreenSettings(items=most), 5)
    columns = screen.columns(Responses(ITEMS), 3)
    assert len(columns) == len(set(columns)) == n == screen.most_items(64)
    assert set(columns) <= set(range(64))


def history(n_trials: int = 60) -> Responses:
    """Items from very easy to very hard, for trials of ability about 0; the best about 1."""
    rng = np.random.default_rng(0)
    responses = Responses(ITEMS)
    for trial in range(n_trials):
        chance = sigmoid(rng.normal(0, 0.7) - np.linspace(-6, 6, 64))
        responses.add(-1 - trial, dict(zip(ITEMS, (rng.random(64) < chance).astype(float), strict=True)))
    return responses


def item_counts(settings: ScreenSettings, before: Responses, numbers: range = range(60)) -> np.ndarray:
    """How often each item is asked, over generations."""
    counts = np.zeros(64)
    for number in numbers:
        counts[list(Screen(settings, 1).columns(before, number))] += 1
    return counts / len(numbers)


def test_informative_items_are_neither_too_easy_nor_too_hard() -> None:
    items = item_counts(ScreenSettings(items=16), history())
    middle, ends = items[28:46].mean(), np.concatenate([items[:8], items[-8:]]).mean()
    assert middle > 4 * ends
    assert items.sum() == pytest.approx(16)
    assert (items > 0).mean() > 0.9, "every item has a chance"


def test_random_items_are_any() -> None:
    items = item_counts(ScreenSettings(items=16, choose="random"), history())
    assert abs(items[28:46].mean() - 0.25) < 0.06
    assert abs(np.concatenate([items[:8], items[-8:]]).mean() - 0.25) < 0.06


def test_items_in_turn_are_asked_equally_often() -> None:
    settings = ScreenSettings(items=16, choose="in turn")
    assert (item_counts(settings, history(), range(3, 7)) == 1 / 4).all()
    whole = Screen(settings, 1, [range(40), range(40, 64)])
    orders = [whole.columns(history(), number) for number in range(2)]
    assert {sum(item < 40 for item in order) for order in orders} == {10}
    assert not set(orders[0]) & set(orders[1])


def test_without_scores_informative_is_random() -> None:
    informative, random = (ScreenSettings(items=16, choose=choose) for choose in ("informative", "random"))
    orders = [Screen(each, 1).columns(Responses(ITEMS), 4) for each in (informative, random)]
    assert orders[0] == orders[1]


def test_generations_and_seeds_use_different_items() -> None:
    settings = ScreenSettings(items=16)
    orders = {
        tuple(Screen(settings, seed).columns(Responses(ITEMS), number))
        for seed in range(3)
        for number in range(5)
    }
    assert len(orders) == 15


def test_estimates_are_shrunken_towards_the_others() -> None:
    before = history()
    before.add(0, {ITEMS[31]: 1.0, ITEMS[32]: 1.0})
    before.add(1, dict.fromkeys(ITEMS, 1.0))
    lucky, perfect = estimate_means(before, [0, 1])
    assert 0.4 < lucky.score < 0.75
    assert perfect.score == 1.0
    assert [each.n for each in (lucky, perfect)] == [2, 64]
