"""Several tasks and objectives in the loop: real strategies and store; scores follow from the genome."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.core.types import SPLITS, Evaluation, Item, ItemScore, Split
from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import (
    MAIN,
    Journey,
    Limits,
    Objectives,
    Search,
    fixed,
    objectives_as_facts,
    read_front,
)
from kingyo.search.evolution.objectives import closeness, few_sources, require_closeness
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.runners import LocalRunner
from kingyo.search.strategies import build
from kingyo.store import RunStore
from kingyo.views.results.summary import summarize
from tests.fake_runs import AXES, Plane, weights
from tests.fake_runs import begun as begun_with
from tests.screened_runs import Model

N = {"a": 12, "b": 4}
ITEMS: dict[Split, tuple[Item, ...]] = {
    split: tuple(
        Item(id=f"{task}/{split}{i}", prompt="", answer="", task=task)
        for task, n in N.items()
        for i in range(n)
    )
    for split in SPLITS
}
AIMS = Objectives(tasks={"a": 1.0, "b": 3.0}, names=("a", "b"))


def by_weights(recipe: Recipe, item: str) -> float:
    """Task a is solved by the weight of the first source, b by that of the second, less both together."""
    task = item[0]
    a, b = (float(source.parameters["weight"]) for source in recipe.sources)  # type: ignore[arg-type]
    share = {"a": a, "b": b}[task] - a * b / 2
    return float(share > (int(re.sub(r"\D", "", item)) + 0.5) / N[task])


def model_of(stop_after: int | None = None) -> Model:
    return Model(solves=by_weights, stop_after=stop_after)


def begun(folder: Path) -> RunStore:
    return begun_with(folder, ITEMS)


def journey(store: RunStore, model: Model, *, strategy: str = "nsga2", items: int | None = None) -> Journey:
    main = Search(
        name=MAIN,
        space=Plane(),
        strategy=build(strategy, AXES, 3, {"population": 6}),
        limits=Limits(candidates=30),
        screen=ScreenSettings(items=items),
        objectives=AIMS,
        known={"a": (1.0, 0.0)},
    )
    return Journey(
        store=store,
        runner=LocalRunner(model),
        baselines={"a": weights(1, 0), "b": weights(0, 1), "uniform": weights(0.5, 0.5)},
        stages=[fixed(main)],
        finalists=3,
    )


def stored_search(store: RunStore) -> list[object]:
    return [store.outcomes(MAIN), store.winner(MAIN), [trial.asked for trial in store.trials(MAIN)]]


@pytest.mark.parametrize("strategy", ["nsga2", "cycleqd", "ga"])
@pytest.mark.parametrize("items", [None, 6])
def test_outcomes_have_an_objective_per_task_and_a_weighted_mean(
    tmp_path: Path, strategy: str, items: int | None
) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, model_of(), strategy=strategy, items=items).run()
        outcomes = store.outcomes(MAIN)
        scores = store.scores(MAIN, "fit")
    assert len(outcomes) == 30
    for trial, each in outcomes.items():
        assert each.is_partial == (items is not None)
        assert each.value == pytest.approx((each.objectives[0] + 3 * each.objectives[1]) / 4)
        if items is None:
            mine = scores[trial]
            means = [
                sum(s for item, s in mine.items() if item.startswith(f"{task}/")) / n for task, n in N.items()
            ]
            assert each.objectives == pytest.approx(means)


@pytest.mark.parametrize("items", [None, 6])
def test_a_kill_anywhere_does_not_change_the_result(tmp_path: Path, items: int | None) -> None:
    model = model_of()
    with begun(tmp_path / "whole") as store:
        journey(store, model, items=items).run()
        expected = stored_search(store)
    for stop_after in range(1, len(model.asked), 5):
        folder = tmp_path / f"stopped-{stop_after}"
        with begun(folder) as store, pytest.raises(KeyboardInterrupt):
            journey(store, model_of(stop_after), items=items).run()
        with RunStore.open(folder) as store:
            journey(store, model_of(), items=items).run()
            assert stored_search(store) == expected


def test_finalists_are_points_of_the_front_and_the_knee_comes_first(tmp_path: Path) -> None:
    with begun(tmp_path / "run") as store:
        journey(store, model_of()).run()
        front = read_front(store, MAIN)
        validated = {each.trial for each in store.summaries("validation") if each.search == MAIN}
        winner = store.winner(MAIN)
        beaten = [each.objectives for each in store.outcomes(MAIN).values()]
    knee = front.knee
    assert knee is not None and winner is not None
    assert validated == {point.trial.id for point in front.spread(3)}
    assert knee.trial.id in validated and winner.id in validated
    for point in front.points:
        assert not any(
            other != point.objectives and all(x >= y for x, y in zip(other, point.objectives, strict=True))
            for other in beaten
        )


def test_the_weighted_mean_of_the_tasks_is_predicted(tmp_path: Path) -> None:
    """Of one finalist nothing is shrunken: its validation score itself is predicted, whatever the sizes."""
    with RunStore.create(tmp_path / "run") as store:
        store.begin({"status": "running", "name": "run", **objectives_as_facts(AIMS)}, ITEMS)
        replace(journey(store, model_of()), finalists=1).run()
        summary = summarize(store)
    winner, predicted = summary.winner, summary.predicted
    assert winner is not None and winner.validation is not None and predicted is not None
    a, b = (winner.tasks[name]["validation"].score for name in AIMS.tasks)
    assert a != b
    assert predicted.score == pytest.approx(winner.validation.score) == pytest.approx((a + 3 * b) / 4)
    assert predicted.n == winner.validation.n == sum(N.values())


def test_closeness_and_size_are_read_off_the_recipe() -> None:
    sources = tuple(Source(model=m, parameters={"weight": w}) for m, w in (("a", 0.5), ("b", -1.0)))
    recipe = Recipe(
        merge_method="task_arithmetic", base_model="base", sources=sources, parameters={"lambda": 2.0}
    )
    assert closeness(recipe) == pytest.approx(1 / (1 + 2 * 1.5))
    assert few_sources(recipe, 4) == 0.5
    require_closeness(METHODS.get("task_arithmetic"), {})
    require_closeness(METHODS.get("ties"), {"normalize": False})
    for name in ("ties", "linear", "slerp"):
        with pytest.raises(KingyoError, match="closeness"):
            require_closeness(METHODS.get(name), {})


def answers(**right: str) -> Evaluation:
    """Scores by task, a digit per item."""
    scores = [
        ItemScore(item=f"{task}/test{i}", score=float(digit), answer="")
        for task, digits in right.items()
        for i, digit in enumerate(digits)
    ]
    return Evaluation(scores=tuple(scores), build_seconds=0.0, score_seconds=0.0)


def test_a_lead_exceeds_a_standard_error_of_the_paired_difference() -> None:
    items = [item for item in ITEMS["test"] if item.task == "a"]
    scorer = Scorer(Objectives(), items)
    base = answers(a="000000000000")
    assert not scorer.is_ahead(base, base)
    assert not scorer.is_ahead(answers(a="100000000000"), base), "1/12, as large as its error"
    assert scorer.is_ahead(answers(a="110000000000"), base), "2/12, with an error of 0.112"
    assert not scorer.is_ahead(base, answers(a="110000000000"))
    assert not scorer.is_ahead(answers(a="111100000000"), answers(a="000000000011"))


def test_a_lead_on_several_tasks_uses_their_weights() -> None:
    scorer = Scorer(Objectives(tasks={"a": 1.0, "b": 3.0}), ITEMS["test"])
    base = answers(a="000000000000", b="0000")
    assert scorer.is_ahead(answers(a="000000000000", b="0110"), base), "0.375, with an error of 0.217"
    assert not scorer.is_ahead(answers(a="000000000000", b="0100"), base), "0.1875, as large as its error"
    assert scorer.is_ahead(answers(a="111111111111", b="0000"), base)


def test_a_search_must_beat_a_baseline_by_a_standard_error_on_common_items() -> None:
    scorer = Scorer(Objectives(), [*ITEMS["fit"], *ITEMS["test"]])
    base = answers(a="000000000000")
    also = [ItemScore(item.id, 0.0, "") for item in ITEMS["fit"]]
    longer = replace(base, scores=(*base.scores, *also))
    one, two = answers(a="100000000000"), answers(a="110000000000")
    assert not scorer.beats_baseline(one, longer), "1/12, as large as its error"
    assert scorer.beats_baseline(two, longer), "2/12, with an error of 0.112"
    assert not scorer.beats_baseline(base, replace(two, scores=(*two.scores, *also)))
    assert scorer.beats_baseline(base, longer), "equal on what both met: it is a search's own find as well"
