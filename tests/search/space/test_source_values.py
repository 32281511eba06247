"""Groups and ranges of single sources."""

from dataclasses import replace

import pytest

from kingyo.errors import KingyoError
from kingyo.search.space import Bounds, RecipeSpace, SourceChoice, SourceValues
from tests.search.space.spaces import LAYOUT, space

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
def test_mistakes_name_their_place(own: dict[str, SourceValues], argument: str) -> None:
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
