from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.core.types import Axis, Genome
from kingyo.errors import KingyoError
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe
from kingyo.search.space import Bounds, ParameterSpace, RecipeSpace, SourceChoice, assign_values, probes
from tests.search.space.spaces import LAYOUT

SOURCES = {"ja": "models/ja", "maths": "models/maths", "poem": "models/poem"}
ALL = ("linear", "ties", "dare_ties", "tsv", "model_stock", "della", "ram")


def recipe_space(
    *methods: str,
    groups: str = "one",
    choice: SourceChoice | None = None,
    sources: dict[str, str] = SOURCES,
    base: str | None = "models/base",
    **values: float | bool | Bounds,
) -> RecipeSpace:
    searched_methods = [METHODS.get(name) for name in methods]
    return RecipeSpace(
        parts=tuple(
            ParameterSpace(
                method=method,
                method_name=name,
                sources=sources,
                base=base,
                layout=LAYOUT,
                groups=groups,
                values=own,
                seed=7,
                is_part=True,
            )
            for name, method, own in zip(
                methods, searched_methods, assign_values(searched_methods, values), strict=True
            )
        ),
        choice=choice,
    )


def genome(space: RecipeSpace, **genes: float) -> Genome:
    """The first point, with genes by the names of their axes (`__` for `/`)."""
    parameters = {name.replace("__", "/"): gene for name, gene in genes.items()}
    assert parameters.keys() <= {axis.name for axis in space.axes}
    return tuple(parameters.get(axis.name, axis.first) for axis in space.axes)


def points(axes: tuple[Axis, ...]) -> st.SearchStrategy[Genome]:
    return st.tuples(
        *(
            st.floats(axis.low, axis.high)
            if axis.kind == "float"
            else st.integers(int(axis.low), int(axis.high)).map(float)
            for axis in axes
        )
    )


def used(recipe: Recipe) -> list[str]:
    return [source.model.removeprefix("models/") for source in recipe.sources]


def test_methods_share_the_axes_of_parameters_with_the_same_bounds() -> None:
    search_space = recipe_space("linear", "ties", "dare_ties")
    names = [axis.name for axis in search_space.axes]
    assert names == ["method"] + [f"{what}/{who}/all" for what in ("weight", "density") for who in SOURCES]
    method = search_space.axes[0]
    assert (method.kind, method.choices, method.first) == ("categorical", ("linear", "ties", "dare_ties"), 0)


def test_a_parameter_with_different_bounds_has_separate_axes() -> None:
    axes = {axis.name: axis for axis in recipe_space("ties", "dare_ties", "tsv", "iso_c").axes}
    assert axes["weight(ties)/ja/all"].high == 1
    assert axes["weight(tsv)/ja/all"].high == 1.5
    assert "density/ja/all" in axes
    assert sum(name.startswith("weight") for name in axes) == 2 * len(SOURCES)
    narrow = recipe_space("ties", "tsv", weight=Bounds(low=0, high=1))
    assert "weight/ja/all" in {axis.name for axis in narrow.axes}


def test_decoding_uses_what_the_chosen_method_has() -> None:
    search_space = recipe_space("linear", "ties", "dare_ties", "model_stock")
    linear = search_space.decode(genome(search_space, method=0, weight__ja__all=0.3, density__ja__all=0.2))
    assert linear.merge_method == "linear"
    assert linear.sources[0].parameters == {"weight": 0.3}
    assert linear.seed == 0
    dare = search_space.decode(genome(search_space, method=2, weight__ja__all=0.3, density__ja__all=0.2))
    assert dare.sources[0].parameters == {"weight": 0.3, "density": 0.2}
    assert dare.seed == 7
    assert search_space.decode(genome(search_space, method=3)).merge_method == "model_stock"


@given(data=st.data())
def test_genomes_that_differ_in_inactive_genes_are_one_recipe(data: st.DataObject) -> None:
    search_space = recipe_space(*ALL, choice=SourceChoice(at_least=2))
    one, other = data.draw(points(search_space.axes)), data.draw(points(search_space.axes))
    part = search_space.parts[round(one[0])]
    has = {each.name for each in part.method.params}
    recipe = search_space.decode(one)
    kept = set(used(recipe))
    mixed = tuple(
        a
        if axis.name.split("/")[0].split("(")[0] in {"method", "use", *has} - {"weight"}
        or axis.name.startswith("weight")
        else b
        for axis, a, b in zip(search_space.axes, one, other, strict=True)
    )
    assert search_space.decode(mixed).hash == recipe.hash
    dropped = tuple(
        b if axis.name.startswith("density") and axis.name.split("/")[1] not in kept else a
        for axis, a, b in zip(search_space.axes, one, other, strict=True)
    )
    assert search_space.decode(dropped).hash == recipe.hash


