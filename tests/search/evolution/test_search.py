"""The loop with real strategies and a real store; only the model is a fake: scores from the genome."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.core.types import Genome
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, MAIN, Limits, Search, fixed
from kingyo.search.strategies import build
from tests.fake_runs import AXES, N_ITEMS, Corners, Model, Plane, begun, journey, weights


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


def test_a_failed_baseline_ends_the_run_and_can_be_fixed(tmp_path: Path) -> None:
    broken = weights(0.5, 0.5).hash
    with begun(tmp_path / "run") as store:
        with pytest.raises(KingyoError, match=r"baseline 'uniform'.*it crashed.*resume.*evolve"):
            journey(store, Model(fails=lambda recipe: recipe.hash == broken)).run()
        journey(store, Model()).run()
        assert store.status() == "finished"


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
