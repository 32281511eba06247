"""When two models count as giving the same answers."""

from hashlib import sha256
from pathlib import Path

import pytest

from kingyo.core.types import Evaluation, Item, ItemScore, Media, Trial
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import BASELINES, Objectives, objectives_as_facts
from kingyo.search.evolution.trial_recipes import new_trial
from kingyo.store import RunStore
from kingyo.views.results.model_result import compare_on_test, read_model_result


@pytest.mark.parametrize(("images", "is_alike"), [((b"one", b"one"), True), ((b"one", b"other"), False)])
def test_image_models_are_alike_if_their_images_are_equal(
    tmp_path: Path, images: tuple[bytes, bytes], is_alike: bool
) -> None:
    with RunStore.create(tmp_path / "run") as store:
        item = Item(id="item", prompt="a fish", answer="")
        store.begin({"name": "r", "status": "running", **objectives_as_facts(Objectives())}, {"test": [item]})
        store.add_search(BASELINES, {})
        for number, content in enumerate(images):
            recipe = Recipe(merge_method="linear", sources=(Source(model=f"m{number}"),))
            new = new_trial(Trial(number=number, genome=()), recipe, f"m{number}")
            *_, trial = store.add_trials(BASELINES, 0, [new])
            image = Media(sha256=sha256(content).hexdigest(), type="image/png", content=content)
            store.record(trial.id, "test", Evaluation(scores=(ItemScore("item", 0.5, "", media=image),)))
        result, other = (read_model_result(store, str(each.name), each) for each in store.trials(BASELINES))
        (comparison,) = compare_on_test(store, result, [other])
    assert comparison.is_alike is is_alike
