"""The winner is the best on fit and validation together; the best of a run is ahead of the best baseline.

The numbers are worked out by hand: beliefs and answers are given, 20 items of validation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Axis, Genome, Item, Split
from kingyo.merging.recipe import Recipe
from kingyo.search.evolution import BASELINES, MAIN, Limits, Objectives, fixed, objectives_as_facts
from kingyo.search.evolution.picking import spread_out
from kingyo.store import RunStore, StoredTrial
from kingyo.views.results.summary import RunSummary, summarize
from kingyo.views.statements import better_than_bred
from tests.screened_runs import BASELINE_RECIPES, KNOWN, SPLITS, Listed, Model, journey, weights

A, B, C = (0.1, 0.1, 0.1, 0.1), (0.9, 0.1, 0.1, 0.1), (0.1, 0.9, 0.1, 0.1)
REST = [(gene / 10, 0.9, 0.9, 0.9) for gene in range(9)]


class Believing(Listed):
    """A strategy that estimates the given genomes highly and all others low."""

    def __init__(self, genomes: Sequence[Genome], beliefs: Mapping[Genome, float]) -> None:
        super().__init__(genomes)
        self._beliefs = beliefs

    def predict(self, genomes: Sequence[Genome]) -> list[float]:
        return [self._beliefs.get(genome, 0.1) for genome in genomes]


def answers(right: Mapping[Genome, str], others: Mapping[Genome, Sequence[str]] = {}) -> Model:
    """Of validation what the digits say, by genome; of all else the items that begin with ``others``."""
    rows = {weights(*genome).hash: digits for genome, digits in right.items()}
    begins = {weights(*genome).hash: tuple(words) for genome, words in others.items()}

    def solves(recipe: Recipe, item: str) -> float:
        _, is_validation, place = item.partition("validation")
        if is_validation:
            return float(rows.get(recipe.hash, bits(0))[int(place)])
        return float(item.startswith(begins.get(recipe.hash, ())))

    return Model(solves=solves)


def bits(right: int, n: int = 20) -> str:
    return "1" * right + "0" * (n - right)


def run(store: RunStore, model: Model, strategy: Listed, rule: str = "some", **changes: object) -> None:
    search_run = journey(store, model, strategy, rule, limits=Limits(candidates=12))
    replace(search_run, stages=[fixed(replace(search_run.first[0], **changes))]).run()  # type: ignore[arg-type]


def begun(
    folder: Path, items: Mapping[Split, tuple[Item, ...]] = SPLITS, objectives: Objectives | None = None
) -> RunStore:
    store = RunStore.create(folder)
    store.begin(
        {"status": "running", "name": "run", **objectives_as_facts(objectives or Objectives())}, items
    )
    return store


def winner_of(store: RunStore) -> StoredTrial:
    winner = store.winner(MAIN)
    assert winner is not None
    return winner


@pytest.mark.parametrize(
    ("rule", "least", "ahead", "wins"),
    [
        pytest.param("some", 8, 0.12, A, id="8/28 of 0.12 is less than 20/28 of 0.05"),
        pytest.param("some", 8, 0.13, B, id="8/28 of 0.13 is more than 20/28 of 0.05"),
        pytest.param("none", 24, 0.04, A, id="24/44 of 0.04 is less than 20/44 of 0.05"),
        pytest.param("none", 24, 0.05, B, id="24/44 of 0.05 is more than 20/44 of 0.05"),
    ],
)
def test_fit_and_validation_pick_together_by_their_items(
    tmp_path: Path, rule: str, least: int, ahead: float, wins: Genome
) -> None:
    """A scores 11/20 on validation, B 10/20 but is believed to be better; C is neither."""
    strategy = Believing([A, B, C, *REST], {A: 0.5, B: 0.5 + ahead, C: 0.45})
    model = answers({A: bits(11), B: bits(10), C: bits(10)})
    with begun(tmp_path / "run") as store:
        run(store, model, strategy, rule)
        met = {each.trial: each.n for each in store.summaries("fit")}
        full_scores = [each for each in store.summaries("validation") if each.search == MAIN]
        assert [each.n for each in full_scores] == [20, 20, 20]
        assert min(met[each.trial] for each in full_scores) == least
        assert winner_of(store).asked.genome == wins


def test_the_deciding_score_is_reported(tmp_path: Path) -> None:
    strategy = Believing([A, B, C, *REST], {A: 0.5, B: 0.64, C: 0.45})
    with begun(tmp_path / "run") as store:
        run(store, answers({A: bits(11), B: bits(10), C: bits(10)}), strategy)
        summary = summarize(store)
    together = {A: (8 * 0.5 + 20 * 0.55) / 28, B: (8 * 0.64 + 20 * 0.5) / 28, C: (8 * 0.45 + 20 * 0.5) / 28}
    assert {each.trial: each.together for each in summary.finalists} == pytest.approx(
        dict(enumerate(together.values()))
    )
    json = summary.to_json()["finalists"]
    assert isinstance(json, list) and json[0]["validation"] == 0.5


def test_models_trained_on_fit_are_picked_by_validation_only(tmp_path: Path) -> None:
    strategy = Believing([A, B], {A: 0.2, B: 1.0})
    with begun(tmp_path / "run") as store:
        run(store, answers({A: bits(11), B: bits(10)}), strategy, learns_fit=True)
        assert winner_of(store).asked.genome == A


def test_a_kept_point_loses_only_on_validation(tmp_path: Path) -> None:
    """B is ahead of A by a belief of any size, but not by more than a standard error on validation."""
    strategy = Believing([A, B], {A: 0.1, B: 1.0})
    with begun(tmp_path / "run") as store:
        run(store, answers({A: bits(10), B: bits(11)}), strategy, keep=(A,))
        assert winner_of(store).asked.genome == A


TASKS = Objectives(tasks={"a": 1.0, "b": 3.0})


def of_tasks(split: Split) -> tuple[Item, ...]:
    """The last four items are of task b, the others of a."""
    parts = {"a": SPLITS[split][:-4], "b": SPLITS[split][-4:]}
    return tuple(
        replace(item, id=f"{task}/{item.id}", task=task) for task, own in parts.items() for item in own
    )


@pytest.mark.parametrize(("belief", "wins"), [(0.57, A), (0.59, B)])
def test_with_several_tasks_weighted_means_count(tmp_path: Path, belief: float, wins: Genome) -> None:
    """On validation A has 8/16 of a and 2/4 of b, 0.5; B 12/16 and 1/4, (0.75 + 3 · 0.25) / 4 = 0.375.

    So B is 0.125 behind, and has to be believed to be 0.125 · 20/8 = 0.3125 ahead on fit.
    """
    strategy = Believing([A, B], {A: 0.27, B: belief})
    right = {A: bits(8, 16) + bits(2, 4), B: bits(12, 16) + bits(1, 4)}
    items: dict[Split, tuple[Item, ...]] = {split: of_tasks(split) for split in SPLITS}
    with begun(tmp_path / "run", items, TASKS) as store:
        run(store, answers(right), strategy, objectives=TASKS)
        assert winner_of(store).asked.genome == wins


def summary_of(folder: Path, model: Model, *, has_control: bool) -> RunSummary:
    """A run of one bred model and, if asked for, one of a random control."""
    with begun(folder) as store:
        search_run = journey(store, model, Listed([B]), limits=Limits(candidates=1))
        main, random = search_run.first
        searches = [main, replace(random, strategy=Listed([C]), like=(MAIN,))]
        replace(search_run, stages=[fixed(*searches if has_control else [main])]).run()
        assert len(store.trials(BASELINES)) == len(BASELINE_RECIPES)
        return summarize(store)


def ended(folder: Path, bred: str, uniform: str, control: str = "") -> RunSummary:
    """A run whose bred model, uniform merge and random control answer validation so."""
    model = answers({B: bred, KNOWN["uniform"]: uniform, C: control or bits(0)})
    return summary_of(folder, model, has_control=bool(control))


FAR, CLOSE = "0" * 2 + "1" * 13 + "0" * 5, "0" * 4 + "1" * 13 + "0" * 3
"""Five gained and two lost, and seven gained and four lost, compared with the uniform merge's ten of 20."""


