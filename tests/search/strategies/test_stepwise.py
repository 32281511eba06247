"""Stepwise selection finds the useful sources of simulated worlds at a small cost, and always ends."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kingyo.core.types import Axis, Genome, Outcome, Strategy, Trial
from kingyo.search.strategies.source_changes import Gain, SourceChange, Weights, paired_gain
from kingyo.search.strategies.stepwise import Stepwise
from kingyo.testing.strategies import StrategyContract, scored
from tests.slow import slow

Scores = NDArray[np.float64]
Score = Callable[[frozenset[int]], Scores | None]
"""A set of sources -> the score of its merge on each item; None if it fails."""
N_ITEMS, HEAT = 200, 24


@dataclass(frozen=True, kw_only=True)
class SkillWorld:
    """Items need skills, each useful source gives one, and useless ones do nothing or harm.

    An item needs skill 0 and one to three others. Without a skill it is solved with a quarter of the chance,
    without skill 0 never. ``harm`` has the share of items that each useless source spoils.
    """

    seed: int
    n_useful: int = 8
    harm: tuple[float, ...] = (0, 0, 0, 0.02, 0.1, 0.3, 0.8, 0.8, 0, 0.1)
    missing: float = 0.25

    @property
    def n(self) -> int:
        return self.n_useful + len(self.harm)

    @cached_property
    def order(self) -> list[int]:
        """Axis -> source; useful sources come first."""
        return random.Random(self.seed).sample(range(self.n), self.n)

    @cached_property
    def needs(self) -> list[list[int]]:
        chance = random.Random(f"needs {self.seed}")
        others = range(1, self.n_useful)
        return [
            [0, *chance.sample(others, min(len(others), chance.choice([1, 1, 2, 2, 3])))]
            for _ in range(N_ITEMS)
        ]

    @cached_property
    def difficulty(self) -> Scores:
        return np.random.default_rng(self.seed).random(N_ITEMS)

    def chances(self, sources: frozenset[int]) -> Scores:
        """Return the chance of each item for a set of axes."""
        on = {self.order[axis] for axis in sources}
        absent = [0.0, *[self.missing] * (self.n_useful - 1)]
        solved = [math.prod(0.97 if skill in on else absent[skill] for skill in row) for row in self.needs]
        kept = math.prod(1 - self.harm[each - self.n_useful] for each in on if each >= self.n_useful)
        return np.asarray(solved) * kept * 0.99 ** max(0, len(on) - 4)

    def score(self, sources: frozenset[int]) -> Scores:
        """Return 0 or 1 per item; difficulties are common to all merges, the rest is luck of each."""
        luck = np.random.default_rng([self.seed, *sorted(sources)]).random(N_ITEMS)
        return (self.chances(sources) > 0.5 * self.difficulty + 0.5 * luck).astype(float)

    def chosen(self, strategy: Stepwise) -> set[int]:
        return {self.order[axis] for axis in strategy.chosen}


@dataclass(kw_only=True)
class Selection:
    """A finished selection: the strategy, what it asked, and how many items were scored for it."""

    strategy: Stepwise
    trials: list[Trial] = field(default_factory=list[Trial])
    cost: int = 0


def axes(n: int) -> list[Axis]:
    return [Axis(name=f"weight/{i}", low=0.0, high=1.5, neutral=0.0) for i in range(n)]


def select(n: int, score: Score, settings: Stepwise.Settings | None = None, *, seed: int = 0) -> Selection:
    """Run a selection to its end; generations take the items in turn, in random order."""
    done = Selection(strategy=Stepwise(axes(n), seed, settings or Stepwise.Settings()))
    scored: dict[Genome, set[int]] = {}
    for generation in range(1000):
        trials = done.strategy.ask(done.strategy.batch)
        if not trials:
            return done
        n_items = N_ITEMS if (example := score(frozenset())) is None else len(example)
        places = np.arange(generation * HEAT, (generation + 1) * HEAT) % n_items
        items = np.random.default_rng(seed).permutation(n_items)[places[:n_items]].tolist()
        outcomes: list[Outcome] = []
        for trial in trials:
            sources = frozenset(i for i, gene in enumerate(trial.genome) if gene)
            scores = score(sources)
            if scores is None:
                outcomes.append(Outcome(trial=trial, failure="it cannot be merged"))
                continue
            done.cost += len(set(items) - scored.setdefault(trial.genome, set()))
            scored[trial.genome].update(items)
            row = {f"item-{i:03d}": float(scores[i]) for i in items}
            outcomes.append(Outcome(trial=trial, items=row))
        done.trials += trials
        done.strategy.tell(outcomes)
    raise AssertionError("the selection does not end")


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


def union(*solved: Sequence[int] | range) -> Score:
    def score(sources: frozenset[int]) -> Scores:
        scores = np.zeros(N_ITEMS)
        for i in sources:
            scores[list(solved[i])] = 1
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


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_useless_source_gets_no_credit_for_what_a_merge_leaves_out(*, is_whole: bool) -> None:
    """All is solved if the first parts of both useful sources are left out, or only if both are merged."""

    def score(axes: frozenset[int]) -> Scores:
        scores = union(range(100), range(100, 200))(frozenset(i // 2 for i in axes if i % 2 and i < 4))
        is_spoilt = not {0, 2} <= axes if is_whole else bool({0, 2} & axes)
        if {1, 3} <= axes and is_spoilt:
            scores[::4] = 0
        return scores

    for seed in range(20):
        found = select(20, score, Settings(norms=CREDIT), seed=seed).strategy
        assert set(found.chosen) <= {0, 1}
        assert {0, 2} & on(found.weights.genome()) == ({0, 2} if is_whole else set())


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


@pytest.mark.parametrize(
    ("fails", "chosen"),
    [
        pytest.param(lambda sources: 1 in sources, {0, 2}, id="a source"),
        pytest.param(lambda sources: {0, 1} <= sources, {0, 2}, id="a combination"),
        pytest.param(lambda sources: sources == {0, 2}, {0, 1, 2}, id="what is left without a source"),
    ],
)
def test_merges_that_fail_are_not_chosen(fails: Callable[[frozenset[int]], bool], chosen: set[int]) -> None:
    """Source 1 is chosen if it works; what it contributes is unknown if the merge without it fails."""
    score = union(range(90), range(90, 130), range(130, 180))
    done = select(3, lambda sources: None if fails(sources) else score(sources))
    assert set(done.strategy.chosen) == chosen
    assert set(done.strategy.contributions) == chosen - {1}
    assert sum(trial.genome == (0.0, 1.0, 0.0) for trial in done.trials) == 1 or not fails(frozenset({1}))


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


# ---- paired gains have honest intervals


def test_a_paired_gain_by_hand() -> None:
    gain = paired_gain([1, 1, 0, 1, 0.5], [0, 1, 0, 0, 1])
    gaps = [1, 0, 0, 1, -0.5]
    variance = sum((gap - 0.3) ** 2 for gap in gaps) / 4 / 5 + 0.25 / 25
    assert gain.mean == pytest.approx(0.3) and gain.n == 5
    assert gain.error == pytest.approx(variance**0.5)
    bounds, t_of_4 = gain.interval, 2.7764451
    assert (bounds.score, bounds.high) == (gain.mean, 1) and bounds.n_groups == 0
    assert bounds.score - bounds.low == pytest.approx(t_of_4 * gain.error)


def test_without_items_nothing_is_known() -> None:
    assert paired_gain([], []) == Gain.normal(0.0, 1.0)


scores = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40)


@given(pairs=scores, shift=st.floats(-0.5, 0.5))
def test_swap_order_and_shift(pairs: list[tuple[float, float]], shift: float) -> None:
    one, other = zip(*pairs, strict=True)
    gain = paired_gain(one, other)
    swapped, reversed_ = paired_gain(other, one), paired_gain(one[::-1], other[::-1])
    shifted = paired_gain([each + shift for each in one], [each + shift for each in other])
    assert swapped.mean == -gain.mean and swapped.error == pytest.approx(gain.error)
    for each in (reversed_, shifted):
        assert each.mean == pytest.approx(gain.mean, abs=1e-9)
        assert each.error == pytest.approx(gain.error, abs=1e-9)
    assert 0 < gain.error < 1


@pytest.mark.parametrize("n_groups", [6, 20])
def test_intervals_of_gains_on_a_few_groups_cover_the_truth(n_groups: int) -> None:
    """Two equal models answer four pictures of each prompt, of which some are easier for one of them."""
    chance, draws, hits = np.random.default_rng(0), 500, 0
    labels = [f"prompt {i // 4}" for i in range(4 * n_groups)]
    for _ in range(draws):
        easy = np.repeat(chance.normal(scale=2, size=(2, n_groups)), 4, axis=1)
        one, other = (chance.random(easy.shape) < 1 / (1 + np.exp(-easy))).astype(float).tolist()
        bounds = paired_gain(one, other, labels).interval
        hits += bounds.low <= 0 <= bounds.high
    assert (bounds.n, bounds.n_groups) == (4 * n_groups, n_groups)
    assert hits / draws >= 0.94


@pytest.mark.parametrize("n", [48, *slow(24, 96, 200)])
@pytest.mark.parametrize(
    ("wins", "losses", "least"),
    [
        (0.0, 0.0, 1.0),
        (0.02, 0.0, 0.85),  # if none of few wins is drawn, the interval is too short
        (0.1, 0.05, 0.93),
        (0.3, 0.1, 0.94),
        (0.2, 0.2, 0.94),
        (0.9, 0.02, 0.9),
    ],
)
def test_intervals_of_paired_gains_cover_the_truth(n: int, wins: float, losses: float, least: float) -> None:
    """On n items drawn at random, one wins some, the other some, and they agree on the rest."""
    chance, draws = np.random.default_rng(1), 2000
    gaps = chance.choice([1.0, -1.0, 0.0], size=(draws, n), p=[wins, losses, 1 - wins - losses])
    hits = 0
    for row in gaps:
        bounds = paired_gain((row > 0).astype(float).tolist(), (row < 0).astype(float).tolist()).interval
        hits += bounds.low <= wins - losses <= bounds.high
    assert least <= hits / draws
