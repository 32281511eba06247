"""Screens: the items for each candidate, and the same plan when planned again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from kingyo.core.io.schema import parse_settings
from kingyo.errors import KingyoError
from kingyo.search.evolution.screens import Round, Screen, ScreenSettings, estimate_means
from kingyo.stats.irt import Responses, sigmoid

ITEMS = [f"i{n}" for n in range(64)]
RACING = ScreenSettings(rule="racing", block=8, keep=0.25)
RULES = {
    "none": ScreenSettings(),
    "some": ScreenSettings(items=16),
    "racing": RACING,
    "some raced": ScreenSettings(rule="racing", items=24, block=5, keep=0.3),
}


@dataclass(kw_only=True)
class Generation:
    """Plays a generation: answers rounds, and keeps what was asked.

    Attributes:
        score: of a trial on an item.
        fails_at: trial -> the round, counted from 0, in which it fails.
        stop_after: evaluations after which it is killed.
    """

    score: Callable[[int, int], float] = lambda trial, item: float((trial * 37 + item * 11) % 64 < 6 * trial)
    fails_at: Mapping[int, int] = field(default_factory=dict[int, int])
    stop_after: int | None = None
    rounds: list[Round] = field(default_factory=list[Round])
    scored: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])

    def play(
        self, settings: ScreenSettings, n: int, n_items: int = 64, before: Responses | None = None
    ) -> None:
        """Restart with the stored scores, as a resumed search does."""
        responses = Responses(ITEMS[:n_items]) if before is None else before
        rounds = Screen(settings, 5).rounds(responses, range(n), 3)
        failed: set[int] = set()
        done = 0
        self.rounds = []
        while (step := rounds.next(responses, failed)) is not None:
            self.rounds.append(step)
            for trial in step.trials:
                if self.fails_at.get(trial) == len(self.rounds) - 1:
                    failed.add(trial)
                    continue
                mine = self.scored.setdefault(trial, {})
                for item in step.items:
                    if ITEMS[item] in mine:
                        continue
                    if done == self.stop_after:
                        return
                    done += 1
                    mine[ITEMS[item]] = self.score(trial, item)
                responses.add(trial, {ITEMS[item]: mine[ITEMS[item]] for item in step.items})


def play_generation(settings: ScreenSettings, n: int, n_items: int = 64, **how: object) -> Generation:
    generation = Generation(**how)  # type: ignore[arg-type]
    generation.play(settings, n, n_items)
    return generation


def shape(generation: Generation) -> list[tuple[int, int]]:
    return [(len(step.trials), len(step.items)) for step in generation.rounds]


def test_without_a_rule_all_are_scored_on_all() -> None:
    generation = play_generation(ScreenSettings(), 5)
    assert shape(generation) == [(5, 64)]
    assert sorted(generation.rounds[0].items) == list(range(64))


def test_rounds_of_racing_are_blocks() -> None:
    generation = play_generation(RACING, 4, 30, score=lambda trial, item: 1.0)
    assert shape(generation) == [(4, 8), (4, 8), (4, 8), (4, 6)]
    items = [item for step in generation.rounds for item in step.items]
    assert sorted(items) == list(range(30))


@pytest.mark.parametrize(
    ("settings", "n", "n_items", "rounds"),
    [
        (ScreenSettings(items=1000), 3, 10, [(3, 10)]),
        (ScreenSettings(rule="racing", block=10), 3, 10, [(3, 10)]),
        (ScreenSettings(rule="racing", block=9), 3, 10, [(3, 9), (3, 1)]),
        (ScreenSettings(rule="racing", block=5, keep=1.0), 3, 10, [(3, 5), (3, 5)]),
        (ScreenSettings(rule="racing", block=5), 1, 10, [(1, 5), (1, 5)]),
    ],
)
def test_edges(settings: ScreenSettings, n: int, n_items: int, rounds: list[tuple[int, int]]) -> None:
    assert shape(play_generation(settings, n, n_items)) == rounds


@pytest.mark.parametrize("rule", RULES)
def test_no_candidate_meets_an_item_twice_or_more_than_the_most(rule: str) -> None:
    generation = play_generation(RULES[rule], 9)
    met: dict[int, list[int]] = {}
    for step in generation.rounds:
        for trial in step.trials:
            met.setdefault(trial, []).extend(step.items)
    most = Screen(RULES[rule], 5).most_items(64)
    assert met.keys() == set(range(9)), "each is scored on something"
    assert all(len(items) == len(set(items)) <= most for items in met.values())
    assert max(len(items) for items in met.values()) == most
    first = generation.rounds[0].items
    assert all(tuple(items[: len(first)]) == first for items in met.values()), "all meet the same first"


@pytest.mark.parametrize("fails_at", [{}, {3: 0, 8: 1, 7: 1, 2: 2}, dict.fromkeys(range(9), 0)])
@pytest.mark.parametrize("rule", RULES)
def test_a_kill_anywhere_does_not_change_the_rounds(rule: str, fails_at: dict[int, int]) -> None:
    uninterrupted = play_generation(RULES[rule], 9, fails_at=fails_at)
    total = sum(map(len, uninterrupted.scored.values()))
    for stop_after in range(0, total, 23):
        generation = play_generation(RULES[rule], 9, fails_at=fails_at, stop_after=stop_after)
        generation.stop_after = None
        generation.play(RULES[rule], 9)
        assert generation.rounds == uninterrupted.rounds
        assert generation.scored == uninterrupted.scored


@pytest.mark.parametrize("at", [0, 1, 2])
def test_failed_candidates_get_no_more_items_and_others_continue(at: int) -> None:
    best = 8
    generation = play_generation(RACING, 9, score=lambda trial, item: trial / 9, fails_at={best: at})
    is_scored = [best in step.trials for step in generation.rounds]
    assert is_scored == [step <= at for step in range(8)]
    assert all(step.trials for step in generation.rounds)


def test_what_a_trial_scored_before_it_failed_still_counts() -> None:
    """Those that it beat stay dropped: after 16 items two of eight go on, then one of them fails."""
    score: Callable[[int, int], float] = lambda trial, item: trial / 8  # noqa: E731
    kept = play_generation(RACING, 8, score=score, fails_at={7: 2})
    assert [step.trials for step in kept.rounds] == [*[tuple(range(8))] * 2, (6, 7), *[(6,)] * 5]


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
        counts[list(Screen(settings, 1).rounds(before, [0], number).order)] += 1
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
    orders = [whole.rounds(history(), [0], number).order for number in range(2)]
    assert {sum(item < 40 for item in order) for order in orders} == {10}
    assert not set(orders[0]) & set(orders[1])


def test_racing_uses_random_items_by_default() -> None:
    evenly, informative = (
        ScreenSettings(items=16, rule="racing"),
        ScreenSettings(items=16, rule="racing", choose="informative"),
    )
    assert np.array_equal(
        item_counts(evenly, history()), item_counts(ScreenSettings(items=16, choose="random"), history())
    )
    assert np.array_equal(
        item_counts(informative, history()), item_counts(ScreenSettings(items=16), history())
    )


def test_without_scores_informative_is_random() -> None:
    informative, random = (ScreenSettings(items=16, choose=choose) for choose in ("informative", "random"))
    orders = [Screen(each, 1).rounds(Responses(ITEMS), [0], 4).order for each in (informative, random)]
    assert orders[0] == orders[1]


def test_generations_and_seeds_use_different_items() -> None:
    settings = ScreenSettings(items=16)
    orders = {
        Screen(settings, seed).rounds(Responses(ITEMS), [0], number).order
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


def test_without_candidates_there_are_no_estimates() -> None:
    assert estimate_means(Responses(ITEMS), []) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("items", 0), ("block", 0), ("alpha", 0.0), ("alpha", float("nan")), ("keep", 1.1), ("choose", "any")],
)
def test_settings_that_make_no_sense(key: str, value: object) -> None:
    with pytest.raises(KingyoError) as error:
        parse_settings(ScreenSettings, {key: value}, "search.screen")
    assert error.value.argument == f"search.screen: {key}"
