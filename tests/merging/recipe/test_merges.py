"""Recipes with a path through models that are merges themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kingyo.errors import KingyoError
from kingyo.merging.engine import open_sources, plan, rooted, to_folder
from kingyo.merging.engine.preflight import check_merge
from kingyo.merging.recipe import Hop, NamedRecipe, Recipe, RecipeBook, Source, without_paths
from tests.models_on_disk import family


def mean(*models: str) -> Recipe:
    sources = tuple(Source(model=model, parameters={"weight": 1.0}) for model in models)
    return Recipe(merge_method="linear", sources=sources, dtype="float32")


def bred(one: str, other: str) -> Recipe:
    hops = (Hop(model="bred", layer=1), Hop(model=other, layer=0), Hop(model="bred", layer=1))
    return Recipe(merge_method="passthrough", path=hops, base_model="bred", merges={"bred": mean(one, other)})


def test_round_trip_and_references() -> None:
    recipe = bred("a", "b")
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.references == ("a", "b")
    assert recipe.hash != bred("b", "a").hash


def test_it_equals_two_consecutive_merges(tmp_path: Path) -> None:
    a, b = (str(each) for each in family(tmp_path)[1])
    recipe = rooted(bred(a, b), tmp_path)
    once = to_folder(plan(recipe, open_sources(recipe)), tmp_path / "once")
    first = mean(a, b)
    between = to_folder(plan(first, open_sources(first)), tmp_path / "between")
    second = Recipe(merge_method="passthrough", path=recipe.path, base_model="bred").renamed(
        lambda each: str(between) if each == "bred" else each,
    )
    twice = to_folder(plan(second, open_sources(second)), tmp_path / "twice")
    tensors, expected = load_file(once / "model.safetensors"), load_file(twice / "model.safetensors")
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in tensors)


def test_as_slices_it_becomes_several_recipes_of_the_same_model(tmp_path: Path) -> None:
    a, b = (str(each) for each in family(tmp_path)[1])
    book = without_paths(RecipeBook(steps=(NamedRecipe(name=None, recipe=bred(a, b)),)))
    assert [step.name for step in book.steps] == ["bred", None]
    checked = check_merge(book, tmp_path / "slices")
    one = to_folder(checked.outputs[0].plan, tmp_path / "slices")
    recipe = bred(a, b)
    other = to_folder(plan(recipe, open_sources(recipe)), tmp_path / "path")
    tensors, expected = (load_file(each / "model.safetensors") for each in (one, other))
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in tensors)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"merge_method": "linear", "models": [{"model": "a"}], "merges": {"x": {}}}, "merges"),
        (
            {
                "merge_method": "passthrough",
                "path": [{"model": "a", "layer": 0}],
                "merges": {"x": mean("a").to_dict()},
            },
            "merges.x",
        ),
        ({**bred("a", "b").to_dict(), "merges": {"bred": bred("a", "b").to_dict()}}, "merges.bred"),
        ({**bred("a", "b").to_dict(), "merges": {"bred": "a"}}, "merges.bred"),
        ({**bred("a", "b").to_dict(), "merges": ["a"]}, "merges"),
    ],
)
def test_contradictions_are_refused(data: dict[str, object], says: str) -> None:
    with pytest.raises(KingyoError) as refused:
        Recipe.from_dict(data)
    assert says in str(refused.value)


def test_mistakes_in_a_merge_name_it(tmp_path: Path) -> None:
    a, b = (str(each) for each in family(tmp_path)[1])
    poor = Recipe(merge_method="slerp", sources=(Source(model=a), Source(model=b)), base_model=a)
    recipe = Recipe(
        merge_method="passthrough",
        path=(Hop(model="bred", layer=0),),
        base_model="bred",
        merges={"bred": poor},
    )
    with pytest.raises(KingyoError) as refused:
        plan(recipe, open_sources(recipe))
    assert "merges.bred" in str(refused.value)