@pytest.mark.parametrize(
    ("bred", "best"),
    [
        pytest.param(bits(12), "main", id="ahead by 2/28, more than 0.0496"),
        pytest.param(bits(11), "uniform", id="ahead by 1/28, as its error"),
        pytest.param(FAR, "main", id="ahead by 3/28, more than 0.0940"),
        pytest.param(CLOSE, "uniform", id="ahead by 3/28, less than 0.1189"),
        pytest.param("0" * 10 + "1" * 10, "uniform", id="equal means"),
        pytest.param(bits(9), "uniform", id="behind"),
        pytest.param(bits(10), "main", id="the same answers"),
    ],
)
def test_the_best_baseline_is_the_best_unless_bred_is_ahead(tmp_path: Path, bred: str, best: str) -> None:
    """The uniform merge has the first ten of 20 right, and both none of 8 of fit. Gained and lost: k and m.

    Ahead by (k − m) / 28. The variance of a difference is (k + m − (k − m)² / 28) / 27, and the error of the
    mean the root of a 28th of it.
    """
    summary = ended(tmp_path / "run", bred, bits(10))
    assert summary.best is not None and summary.best.name == best
    assert (better_than_bred(summary) is None) == (best == "main")


def test_a_control_must_be_clearly_ahead_of_bred_and_of_the_best_baseline(tmp_path: Path) -> None:
    """The uniform merge has ten of 20 right, see above; bred 12 or nine."""
    as_good = ended(tmp_path / "as good", bits(12), bits(10), bits(13))
    clear = ended(tmp_path / "clear", bits(9), bits(10), bits(12))
    close = ended(tmp_path / "close", bits(9), bits(10), CLOSE)
    assert as_good.best is as_good.winner and better_than_bred(as_good) is None
    assert clear.best is clear.controls["random"] and close.best is close.baselines["uniform"]
    for summary, leads_of_it in ((clear, ("+10.7", "+7.1")), (close, ("+14.3", "+10.7"))):
        assert all(f"({lead} points, n = 28)" in (better_than_bred(summary) or "") for lead in leads_of_it)
    leads = as_good.to_json()["leads"]
    assert isinstance(leads, list) and [
        (each["model"], each["over"], each["is_clear"]) for each in leads
    ] == [
        ("random", "main", False),
        ("main", "uniform", True),
    ]


