"""Models that differ in names, parts or configs are matched, or give one clear error or a warning."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint, fit, open_checkpoint, select
from tests.merging.checkpoints.architectures import build
from tests.merging.checkpoints.fitting import restate
from tests.models_on_disk import llama

PARTS: tuple[tuple[dict[str, str], set[str]], ...] = (
    ({}, {"language"}),
    ({"vision": "other"}, {"language"}),
    ({"projector": "merge"}, {"projector"}),
    ({"language": "merge", "vision": "merge"}, {"language", "vision"}),
    ({"language": "other"}, set()),
)


def test_parts_that_are_not_named_are_those_of_the_frame(tmp_path: Path) -> None:
    layout = open_checkpoint(str(build("llava", tmp_path / "vlm"))).layout
    for parts, merged in PARTS:
        uses = select(layout, parts, "frame")
        assert {layout.part(name) for name, use in uses.items() if use == "merge"} == merged
        others = {use for name, use in uses.items() if layout.part(name) not in merged | parts.keys()}
        assert others <= {"frame"}
        outer = ("language_model.lm_head.weight", "language_model.model.embed_tokens.weight")
        assert {uses[name] for name in outer} == {"frame"}


@pytest.mark.parametrize(
    ("eye", "text"),
    [
        ("llava", "llama"),
        ("gemma3", "gemma3_text"),
        ("qwen3_vl", "qwen3"),
        ("idefics3", "llama"),
    ],
)
def test_language_models_match_with_any_prefix(tmp_path: Path, eye: str, text: str) -> None:
    vlm = open_checkpoint(str(build(eye, tmp_path / eye)))
    plain = open_checkpoint(str(build(text, tmp_path / text)))
    only = vlm.layout.parts["language"]
    other = fit(vlm, [plain], only=only).models[plain.reference]
    assert len(other.tensors) == len(only)
    for name in only:
        (own,) = [each for each in plain.tensors if f".{name}".endswith(f".{each.removeprefix('model.')}")]
        assert torch.equal(other.read(name), plain.read(own))
    with pytest.raises(KingyoError, match="one of its tensors"):
        other.read("model.nothing")
    # and the reverse: the language part of a VLM into a language model
    back = fit(plain, [vlm]).models[vlm.reference]
    assert set(plain.tensors) <= set(back.tensors)


def test_models_that_do_not_match_are_one_clear_error(tmp_path: Path) -> None:
    vlm = open_checkpoint(str(build("llava", tmp_path / "vlm")))
    gpt2 = open_checkpoint(str(build("gpt2", tmp_path / "gpt2")))
    deep = open_checkpoint(str(llama(tmp_path / "deep", layers=4)))
    only = vlm.layout.parts["language"]
    with pytest.raises(KingyoError, match="models with the same tensors"):
        fit(vlm, [gpt2], only=only)
    with pytest.raises(KingyoError, match=r"'model\.layers\.3\.\S+' in .*deep but not in .*vlm"):
        fit(vlm, [deep], only=only)
    with pytest.raises(KingyoError, match="models with the same tensors"):
        fit(vlm, [deep])


def test_models_that_fit_are_unchanged(tmp_path: Path) -> None:
    like, other = (open_checkpoint(str(llama(tmp_path / name, seed=i))) for i, name in enumerate("ab"))
    fitted = fit(like, [other, like])
    assert fitted.like is like
    assert fitted.models == {like.reference: like, other.reference: other}
    assert isinstance(fitted.models[other.reference], Checkpoint)


ERRORS: dict[str, Any] = {
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "hidden_act": "gelu",
    "model_type": "mistral",
}
WARNINGS: dict[str, dict[str, Any]] = {
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


def test_differences_of_configs_are_errors_warnings_or_nothing(tmp_path: Path) -> None:
    like = open_checkpoint(str(llama(tmp_path / "like")))

    def stating(name: str, **keys: Any) -> Checkpoint:
        return open_checkpoint(str(restate(shutil.copytree(like.path, tmp_path / name), **keys)))

    for key, value in ERRORS.items():
        with pytest.raises(KingyoError, match=f"{key} in config.json"):
            fit(like, [stating(key, **{key: value})])
    for key, keys in WARNINGS.items():
        assert any(key in warning for warning in fit(like, [stating(key, **keys)]).warnings)
    assert fit(like, [stating("harmless", **HARMLESS)]).warnings == ()


@pytest.mark.parametrize("key", [r"vision_config\.num_attention_heads", "model_type"])
def test_only_the_parts_that_are_merged_must_be_alike(tmp_path: Path, key: str) -> None:
    like = open_checkpoint(str(build("llava", tmp_path / "like")))
    sight = {**json.loads((like.path / "config.json").read_text())["vision_config"], "num_attention_heads": 2}
    changes = {"model_type": "vipllava"} if key == "model_type" else {"vision_config": sight}
    other = open_checkpoint(str(restate(shutil.copytree(like.path, tmp_path / "other"), **changes)))
    with pytest.raises(KingyoError, match=key):
        fit(like, [other])
    assert fit(like, [other], only=like.layout.parts["language"]).warnings == ()


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
