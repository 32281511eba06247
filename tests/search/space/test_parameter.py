"""Spaces of parameters: axes and recipes, subsets of sources, and groups and ranges of single sources."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Genome
from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe, look_up
from kingyo.search.space import Bounds, RecipeSpace, SourceChoice, SourceValues, parent_recipe
from kingyo.search.space.parameter import SubsetSpace
from tests.search.space.spaces import LAYOUT, SOURCES, TENSORS, space

GROUPS = ["one", "kind", "block", "layers:3", "block+kind"]


def test_axes_of_one_group_are_parameter_and_source() -> None:
    search_space = space(weight=Bounds(low=0, high=1), density=Bounds(low=0.1, high=1, start=0.9))
    assert [axis.name for axis in search_space.axes] == [
        "weight/ja/all",
        "weight/maths/all",
        "density/ja/all",
        "density/maths/all",
    ]
    assert [axis.first for axis in search_space.axes] == [0.5, 0.5, 0.9, 0.9]


def test_each_group_may_have_its_own_start() -> None:
    axes = space("task_arithmetic", "layers:3", weight=Bounds(low=0, high=1, start=(0.0, 0.2, 0.7))).axes
    assert [axis.first for axis in axes] == [0.0, 0.2, 0.7] * len(SOURCES)


@pytest.mark.parametrize("start", [(), (0.5,), (0.5,) * 4])
def test_starts_that_do_not_fit_the_groups(start: tuple[float, ...]) -> None:
    with pytest.raises(KingyoError, match=r"layers\.2") as raised:
        space("task_arithmetic", "layers:3", weight=Bounds(low=0, high=1, start=start))
    assert raised.value.argument == "start of weight/ja"


def test_methods_say_what_is_searched_by_default() -> None:
    assert set(space().searched) == {"weight", "density"}
    assert set(space("task_arithmetic").searched) == {"weight"}


@pytest.mark.parametrize("groups", GROUPS)
@given(data=st.data())
def test_each_gene_reaches_exactly_the_tensors_of_its_group(groups: str, data: st.DataObject) -> None:
    search_space = space("task_arithmetic", groups, weight=Bounds(low=-1, high=2))
    genome = tuple(
        data.draw(
            st.lists(st.floats(-1, 2), min_size=len(search_space.axes), max_size=len(search_space.axes))
        )
    )
    genes = {axis.name: gene for axis, gene in zip(search_space.axes, genome, strict=True)}
    recipe = search_space.decode(genome)
    for group, tensors in LAYOUT.groups(groups).items():
        for tensor in tensors:
            for source, merged in zip(SOURCES, recipe.sources, strict=True):
                levels = (merged.parameters, recipe.parameters)
                value = look_up(levels, "weight", tensor, LAYOUT.depth(tensor))
                assert value == genes[f"weight/{source}/{group}"]


def test_fixed_values_go_to_the_recipe_and_have_no_axis() -> None:
    search_space = space(density=0.4, normalize=True, weight=Bounds(low=0, high=1))
    assert {axis.name.split("/")[0] for axis in search_space.axes} == {"weight"}
    recipe = search_space.decode((0.1, 0.2))
    assert recipe.parameters == {"density": 0.4, "normalize": True}


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        ("karcher", {"max_iter": Bounds(low=1, high=2.5)}, "a whole number"),
        ("nearswap", {"t": Bounds(low=0, high=1)}, "a range above 0"),
        ("arcee_fusion", {}, "arcee_fusion"),
        ("karcher", {}, "Give one of max_iter, tol a range"),
        ("task_arithmetic", {"density": Bounds(low=0, high=1)}, "density of merge.parameters"),
        ("dare_ties", {"wieght": Bounds(low=0, high=1)}, "Did you mean 'weight'"),
        ("dare_ties", {"density": Bounds(low=0, high=2)}, "density.*`kingyo list methods dare_ties`"),
        ("dare_ties", {"density": 2}, "density.*`kingyo list methods dare_ties`"),
        ("dare_ties", {"normalize": Bounds(low=0, high=1)}, "true or false"),
        ("dare_ties", {"weight": 0.5, "density": 0.5}, "merge.parameters: .*fixed values only"),
    ],
)
def test_what_cannot_be_searched_is_reported(
    method: str, values: dict[str, float | bool | Bounds], message: str
) -> None:
    with pytest.raises(KingyoError, match=message):
        space(method, **values)


def test_powers_of_ten_are_searched_evenly() -> None:
    search_space = space("nearswap", groups="kind")
    (axis, *_) = search_space.axes
    assert (axis.name, axis.low, axis.high) == ("log10 t/embedding", -5, -1)
    assert axis.first == pytest.approx(-3)
    recipe = search_space.decode((-2.0,) * len(search_space.axes))
    assert look_up((recipe.parameters,), "t", TENSORS[0], 0.0) == pytest.approx(0.01)
    assert search_space.searched["t"].first == pytest.approx(1e-3)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_integers_are_searched_as_integers() -> None:
    search_space = space("karcher", max_iter=Bounds(low=1, high=10))
    (axis,) = search_space.axes
    assert (axis.kind, axis.low, axis.high, axis.first) == ("int", 1, 10, 5)
    assert search_space.decode((7.0,)).parameters == {"max_iter": 7.0}


def test_axes_have_the_place_of_their_group_along_the_model() -> None:
    places = {axis.name.removeprefix("weight/ja/"): axis.place for axis in space("linear", "block").axes}
    assert (places["embedding"], places["head"]) == (0, 1)
    assert [places[f"block.{i}"] for i in range(12)] == pytest.approx([(i + 0.5) / 12 for i in range(12)])
    kinds = {axis.name: axis.place for axis in space("linear", "block+kind").axes}
    assert kinds["weight/ja/block.3.attention"] == kinds["weight/ja/block.3.mlp"] == pytest.approx(3.5 / 12)
    spans = [axis.place for axis in space("linear", "layers:3").axes][:3]
    assert spans == pytest.approx([1 / 6, 1 / 2, 5 / 6])
    assert {axis.place for axis in space(groups="kind").axes} == {None}


# ---- subsets: none is the base, one source is that parent, several are task arithmetic


THREE = {"ja": "models/ja", "math": "org/math@main", "lora": "models/base+models/lora"}


def subsets(dtype: str | None = None, groups: str = "one") -> SubsetSpace:
    return SubsetSpace(sources=THREE, base="models/base", layout=LAYOUT, groups=groups, dtype=dtype)


def test_one_axis_per_source() -> None:
    axes = subsets().axes
    assert [axis.family for axis in axes] == ["weight/ja", "weight/math", "weight/lora"]
    assert {(axis.low, axis.high, axis.neutral, axis.kind) for axis in axes} == {(0.0, 1.5, 0.0, "float")}


@pytest.mark.parametrize("dtype", [None, "float32"])
@pytest.mark.parametrize(("place", "reference"), [(-1, "models/base"), *enumerate(THREE.values())])
def test_none_is_the_base_and_one_source_is_its_parent(place: int, reference: str, dtype: str | None) -> None:
    recipe = subsets(dtype).decode(tuple(float(i == place) for i in range(3)))
    assert recipe == parent_recipe(reference, dtype) and recipe.hash == parent_recipe(reference, dtype).hash


@pytest.mark.parametrize(
    ("genome", "dtype", "merged"),
    [
        ((0.5, 0.0, 0.0), None, {"models/ja": 0.5}),
        ((1.0, 0.0, 1.0), "float32", {"models/ja": 1.0, "models/base+models/lora": 1.0}),
    ],
)
def test_others_are_merged_in_the_order_of_sources(
    genome: Genome, dtype: str | None, merged: dict[str, float]
) -> None:
    recipe = subsets(dtype).decode(genome)
    assert (recipe.merge_method, recipe.base_model, recipe.dtype) == ("task_arithmetic", "models/base", dtype)
    expected = [(model, {"weight": weight}) for model, weight in merged.items()]
    assert [(each.model, each.parameters) for each in recipe.sources] == expected


def test_a_source_may_lack_a_span() -> None:
    recipe = subsets(groups="layers:2").decode((0.0, 0.7, 0.0, 0.0, 0.7, 0.7))
    ja, lora = (each.parameters["weight"] for each in recipe.sources)
    assert ja == LAYOUT.conditionals("layers:2", {"layers.0": 0.0, "layers.1": 0.7})
    assert lora == 0.7


# ---- groups and ranges of single sources


ONE = SourceValues(groups="one", values={"weight": Bounds(low=0.5, high=2.0, start=1.0)})


def test_a_source_has_its_own_groups_and_range() -> None:
    search_space = replace(
        space("task_arithmetic", "block", weight=Bounds(low=0, high=1)), own={"maths": ONE}
    )
    axes = {axis.name: axis for axis in search_space.axes}
    blocks = [f"weight/ja/{group}" for group in LAYOUT.groups("block")]
    assert list(axes) == [*blocks, "weight/maths/all"]
    assert (axes["weight/maths/all"].low, axes["weight/maths/all"].high) == (0.5, 2.0)
    assert axes["weight/maths/all"].place is None and axes[blocks[0]].place == 0.0
    start = tuple(axis.first for axis in search_space.axes)
    ja, maths = search_space.decode((0.2, *start[1:])).sources
    assert isinstance(ja.parameters["weight"], tuple) and maths.parameters == {"weight": 1.0}
    assert search_space.decode(start).sources[0].parameters == {"weight": 0.5}, "said once"


def test_other_parameters_stay_those_of_all_sources() -> None:
    search_space = replace(space("dare_ties", density=0.3), own={"maths": ONE})
    assert [axis.name for axis in search_space.axes] == ["weight/ja/all", "weight/maths/all"]
    recipe = search_space.decode((0.5, 1.5))
    assert recipe.parameters == {"density": 0.3} and recipe.sources[1].parameters == {"weight": 1.5}


def test_baselines_beyond_the_range_of_a_source_are_no_points() -> None:
    search_space = replace(space("task_arithmetic", weight=Bounds(low=0, high=1)), own={"maths": ONE})
    assert search_space.known_points() == {"maths": (0.0, 1.0), "uniform": (0.5, 0.5)}
    fixed = SourceValues(values={"weight": 1.0})
    assert replace(search_space, own={"maths": fixed}).known_points() == {}


@pytest.mark.parametrize(
    ("own", "argument"),
    [
        ({"math": ONE}, "merge.sources"),
        (
            {"maths": SourceValues(values={"lambda": 1.0})},
            "merge.sources.maths.parameters of task_arithmetic",
        ),
        (
            {"maths": SourceValues(values={"wieght": 1.0})},
            "merge.sources.maths.parameters of task_arithmetic",
        ),
        ({"maths": SourceValues(groups="layer")}, "groups"),
    ],
)
def test_mistakes_of_sources_name_their_place(own: dict[str, SourceValues], argument: str) -> None:
    with pytest.raises(KingyoError) as error:
        _ = replace(space("task_arithmetic"), own=own).axes
    assert error.value.argument == argument


def test_choices_of_sources_compare_mean_weights() -> None:
    part = replace(space("task_arithmetic", "block", weight=Bounds(low=0, high=1)), own={"maths": ONE})
    search_space = RecipeSpace(parts=(replace(part, is_part=True),), choice=SourceChoice(at_most=1))
    for weight, kept in ((0.4, "models/ja"), (0.6, "models/maths")):
        genes = {"weight/maths/all": weight, "use/ja": 1.0, "use/maths": 1.0}
        genome = tuple(genes.get(axis.name, 0.5) for axis in search_space.axes)
        assert [source.model for source in search_space.decode(genome).sources] == [kept]


def test_a_fixed_weight_counts_in_a_choice() -> None:
    part = replace(space("task_arithmetic"), own={"maths": SourceValues(values={"weight": 1.0})})
    search_space = RecipeSpace(parts=(replace(part, is_part=True),), choice=SourceChoice(at_most=1))
    genome = tuple(0.9 if axis.name == "weight/ja/all" else 1.0 for axis in search_space.axes)
    assert [source.model for source in search_space.decode(genome).sources] == ["models/maths"]