def test_fit_counts_against_a_control_that_validation_prefers(tmp_path: Path) -> None:
    """Of 20 of validation bred has 12 right and the control 15; of 8 of fit bred has all, the control none.

    On test the control has all ten right and bred none: that plays no part, and the sentence says so.
    """
    model = answers({B: bits(12), C: bits(15)}, {B: ["fit"], C: ["test"]})
    summary = summary_of(tmp_path / "run", model, has_control=True)
    assert summary.best is summary.winner


def test_the_best_baseline_uses_fit_and_validation_together(tmp_path: Path) -> None:
    """Of 20 and 24 items: the uniform merge has 11 and 0 right, the parent a 10 and 2."""
    right = {KNOWN["uniform"]: bits(11), KNOWN["a"]: bits(10), B: bits(11)}
    model = answers(right, {KNOWN["a"]: ["fit0", "fit11"]})
    summary = summary_of(tmp_path / "run", model, has_control=False)
    assert summary.best is not None and summary.best.name == "a"


# ---- which finalists


WEIGHT = Axis(name="weight", low=0, high=2)
METHOD = Axis(name="method", low=0, high=2, kind="categorical", choices=("linear", "ties", "slerp"))
genes = st.floats(0, 2, allow_nan=False)


def test_the_first_of_each_neighbourhood_is_picked() -> None:
    genomes = [(1.0, 1.0), (1.1, 0.95), (1.25, 1.0), (0.9, 1.15), (0.0, 0.0)]
    assert spread_out(genomes, [WEIGHT, WEIGHT], 3) == [0, 2, 4]


def test_different_categories_are_different_places() -> None:
    genomes = [(1.0, 0.0), (1.0, 1.0), (1.01, 1.0)]
    assert spread_out(genomes, [WEIGHT, METHOD], 2) == [0, 1]


@given(st.lists(st.tuples(genes, genes), max_size=20), st.integers(1, 8))
def test_the_best_is_always_one_and_none_is_missing(genomes: list[Genome], n: int) -> None:
    picked = spread_out(genomes, [WEIGHT, WEIGHT], n)
    assert len(picked) == min(n, len(genomes))
    assert picked == sorted(set(picked))
    assert not genomes or picked[0] == 0
