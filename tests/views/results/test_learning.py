"""What is said about learned weights: their cost, what they brought, and whether a trial has them."""

from pathlib import Path

from kingyo.core.types import SPLITS, Evaluation, Genome, ItemScore, Lesson, Outcome, Trial
from kingyo.runs.learning import NO_LESSON
from kingyo.runs.settings import LEARNS
from kingyo.search.evolution import MAIN
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.store import RunStore
from kingyo.views.results.genes import family_of, means_by_family
from kingyo.views.results.summary import summarize
from kingyo.views.results.tuning import origin_of
from tests.fake_runs import made_splits
from tests.screened_runs import weights

AXES = [
    {"name": f"weight/{who}/{group}", "low": 0.0, "high": 1.5} for who in ("a", "b") for group in ("x", "y")
]
ITEMS = made_splits(dict.fromkeys(SPLITS, 10))
LESSON = Lesson(steps=30, targets=24, items=240, seconds=12.0, loss=(1.84, 0.9))
Row = tuple[Genome, int, tuple[int, ...], Lesson | None]
"""Genome, items of fit that it solves, parents, lesson."""


def begun(folder: Path, rows: list[Row], *, strategy: str = "memetic") -> RunStore:
    store = RunStore.create(folder)
    store.begin({"name": "r", "status": "finished", "config": {}}, ITEMS)
    store.add_search(MAIN, {"strategy": strategy, "axes": AXES})
    for number, (genome, solved, parents, lesson) in enumerate(rows):
        trial = Trial(number=number, genome=genome, parents=parents, lesson=lesson)
        (stored,) = store.add_trials(MAIN, number, [new_trial(trial, weights(*genome))])
        scores = [ItemScore(item.id, float(n < solved), "?") for n, item in enumerate(ITEMS["fit"])]
        store.record(stored.id, "fit", Evaluation(scores=tuple(scores)))
        store.add_outcomes({stored.id: Outcome(trial=stored.asked, value=solved / 10)})
    return store


ROWS: list[Row] = [
    ((0.5, 0.5, 0.5, 0.5), 4, (), None),
    ((0.9, 0.9, 0.2, 0.2), 5, (), None),
    ((0.9, 0.7, 0.2, 0.1), 7, (1,), LESSON),
    ((0.8, 0.7, 0.2, 0.1), 9, (), None),
    ((0.8, 0.8, 0.3, 0.3), 6, (), None),
    ((0.8, 0.8, 0.3, 0.3), 6, (3,), None),
]


def test_cost_and_gain_of_lessons(tmp_path: Path) -> None:
    with begun(tmp_path / "run", ROWS) as store:
        store.set_winner(MAIN, store.trials(MAIN)[3].id)
        summary = summarize(store)
    assert summary.learned == (
        "Weights were learned in 1 lesson (trial 2) from up to 24 right answers, for 240 of the search's 300 "
        "item evaluations, in 12 s. On fit, the best trial before scored 50.0%, the best learned one scored "
        "70.0% and the best other one since scored 90.0%. The bred model descends from learned weights."
    )
    record = summary.to_json()["learning"]
    assert isinstance(record, dict)
    assert (record["lessons"], record["items"], record["search_items"]) == (1, 240, 300)
    assert (record["best_before"], record["best_learned"], record["best_after"]) == (0.5, 0.7, 0.9)
    assert record["bred"] == "descends"


def test_learned_weights_are_inherited_by_genes_and_by_parents(tmp_path: Path) -> None:
    origins = ["plain", "plain", "learned", "descends", "plain", "descends"]
    with begun(tmp_path / "run", ROWS) as store:
        assert [origin_of(store, trial) for trial in store.trials(MAIN)] == origins
    with begun(tmp_path / "other", ROWS, strategy="climber") as store:  # its genes may differ by themselves
        assert [origin_of(store, trial) for trial in store.trials(MAIN)] == [*origins[:3], *["plain"] * 3]


def test_a_run_without_lessons_says_why_if_it_could_learn(tmp_path: Path) -> None:
    with begun(tmp_path / "run", ROWS[:2]) as store:
        summary = summarize(store)
        assert summary.learned is None and summary.to_json()["learning"] is None
        store.set_fact(LEARNS, True)
        assert summarize(store).learned == (
            "No weights were learned by gradient: the best candidate leaves too little to gain."
        )
        store.set_fact(NO_LESSON, "its start misses 2.0% of fit")
        assert str(summarize(store).to_json()["not_learned"]).endswith(
            "gradient: its start misses 2.0% of fit."
        )


def test_means_of_families() -> None:
    assert [family_of(name) for name in ("weight/a/x.y", "t/all", "scale")] == ["weight/a", "t", "scale"]
    means = means_by_family({"axes": AXES}, (0.5, 1.5, 0.25, 0.25))
    assert means == {"weight/a": "1.00 (0.50 to 1.50)", "weight/b": "0.25"}
    assert means_by_family({"axes": AXES}, (0.5,)) == {}
