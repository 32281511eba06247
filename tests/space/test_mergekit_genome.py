from __future__ import annotations

import pytest

from kingyo.recipe import Conditional, Recipe
from kingyo.space import GenomeLayout, MergekitGenome

SOURCES = {"ja": "models/ja", "maths": "models/maths", "poem": "models/poem"}


def space(method: str = "ties", *, base: str | None = "models/base", **layout: object) -> MergekitGenome:
    return MergekitGenome(
        method=method,
        sources=SOURCES,
        base=base,
        n_layers=4,
        layout=GenomeLayout(**layout),  # pyright: ignore[reportArgumentType]
    )


def first(space_: MergekitGenome) -> tuple[float, ...]:
    return tuple(axis.first for axis in space_.axes)


def test_genes_lie_by_group_model_set_and_parameter() -> None:
    search_space = space(layer_granularity=2, filters=("mlp",))
    names = [axis.name for axis in search_space.axes]
    assert names[:5] == [
        "weight/ja/layers.0.mlp",
        "density/ja/layers.0.mlp",
        "weight/ja/layers.0.rest",
        "density/ja/layers.0.rest",
        "weight/maths/layers.0.mlp",
    ]
    assert len(names) == 2 * 3 * 2 * 2
    assert {axis.place for axis in search_space.axes} == {0.25, 0.75}
    assert {axis.place for axis in space().axes} == {None}


def test_a_search_starts_at_equal_weights_and_full_density() -> None:
    assert set(first(space())) == {1 / 3, 1.0}
    start = first(space(random_init=True))
    assert start == first(space(random_init=True))
    assert len(set(start)) == len(start)
    assert all(0 <= each <= 1 for each in start)


def test_negative_weights_count_by_their_size_unless_they_are_allowed() -> None:
    genome = (-0.5, -0.4, 0.3, 1.7, 0.2, 0.1)
    (piece,) = space().decode(genome).slices
    assert [dict(each.parameters) for each in piece.sources] == [
        {"weight": 0.5, "density": 0.4},
        {"weight": 0.3, "density": 1.0},
        {"weight": 0.2, "density": 0.1},
        {},
    ]
    (piece,) = space(allow_negative_weights=True).decode(genome).slices
    assert piece.sources[0].parameters["weight"] == -0.5


def test_smooth_values_are_gradients() -> None:
    search_space = space("linear", base=None, layer_granularity=2, smooth=True, filters=("mlp",))
    recipe = search_space.decode(tuple(i / 10 for i in range(12)))
    assert recipe.sources[0].parameters["weight"] == (
        Conditional(filter="mlp", value=(0.0, 0.6)),
        Conditional(filter=None, value=(0.1, 0.7)),
    )
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_slerp_interpolates_from_the_largest_gene_to_the_second() -> None:
    (piece,) = space("slerp", base=None).decode((0.1, 2.0, 1.0)).slices
    assert [each.model for each in piece.sources] == ["models/maths", "models/poem"]
    assert piece.base_model == "models/maths"
    assert piece.parameters["t"] == pytest.approx(0.2689414)
