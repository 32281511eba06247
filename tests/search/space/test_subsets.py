"""A genome names a subset: none is the base, one source is that parent, several are task arithmetic."""

from __future__ import annotations

import pytest

from kingyo.search.space import parent_recipe
from kingyo.search.space.parameter import SubsetSpace
from tests.search.space.spaces import LAYOUT

SOURCES = {"ja": "models/ja", "math": "org/math@main", "lora": "models/base+models/lora"}


def space(dtype: str | None = None, groups: str = "one") -> SubsetSpace:
    return SubsetSpace(sources=SOURCES, base="models/base", layout=LAYOUT, groups=groups, dtype=dtype)


def test_one_axis_per_source() -> None:
    axes = space().axes
    assert [axis.family for axis in axes] == ["weight/ja", "weight/math", "weight/lora"]
    assert {(axis.low, axis.high, axis.neutral, axis.kind) for axis in axes} == {(0.0, 1.5, 0.0, "float")}


@pytest.mark.parametrize("dtype", [None, "float32"])
def test_none_is_the_base(dtype: str | None) -> None:
    recipe = space(dtype).decode((0.0, 0.0, 0.0))
    assert recipe == parent_recipe("models/base", dtype)
    assert recipe.hash == parent_recipe("models/base", dtype).hash


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize("place", range(3))
def test_one_source_is_its_parent(place: int, dtype: str | None) -> None:
    recipe = space(dtype).decode(tuple(float(i == place) for i in range(3)))
    assert recipe.hash == parent_recipe(list(SOURCES.values())[place], dtype).hash


def test_one_source_with_another_weight_is_a_merge() -> None:
    recipe = space().decode((0.5, 0.0, 0.0))
    assert recipe.merge_method == "task_arithmetic" and recipe.base_model == "models/base"
    assert [(each.model, each.parameters) for each in recipe.sources] == [("models/ja", {"weight": 0.5})]


def test_several_are_merged_in_the_order_of_sources() -> None:
    recipe = space("float32").decode((1.0, 0.0, 1.0))
    assert (recipe.merge_method, recipe.base_model, recipe.dtype) == (
        "task_arithmetic",
        "models/base",
        "float32",
    )
    assert [(each.model, each.parameters) for each in recipe.sources] == [
        ("models/ja", {"weight": 1.0}),
        ("models/base+models/lora", {"weight": 1.0}),
    ]


def test_a_source_may_lack_a_span() -> None:
    recipe = space(groups="layers:2").decode((0.0, 0.7, 0.0, 0.0, 0.7, 0.7))
    ja, lora = (each.parameters["weight"] for each in recipe.sources)
    assert ja == LAYOUT.conditionals("layers:2", {"layers.0": 0.0, "layers.1": 0.7})
    assert lora == 0.7
