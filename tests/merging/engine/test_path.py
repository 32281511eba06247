"""Paths written as checkpoints: transformers gives the logits of the live path, or the path is refused."""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from kingyo.errors import KingyoError
from kingyo.merging.engine import plan, to_folder
from kingyo.merging.engine.modules import FOLDABLE
from kingyo.merging.engine.sources import open_sources
from kingyo.merging.recipe import Hop, Recipe
from kingyo.models.layers import Layers
from tests.decoders import (
    ARCHITECTURES,
    GPT2,
    MOE,
    MULTI_HEAD,
    SHAPE,
    Make,
    cached_logits,
    far,
    logits,
    maker,
    save_pair,
)
from tests.merging.checkpoints.architectures import build

SCALED = (("a", 0, 1.0), ("b", 1, 0.9), ("b", 1, 1.3), ("a", 3, 1.0), ("b", 2, 0.7), ("a", 1, 1.2))
STEPS = tuple((model, layer, 1.0) for model, layer, _ in SCALED)
ALL_OF_A = tuple(("a", layer, 1.0) for layer in range(4))
FOLDED = [name for name in ARCHITECTURES if name.partition(",")[0] in FOLDABLE]
OTHERS = [name for name in ARCHITECTURES if name.partition(",")[0] not in FOLDABLE]


def recipe(folder: Path, steps: Iterable[tuple[str, int, float]], frame: str = "a") -> Recipe:
    path = tuple(Hop(model=str(folder / model), layer=layer, scale=scale) for model, layer, scale in steps)
    return Recipe(merge_method="passthrough", path=path, base_model=str(folder / frame))


