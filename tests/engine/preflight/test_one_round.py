"""All mistakes of a recipe, in its YAML, values and models, are reported together."""

from __future__ import annotations

from pathlib import Path

import pytest

from kingyo.engine.options import MergeRequest
from kingyo.engine.preflight import check_merge
from kingyo.errors import KingyoError, MistakesError
from kingyo.recipe import Recipe, load_recipes


def mistakes(folder: Path, text: str) -> list[str]:
    file = folder / "recipe.yaml"
    file.write_text(text)
    error = check_merge(MergeRequest(recipe=file, out=folder / "out")).error
    assert error is not None
    return [str(each) for each in error.mistakes] if isinstance(error, MistakesError) else [str(error)]


def require(messages: list[str], *parts: str) -> None:
    """Check that each of these parts is reported exactly once, and no other mistake."""
    for part in parts:
        assert sum(part in each for each in messages) == 1, (part, messages)
    assert len(messages) == len(parts), messages


def test_five_kinds_of_mistakes_are_reported_at_once(tmp_path: Path, models: Path) -> None:
    messages = mistakes(
        tmp_path,
        f"""
merge_method: tise
models:
  - {{model: {models}/source-0, wieght: 1, parameters: {{weight: [a, 1], density: 7}}}}
  - {{model: {models}/nowhere, parameters: {{weight: 1, dencity: 0.5}}}}
dtype: float23
random_seed: 1
""",
    )
    require(
        messages,
        "received 'random_seed'. Did you mean 'seed'?",
        "models[0]: expected a known key; received 'wieght'",
        "models[0].parameters.weight: expected a gradient",
        "dtype: expected a known name; received 'float23'. Did you mean 'float32'?",
        "nowhere: expected a folder with a checkpoint",
        "merge method: expected a known name; received 'tise'. Did you mean 'ties'?",
        "density of ",
        "nowhere: expected parameters of ties; received 'dencity'. Did you mean 'density'?",
        "base_model: expected a base for ties; received nothing",
    )


def test_a_misspelt_key_does_not_hide_mistakes_below_it(tmp_path: Path, models: Path) -> None:
    messages = mistakes(
        tmp_path,
        f"""
merge_metod: linear
modles:
  - {{modle: {models}/source-0, parameters: {{weight: 1}}}}
  - {{model: {models}/nowhere, parameters: {{wight: 1}}}}
""",
    )
    require(
        messages,
        "received 'merge_metod', 'modles'",
        "models[0]: expected a known key; received 'modle'. Did you mean 'model'?",
        "nowhere: expected a folder",
        "received 'wight'. Did you mean 'weight'?",
    )


def test_a_model_that_is_missing_hides_neither_base_nor_values(tmp_path: Path, models: Path) -> None:
    messages = mistakes(
        tmp_path,
        f"""
merge_method: task_arithmetic
models:
  - {{model: {models}/source-0}}
  - {{model: {models}/nowhere, parameters: {{weight: 1}}}}
parameters: {{lamda: 1}}
""",
    )
    require(
        messages,
        "nowhere: expected a folder",
        "parameters: expected parameters of task_arithmetic; received 'lamda'",
        "base_model: expected a base for task_arithmetic",
        "weight of ",
    )


def test_mistakes_in_several_slices_are_reported_at_once(tmp_path: Path, models: Path) -> None:
    messages = mistakes(
        tmp_path,
        f"""
merge_method: passthrough
slices:
  - sources: [{{model: {models}/source-0, layer_rnge: [0, 1]}}]
  - sources: [{{model: {models}/source-0, layer_range: [0, x]}}]
  - sources: [{{layer_range: [0, 1]}}]
  - sources: [{{model: {models}/nowhere, layer_range: [1, 2]}}]
""",
    )
    require(
        messages,
        "slices[0].sources[0]: expected a known key; received 'layer_rnge'",
        "slices[1].sources[0].layer_range: expected two whole numbers",
        "slices[2].sources[0].model: expected a folder or a Hub name; received nothing",
        "nowhere: expected a folder",
    )


def test_mistakes_in_several_recipes_are_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "recipes.yaml"
    file.write_text(
        "name: 3\nmerge_method: linear\nmodels: []\n---\nmerge_method: linear\nmodls: [{model: 3}]\n"
    )
    with pytest.raises(MistakesError) as caught:
        load_recipes(file)
    require(
        [str(each) for each in caught.value.mistakes],
        "recipe 1: name: expected text",
        "recipe 1: models: expected a list of models",
        "recipe 2: expected a known key; received 'modls'",
        "recipe 2: models[0].model: expected text",
    )


def test_one_mistake_is_an_error_of_its_own() -> None:
    with pytest.raises(KingyoError) as caught:
        Recipe.from_dict({"merge_method": "linear", "models": [{"model": "a"}], "sede": 1})
    assert not isinstance(caught.value, MistakesError)
    assert caught.value.remedy == "Did you mean 'seed'?"
