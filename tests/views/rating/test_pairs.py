"""Which pairs people see."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.store import RunStore
from kingyo.store.side_databases import CHOICES, ChoiceLog, Verdict, read_choices
from kingyo.views.rating.pairs import Pair, PairChooser, read_models, require_models
from kingyo.views.rating.results import SplitRating, read_ratings
from kingyo.views.results.plain_data import plain_data
from kingyo.views.results.summary import summarize
from kingyo.views.tables import people_table
from tests.rated_runs import N_ITEMS, as_choice, drawn_run, rate


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return drawn_run(tmp_path / "run")


def rating_of(run: Path) -> SplitRating:
    with RunStore.read(run) as store:
        (rating,) = read_ratings(store, summarize(store))
    return rating


def test_models_are_those_with_images(run: Path) -> None:
    with RunStore.read(run) as store:
        names = {split: [model.name for model in read_models(store, split)] for split in N_ITEMS}
    baselines = ["base", "a", "b", "uniform"]
    bred = ["bred", *baselines]
    assert names == {"fit": baselines, "validation": [*bred, "trial 5"], "test": bred}


def test_models_with_one_recipe_are_one_model(run: Path) -> None:
    with RunStore.open(run) as store:
        store.set_winner("main", store.trials("baselines")[1].id)
    with RunStore.read(run) as store:
        names = [model.name for model in read_models(store, "validation")]
    assert names == ["bred", "base", "b", "uniform", "trial 4", "trial 5"]


def test_a_run_without_images_is_refused(tmp_path: Path) -> None:
    from tests.stores import begun

    with begun(tmp_path / "run") as store, pytest.raises(KingyoError) as error:
        require_models(store, "validation")
    assert error.value.argument == "--split validation"


def test_pairs_are_of_one_item_and_balanced(run: Path) -> None:
    shown = rate(run, 60)
    assert len({pair.name for pair in shown}) == 60
    assert all(pair.left != pair.right for pair in shown)
    for n in range(6, 61):
        counts = Counter(model.name for pair in shown[:n] for model in (pair.left, pair.right))
        assert max(counts.values()) - min(counts[name] for name in counts) <= 2
    items = Counter(pair.item for pair in shown)
    assert len(items) == 12 and max(items.values()) <= 6
    left = sum(pair.left.recipe < pair.right.recipe for pair in shown)
    assert 15 <= left <= 45, "sides are random"


def test_each_person_sees_a_pair_once_until_all_are_judged(run: Path) -> None:
    n_pairs = N_ITEMS["validation"] * 15
    assert len(rate(run, 1000)) == n_pairs
    assert len(rate(run, 5, rater="bob")) == 5
    assert rate(run, 5) == []


def test_close_models_are_compared_more_often(run: Path) -> None:
    """Twelve models' worth of luck aside: pairs whose winner is known tell little."""
    shown = rate(run, 90)
    pairs = Counter(frozenset((pair.left.name, pair.right.name)) for pair in shown[30:])
    assert pairs[frozenset(("bred", "base"))] < pairs[frozenset(("base", "b"))]
    assert pairs[frozenset(("bred", "base"))] < pairs[frozenset(("bred", "trial 5"))]


def test_results_rank_the_models(run: Path) -> None:
    rate(run, 60)
    rating = rating_of(run)
    order = [each.model for each in rating.models]
    assert order == ["bred", "trial 5", "uniform", "a", "b", "base"]
    assert (rating.split, rating.n, rating.best_parent) == ("validation", 60, "a")
    by_name = {each.model: each for each in rating.models}
    assert by_name["a"].over_best_parent is None
    bred, base = by_name["bred"], by_name["base"]
    assert bred.wins is not None and bred.wins.score == 1 and bred.wins.n == bred.n
    assert bred.over_best_parent is not None and bred.over_best_parent.low > 0.5
    assert base.over_best_parent is not None and base.over_best_parent.high < 0.5
    strengths = [each.strength.score for each in rating.models if each.strength]
    assert all(one > other for one, other in pairwise(strengths)) and abs(sum(strengths)) < 1e-6
    record = plain_data(rating)
    assert record["n"] == 60 and record["raters"] == {"ann": 60} and record["best_parent"] == "a"


def test_choices_on_one_prompt_are_one_group(run: Path) -> None:
    """Every two items of the run are images of one prompt: what is preferred depends on it."""

    def by_prompt(pair: Pair) -> Verdict:
        return "left" if int(pair.item.removeprefix("validation")) // 2 % 2 else "right"

    rate(run, 60, by_prompt)
    rating = rating_of(run)
    assert (
        rating.prompts == 6
        and "60 choices of 1 person on 6 prompts of validation" in people_table(rating).note
    )
    for model, row in zip(rating.models, people_table(rating).rows, strict=True):
        assert model.wins is not None and model.strength is not None
        n = model.wins.n_groups
        assert model.strength.n_groups == n and str(row[1]) == f"{model.n} on {n} prompts"


def test_ties_skips_and_old_images_are_counted_apart(run: Path) -> None:
    verdicts: list[Verdict] = ["tie"] * 4 + ["skip"] * 3 + ["left"] * 5
    left = iter(verdicts)
    rate(run, 12, lambda _: next(left))
    with ChoiceLog(run) as log:
        old = read_choices(run)[-1]
        log.add(old.__class__(**{**old.__dict__, "left_image": "gone"}))
    rating = rating_of(run)
    assert (rating.n, rating.as_good, rating.skipped, rating.outdated) == (9, 4, 3, 1)


def test_rating_writes_only_its_own_file(run: Path) -> None:
    """The database of the run may belong to another process, which has locked it."""
    with RunStore.open(run) as store:
        before = (run / "run.db").read_bytes()
        assert len(rate(run, 5)) == 5
        assert (run / "run.db").read_bytes() == before
        store.set_fact("note", "still writable")
    assert {path.name for path in run.iterdir()} >= {CHOICES}


def test_a_choice_is_restored_with_its_sides(run: Path) -> None:
    shown = rate(run, 1)[0]
    with RunStore.read(run) as store:
        chooser = PairChooser(models=read_models(store, "validation"), rater="ann")
    assert chooser.restore(as_choice(shown, "left")) == shown
    gone = as_choice(shown, "left").__class__(**{**as_choice(shown, "left").__dict__, "item": "none"})
    assert chooser.restore(gone) is None
