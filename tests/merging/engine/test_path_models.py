"""Paths through different models: refused with both values, or correct."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from kingyo.errors import KingyoError
from kingyo.merging.engine import plan, to_folder
from kingyo.merging.engine.sources import open_sources
from kingyo.merging.recipe import Hop, Recipe
from kingyo.models.layers import Layers
from tests.decoders import GPT2, MOE, MULTI_HEAD, SHAPE, cached_logits, far, logits, loud, maker
from tests.merging.checkpoints.architectures import build
from tests.models_on_disk import tokenizer

Make = Callable[[], PreTrainedModel]
STEPS = (("a", 0), ("b", 1), ("b", 1), ("a", 3), ("b", 2), ("a", 1))


def architecture(family: str, **changed: Any) -> Make:
    return maker(family, **{**SHAPE, **changed})


def gemma2(**changed: Any) -> Make:
    return architecture("Gemma2", head_dim=8, sliding_window=5, **changed)


def gemma3(**changed: Any) -> Make:
    return maker("Gemma3", config="Gemma3TextConfig", **SHAPE, head_dim=8, sliding_window=5, **changed)


def gpt2(**changed: Any) -> Make:
    return maker("GPT2", "LMHeadModel", **{**GPT2, **changed})


def mixtral(**changed: Any) -> Make:
    return architecture("Mixtral", **{"num_local_experts": 4, **changed})


def sliding(first: int) -> Make:
    return architecture("Qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=first)


def save_pair(a: Make, b: Make, folder: Path) -> dict[str, str]:
    for seed, (name, make) in enumerate((("a", a), ("b", b))):
        loud(make, seed).save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return {name: str(folder / name) for name in "ab"}


def recipe(
    folders: dict[str, str], *, steps: Any = STEPS, frame: str | None = "a", scale: float = 1
) -> Recipe:
    hops = tuple(
        Hop(model=folders[model], layer=layer, scale=scale if i % 2 else 1)
        for i, (model, layer) in enumerate(steps)
    )
    base = None if frame is None else folders[frame]
    return Recipe(merge_method="passthrough", path=hops, base_model=base)


LLAMA = architecture("Llama")
HOT = {"rope_theta": 500.0, "rope_type": "default"}
LONG = {"rope_theta": 10000.0, "rope_type": "linear", "factor": 4.0}
REFUSED: dict[str, tuple[Make, Make, str]] = {
    "architecture": (
        LLAMA,
        architecture("Mistral", sliding_window=None),
        "model_type .* 'llama' .* 'mistral'",
    ),
    "heads": (LLAMA, architecture("Llama", num_attention_heads=8), "head_dim .* 8 as in .* 4 in"),
    "biases": (LLAMA, architecture("Llama", attention_bias=True), "attention_bias .* False as in .* True in"),
    "eps": (LLAMA, architecture("Llama", rms_norm_eps=1e-2), "rms_norm_eps .* 1e-06 as in .* 0.01 in"),
    "rope theta": (
        LLAMA,
        architecture("Llama", rope_parameters=HOT),
        r"rope_theta .* 10000\.0 as in .* 500\.0 in",
    ),
    "windows": (
        architecture("Mistral", sliding_window=5),
        architecture("Mistral", sliding_window=3),
        "sliding_window .* 5 .* 3",
    ),
    "a window that the frame lacks": (
        architecture("Qwen2"),
        sliding(2),
        "sliding_window .* None as .* 5 in",
    ),
    "softcap": (gemma2(), gemma2(attn_logit_softcapping=3.0), r"attn_logit_softcapping .* 50\.0 .* 3\.0"),
    "multiplier of attention": (
        architecture("Granite"),
        architecture("Granite", attention_multiplier=0.5),
        "attention_multiplier",
    ),
    "parallel parts": (
        maker("GPTNeoX", **MULTI_HEAD),
        maker("GPTNeoX", **MULTI_HEAD, use_parallel_residual=False),
        "use_parallel_residual .* True as in .* False in",
    ),
    "experts": (mixtral(), mixtral(num_local_experts=3), "num_local_experts .* 4 as in .* 3 in"),
    "every second layer is sparse": (
        architecture("Qwen3Moe", **MOE, decoder_sparse_step=2),
        architecture("Qwen3Moe", **MOE, decoder_sparse_step=2),
        "decoder_sparse_step .* a pattern of every 2",
    ),
    "layers that know their number": (
        gpt2(scale_attn_by_inverse_layer_idx=True),
        gpt2(scale_attn_by_inverse_layer_idx=True),
        "those of gpt2",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_settings_that_one_config_cannot_hold_are_refused(what: str, tmp_path: Path) -> None:
    a, b, says = REFUSED[what]
    spec = recipe(save_pair(a, b, tmp_path))
    with pytest.raises(KingyoError, match=says) as caught:
        plan(spec, open_sources(spec))
    assert caught.value.remedy


RIGHT: dict[str, tuple[Make, Make]] = {
    "tied beside untied": (architecture("Llama", tie_word_embeddings=True), LLAMA),
    "more rows than tokens": (LLAMA, architecture("Llama", vocab_size=80)),
    "fewer learnt positions": (gpt2(), gpt2(n_positions=32)),
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
    "dense layers among sparse ones": (
        architecture("Qwen3Moe", **MOE, mlp_only_layers=[1]),
        architecture("Qwen3Moe", **MOE, mlp_only_layers=[2, 3]),
    ),
}


@pytest.mark.parametrize("what", RIGHT)
def test_per_layer_settings_survive_live_and_on_disk(what: str, tmp_path: Path) -> None:
    folders = save_pair(*RIGHT[what], tmp_path)
    spec = recipe(folders)
    layers = Layers({each: AutoModelForCausalLM.from_pretrained(each).eval() for each in folders.values()})
    live = layers.follow(spec.path, folders["a"])
    expected = logits(live)
    assert far(expected, cached_logits(live)) < 1e-5
    planned = plan(spec, open_sources(spec))
    assert not [each for each in planned.warnings if "layer" in each.partition(" ")[0]], "each keeps its own"
    out = to_folder(planned, tmp_path / "out")
    assert far(expected, logits(AutoModelForCausalLM.from_pretrained(out).eval())) < 1e-5


@pytest.mark.parametrize("frame", ["a", "b"])
def test_models_with_a_different_depth(frame: str, tmp_path: Path) -> None:
    folders = save_pair(LLAMA, architecture("Llama", num_hidden_layers=6), tmp_path)
    spec = recipe(folders, steps=(("a", 0), ("b", 5), ("b", 4), ("a", 3), ("b", 5)), frame=frame, scale=0.8)
    layers = Layers({each: AutoModelForCausalLM.from_pretrained(each).eval() for each in folders.values()})
    expected = logits(layers.follow(spec.path, folders[frame]))
    planned = plan(spec, open_sources(spec))
    assert planned.warnings == ()
    loaded = AutoModelForCausalLM.from_pretrained(to_folder(planned, tmp_path / "out")).eval()
    assert far(expected, logits(loaded)) < 1e-5


def test_layers_with_an_index_may_keep_their_place(tmp_path: Path) -> None:
    make = gpt2(scale_attn_by_inverse_layer_idx=True)
    folders = save_pair(make, make, tmp_path)
    spec = recipe(folders, steps=tuple(("ab"[k % 2], k) for k in range(4)))
    layers = Layers({each: AutoModelForCausalLM.from_pretrained(each).eval() for each in folders.values()})
    expected = logits(layers.follow(spec.path, folders["a"]))
    out = to_folder(plan(spec, open_sources(spec)), tmp_path / "out")
    assert torch.equal(expected, logits(AutoModelForCausalLM.from_pretrained(out).eval()))


@pytest.mark.parametrize(("name", "argument"), [("t5", "path of"), ("llava", "base_model")])
def test_models_of_several_stacks_are_refused(name: str, argument: str, tmp_path: Path) -> None:
    """A vision-language model gives layers only to a base that sees."""
    build(name, tmp_path / name)
    spec = Recipe(merge_method="passthrough", path=(Hop(model=str(tmp_path / name), layer=0),))
    with pytest.raises(KingyoError) as error:
        plan(spec, open_sources(spec))
    assert error.value.argument.startswith(argument)
