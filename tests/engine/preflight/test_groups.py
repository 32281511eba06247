"""Plans of many tensors in few lines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from kingyo.engine.preflight.record import preflight_record

from kingyo.engine.preflight import check_merge, common_text, group, ungrouped
from tests.engine.preflight.conftest import Ask
from tests.models_on_disk import llama

FORMS = 12  # of a Llama: nine in its layers, and three outside


def test_layers_are_one_line_for_each_form(write_request: Ask) -> None:
    plan = check_merge(write_request()).targets[0].plan
    groups = group(plan)
    assert len(plan.jobs) == 30 and len(groups) == FORMS
    labels = {each.label: each for each in groups}
    up = labels["model.layers.{0–2}.mlp.up_proj.weight"]
    assert up.names == tuple(f"model.layers.{i}.mlp.up_proj.weight" for i in range(3))
    assert up.shape == (32, 16) and up.dtype == "float32" and up.n_elements == 3 * 32 * 16
    assert labels["lm_head.weight"].names == ("lm_head.weight",)
    assert {"lambda 1", "normalize true", "weight 0.5", "density 0.5"} <= set(common_text(groups))


def test_every_tensor_is_in_one_group(write_request: Ask) -> None:
    values = [{"filter": "mlp", "value": [0.1, 0.9]}, {"filter": "layers.1.", "value": 2.0}, {"value": 0.5}]
    plan = check_merge(write_request(parameters={"weight": values, "density": 0.5})).targets[0].plan
    names = [name for each in group(plan) for name in each.names]
    assert sorted(names) == sorted(job.name for job in plan.jobs)
    assert sum(each.n_elements for each in group(plan)) == sum(math.prod(job.shape) for job in plan.jobs)
    assert [each.names for each in ungrouped(plan)] == [(job.name,) for job in plan.jobs]


def test_values_that_differ_part_a_form(write_request: Ask) -> None:
    values = [{"filter": "layers.1.mlp", "value": 2.0}, {"value": 0.5}]
    groups = group(check_merge(write_request(parameters={"weight": values, "density": 0.5})).targets[0].plan)
    forms = {each.label: each.how for each in groups if "up_proj" in each.label}
    assert list(forms) == ["model.layers.{0,2}.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"]
    assert "weight 2" in forms["model.layers.1.mlp.up_proj.weight"]
    assert "density 0.5" in common_text(groups) and "weight 0.5" not in common_text(groups)


def test_the_tensors_of_one_gradient_are_one_line(write_request: Ask) -> None:
    request = write_request(
        merge_method="passthrough", base_model=None, models=None, parameters={"scale": [0.0, 1.0]},
        slices=[{"sources": [{"model": "source-0", "layer_range": [0, 3]}]}] * 2,
    )  # fmt: skip
    groups = group(check_merge(request).targets[0].plan)
    values = {each.label: each.how for each in groups if "up_proj" in each.label}
    assert values == {"model.layers.{0–5}.mlp.up_proj.weight": ("scale 0→1",)}
    request = write_request(parameters={"weight": [0.1, 0.2, 0.9], "density": 0.5})
    groups = group(check_merge(request).targets[0].plan)
    weights = {part for each in groups for part in each.how if "weight" in part}
    assert weights == {"weight 0.1", "weight 0.1→0.2→0.9", "weight 0.9"}


@pytest.mark.parametrize("use", ["base", "source-1"])
def test_copied_tensors_name_their_source(write_request: Ask, use: str) -> None:
    (only,) = {
        each.how for each in group(check_merge(write_request(parts={"language": use})).targets[0].plan)
    }
    assert only == (f"copied from {use}",)


def test_gradients_are_shown_as_written(write_request: Ask, tmp_path: Path) -> None:
    llama(tmp_path / "deep", layers=6)
    request = write_request(
        merge_method="linear",
        base_model=None,
        models=[{"model": "deep"}],
        parameters={"weight": [0.0, 1.0], "normalize": False},
    )
    groups = {each.label: each.how for each in group(check_merge(request).targets[0].plan)}
    assert "weight 0→1" in groups["model.layers.{0–5}.mlp.up_proj.weight"]
    assert "weight 0" in groups["model.embed_tokens.weight"] and "weight 1" in groups["lm_head.weight"]


def test_gradients_next_to_other_values_are_between_bars(write_request: Ask) -> None:
    models = [
        {"model": "source-0", "parameters": {"weight": [0.0, 0.5, 1.0]}},
        {"model": "source-1", "parameters": {"weight": 0.5}},
    ]
    request = write_request(merge_method="linear", base_model=None, models=models, parameters=None)
    lines = {part for each in group(check_merge(request).targets[0].plan) for part in each.how}
    assert "weight 0→0.5→1 | 0.5" in lines and "weight 1 0.5" in lines


def test_gradients_of_both_directions(write_request: Ask) -> None:
    up, down = [0, 0.5, 0.3, 0.7, 1], [1, 0.5, 0.7, 0.3, 0]
    values = [{"filter": "self_attn", "value": up}, {"filter": "mlp", "value": down}, {"value": 0.5}]
    request = write_request(
        merge_method="slerp",
        base_model="source-0",
        models=[{"model": "source-0"}, {"model": "source-1"}],
        parameters={"t": values},
    )
    checked = check_merge(request)
    groups = {each.label: each for each in group(checked.targets[0].plan)}
    assert "t 0→0.5→0.3→0.7→1 (filter self_attn)" in groups["model.layers.{0–2}.self_attn.q_proj.weight"].how
    assert "t 1→0.5→0.7→0.3→0 (filter mlp)" in groups["model.layers.{0–2}.mlp.up_proj.weight"].how
    assert "t 0.5" in groups["model.layers.{0–2}.input_layernorm.weight"].how
    record: Any = preflight_record(checked, None)
    values_of = {each["tensors"]: each["values"]["t"] for each in record["targets"][0]["groups"]}
    expected = {"least": 0.0, "most": 1.0, "gradient": down, "filter": "mlp"}
    assert values_of["model.layers.{0–2}.mlp.up_proj.weight"] == [expected]
    assert values_of["lm_head.weight"] == [0.5]


def test_values_of_many_layers_become_a_range(write_request: Ask, tmp_path: Path) -> None:
    llama(tmp_path / "deep", layers=6)
    weights = [{"filter": f"layers.{i}.", "value": i} for i in range(6)]
    request = write_request(
        merge_method="linear",
        base_model=None,
        models=[{"model": "deep"}],
        parameters={"weight": [*weights, {"value": 9}], "normalize": False},
    )
    groups = {each.label: each.how for each in group(check_merge(request).targets[0].plan)}
    assert "weight 0…5" in groups["model.layers.{0–5}.mlp.up_proj.weight"]
