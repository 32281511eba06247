"""Precedence of values and gradients: plans against a second implementation of the recipe language."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.engine import Sources, plan
from kingyo.merging.recipe import Recipe
from tests.merging.engine.conftest import LAYERS
from tests.merging.engine.definition import value

numbers = st.floats(-2, 2)
plain = numbers | st.lists(numbers, min_size=1, max_size=4)
filters = st.sampled_from(["mlp", "q_proj", "layers.1.", "norm", "lm_head", "*"])
conditionals = st.lists(
    st.builds(lambda f, v: {"filter": f, "value": v}, filters, plain), min_size=1, max_size=3
)
parameters = st.dictionaries(st.just("weight"), plain | conditionals, max_size=1)


def with_parameters(entry: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return parameters.map(lambda chosen: entry | ({"parameters": chosen} if chosen else {}))


@st.composite
def slices(draw: st.DrawFn) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 3))):
        length = draw(st.integers(1, LAYERS))
        sources: list[dict[str, Any]] = []
        for model in ("ja", "en"):
            first = draw(st.integers(0, LAYERS - length))
            sources.append(draw(with_parameters({"model": model, "layer_range": [first, first + length]})))
        values.append(draw(with_parameters({"sources": sources})))
    return values


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    models = [draw(with_parameters({"model": model})) for model in ("ja", "en")]
    contents: dict[str, Any] = (
        draw(st.sampled_from([{"models": models}])) if draw(st.booleans()) else {"slices": draw(slices())}
    )
    if draw(st.booleans()):
        contents = {"modules": {"default": draw(with_parameters(contents))}}
    default = draw(plain)
    return {"merge_method": "linear", **contents, "parameters": {"weight": default, "normalize": False}}


@settings(max_examples=60, deadline=None)
@given(recipes())
def test_every_source_and_tensor_gets_its_value(opened: Sources, data: dict[str, Any]) -> None:
    spec = Recipe.from_dict(data)
    assert Recipe.from_dict(spec.to_dict()) == spec
    for job in plan(spec, opened).jobs:
        expected = [value(data, "weight", i, job.name, LAYERS) for i in range(2)]
        assert job.values.each("weight") == pytest.approx(expected, abs=1e-12), job.name


def test_a_switch_may_be_written_as_a_number(opened: Sources) -> None:
    data = {"merge_method": "linear", "models": [{"model": "ja"}]}
    spec = Recipe.from_dict(data | {"parameters": {"weight": 1, "normalize": 0}})
    assert not plan(spec, opened).jobs[0].values.flag("normalize")
    word = Recipe.from_dict(data | {"parameters": {"weight": "much"}})
    with pytest.raises(KingyoError, match="weight of ja: expected a number; received 'much'"):
        plan(word, opened)
    word = Recipe.from_dict(data | {"parameters": {"weight": 1, "normalize": "often"}})
    with pytest.raises(KingyoError, match=r"normalize of .*: expected true or false; received 'often'"):
        plan(word, opened)


def test_filters_of_shared_values_look_at_the_output(opened: Sources) -> None:
    later = {"sources": [{"model": "ja", "layer_range": [2, 4]}]}
    switches = [
        {"filter": "layers.0.", "value": False},
        {"filter": "layers.3.", "value": True},
        {"value": False},
    ]
    data = {
        "merge_method": "linear",
        "slices": [later, later],
        "parameters": {"weight": 1, "normalize": switches},
    }
    jobs = {job.name: job for job in plan(Recipe.from_dict(data), opened).jobs}
    flags = [jobs[f"model.layers.{i}.mlp.up_proj.weight"].values.flag("normalize") for i in range(4)]
    assert flags == [False, False, False, True]
