"""Differences between configs of models with the same shapes: none, an error, or a warning."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import fit, open_checkpoint
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import restate
from tests.models_on_disk import llama

BREAKING: dict[str, dict[str, Any]] = {
    "num_attention_heads": {"num_attention_heads": 2},
    "num_key_value_heads": {"num_key_value_heads": 1},
    "head_dim": {"head_dim": 8},
    "hidden_act": {"hidden_act": "gelu"},
    "model_type": {"model_type": "mistral"},
}
NOTED: dict[str, dict[str, Any]] = {
    "rope_theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "rope_type": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    "rms_norm_eps": {"rms_norm_eps": 1e-3},
    "sliding_window": {"sliding_window": 8},
    "logit_scale": {"logit_scale": 2.0},
}
HARMLESS: dict[str, Any] = {
    "torch_dtype": "bfloat16",
    "transformers_version": "4.40.0",
    "use_cache": False,
    "eos_token_id": 5,
    "initializer_range": 0.5,
    "attention_dropout": 0.1,
    "max_position_embeddings": 128,
    "_name_or_path": "a/b",
}


@pytest.mark.parametrize("key", BREAKING)
def test_other_functions_of_the_same_weights_are_errors(tmp_path: Path, key: str) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    other = open_checkpoint(str(restate(llama(tmp_path / "other"), **BREAKING[key])))
    with pytest.raises(KingyoError, match=f"{key} in config.json"):
        fit(like, [other])


def test_parts_that_are_not_merged_may_differ(tmp_path: Path) -> None:
    like = open_checkpoint(str(build("llava", tmp_path / "like")))
    folder = shutil.copytree(tmp_path / "like", tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    restate(folder, vision_config={**config["vision_config"], "num_attention_heads": 2})
    other = open_checkpoint(str(folder))
    with pytest.raises(KingyoError, match=r"vision_config\.num_attention_heads"):
        fit(like, [other])
    assert fit(like, [other], only=like.layout.parts["language"]).warnings == ()


def test_language_parts_of_two_families_may_be_merged(tmp_path: Path) -> None:
    like = open_checkpoint(str(build("llava", tmp_path / "like")))
    other = open_checkpoint(str(restate(build("llava", tmp_path / "other"), model_type="vipllava")))
    with pytest.raises(KingyoError, match="model_type"):
        fit(like, [other])
    assert fit(like, [other], only=like.layout.parts["language"]).warnings == ()


@pytest.mark.parametrize("key", NOTED)
def test_small_differences_are_warnings(tmp_path: Path, key: str) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    other = open_checkpoint(str(restate(llama(tmp_path / "other"), **NOTED[key])))
    assert any(key in warning for warning in fit(like, [other]).warnings)


def test_differences_without_effect_are_ignored(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))
    other = open_checkpoint(str(restate(llama(tmp_path / "other"), **HARMLESS)))
    assert fit(like, [other]).warnings == ()


def test_defaults_count_as_stated(tmp_path: Path) -> None:
    """A config of transformers 4 without default values equals one of transformers 5."""
    like = open_checkpoint(str(llama(tmp_path / "like")))
    old = restate(
        llama(tmp_path / "old"),
        head_dim=None,
        rope_parameters=None,
        rope_theta=10000.0,
        attention_bias=None,
        hidden_act=None,
        mlp_bias=None,
    )
    assert fit(like, [open_checkpoint(str(old))]).warnings == ()
    other = restate(shutil.copytree(old, tmp_path / "other"), rope_theta=5e5)
    assert any("rope_theta" in warning for warning in fit(like, [open_checkpoint(str(other))]).warnings)


def in_text(folder: Path, **changes: Any) -> Path:
    config = json.loads((folder / "config.json").read_text())
    return restate(folder, text_config={**config["text_config"], **changes})


def warnings_for_text(sight: Path, text: Path) -> tuple[str, ...]:
    like = open_checkpoint(str(sight))
    only = [name for name in like.layout.parts["language"] if like.layout.stack(name) is not None]
    return fit(like, [open_checkpoint(str(text))], only=only).warnings


def test_keys_that_nothing_reads_do_not_matter_in_a_text_config(tmp_path: Path) -> None:
    unread = {"pixel_shuffle_factor": 4, "use_resampler": False, "perceiver_config": {"resampler_depth": 6}}
    sight = in_text(build("idefics3", tmp_path / "sight"), **unread)
    assert warnings_for_text(sight, build("llama", tmp_path / "text")) == ()
    sight = in_text(sight, rms_norm_eps=1e-3)
    (warning,) = warnings_for_text(sight, tmp_path / "text")
    assert "rms_norm_eps" in warning


def test_a_window_that_no_layer_has_does_not_matter(tmp_path: Path) -> None:
    """Qwen3-VL has no key for windows; its own places of images are none for text."""
    sight = build("qwen3_vl", tmp_path / "sight")
    rope = {"rope_type": "default", "rope_theta": 1e4}
    text = restate(build("qwen3", tmp_path / "text"), max_window_layers=1, rope_parameters=rope)
    assert warnings_for_text(sight, text) == ()
    kinds = ["full_attention", "sliding_attention", "sliding_attention"]
    other = restate(text, layer_types=kinds, sliding_window=8, use_sliding_window=True)
    assert any("layer_types" in each for each in warnings_for_text(sight, other))
