"""Plans of many tensors in few lines."""

from __future__ import annotations

import pytest

from kingyo.merging.engine.preflight import check_merge
from kingyo.merging.engine.record import JobGroup, common_text, group
from tests.merging.engine.preflight.conftest import Ask

UP = "model.layers.{0–2}.mlp.up_proj.weight"


def groups_of(write_request: Ask, **changes: object) -> dict[str, JobGroup]:
    plan = check_merge(*write_request(**changes)).outputs[0].plan
    return {each.label: each for each in group(plan)}


def test_layers_are_one_line_for_each_form(write_request: Ask) -> None:
    plan = check_merge(*write_request()).outputs[0].plan
    groups = {each.label: each for each in group(plan)}
    assert len(plan.jobs) == sum(each.count for each in groups.values()) == 30
    assert len(groups) == 12, "nine in the layers of a Llama, and three outside"
    assert (groups[UP].count, groups[UP].shape, groups[UP].dtype) == (3, (32, 16), "float32")
    assert groups["lm_head.weight"].count == 1
    shared = set(common_text(list(groups.values())))
    assert {"lambda 1", "normalize true", "weight 0.5", "density 0.5"} <= shared


def test_values_that_differ_become_a_range(write_request: Ask) -> None:
    values = [{"filter": "layers.1.mlp", "value": 2.0}, {"value": 0.5}]
    groups = groups_of(write_request, parameters={"weight": values, "density": [0.1, 0.2, 0.9]})
    assert {"weight 0.5…2", "density 0.1…0.9"} <= set(groups[UP].how)
    assert {"weight 0.5", "density 0.9"} <= set(groups["lm_head.weight"].how)
    assert "weight 0.5" not in common_text(list(groups.values()))


def test_each_source_has_a_value(write_request: Ask) -> None:
    models = [
        {"model": f"source-{i}", "parameters": {"weight": weight}} for i, weight in ((0, [0, 1]), (1, 2))
    ]
    changes: dict[str, object] = {"merge_method": "linear", "base_model": None, "parameters": None}
    assert "weight 0…1 2" in groups_of(write_request, models=models, **changes)[UP].how


@pytest.mark.parametrize("use", ["base", "source-1"])
def test_copied_tensors_name_their_source(write_request: Ask, use: str) -> None:
    groups = groups_of(write_request, parts={"language": use})
    assert {each.how for each in groups.values()} == {(f"copied from {use}",)}