def test_sources_without_a_gene_are_left_out() -> None:
    search_space = recipe_space("ties", choice=SourceChoice())
    assert [axis.name for axis in search_space.axes[:3]] == ["use/ja", "use/maths", "use/poem"]
    assert {axis.kind for axis in search_space.axes[:3]} == {"binary"}
    assert used(search_space.decode(genome(search_space))) == ["ja", "maths", "poem"]
    assert used(search_space.decode(genome(search_space, use__maths=0))) == ["ja", "poem"]


def test_without_sources_the_one_with_the_largest_weight_is_used() -> None:
    search_space = recipe_space("linear", "model_stock", choice=SourceChoice())
    nobody = {"use__ja": 0.0, "use__maths": 0.0, "use__poem": 0.0}
    assert used(search_space.decode(genome(search_space, **nobody, weight__maths__all=0.9))) == ["maths"]
    assert used(search_space.decode(genome(search_space, **nobody, method=1))) == ["ja", "maths"]


def test_methods_that_take_few_sources_keep_the_strongest() -> None:
    search_space = recipe_space("linear", "nuslerp", "slerp", choice=SourceChoice())
    assert used(
        search_space.decode(genome(search_space, method=1, weight__poem__all=1, weight__maths__all=0.9))
    ) == [
        "maths",
        "poem",
    ]
    assert used(search_space.decode(genome(search_space, method=2, use__ja=0))) == ["maths"]


@pytest.mark.parametrize("groups", ["one", "block"])
@given(data=st.data())
def test_every_genome_keeps_every_limit(groups: str, data: st.DataObject) -> None:
    search_space = recipe_space(
        "linear", "ties", "nuslerp", groups=groups, choice=SourceChoice(at_least=2, at_most=2)
    )
    recipe = search_space.decode(data.draw(points(search_space.axes)))
    assert len(recipe.sources) == 2
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_the_base_as_a_source_counts_only_where_it_is_merged() -> None:
    sources = {"base": "models/base", **SOURCES}
    search_space = recipe_space("linear", "ties", sources=sources, choice=SourceChoice(at_most=2))
    assert used(search_space.decode(genome(search_space))) == ["base", "ja"]
    assert used(search_space.decode(genome(search_space, method=1))) == ["ja", "maths"]
    everyone = recipe_space("linear", "ties", sources=sources)
    assert used(everyone.decode(genome(everyone, method=1))) == ["ja", "maths", "poem"]


@pytest.mark.parametrize(
    ("methods", "options", "message"),
    [
        (("linear",), {"choice": SourceChoice(at_least=4)}, "out of 3; received at least 4, at most 3"),
        (("linear",), {"choice": SourceChoice(at_least=3, at_most=2)}, "received at least 3, at most 2"),
        (("linear", "model_stock"), {"choice": SourceChoice(at_most=1)}, "received at least 2, at most 1"),
        (("linear", "slerp"), {"choice": SourceChoice(at_least=2)}, "slerp .*at least 2, at most 1"),
        (("linear", "slerp"), {}, "at most 1 .* slerp; received 3"),
        (("linear", "linear"), {}, "different methods"),
        (("linear", "ties"), {"base": None}, "a base for ties"),
        (("linear",), {"weight": 1.0, "choice": SourceChoice(is_open=False)}, "merge: expected"),
    ],
)
def test_spaces_without_a_recipe_are_refused(
    methods: tuple[str, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(KingyoError, match=message):
        recipe_space(*methods, **options)


def test_probes_try_every_method() -> None:
    search_space = recipe_space("ties", "linear", "tsv", choice=SourceChoice())
    tried = [search_space.decode(each) for each in probes(search_space.axes)]
    assert [recipe.merge_method for recipe in tried] == ["ties", "linear", "tsv"]
    assert all(len(recipe.sources) == 3 for recipe in tried)
