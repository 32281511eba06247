"""What gives a search nothing to go by: it ends soundly, and never with a winner that was not measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from kingyo.core.types import SPLITS, Evaluation, ItemScore, Split
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import MAIN, Journey, Limits, fixed
from kingyo.search.runners import LocalRunner
from kingyo.search.strategies import STRATEGIES
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from tests.fake_runs import begun as begun_with
from tests.fake_runs import journey as fake_journey
from tests.fake_runs import made_splits, weights

NAMES = STRATEGIES.names()


def scored(how: Callable[[Recipe, str], float]) -> LocalRunner:
    def evaluate(recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        try:
            scores = tuple(ItemScore(item=each, score=how(recipe, each), answer="") for each in items)
        except ValueError as error:
            return Evaluation(failure=str(error))
        return Evaluation(scores=scores, build_seconds=0.001, score_seconds=0.001)

    return LocalRunner(evaluate)


def journey(store: RunStore, runner: LocalRunner, strategy: str, candidates: int) -> Journey:
    search_run = fake_journey(store, runner, strategy=strategy, limits=Limits(candidates=candidates))
    return replace(search_run, stages=[fixed(search_run.first[0])])


def begun(folder: Path, n_items: int) -> RunStore:
    return begun_with(folder, made_splits(dict.fromkeys(SPLITS, n_items)))


def assert_sound(store: RunStore, n_items: int) -> None:
    """The winner was measured on all splits, and its numbers are those of its rows."""
    winner = store.winner(MAIN)
    assert winner is not None and winner in store.trials(MAIN)
    summary = summarize(store)
    assert summary.status == "finished" and summary.winner is not None
    for split in SPLITS:
        measured = store.evaluation(winner.id, split)
        assert measured is not None and measured.failure is None and measured.mean is not None
        assert len(measured.scores) == n_items
        shown = getattr(summary.winner, split)
        assert (shown.score, shown.n) == (pytest.approx(measured.mean), n_items)
        assert shown.low <= shown.score <= shown.high


@pytest.mark.parametrize("score", [0.0, 0.25])
@pytest.mark.parametrize("strategy", NAMES)
def test_constant_scores(tmp_path: Path, strategy: str, score: float) -> None:
    with begun(tmp_path / "run", 6) as store:
        journey(store, scored(lambda _, __: score), strategy, 30).run()
        assert_sound(store, 6)
        assert all(each.difference.score == 0 for each in summarize(store).comparisons)


@pytest.mark.parametrize("strategy", NAMES)
def test_one_item_only(tmp_path: Path, strategy: str) -> None:
    def near(recipe: Recipe, item: str) -> float:
        return float(abs(float(recipe.sources[0].parameters["weight"]) - 0.5) < 0.3)  # type: ignore[arg-type]

    with begun(tmp_path / "run", 1) as store:
        journey(store, scored(near), strategy, 30).run()
        assert_sound(store, 1)


@pytest.mark.parametrize("strategy", NAMES)
def test_a_budget_smaller_than_a_population(tmp_path: Path, strategy: str) -> None:
    with begun(tmp_path / "run", 5) as store:
        luck = scored(lambda recipe, item: crc32(f"{recipe.hash}{item}".encode()) % 2)
        journey(store, luck, strategy, 1).run()
        assert len(store.trials(MAIN)) == 1
        assert_sound(store, 5)


@pytest.mark.parametrize("strategy", NAMES)
def test_all_candidates_fail(tmp_path: Path, strategy: str) -> None:
    elsewhere = {"a": weights(2, 0), "b": weights(0, 2), "uniform": weights(1.5, 1.5)}
    elsewhere_hashes = {recipe.hash for recipe in elsewhere.values()}

    def half(recipe: Recipe, _: str) -> float:
        if recipe.hash not in elsewhere_hashes:
            raise ValueError("broken")
        return 0.5

    with begun(tmp_path / "run", 5) as store:
        search_run = replace(journey(store, scored(half), strategy, 25), baselines=elsewhere)
        with pytest.raises(KingyoError, match=r"at least one trial that succeeds on fit; received .*broken"):
            search_run.run()
        assert store.winner(MAIN) is None
        assert summarize(store).winner is None
