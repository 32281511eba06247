"""Several recipes in one file: their order, their names, and mistakes with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.recipe import NamedRecipe, Recipe, RecipeBook, Source, load_recipes
from tests.merging.recipe.mistakes import mistakes

MULTI = """
name: first-merge
merge_method: linear
models:
  - model: org/one
  - model: org/two
parameters:
  weight: 0.5
---
name: second-merge
merge_method: slerp
base_model: first-merge  # an earlier one
models:
  - model: org/three
parameters:
  t: 0.5
---
# the last has no name
merge_method: dare_ties
base_model: org/one
models:
  - model: second-merge
    parameters: {density: 0.6, weight: 0.5}
"""


def read(folder: Path, text: str) -> RecipeBook:
    file = folder / "book.yaml"
    file.write_text(text, encoding="utf-8")
    return load_recipes(file)


def test_mergekit_multi_files_are_read(tmp_path: Path) -> None:
    book = read(tmp_path, MULTI)
    assert [step.name for step in book.steps] == ["first-merge", "second-merge", None]
    assert [step.recipe.merge_method for step in book.outputs] == ["dare_ties"]
    assert read(tmp_path, book.to_yaml()) == book


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
        (["name: a\n", "nam: b\n"], "recipe 2", "'nam'"),
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
