"""Several recipes in one file, and recipes with a path through models that are merges themselves."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.engine import Plan, compute, open_sources, plan, rooted, to_folder
from kingyo.merging.engine.preflight import check_merge
from kingyo.merging.recipe import Hop, NamedRecipe, Recipe, RecipeBook, Source, load_recipes, without_paths
from tests.merging.recipe.mistakes import mistakes
from tests.models_on_disk import family


def read(folder: Path, text: str) -> RecipeBook:
    file = folder / "book.yaml"
    file.write_text(text, encoding="utf-8")
    return load_recipes(file)


@given(st.data())
def test_any_order_of_any_chain(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 6))
    needs = {i: data.draw(st.sets(st.integers(0, i - 1))) if i else set[int]() for i in range(n)}
    steps = [
        NamedRecipe(
            name=f"step{i}",
            recipe=Recipe(
                merge_method="linear",
                sources=(Source(model="model"), *(Source(model=f"step{each}") for each in sorted(needs[i]))),
            ),
        )
        for i in range(n)
    ]
    book = RecipeBook(steps=tuple(data.draw(st.permutations(steps))))
    place = {step.name: i for i, step in enumerate(book.steps)}
    assert len(place) == n
    assert all(place[f"step{each}"] < place[f"step{i}"] for i in range(n) for each in needs[i])
    assert {step.name for step in book.outputs} == {
        f"step{i}" for i in range(n) if not any(i in needs[each] for each in needs)
    }


def test_recipes_below_models(tmp_path: Path) -> None:
    text = (
        "models:\n- {name: one, merge_method: linear, models: [{model: a}]}\n"
        "- {merge_method: linear, models: [{model: one}]}"
    )
    assert [step.recipe.sources[0].model for step in read(tmp_path, text).steps] == ["a", "one"]


RECIPE = "merge_method: linear\nmodels: [{model: MODEL}]\n"


@pytest.mark.parametrize(
    ("documents", "argument", "received"),
    [
        (["name: a\n", "name: a\n"], "name", "two called 'a'"),
        (["", ""], "name", "several without a name"),
        (["name: 3\n"], "name", "3"),
        (["name: ' '\n"], "name", "' '"),
        (["name: MODEL\n"], "models", "a cycle: MODEL → MODEL"),
        (["name: 3\n", "nam: b\n"], "recipe 1: name", "3"),
        (["name: 3\n", "nam: b\n"], "recipe 2", "'nam'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, documents: list[str], argument: str, received: str) -> None:
    text = "---\n".join(document + RECIPE for document in documents)
    errors = mistakes(lambda: read(tmp_path, text), str(tmp_path / "book.yaml"))
    assert (argument, received) in errors


def test_a_cycle_is_named(tmp_path: Path) -> None:
    documents = [f"name: {name}\n{RECIPE.replace('MODEL', needs)}" for name, needs in ("ab", "bc", "ca")]
    with pytest.raises(KingyoError, match=r"book\.yaml: models: .*(a → b|b → c) → [abc]"):
        read(tmp_path, "---\n".join(documents))


def test_a_list_of_recipes_excludes_other_keys(tmp_path: Path) -> None:
    text = "dtype: float16\nmodels:\n- {name: one, merge_method: linear, models: [{model: a}]}"
    with pytest.raises(KingyoError, match="received 'dtype'"):
        read(tmp_path, text)
    with pytest.raises(KingyoError, match="merge_method: expected a method's name"):
        read(tmp_path, "models: [{model: a}]")
    with pytest.raises(KingyoError, match="expected a mapping"):
        read(tmp_path, "")


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


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    a, b = family(tmp_path_factory.mktemp("family"))[1]
    return str(a), str(b)


def assert_same(one: Plan, other: Plan) -> None:
    results = [{job.name: compute(job, each.sources.read) for job in each.jobs} for each in (one, other)]
    assert results[0].keys() == results[1].keys()
    assert all(torch.equal(results[1][name], tensor) for name, tensor in results[0].items())


def test_it_equals_two_consecutive_merges(pair: tuple[str, str], tmp_path: Path) -> None:
    recipe = rooted(bred(*pair), tmp_path)
    first = mean(*pair)
    between = to_folder(plan(first, open_sources(first)), tmp_path / "between")
    second = Recipe(merge_method="passthrough", path=recipe.path, base_model="bred").renamed(
        lambda each: str(between) if each == "bred" else each,
    )
    assert_same(plan(recipe, open_sources(recipe)), plan(second, open_sources(second)))


def test_as_slices_it_becomes_several_recipes_of_the_same_model(
    pair: tuple[str, str], tmp_path: Path
) -> None:
    recipe = bred(*pair)
    book = without_paths(RecipeBook(steps=(NamedRecipe(name=None, recipe=recipe),)))
    assert [step.name for step in book.steps] == ["bred", None]
    sliced = check_merge(book, tmp_path / "slices").outputs[0].plan
    assert_same(sliced, plan(recipe, open_sources(recipe)))


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


def test_mistakes_in_a_merge_name_it(pair: tuple[str, str]) -> None:
    a, b = pair
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
