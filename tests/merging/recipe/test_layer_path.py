"""Paths in recipes: identity, YAML in both directions, mergekit's slices, and mistakes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.recipe import (
    Hop,
    Recipe,
    as_slices,
    cumulative,
    path_as_slices,
)

models = st.sampled_from(["ja", "org/en@main", "./モデル"])
scales = st.just(1.0) | st.floats(0.01, 4)
paths = st.lists(st.builds(Hop, model=models, layer=st.integers(0, 9), scale=scales), min_size=1).map(tuple)
plain = st.lists(st.builds(Hop, model=models, layer=st.integers(0, 9)), min_size=1).map(tuple)


def recipe(**given: Any) -> Recipe:
    return Recipe(merge_method="passthrough", **given)


@given(paths)
def test_yaml_round_trip_of_a_path(path: tuple[Hop, ...]) -> None:
    text = recipe(path=path, base_model="ja").to_yaml()
    loaded = Recipe.from_dict(yaml.safe_load(text))
    assert loaded.path == path
    assert loaded.hash == recipe(path=path, base_model="ja").hash


def test_consecutive_layers_are_written_as_a_range() -> None:
    path = tuple(Hop(model="a", layer=k) for k in (0, 1, 2, 2, 3))
    path += (Hop(model="b", layer=4), Hop(model="b", layer=5, scale=0.9), Hop(model="b", layer=6))
    assert recipe(path=path).to_dict()["path"] == [
        {"model": "a", "layer_range": [0, 3]},
        {"model": "a", "layer_range": [2, 4]},
        {"model": "b", "layer": 4},
        {"model": "b", "layer": 5, "scale": 0.9},
        {"model": "b", "layer": 6},
    ]


@pytest.mark.parametrize(
    ("scales", "says"),
    [
        (
            (2, 1e300),
            r"path\[1\]: scale of layer 0 of a: .*1/1024 and 1024.*; received 2e\+300",
        ),
        ((1e-5,), r"path\[0\]: .* received 1e-05"),
        ((4,) * 6, r"path\[5\]: .* received 4096"),
        ((1e200, 1e200), r"path\[0\]"),
    ],
)
def test_extreme_products_of_scales_are_refused(scales: tuple[float, ...], says: str) -> None:
    with pytest.raises(KingyoError, match=says):
        cumulative([Hop(model="a", layer=0, scale=scale) for scale in scales])


def test_slices_cannot_express_scales() -> None:
    with pytest.raises(KingyoError, match=r"path\[0\]: expected scale 1 everywhere.*0.5 at layer 3 of a"):
        path_as_slices([Hop(model="a", layer=3, scale=0.5)])


@given(plain, st.none() | models)
def test_a_recipe_with_a_path_converts_to_slices(path: tuple[Hop, ...], base: str | None) -> None:
    sliced = as_slices(recipe(path=path, base_model=base, dtype="bfloat16"))
    assert not sliced.path
    layers = [(each.sources[0].model, k) for each in sliced.slices for k in range(*each.sources[0].layers)]
    assert layers == [(hop.model, hop.layer) for hop in path]


def test_a_base_that_gives_the_ends_is_an_empty_slice_at_each() -> None:
    spec = recipe(path=(Hop(model="a", layer=1), Hop(model="b", layer=2)), base_model="a")
    ranges = [(each.sources[0].model, each.sources[0].layers) for each in as_slices(spec).slices]
    assert ranges == [("a", (1, 2)), ("b", (2, 3)), ("a", (0, 0))]
