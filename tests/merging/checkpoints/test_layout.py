"""Layouts from tensor names, groups that filters express exactly, and configs for new sequences of layers."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Layout
from kingyo.merging.checkpoints.configs import find_levels, with_layers
from kingyo.merging.recipe import Source, look_up
from tests.merging.checkpoints.architectures import build

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


Config = dict[str, Any]
KEYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "llama": ("language", ("num_hidden_layers",)),
    "gpt2": ("language", ("n_layer",)),
    "gemma3": ("language", ("text_config.num_hidden_layers",)),
    "qwen2_vl": ("language", ("text_config.num_hidden_layers",)),
    "clip": ("vision", ("vision_config.num_hidden_layers",)),
    "t5": ("decoder", ("num_decoder_layers",)),
    "bart": ("encoder", ("encoder_layers",)),
    "whisper": ("decoder", ("decoder_layers",)),
    "bert": ("language", ("num_hidden_layers",)),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layers")


def config_of(name: str, folder: Path) -> Config:
    if not (folder / name).exists():
        build(name, folder / name)
    return cast("Config", json.loads((folder / name / "config.json").read_text()))


def layer_keys(config: Config, part: str) -> tuple[str, ...]:
    return tuple(".".join((*level.path, key)) for level in find_levels(config, part) for key in level.keys)


@pytest.mark.parametrize("name", KEYS)
def test_levels_with_the_number_of_layers(folder: Path, name: str) -> None:
    part, keys = KEYS[name]
    assert layer_keys(config_of(name, folder), part) == keys


def test_kinds_of_layers_follow_their_layers(folder: Path) -> None:
    config = config_of("gemma2", folder)
    assert config["layer_types"] == ["sliding_attention", "full_attention", "sliding_attention"]
    assert with_layers(config, [1, 2])["layer_types"] == ["full_attention", "sliding_attention"]
    silent = {
        key: value for key, value in config.items() if key != "layer_types"
    }  # the format of older versions
    assert with_layers(silent, [1, 2])["layer_types"] == ["full_attention", "sliding_attention"]
    assert "layer_types" not in with_layers(silent, [0, 1])  # transformers' default is the same


def test_layers_of_several_models(folder: Path) -> None:
    config = config_of("gemma2", folder)
    other = {**config, "layer_types": ["full_attention"] * 3}
    mixed = with_layers(config, [0, (other, 0), (config, 1), (other, 2)])
    assert mixed["layer_types"] == ["sliding_attention", *["full_attention"] * 3]
    assert mixed["num_hidden_layers"] == 4


def test_lists_of_layer_numbers_follow_their_layers() -> None:
    config = {**_qwen_moe(6), "mlp_only_layers": [0, 3]}
    assert with_layers(config, [3, 1, 0, 3])["mlp_only_layers"] == [0, 2, 3]


def test_flags_and_patterns_by_layer_follow_their_layers() -> None:
    config = {
        "num_layers": 3,
        "no_rope_layers": [1, 0, 1],
        "hybrid_override_pattern": "M-*",
        "eos_token_id": [1, 2, 3],
    }
    assert with_layers(config, [2, 1]) == {
        "num_layers": 2,
        "no_rope_layers": [1, 0],
        "hybrid_override_pattern": "*-",
        "eos_token_id": [1, 2, 3],
    }


def test_first_dense_layers_are_counted_again(folder: Path) -> None:
    config = config_of("deepseek_v3", folder)
    assert config["first_k_dense_replace"] == 1
    assert with_layers(config, [0, 0, 1, 2])["first_k_dense_replace"] == 2
    assert with_layers(config, [1, 2])["first_k_dense_replace"] == 0
    with pytest.raises(KingyoError, match=r"first_k_dense_replace in config\.json"):
        with_layers(config, [1, 0, 2])


def test_periods_must_be_kept(folder: Path) -> None:
    config = config_of("jamba", folder)
    assert with_layers(config, [0, 1, 2, 1])["num_hidden_layers"] == 4
    with pytest.raises(KingyoError, match=r"(attn|expert)_layer_period in config\.json.*every 2"):
        with_layers(config, [1, 2])
    with pytest.raises(KingyoError, match="decoder_sparse_step"):
        with_layers({**_qwen_moe(4), "decoder_sparse_step": 2}, [1, 2])


def test_the_other_side_is_unchanged(folder: Path) -> None:
    config = {key: value for key, value in config_of("t5", folder).items() if key != "num_decoder_layers"}
    changed = with_layers(config, [0, 1], "encoder")
    assert (changed["num_layers"], changed["num_decoder_layers"]) == (2, 3)
    changed = with_layers(config, [0, 1], "decoder")
    assert (changed["num_layers"], changed["num_decoder_layers"]) == (3, 2)


@pytest.mark.parametrize(
    ("config", "chosen", "message"),
    [
        ({"num_layers": 2}, [], "at least one layer"),
        ({"num_layers": 2}, [0, 2], "a layer from 0 to 1; received 2"),
        ({"num_layers": 2}, [-1], "a layer from 0 to 1; received -1"),
        ({"hidden_size": 2}, [0], "number of layers"),
    ],
)
def test_impossible_choices_of_layers(config: Config, chosen: Sequence[int], message: str) -> None:
    with pytest.raises(KingyoError, match=message):
        with_layers(config, chosen)


def _qwen_moe(layers: int) -> Config:
    return {
        "model_type": "qwen3_moe",
        "num_hidden_layers": layers,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
    }


@pytest.mark.parametrize("chosen", [(0, 3), (0, 2), (0, 1, 2, 3, 0, 1, 2, 3), (2, 3, 0, 1)])
def test_layers_that_share_kv_stay_the_last(chosen: Sequence[int]) -> None:
    """Gemma 3n and 4 state only how many of the last layers use the keys and values of others."""
    config = {"model_type": "unknown", "num_hidden_layers": 4, "num_kv_shared_layers": 2}
    assert with_layers(config, (0, 0, 1, 2, 3))["num_hidden_layers"] == 5
    assert with_layers({**config, "num_kv_shared_layers": 0}, chosen)
    with pytest.raises(KingyoError, match="all of the last 2 layers"):
        with_layers(config, chosen)
