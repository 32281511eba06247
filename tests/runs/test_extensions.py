"""Extended runs: the search continues as if it had not ended, and a new winner is picked."""

import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe
from kingyo.runs.config import RunConfig, parse_config
from kingyo.runs.extensions import (
    EXTENSIONS,
    Amounts,
    extend,
    note_on_test,
    readings_of_test,
    undo_extension,
    with_extensions,
)
from kingyo.search.evolution import MAIN, Journey, Limits, fixed
from kingyo.search.strategies import build
from kingyo.store import RunStore
from tests.fake_runs import facts
from tests.screened_runs import AXES, Model, begun, journey, some_fail
from tests.slow import slow

FIRST: Mapping[str, object] = {"candidates": 10}
MORE: Amounts = {"candidates": 10}


def config(**budget: object) -> RunConfig:
    task = {"name": "t", "data": "x.jsonl", "prompt": "{p}", "answer": "a", "grader": "exact"}
    return parse_config({"sources": {"a": "a"}, "task": task, "budget": budget}, "run.yaml")


def more(
    store: RunStore, model: Model, strategy: str = "ga", rule: str = "some", budget: object = FIRST
) -> Journey:
    """Continue a run with its stored extensions."""
    assert isinstance(budget, Mapping)
    proposer = build("random", AXES, 3, {}) if strategy == "random" else strategy
    search_run = journey(store, model, proposer, rule, limits=Limits(**config(**budget).budget.model_dump()))
    main, control = search_run.first
    main = replace(main, description={"screen": asdict(main.screen)})
    return replace(
        search_run, stages=[fixed(*with_extensions([main, replace(control, like=(MAIN,))], store))]
    )


def finished(folder: Path, strategy: str = "ga", rule: str = "some", candidates: int = 10) -> None:
    with begun(folder) as store:
        more(store, Model(some_fail), strategy, rule, {"candidates": candidates}).run()


def genomes(store: RunStore, search: str = MAIN) -> list[object]:
    return [trial.asked for trial in store.trials(search)]


@pytest.mark.parametrize("strategy", ["item-gp", "cma-es", "ga"])
def test_an_extended_search_equals_one_with_the_full_budget(tmp_path: Path, strategy: str) -> None:
    finished(tmp_path / "whole", strategy, candidates=20)
    with RunStore.read(tmp_path / "whole") as store:
        expected = genomes(store), genomes(store, "random")
    finished(tmp_path / "run", strategy)
    with RunStore.open(tmp_path / "run") as store:
        extend(store, MORE)
        more(store, Model(some_fail), strategy).run()
        assert (genomes(store), genomes(store, "random")) == expected
        assert store.status() == "finished"


@pytest.mark.parametrize("rule", ["none", *slow("some")])
def test_a_kill_during_an_extension_does_not_change_the_result(tmp_path: Path, rule: str) -> None:
    budget = {"candidates": 8}  # the last generation is not whole
    finished(tmp_path / "run", rule=rule, candidates=8)
    with RunStore.open(tmp_path / "run") as store:
        extend(store, MORE)
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    model = Model(some_fail)
    with RunStore.open(tmp_path / "whole") as store:
        more(store, model, rule=rule, budget=budget).run()
        expected = facts(store), [(each.trial, len(each.after)) for each in readings_of_test(store)]
    assert len(model.asked) > 20
    for stop_after in range(0, len(model.asked), 4):
        folder = shutil.copytree(tmp_path / "run", tmp_path / f"{stop_after}")
        first = Model(some_fail, stop_after=stop_after)
        with RunStore.open(folder) as store, pytest.raises(KeyboardInterrupt):
            more(store, first, rule=rule, budget=budget).run()
        with RunStore.open(folder) as store:
            more(store, Model(some_fail, before=first), rule=rule, budget=budget).run()
            assert (facts(store), [(e.trial, len(e.after)) for e in readings_of_test(store)]) == expected


def heavier(recipe: Recipe, item: str) -> float:
    """The more the first model weighs, the more items are right."""
    return float(float(recipe.sources[0].parameters["weight"]) > zlib.crc32(item.encode()) / 2**32)  # type: ignore[arg-type]


def test_a_second_use_of_test_is_marked(tmp_path: Path) -> None:
    budget = {"candidates": 2}
    with begun(tmp_path / "run") as store:
        more(store, Model(solves=heavier), "random", budget=budget).run()
        first = store.winner(MAIN)
        assert first is not None
        assert note_on_test(store) is None
        extend(store, {"candidates": 38})
        message = note_on_test(store)
        assert message is not None and f"for trial {first.asked.number}, before" in message
        more(store, Model(solves=heavier), "random", budget=budget).run()
        winner = store.winner(MAIN)
        assert winner is not None and winner.id != first.id, "of 40 the heaviest is hardly among the first"
        assert [each.trial for each in readings_of_test(store)] == [first.asked.number, winner.asked.number]
        message = note_on_test(store)
        assert (
            message is not None
            and "2 times" in message
            and "+38 candidates" in message
            and "unbiased" in message
        )
        assert store.fact(EXTENSIONS)[0].winners[MAIN] == first.id


def test_a_winner_that_stays_is_not_read_again(tmp_path: Path) -> None:
    finished(tmp_path / "run", "random", candidates=20)
    with RunStore.open(tmp_path / "run") as store:
        first = store.winner(MAIN)
        tested = [each for each in store.summaries("test") if each.search == MAIN]
        extend(store, {"candidates": 1})
        more(store, Model(some_fail), "random", budget={"candidates": 20}).run()
        assert store.winner(MAIN) == first
        assert [each for each in store.summaries("test") if each.search == MAIN] == tested
        assert "once" in (note_on_test(store) or "")


def test_an_extension_without_trials_is_removed(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    with RunStore.open(tmp_path / "run") as store:
        before = facts(store)
        extend(store, MORE)
        with pytest.raises(KingyoError, match="other genomes"):
            more(store, Model(some_fail), "cma-es").run()
        taken = undo_extension(store)
        assert taken is not None and taken.more == MORE
        assert facts(store) == before
        assert undo_extension(store) is None
        extend(store, MORE)
        more(store, Model(some_fail)).run()
        assert undo_extension(store) is None
        assert len(genomes(store)) == 20
