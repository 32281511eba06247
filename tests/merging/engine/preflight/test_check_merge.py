"""Checks of a merge without reading weights: findings, targets, origins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from kingyo.merging.engine import MergeOptions
from kingyo.merging.engine.preflight import Preflight, check_merge
from kingyo.merging.engine.record import preflight_record
from tests.merging.engine.preflight.conftest import Ask
from tests.models_on_disk import fine_tuned

CHAIN = (
    "name: one\nmerge_method: linear\nmodels: [{model: source-0}, {model: base}]\nparameters: {weight: 1}\n"
    "---\n"
    "name: two\nmerge_method: linear\nmodels: [{model: source-1}, {model: one}]\nparameters: {weight: 1}\n"
)


def messages_of(checked: Preflight, level: str) -> list[str]:
    return [str(each.error) for each in checked.of(level)]


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.fixture
def editable_model(tmp_path: Path, models: Path) -> Path:
    """A copy of ``source-1`` that a test may break; call it before ``ask`` writes the recipe."""
    (tmp_path / "source-1").unlink(missing_ok=True)
    return Path(shutil.copytree(models / "source-1", tmp_path / "own"))


def test_a_valid_recipe(write_request: Ask) -> None:
    checked = check_merge(*write_request())
    assert checked.error is None and checked.of("error") == () and checked.of("warning") == ()
    (note,) = messages_of(checked, "note")
    assert "the licence of source-0, source-1, base" in note and "not stated in its card" in note
    (target,) = checked.outputs
    assert [origin.name for origin in target.origins] == ["merged", "merged", "base"]
    assert target.out == checked.out


def test_an_unused_base_is_reported(write_request: Ask) -> None:
    """mergekit merges it as one more model."""
    checked = check_merge(*write_request(merge_method="linear", parameters={"weight": 1}))
    (warning,) = messages_of(checked, "warning")
    assert "base_model: expected a model that linear merges" in warning and "list it below models:" in warning
    models = [{"model": "source-0"}, {"model": "base"}]
    listed = write_request(merge_method="linear", parameters={"weight": 1}, models=models)
    assert check_merge(*listed).of("warning") == ()


def test_risky_config_differences_are_warnings(write_request: Ask, editable_model: Path) -> None:
    edit_config(editable_model, rope_parameters={"rope_theta": 500000.0, "rope_type": "default"})
    checked = check_merge(*write_request(models=[{"model": "source-0"}, {"model": "own"}]))
    assert checked.error is None
    (warning,) = messages_of(checked, "warning")
    assert "rope_theta" in warning and "10000.0 in base and 500000.0 in own" in warning


def test_a_token_that_one_model_has_alone_is_a_warning(write_request: Ask, editable_model: Path) -> None:
    data = json.loads((editable_model / "tokenizer.json").read_text())
    data["model"]["vocab"]["dog"] = len(data["model"]["vocab"])
    (editable_model / "tokenizer.json").write_text(json.dumps(data))
    checked = check_merge(*write_request(models=[{"model": "source-0"}, {"model": "own"}]))
    assert checked.error is None
    assert any("'dog' only in own" in each for each in messages_of(checked, "warning"))
    checked = check_merge(
        *write_request(models=[{"model": "source-0"}, {"model": "own"}], tokenizer_source="union")
    )
    assert checked.error is None and messages_of(checked, "warning") == []


def test_value_mistakes_are_reported_at_every_level(write_request: Ask) -> None:
    models = [
        {"model": "source-0", "parameters": {"density": [0.5, 1.5], "weight": True}},
        {"model": "source-1", "parameters": {"density": [{"filter": "mlp", "value": -1}, {"value": 0.5}]}},
    ]
    checked = check_merge(
        *write_request(models=models, parameters={"normalize": 3, "wieght": 1, "density": 0.5})
    )
    assert len(checked.of("error")) == 5
    for each in (
        "density of source-0: expected a number from 0 to 1; received 1.5",
        "weight of source-0: expected a number; received True",
        "density of source-1: expected a number from 0 to 1; received -1",
        "normalize of parameters: expected true or false; received 3",
        "parameters: expected parameters of ties; received 'wieght'. Did you mean 'weight'?",
    ):
        assert str(checked.error).count(each) == 1, checked.error
    assert str(checked.error).count("`kingyo list methods ties`") == 4


def test_the_targets_are_the_models_that_no_recipe_uses(write_request: Ask) -> None:
    checked = check_merge(*write_request(CHAIN))
    (target,) = checked.outputs
    assert target.out == checked.out and [step.name for step in target.book.steps] == ["one", "two"]
    assert {origin.reference for origin in target.origins} == {"source-0", "source-1", "base"}
    other = "---\nname: three\nmerge_method: linear\nmodels: [{model: base}]\nparameters: {weight: 1}\n"
    both = check_merge(*write_request(CHAIN + other))
    outputs = {output.out.name: output for output in both.outputs}
    assert [origin.reference for origin in outputs["three"].origins] == ["base"]
    assert {name: len(output.book.steps) for name, output in outputs.items()} == {"two": 2, "three": 1}


def test_the_seed_goes_to_every_recipe(write_request: Ask) -> None:
    checked = check_merge(*write_request(CHAIN), MergeOptions(seed=9))
    assert {plan.recipe.seed for plan in checked.plans.values()} == {9}


def test_roles_of_models(write_request: Ask, tmp_path: Path) -> None:
    fine_tuned(tmp_path / "base", tmp_path / "words", seed=8)
    checked = check_merge(*write_request(tokenizer={"source": "words"}, base_model="base"))
    (target,) = checked.outputs
    roles = {origin.reference: origin.name for origin in target.origins}
    assert roles == {"source-0": "merged", "source-1": "merged", "base": "base", "words": "vocabulary"}


def test_the_record_is_plain_data(write_request: Ask) -> None:
    checked = check_merge(*write_request())
    record = json.loads(json.dumps(preflight_record(checked)))
    (target,) = record["targets"]
    assert target["method"] == "ties" and target["tensors"] == 30 and len(target["groups"]) == 12
    assert [each["role"] for each in target["models"]] == ["merged", "merged", "base"]
    assert target["bytes"] == sum(target["files"].values())
    assert record["warnings"] == [] and len(record["notes"]) == 1
