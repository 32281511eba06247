"""Configs for new sequences of layers; the tests of slices load such models."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.configs import find_levels, with_layers
from tests.merging.checkpoints.architectures import build

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
