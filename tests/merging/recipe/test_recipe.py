"""Recipes: identity, precedence of values, and YAML in both directions."""

import re
from pathlib import Path

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.recipe import Recipe, Source, Value, Word, load_recipe, load_recipes, look_up
from kingyo.merging.recipe.shape import keys_of


def recipe(**changes: Value) -> Recipe:
    return Recipe(merge_method="ties", sources=(Source(model="a", parameters=changes), Source(model="b")))


def value_of(
    recipe: Recipe, parameter: str, source: int | None, tensor: str, depth: float | None
) -> Word | None:
    """Return a source's value for a tensor; with None, the recipe's own."""
    own = () if source is None else (recipe.sources[source].parameters,)
    return look_up((*own, recipe.parameters), parameter, tensor, depth)


def test_integers_and_floats_are_the_same_recipe() -> None:
    assert recipe(weight=1).hash == recipe(weight=1.0).hash
    assert recipe(weight=True).hash != recipe(weight=1.0).hash


def test_a_gradient_needs_a_depth() -> None:
    with pytest.raises(KingyoError, match="which has no depth"):
        value_of(recipe(t=(0.0, 1.0)), "t", 0, "x", None)


MERGEKIT = """
merge_method: ties
base_model: org/base
models:
  - model: org/base
  - model: ./ja
    parameters:
      weight: 1
      density: [0.2, 1, 1e-1]
  - model: org/math@v2
    parameters:
      weight:
        - filter: self_attn
          value: [0, 0.5]
        - value: 1e-2
parameters:
  normalize: true
dtype: bfloat16
"""


def test_real_recipes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(MERGEKIT, encoding="utf-8")
    loaded = load_recipe(file)
    assert [source.model for source in loaded.sources] == ["org/base", "./ja", "org/math@v2"]
    assert value_of(loaded, "density", 1, "x", 1.0) == 0.1  # YAML 1.1 reads 1e-1 as text
    assert value_of(loaded, "weight", 2, "layers.0.self_attn.q_proj", 0.5) == 0.25
    assert value_of(loaded, "weight", 2, "lm_head", 0.5) == 0.01
    assert loaded.parameters == {"normalize": True}
    assert (loaded.dtype, loaded.base_model, loaded.seed) == ("bfloat16", "org/base", 0)


def test_the_examples_of_the_documentation_work(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 9
    for example in examples:
        (tmp_path / "recipe.yaml").write_text(example, encoding="utf-8")
        assert load_recipes(tmp_path / "recipe.yaml").outputs


@pytest.mark.parametrize("key", keys_of(Recipe))
def test_the_documentation_has_every_key(key: str) -> None:
    text = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert f"`{key}`" in text
