from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.checkpoints import Layout
from kingyo.errors import KingyoError
from kingyo.methods import METHODS
from kingyo.recipe import Recipe
from kingyo.space import Bounds, ParameterSpace, parent_recipe, uniform_recipe

TENSORS = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{part}.weight"
        for layer in range(12)
        for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj", "input_layernorm")
    ),
    "model.norm.weight",
    "lm_head.weight",
]
LAYOUT = Layout(TENSORS)
SOURCES = {"ja": "models/ja", "maths": "models/maths"}
GROUPS = ["one", "kind", "block", "layers:3", "block+kind"]


def space(method: str = "dare_ties", groups: str = "one", **values: float | bool | Bounds) -> ParameterSpace:
    return ParameterSpace(
        method=METHODS.get(method),
        method_name=method,
        sources=SOURCES,
        base="models/base",
        layout=LAYOUT,
        groups=groups,
        values=values,
        dtype="float32",
        seed=7,
    )


def test_axes_of_one_group_are_parameter_and_source() -> None:
    found = space(weight=Bounds(low=0, high=1), density=Bounds(low=0.1, high=1, start=0.9))
    assert [axis.name for axis in found.axes] == [
        "weight/ja/all",
        "weight/maths/all",
        "density/ja/all",
        "density/maths/all",
    ]
    assert [axis.first for axis in found.axes] == [0.5, 0.5, 0.9, 0.9]


def test_methods_say_what_is_searched_by_default() -> None:
    assert set(space().searched) == {"weight", "density"}
    assert set(space("task_arithmetic").searched) == {"weight"}


@pytest.mark.parametrize("groups", GROUPS)
@given(data=st.data())
def test_each_gene_reaches_exactly_the_tensors_of_its_group(groups: str, data: st.DataObject) -> None:
    found = space("task_arithmetic", groups, weight=Bounds(low=-1, high=2))
    genome = tuple(data.draw(st.lists(st.floats(-1, 2), min_size=len(found.axes), max_size=len(found.axes))))
    genes = {axis.name: gene for axis, gene in zip(found.axes, genome, strict=True)}
    recipe = found.decode(genome)
    for group, tensors in LAYOUT.groups(groups).items():
        for tensor in tensors:
            for position, source in enumerate(SOURCES):
                value = recipe.value_of("weight", position, tensor, LAYOUT.depth(tensor))
                assert value == genes[f"weight/{source}/{group}"]


def test_a_recipe_survives_its_yaml_and_its_dict() -> None:
    found = space(groups="block")
    recipe = found.decode(tuple(axis.first for axis in found.axes))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert recipe.seed == 7


def test_fixed_values_go_to_the_recipe_and_have_no_axis() -> None:
    found = space(density=0.4, normalize=True, weight=Bounds(low=0, high=1))
    assert {axis.name.split("/")[0] for axis in found.axes} == {"weight"}
    recipe = found.decode((0.1, 0.2))
    assert recipe.parameters == {"density": 0.4, "normalize": True}


def test_deterministic_methods_carry_no_seed() -> None:
    assert space("task_arithmetic").decode((0.1, 0.2)).seed == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wieght": Bounds(low=0, high=1)}, "Did you mean 'weight'"),
        ({"density": Bounds(low=0, high=2)}, "density"),
        ({"normalize": Bounds(low=0, high=1)}, "true or false"),
        ({"weight": 0.5, "density": 0.5}, "at least one parameter that is searched"),
    ],
)
def test_what_cannot_be_searched_is_said(values: dict[str, float | bool | Bounds], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        space(**values)


def test_a_genome_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 4 genes, received 1"):
        space().decode((0.5,))


def test_baselines() -> None:
    assert [source.model for source in uniform_recipe(SOURCES, None, None).sources] == list(SOURCES.values())
    assert parent_recipe("models/ja", None).sources[0].model == "models/ja"
