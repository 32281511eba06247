"""Layouts from tensor names, and groups that filters express exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Layout
from kingyo.merging.recipe import Source, look_up

WAYS = ("one", "kind", "block", "block+kind", "tensor", "layers:1", "layers:2", "layers:3")


def llama(n: int) -> list[str]:
    inner = ["self_attn.q_proj", "self_attn.o_proj", "self_attn.q_norm", "mlp.gate_proj", "mlp.down_proj"]
    inner += ["input_layernorm", "post_attention_layernorm"]
    blocks = [f"model.layers.{i}.{name}.weight" for i in range(n) for name in inner]
    return ["model.embed_tokens.weight", *blocks, "model.norm.weight", "lm_head.weight"]


def many_experts(n: int) -> list[str]:
    experts = [f"mlp.experts.{e}.{w}" for e in range(12) for w in ("gate_proj", "down_proj")]
    inner = ["self_attn.q_proj", "mlp.gate", *experts, "input_layernorm"]
    blocks = [f"model.layers.{i}.{name}.weight" for i in range(n) for name in inner]
    return ["model.embed_tokens.weight", *blocks, "model.norm.weight"]


def test_groups_of_llama() -> None:
    layout = Layout(llama(4))
    assert list(layout.groups("one")) == ["all"]
    assert list(layout.groups("kind")) == ["embedding", "attention", "norm", "mlp", "head"]
    assert list(layout.groups("block")) == ["embedding", *(f"block.{i}" for i in range(4)), "head"]
    halves = [f"block.{i}.{half}" for i in range(4) for half in ("attention", "mlp")]
    assert list(layout.groups("block+kind")) == ["embedding", *halves, "head"]
    assert set(layout.groups("block")["head"]) == {"model.norm.weight", "lm_head.weight"}
    spans = layout.groups("layers:2")
    assert list(spans) == ["layers.0", "layers.1"]
    assert "model.embed_tokens.weight" in spans["layers.0"]
    assert "lm_head.weight" in spans["layers.1"]


def test_filters_are_short_and_plain() -> None:
    layout = Layout(llama(12))
    values = {group: float(i) for i, group in enumerate(layout.groups("block+kind"))}
    filters = [each.filter for each in layout.conditionals("block+kind", values)]
    assert filters[:5] == [
        "embed_tokens",
        "layers.0.self_attn",
        "layers.0.",
        "layers.1.self_attn",
        "layers.1.",
    ]
    assert len(filters) == len(values)


def test_filters_of_thousands_of_experts_are_few() -> None:
    names = [name.replace("experts.", f"experts.{e}") for name in many_experts(12) for e in range(20)]
    layout = Layout(dict.fromkeys(names))
    values = {group: float(i) for i, group in enumerate(layout.groups("block+kind"))}
    assert len(layout.names) > 5000
    assert len(layout.conditionals("block+kind", values)) == len(values)


@st.composite
def odd_names(draw: st.DrawFn) -> list[str]:
    """Names that contain each other, numbers with equal first digits, and misleading words."""
    words = st.sampled_from(
        ["a", "ab", "attn", "mlp", "norm", "embed", "head", "0", "1", "10", "11", "layers"]
    )
    name = st.lists(words, min_size=1, max_size=5).map(".".join)
    return draw(st.lists(name, min_size=1, max_size=14, unique=True))


names_of_models = st.builds(
    lambda model, n: model(n), st.sampled_from([llama, many_experts]), st.integers(1, 12)
)


@given(names_of_models | odd_names(), st.sampled_from(WAYS))
def test_filters_resolve_to_the_group_of_each_tensor(names: list[str], grouping: str) -> None:
    layout = Layout(names)
    if grouping.startswith("layers:") and int(grouping[7:]) > max(1, layout.n_blocks):
        with pytest.raises(KingyoError, match="the number of blocks"):
            layout.groups(grouping)
        return
    groups = layout.groups(grouping)
    assert sorted(name for group in groups.values() for name in group) == sorted(names)
    values = {group: float(i) for i, group in enumerate(groups)}
    weight = layout.conditionals(grouping, values)
    levels = (Source(model="a", parameters={"weight": weight}).parameters,)
    for group, members in groups.items():
        for name in members:
            assert look_up(levels, "weight", name, layout.depth(name)) == values[group], name


@pytest.mark.parametrize("grouping", ["blocks", "layers:", "layers:0", "layers:x", ""])
def test_unknown_kinds_of_groups_are_errors(grouping: str) -> None:
    with pytest.raises(KingyoError, match="groups: expected a known name"):
        Layout(llama(2)).groups(grouping)