def load(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def layers_of(folder: Path) -> Layers:
    return Layers({str(folder / name): load(folder / name) for name in "ab"})


def follow(layers: Layers, spec: Recipe) -> Tensor:
    return logits(layers.follow(spec.path, str(spec.base_model)))


def written(spec: Recipe, folder: Path) -> PreTrainedModel:
    return load(to_folder(plan(spec, open_sources(spec)), folder / "out"))


@pytest.mark.parametrize("kind", sorted(FOLDED))
def test_folded_scales_match_the_live_path(kind: str, tmp_path: Path) -> None:
    save_pair(ARCHITECTURES[kind], ARCHITECTURES[kind], tmp_path)
    spec, layers = recipe(tmp_path, SCALED, "b"), layers_of(tmp_path)
    live = follow(layers, spec)
    model = written(spec, tmp_path)
    assert model.config.num_hidden_layers == len(SCALED)
    assert far(live, logits(model)) < 1e-4
    assert far(live, follow(layers, recipe(tmp_path, STEPS, "b"))) > 1e-3


@pytest.mark.parametrize("kind", sorted(FOLDED))
def test_small_streams_are_read_equally(kind: str, tmp_path: Path) -> None:
    """With embeddings of initial size, the epsilon of a norm is not small."""

    def quiet(make: Make, seed: int) -> PreTrainedModel:
        torch.manual_seed(seed)
        return make()

    save_pair(ARCHITECTURES[kind], ARCHITECTURES[kind], tmp_path, quiet)
    layers = layers_of(tmp_path)
    before = follow(layers, recipe(tmp_path, ALL_OF_A))
    spec = recipe(tmp_path, (("a", 0, 0.001), ("b", 1, 1.1), ("b", 1, 1.0), ("a", 0, 0.9)))
    assert far(follow(layers, spec), logits(written(spec, tmp_path))) < 1e-4
    assert torch.equal(before, follow(layers, recipe(tmp_path, ALL_OF_A))), "norms are as they were"


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_only_scales_that_cannot_be_folded_are_refused(kind: str, tmp_path: Path) -> None:
    save_pair(ARCHITECTURES[kind], ARCHITECTURES[kind], tmp_path)
    with pytest.raises(KingyoError, match="scales in a model of type") as caught:
        written(recipe(tmp_path, SCALED), tmp_path)
    assert "scales: none" in caught.value.remedy
    assert not (tmp_path / "out").exists()
    spec = recipe(tmp_path, STEPS)
    assert torch.equal(follow(layers_of(tmp_path), spec), logits(written(spec, tmp_path)))


def refuse(spec: Recipe, says: str) -> None:
    with pytest.raises(KingyoError, match=says) as caught:
        plan(spec, open_sources(spec))
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"merge_method": "linear"}, "merge_method: expected passthrough"),
        ({"parameters": {"scale": 0.5}}, "received 'passthrough', parameters"),
        ({"path": [{"model": "a", "layer": 4}]}, r"layers of \[0, 4\]"),
    ],
)
def test_keys_that_exclude_a_path(
    keys: dict[str, object], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(save_pair(LLAMA, LLAMA, tmp_path))
    spec = {"merge_method": "passthrough", "path": [{"model": "a", "layer": 0}], **keys}
    refuse(Recipe.from_dict(spec), says)


def architecture(family: str, **changed: Any) -> Make:
    return maker(family, **{**SHAPE, **changed})


LLAMA = architecture("Llama")
llama = partial(architecture, "Llama")
gemma3 = partial(maker, "Gemma3", config="Gemma3TextConfig", **SHAPE, head_dim=8, sliding_window=5)
gpt2 = partial(maker, "GPT2", "LMHeadModel")
neox = partial(maker, "GPTNeoX", **MULTI_HEAD)
qwen3_moe = partial(architecture, "Qwen3Moe", **MOE)


def sliding(first: int) -> Make:
    return architecture("Qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=first)


SPARSE = qwen3_moe(decoder_sparse_step=2)
NUMBERED = gpt2(**GPT2, scale_attn_by_inverse_layer_idx=True)
HOT = {"rope_theta": 500.0, "rope_type": "default"}
REFUSED: Mapping[str, tuple[Make, Make, str]] = {
    "architecture": (
        LLAMA,
        architecture("Mistral", sliding_window=None),
        "'llama' .* 'mistral'",
    ),
    "heads": (LLAMA, llama(num_attention_heads=8), "head_dim .* 8 as in .* 4 in"),
    "eps": (LLAMA, llama(rms_norm_eps=1e-2), "rms_norm_eps .* 1e-06 as in .* 0.01 in"),
    "rope theta": (LLAMA, llama(rope_parameters=HOT), r"rope_theta .* 10000\.0 as in .* 500\.0 in"),
    "a window that the frame lacks": (architecture("Qwen2"), sliding(2), "sliding_window .* None as .* 5 in"),
    "windows": (
        architecture("Mistral", sliding_window=5),
        architecture("Mistral", sliding_window=3),
        "sliding_window .* 5 .* 3",
    ),
    "parallel parts": (
        neox(),
        neox(use_parallel_residual=False),
        "use_parallel_residual .* True as in .* False in",
    ),
    "experts": (
        architecture("Mixtral", num_local_experts=4),
        architecture("Mixtral", num_local_experts=3),
        "num_local_experts .* 4 as in .* 3 in",
    ),
    "every second layer is sparse": (SPARSE, SPARSE, "decoder_sparse_step .* a pattern of every 2"),
    "layers that know their number": (NUMBERED, NUMBERED, "those of gpt2"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_settings_that_one_config_cannot_hold_are_refused(what: str, tmp_path: Path) -> None:
    a, b, says = REFUSED[what]
    refuse(recipe(save_pair(a, b, tmp_path), STEPS), says)


RIGHT: Mapping[str, tuple[Make, Make]] = {
    "tied beside untied": (llama(tie_word_embeddings=True), LLAMA),
    "more rows than tokens": (LLAMA, llama(vocab_size=80)),
    "fewer learnt positions": (gpt2(**GPT2), gpt2(**{**GPT2, "n_positions": 32})),
    "kinds of attention at other places": (
        gemma3(layer_types=["full_attention"] * 2 + ["sliding_attention"] * 2),
        gemma3(),
    ),
    "a window in the frame alone": (sliding(2), architecture("Qwen2")),
    "windows from another layer on": (sliding(2), sliding(1)),
    "no positions at other places": (
        architecture("SmolLM3", no_rope_layers=[1, 0, 1, 0]),
        architecture("SmolLM3"),
    ),
    "dense layers among sparse ones": (qwen3_moe(mlp_only_layers=[1]), qwen3_moe(mlp_only_layers=[2, 3])),
}


@pytest.mark.parametrize("what", RIGHT)
def test_per_layer_settings_survive_live_and_on_disk(what: str, tmp_path: Path) -> None:
    spec = recipe(save_pair(*RIGHT[what], tmp_path), STEPS)
    live = layers_of(tmp_path).follow(spec.path, str(spec.base_model))
    expected = logits(live)
    assert far(expected, cached_logits(live)) < 1e-4
    planned = plan(spec, open_sources(spec))
    assert not [each for each in planned.warnings if "layer" in each.partition(" ")[0]], "each keeps its own"
    assert far(expected, logits(load(to_folder(planned, tmp_path / "out")))) < 1e-4


@pytest.mark.parametrize("frame", ["a", "b"])
def test_models_with_a_different_depth(frame: str, tmp_path: Path) -> None:
    save_pair(LLAMA, llama(num_hidden_layers=6), tmp_path)
    steps = (("a", 0, 1.0), ("b", 5, 0.8), ("b", 4, 1.0), ("a", 3, 0.8), ("b", 5, 1.0))
    spec = recipe(tmp_path, steps, frame)
    assert plan(spec, open_sources(spec)).warnings == ()
    assert far(follow(layers_of(tmp_path), spec), logits(written(spec, tmp_path))) < 1e-4


def test_layers_with_an_index_may_keep_their_place(tmp_path: Path) -> None:
    spec = recipe(save_pair(NUMBERED, NUMBERED, tmp_path), [("ab"[k % 2], k, 1.0) for k in range(4)])
    assert torch.equal(follow(layers_of(tmp_path), spec), logits(written(spec, tmp_path)))


def test_models_of_several_stacks_are_refused(tmp_path: Path) -> None:
    build("t5", tmp_path / "t5")
    spec = Recipe(merge_method="passthrough", path=(Hop(model=str(tmp_path / "t5"), layer=0),))
    refuse(spec, "^path of")
