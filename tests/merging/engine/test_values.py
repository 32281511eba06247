"""Precedence of values, gradients and filters: plans against a second implementation of the language."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.engine import Sources, plan
from kingyo.merging.recipe import Recipe
from tests.merging.engine.conftest import LAYERS

Yaml = Mapping[str, Any]
AFTER = ("model.norm.weight", "lm_head.weight")


def value(recipe: Yaml, parameter: str, source: int, tensor: str, n_layers: int) -> float | None:
    """Return the value of a parameter for one source and one tensor of the output of a recipe on Llamas.

    Precedence: slice source, then slice, then module, then recipe; of whole models the model, then module,
    then recipe. A level applies if one of its filters matches; the first that does. Filters look at the name
    that the source has the tensor by. A list is a gradient over the layers of the slice (of the model,
    without slices): 0 is the first, 1 the last, a single layer is the last; tensors before the layers follow
    the first slice at 0, those behind them the last slice at 1.
    """
    module = next(iter(recipe["modules"].values())) if "modules" in recipe else recipe
    layer = re.search(r"layers\.(\d+)\.", tensor)
    if "models" in module:
        levels = [module["models"][source], module, recipe]
        number, count = (int(layer[1]), n_layers) if layer else (None, 0)
    else:
        chosen, number, count = _slice(module["slices"], tensor, int(layer[1]) if layer else None)
        levels = [chosen["sources"][source], chosen, module, recipe]
        if number is not None:
            own = chosen["sources"][source]["layer_range"][0] + number
            tensor = re.sub(r"layers\.\d+\.", f"layers.{own}.", tensor)
    if number is None:
        depth = 1.0 if tensor in AFTER else 0.0
    else:
        depth = number / (count - 1) if count > 1 else 1.0
    for level in levels:
        values = _speaks(level.get("parameters", {}).get(parameter), tensor)
        if isinstance(values, list) and len(values) > 1:
            return float(np.interp(depth, np.linspace(0, 1, len(values)), values))
        if values is not None:
            return values[0] if isinstance(values, list) else values
    return None


def _slice(slices: list[Yaml], tensor: str, layer: int | None) -> tuple[Yaml, int | None, int]:
    """The slice of a tensor, the number of its layer within, and how many layers the slice has."""
    if layer is None:
        return slices[-1 if tensor in AFTER else 0], None, 0
    for each in slices:
        first, end = each["sources"][0]["layer_range"]
        if layer < end - first:
            return each, layer, end - first
        layer -= end - first
    raise AssertionError("no such layer")


def _speaks(message: Any, tensor: str) -> Any:
    if isinstance(message, list) and message and isinstance(message[0], dict):
        for entry in message:
            if entry.get("filter") in (None, "*") or entry["filter"] in tensor:
                return entry["value"]
        return None
    return message


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


def warnings_of(opened: Sources, data: dict[str, Any]) -> tuple[str, ...]:
    return plan(Recipe.from_dict(data), opened).warnings


def slerp(*filters: str) -> dict[str, Any]:
    entries: list[dict[str, Any]] = [{"filter": each, "value": 0.2} for each in filters]
    return {
        "merge_method": "slerp",
        "base_model": "ja",
        "models": [{"model": "ja"}, {"model": "en"}],
        "parameters": {"t": [*entries, {"value": 0.5}]},
    }


def test_a_misspelt_filter_is_reported(opened: Sources) -> None:
    (warning,) = warnings_of(opened, slerp("mlp", "self_atn"))
    assert warning.startswith("t of parameters: expected filters that match a tensor; received 'self_atn'")


def test_the_owner_of_a_filter_is_reported(opened: Sources) -> None:
    own_weight = {"weight": [{"filter": "self_atn", "value": 1}, {"value": 2}]}
    data = {"merge_method": "linear", "models": [{"model": "ja", "parameters": own_weight}, {"model": "en"}]}
    warnings = warnings_of(
        opened, data | {"parameters": {"weight": [{"filter": "norm", "value": 1}, {"value": 2}]}}
    )
    assert len(warnings) == 1 and warnings[0].startswith("weight of ja: expected filters that match")


def test_slices_look_at_the_names_that_they_read_and_one_match_is_enough(opened: Sources) -> None:
    def piece(first: int) -> dict[str, Any]:
        return {"sources": [{"model": "deep", "layer_range": [first, first + 2]}]}

    def scaled(at: str) -> dict[str, Any]:
        entries = [{"filter": at, "value": 0.5}, {"value": 1}]
        return {
            "merge_method": "passthrough",
            "slices": [piece(0), piece(4)],
            "parameters": {"scale": entries},
        }

    assert warnings_of(opened, scaled("layers.5.")) == (), "read as 5, written as 3"
    assert warnings_of(opened, scaled("layers.1.")) == (), "in the first slice alone"
    assert len(warnings_of(opened, scaled("layers.9."))) == 1


def test_without_a_value_for_the_others_the_tensor_and_the_filters_are_named(opened: Sources) -> None:
    data = slerp("mlp", "self_attn")
    data["parameters"]["t"].pop()
    with pytest.raises(
        KingyoError,
        match=r"t of (\S+): expected a value for the tensor \1: .*; received none: the filters "
        r"\('mlp', 'self_attn'\) match other tensors",
    ):
        plan(Recipe.from_dict(data), opened)
