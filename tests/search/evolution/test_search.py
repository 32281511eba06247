"""The loop with real strategies and a real store; only the model is a fake: scores from the genome."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import pytest

from kingyo.core.types import SPLITS, Evaluation, Genome, ItemScore, Split
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, MAIN, Journey, Limits, Search, fixed
from kingyo.search.runners import LocalRunner
from kingyo.search.strategies import STRATEGIES, build
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from tests.fake_runs import AXES, N_ITEMS, Corners, Model, Plane, begun, journey, made_splits, weights


def test_the_test_split_is_read_by_winners_and_baselines_only(tmp_path: Path) -> None:
    model = Model()
    with begun(tmp_path / "run") as store:
        journey(store, model).run()
        readers = {each.trial for each in store.summaries("test")}
        expected = {each.id for each in store.trials(BASELINES)}
        expected |= {winner.id for name in (MAIN, "random") if (winner := store.winner(name))}
        assert readers == expected
        assert len([1 for each in store.summaries("validation") if each.search == MAIN]) == 4


@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_without_reuse_every_trial_is_scored(tmp_path: Path, is_asynchronous: bool) -> None:
    values: dict[bool, list[tuple[int, float | None]]] = {}
    for reuse in (True, False):
        model = Model()
        with begun(tmp_path / str(reuse)) as store:
            journey(store, model, rounded=True, reuse=reuse, is_asynchronous=is_asynchronous).run()
            values[reuse] = [
                (each.trial, each.mean) for each in store.summaries("fit") if each.search == MAIN
            ]
            copies = [each for split in N_ITEMS for each in store.summaries(split) if each.copied_from]
            evaluated = sum(len(store.summaries(split)) for split in N_ITEMS)
            assert bool(copies) == bool(store.copied_scores()) == reuse
            assert model.asked.total() == evaluated - len(copies)
    assert values[True] == values[False]


def test_a_control_that_only_fails_does_not_lose_the_run(tmp_path: Path) -> None:
    class Elsewhere(Plane):
        def decode(self, genome: Genome) -> Recipe:
            return weights(genome[0] + 10, genome[1])

    with begun(tmp_path / "run") as store:
        model = Model(fails=lambda recipe: float(recipe.sources[0].parameters["weight"]) > 5)  # type: ignore[arg-type]
        search_run = journey(store, model)
        main, control = search_run.first
        replace(search_run, stages=[fixed(main, replace(control, space=Elsewhere()))]).run()
        assert store.status() == "finished"
        assert store.winner("random") is None
        assert store.winner(MAIN) is not None


@pytest.mark.parametrize(
    ("limits", "trials"),
    [
        (Limits(candidates=7), 7),
        (Limits(item_evaluations=8 * 9 + 3), 9),
        (Limits(candidates=5, item_evaluations=1000), 5),
    ],
)
def test_limits_are_kept(tmp_path: Path, limits: Limits, trials: int) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), strategy="random", limits=limits).run()
        assert len(store.trials(MAIN)) == trials
        assert len(store.trials("random")) == trials


def test_a_limit_of_time_counts_evaluation(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, Model(), strategy="random", limits=Limits(minutes=0.005)).run()
        spent = sum(e.build_seconds + e.score_seconds for e in store.summaries("fit") if e.search == MAIN)
        assert 0.3 <= spent < 0.3 + 6 * 0.011 + 0.2


def test_a_search_that_has_converged_ends(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        search_run = journey(store, Model())
        main = Search(
            name=MAIN,
            space=Corners(),
            strategy=build("random", AXES, 3, {}),
            limits=Limits(item_evaluations=10_000),
        )
        replace(search_run, stages=[fixed(main)]).run()
        assert store.item_evaluations() <= 8 * 7 + 5 * 7 + 6 * 7
        assert store.status() == "finished"


# ---- what gives a search nothing to go by: it ends soundly, never with a winner that was not measured


NAMES = STRATEGIES.names()


def scored(how: Callable[[Recipe, str], float]) -> LocalRunner:
    def evaluate(recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        try:
            scores = tuple(ItemScore(item=each, score=how(recipe, each), answer="") for each in items)
        except ValueError as error:
            return Evaluation(failure=str(error))
        return Evaluation(scores=scores, build_seconds=0.001, score_seconds=0.001)

    return LocalRunner(evaluate)


def poor(store: RunStore, runner: LocalRunner, strategy: str, candidates: int) -> Journey:
    search_run = journey(store, runner, strategy=strategy, limits=Limits(candidates=candidates))
    return replace(search_run, stages=[fixed(search_run.first[0])])


def of_items(folder: Path, n: int) -> RunStore:
    return begun(folder, made_splits(dict.fromkeys(SPLITS, n)))


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
    with of_items(tmp_path / "run", 6) as store:
        poor(store, scored(lambda _, __: score), strategy, 30).run()
        assert_sound(store, 6)
        assert all(each.difference.score == 0 for each in summarize(store).comparisons)


@pytest.mark.parametrize("strategy", NAMES)
def test_one_item_only(tmp_path: Path, strategy: str) -> None:
    def near(recipe: Recipe, item: str) -> float:
        return float(abs(float(recipe.sources[0].parameters["weight"]) - 0.5) < 0.3)  # type: ignore[arg-type]

    with of_items(tmp_path / "run", 1) as store:
        poor(store, scored(near), strategy, 30).run()
        assert_sound(store, 1)


@pytest.mark.parametrize("strategy", NAMES)
def test_a_budget_smaller_than_a_population(tmp_path: Path, strategy: str) -> None:
    with of_items(tmp_path / "run", 5) as store:
        luck = scored(lambda recipe, item: crc32(f"{recipe.hash}{item}".encode()) % 2)
        poor(store, luck, strategy, 1).run()
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

    with of_items(tmp_path / "run", 5) as store:
        search_run = replace(poor(store, scored(half), strategy, 25), baselines=elsewhere)
        with pytest.raises(KingyoError, match=r"at least one trial that succeeds on fit; received .*broken"):
            search_run.run()
        assert store.winner(MAIN) is None
        assert summarize(store).winner is None
