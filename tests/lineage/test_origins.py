"""Metadata of source models in a card."""

from __future__ import annotations

from kingyo.lineage import base_models
from kingyo.lineage.origins import Origin


def origin(place: str) -> Origin:
    return Origin(name="merged", reference=place, place=place, licence=None, languages=())


def test_only_what_is_on_the_hub_is_named_to_it() -> None:
    there, with_lora = origin("org/model@main"), origin("org/model+/home/me/lora")
    assert base_models([there, with_lora, origin("/home/me/model")]) == {
        "base_model": ["org/model"],
        "base_model_relation": "merge",
    }
    assert base_models([origin("/home/me/model+org/lora")])["base_model"] == ["org/lora"]
    assert base_models([origin("/home/me/model")]) == {}
