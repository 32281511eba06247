"""Stepwise selection finds the useful sources of simulated worlds at a small cost, and always ends."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from kingyo.core.types import Axis, Genome, Outcome, Strategy, Trial
from kingyo.search.strategies.source_changes import Gain, SourceChange, Weights
from kingyo.search.strategies.stepwise import Stepwise
from kingyo.testing.strategies import StrategyContract, scored
from tests.search.strategies.skills import N_ITEMS, Score, Scores, Selection, SkillWorld, axes, select

Settings = Stepwise.Settings
SEEDS = 20
NORMS = ((0.1, 2.0), (0.2, 2.1), (1.0, 2.2), (1.1, 2.3), (1.2, 2.4), (1.3, 2.5))
"""Six sources with two spans each; 0 and 1 change little in the first one."""


class TestStepwise(StrategyContract):
    """All promises hold. A heat is asked as a whole, so an ask for less gets no trials."""

    axes = tuple(axes(6))
    exhaustible = True

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return Stepwise(axes, seed, Settings())


class TestStepwiseThatNeverFails(TestStepwise):
    """The search goes beyond the first heats."""

    def evaluate(self, trial: Trial) -> Outcome:
        chance = random.Random(str(trial.genome))
        return scored(trial, *(float(chance.random() < 0.2 + 0.1 * sum(trial.genome)) for _ in range(12)))


class TestStepwiseOfSpans(TestStepwiseThatNeverFails):
    axes = tuple(axes(12))

    def make(self, axes: Sequence[Axis], seed: int) -> Strategy:
        return Stepwise(axes, seed, Settings(norms=NORMS))


# ---- worlds of skills


@pytest.fixture(scope="module")
def worlds() -> list[tuple[SkillWorld, Selection]]:
    """Eight useful sources, five that do nothing, five that harm; one selection for each seed."""
    found = [SkillWorld(seed=seed) for seed in range(SEEDS)]
    return [(world, select(world.n, world.score, seed=world.seed)) for world in found]


def test_it_finds_all_useful_sources(worlds: list[tuple[SkillWorld, Selection]]) -> None:
    """Items need skill 0 and others, so at first nearly nothing is gained, and few worlds end there."""
    complete = [set(range(8)) <= world.chosen(done.strategy) for world, done in worlds]
    assert sum(complete) >= 0.8 * SEEDS


def test_it_adds_few_useless_sources_and_no_harmful_ones(worlds: list[tuple[SkillWorld, Selection]]) -> None:
    chosen = [world.harm[i - 8] for world, done in worlds for i in world.chosen(done.strategy) if i >= 8]
    assert len(chosen) <= 0.5 * SEEDS
    assert max(chosen, default=0) < 0.1


def test_it_costs_a_fraction_of_singles_and_pairs(worlds: list[tuple[SkillWorld, Selection]]) -> None:
    shares = [done.cost / ((18 + 18 * 17 / 2) * N_ITEMS) for _, done in worlds]
    assert np.mean(shares) < 0.2
    assert max(shares) < 0.35


def test_sources_that_help_only_together_are_found() -> None:
    """No item is solved without two skills, so no source solves one alone."""
    found = [SkillWorld(seed=seed, n_useful=4, missing=0.0) for seed in range(SEEDS)]
    done = [(world, select(world.n, world.score, seed=world.seed).strategy) for world in found]
    assert all(gain.mean == 0 for _, each in done for gain in each.steps[0].gains.values())
    complete = [set(range(4)) <= world.chosen(each) for world, each in done]
    assert sum(complete) >= 0.9 * SEEDS


@pytest.mark.parametrize("settings", [Settings(most=1), Settings(costs=(1.0,) * 14, capacity=1.0)])
def test_pairs_that_are_not_allowed_are_not_tried(settings: Settings) -> None:
    world = SkillWorld(seed=0, n_useful=4, missing=0.0)
    done = select(world.n, world.score, settings)
    assert done.strategy.chosen == ()
    assert max(sum(gene > 0 for gene in trial.genome) for trial in done.trials) == 1


def test_the_first_source_is_one_of_the_best_pair() -> None:
    """Source 2 helps a little with each of many others, 0 and 1 help much, but only together."""

    def score(sources: frozenset[int]) -> Scores:
        n = 100 if {0, 1} <= sources else 12 if 2 in sources and len(sources) > 1 else 0
        return (np.arange(N_ITEMS) < n).astype(float)

    for seed in range(3):
        assert {0, 1} <= set(select(24, score, seed=seed).strategy.chosen)


# ---- solved items: a source solves its own, a merge those of all its sources


def union(*solved: Sequence[int] | range, n: int = N_ITEMS, value: float = 1.0) -> Score:
    def score(sources: frozenset[int]) -> Scores:
        scores = np.zeros(n)
        for i in sources:
            scores[list(solved[i])] = value
        return scores

    return score


def chosen_of(n: int, score: Score, settings: Settings | None = None, seed: int = 0) -> set[int]:
    return set(select(n, score, settings, seed=seed).strategy.chosen)


@pytest.mark.parametrize("seed", range(5))
def test_a_source_that_later_ones_make_redundant_is_dropped(seed: int) -> None:
    """Source 0 solves most alone; sources 1 and 2 together solve all that it does, and more."""
    done = select(3, union(range(15, 185), range(100), range(100, 200)), seed=seed)
    assert done.strategy.steps[0].added == 0
    assert set(done.strategy.chosen) == {1, 2}
    assert set(done.strategy.contributions) == {1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_a_source_that_may_help_is_kept(seed: int) -> None:
    """At the end source 0 solves as many items that the others do not as it spoils."""
    solved = union([*range(10), *range(25, 185)], range(10, 100), range(100, 200))

    def score(sources: frozenset[int]) -> Scores:
        scores = solved(sources)
        if 0 in sources:
            scores[190:] = 0
        return scores

    strategy = select(3, score, seed=seed).strategy
    assert set(strategy.chosen) == {0, 1, 2}
    assert strategy.contributions[0].interval.low <= 0


# ---- spans of layers


def disturbed(axes: frozenset[int]) -> Scores:
    """Sources 0 to 4 solve 40 items each by their second span; the first span of 0 and 1 disturbs 4."""
    scores = np.zeros(N_ITEMS)
    for source in range(5):
        if 2 * source + 1 in axes and (source < 4 or not axes & {0, 2}):
            scores[40 * source : 40 * source + 40] = 1
    return scores


@pytest.mark.parametrize("seed", range(5))
def test_a_source_that_others_disturb_is_added_without_their_small_spans(seed: int) -> None:
    strategy = select(12, disturbed, Settings(norms=NORMS), seed=seed).strategy
    assert set(strategy.chosen) == {0, 1, 2, 3, 4}
    assert strategy.weights.of(0)[0] == strategy.weights.of(1)[0] == 0
    assert all(strategy.weights.of(i)[1] > 0 for i in range(5))
    assert disturbed(on(strategy.weights.genome())).all()
    equal = Settings(norms=((1.0, 1.0),) * 6)
    assert not disturbed(on(select(12, disturbed, equal, seed=seed).strategy.weights.genome())).all()


def on(genome: Genome) -> frozenset[int]:
    return frozenset(i for i, gene in enumerate(genome) if gene)


@pytest.mark.parametrize(("most", "verdict"), [(None, "all"), (3, "full")])
def test_parts_are_left_out_if_no_source_may_be_added(most: int | None, verdict: str) -> None:
    """In the merge of all three useful sources, the first parts of 0 and 1 spoil items."""

    def score(axes: frozenset[int]) -> Scores:
        scores = plain(frozenset(i // 2 for i in axes if i % 2))
        if {1, 3, 5} <= axes and axes & {0, 2}:
            scores[:30] = 0
        return scores

    plain = union(range(80), range(80, 140), range(140, 200), ())
    n = 3 if most is None else 4
    strategy = select(2 * n, score, Settings(norms=NORMS[:n], most=most)).strategy
    assert (set(strategy.chosen), strategy.verdict) == ({0, 1, 2}, verdict)
    assert not on(strategy.weights.genome()) & {0, 2}


@pytest.mark.parametrize("seed", range(5))
def test_a_merge_that_fails_without_parts_keeps_them(seed: int) -> None:
    def score(axes: frozenset[int]) -> Scores | None:
        lacks_part = 1 in axes and 0 not in axes
        return None if lacks_part else plain(frozenset(i // 2 for i in axes if i % 2))

    plain = union(range(150), range(150, 180), range(180, 200), ())
    strategy = select(8, score, Settings(norms=NORMS[:4]), seed=seed).strategy
    assert set(strategy.chosen) == {0, 1, 2} and strategy.weights.of(0)[0] > 0
    assert strategy.scores_of(strategy.chosen)


CREDIT = (*NORMS[:2], *((1.0 + i, 2.0 + i) for i in range(8)))
"""Two useful sources and eight that do nothing, with two spans each."""


def credit(spoils: Callable[[frozenset[int]], bool], luck: float) -> list[Stepwise]:
    """Select among these sources, if some parts of the two useful ones spoil a quarter of the items."""

    def score(axes: frozenset[int]) -> Scores:
        scores = union(range(100), range(100, 200))(frozenset(i // 2 for i in axes if i % 2 and i < 4))
        if {1, 3} <= axes and spoils(axes):
            scores[::4] = 0
        return scores * (np.random.default_rng([7, *sorted(axes)]).random(N_ITEMS) >= luck)

    return [select(20, score, Settings(norms=CREDIT), seed=seed).strategy for seed in range(20)]


def n_useless(found: Sequence[Stepwise]) -> int:
    return sum(len(set(each.chosen) - {0, 1}) for each in found)


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_useless_source_gets_no_credit_for_what_a_merge_leaves_out(*, is_whole: bool) -> None:
    """All is solved if the first parts of both useful sources are left out, or only if both are merged."""
    found = credit(lambda axes: not {0, 2} <= axes if is_whole else bool({0, 2} & axes), 0.0)
    assert n_useless(found) == 0
    assert all({0, 2} & on(each.weights.genome()) == ({0, 2} if is_whole else set()) for each in found)


def test_the_largest_span_of_a_source_stays() -> None:
    weights = Weights(axes=tuple(axes(6)), norms=((0.1, 0.2), (1.0, 3.0), (2.0, 0.3)), chosen=(0, 1, 2))
    trimmed = weights.changed(SourceChange((), share=0.75))
    assert on(trimmed.genome()) == {1, 3, 4}
    assert trimmed.genome([0]) == (1.0, 1.0, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_of_two_equal_sources_one_is_chosen(seed: int) -> None:
    chosen = chosen_of(3, union(range(90), range(90), range(90, 150)), seed=seed)
    assert 2 in chosen and len(chosen & {0, 1}) == 1 and len(chosen) == 2


@pytest.mark.parametrize("most", [1, 2, 3])
def test_most(most: int) -> None:
    score = union(range(100), range(100, 160), range(160, 190), range(190, 200))
    done = select(4, score, Settings(most=most))
    assert set(done.strategy.chosen) == set(range(most))
    assert done.strategy.verdict == "full"


def test_costs_within_a_capacity() -> None:
    """The best source is too large; the next ones fit together."""
    score = union(range(120), range(90), range(90, 150), range(150, 165))
    settings = Settings(costs=(9.0, 3.0, 2.0, 1.5), capacity=5.0)
    done = select(4, score, settings)
    assert set(done.strategy.chosen) == {1, 2}
    assert done.strategy.verdict == "full"
    assert chosen_of(4, score, Settings(costs=settings.costs, capacity=6.5)) == {1, 2, 3}


def test_a_source_that_fails_is_left_out() -> None:
    score = union(range(60), range(60, 110), range(110, 150))
    done = select(3, lambda sources: None if 1 in sources else score(sources))
    assert set(done.strategy.chosen) == {0, 2}
    assert sum(trial.genome == (0.0, 1.0, 0.0) for trial in done.trials) == 1, "it is not tried again"


def test_a_combination_that_fails_is_not_chosen() -> None:
    score = union(range(90), range(90, 130), range(130, 180))
    chosen = chosen_of(3, lambda sources: None if {0, 1} <= sources else score(sources))
    assert chosen == {0, 2}


def test_a_source_without_which_the_merge_fails_stays() -> None:
    score = union(range(70), range(70, 120), range(120, 150))
    done = select(3, lambda sources: None if sources == {0, 2} else score(sources))
    assert set(done.strategy.chosen) == {0, 1, 2}
    assert set(done.strategy.contributions) == {0, 2}, "what source 1 contributes is unknown"


@pytest.mark.parametrize("fails", ["all", "base", "sources"])
def test_it_ends_if_nothing_can_be_compared(fails: str) -> None:
    score = union(range(70), range(70, 120))

    def some(sources: frozenset[int]) -> Scores | None:
        return None if fails == "all" or (fails == "base") == (not sources) else score(sources)

    done = select(2, some)
    assert done.strategy.chosen == ()
    assert len(done.trials) == 3, "what fails is not asked again"
    assert done.strategy.verdict == ("all" if fails == "sources" else "cannot tell")


@pytest.mark.parametrize("min_gain", [0.0, 0.01])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_equal_scores_end_without_a_choice(value: float, min_gain: float) -> None:
    done = select(5, lambda _: np.full(N_ITEMS, value), Settings(min_gain=min_gain))
    assert done.strategy.chosen == ()
    assert done.strategy.verdict == ("enough" if min_gain else "cannot tell")
    assert [step.added for step in done.strategy.steps] == [None]
    assert all(gain.mean == 0 for gain in done.strategy.steps[0].gains.values())


@pytest.mark.parametrize(("solved", "chosen"), [(120, {0}), (0, set[int]())])
def test_one_source(solved: int, chosen: set[int]) -> None:
    done = select(1, union(range(solved)))
    assert set(done.strategy.chosen) == chosen
    assert done.strategy.verdict == ("all" if chosen else "enough")


# ---- heats


def test_a_heat_is_asked_as_a_whole() -> None:
    """If a budget allows less, nothing is asked; its trials would not have the same items."""
    strategy = Stepwise(axes(4), 0, Settings())
    assert strategy.batch == 5
    assert strategy.ask(4) == [] and strategy.ask(0) == []
    assert [trial.genome for trial in strategy.ask(5)][:2] == [(0, 0, 0, 0), (1, 0, 0, 0)]
    assert strategy.ask(5) == [], "the heat is not told yet"


def test_gains_are_measured_after_the_first_heat() -> None:
    """The first heat only ranks, so that the luckiest of many additions is not believed."""
    strategy = Stepwise(axes(2), 0, Settings())
    for heat in range(20):
        rows = {
            trial: 1.0 if heat == 0 and trial.genome[0] else 0.0 for trial in strategy.ask(strategy.batch)
        }
        items = [f"{heat}-{i}" for i in range(24)]
        strategy.tell([Outcome(trial=trial, items=dict.fromkeys(items, row)) for trial, row in rows.items()])
    assert strategy.chosen == () and strategy.verdict == "enough"
    assert strategy.steps[0].gains[0].mean == 0


def test_a_failure_of_the_chosen_set_ends_the_selection() -> None:
    """Its earlier scores stay; nothing can be compared any more."""
    score, counts = union(range(80), range(80, 140)), [0]

    def late(sources: frozenset[int]) -> Scores | None:
        counts[0] += sources == {0}
        return None if sources == {0} and counts[0] > 12 else score(sources)

    done = select(2, late)
    assert isinstance(done.strategy.steps[0].gains[0], Gain)
    assert 0 in done.strategy.chosen
