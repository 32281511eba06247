"""Filters that match no tensor are reported at every level; others are not."""

from __future__ import annotations

from typing import Any

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.engine import Sources, plan
from kingyo.merging.recipe import Recipe


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
