"""Every tensor of a checkpoint and its live counterpart, in families that transformers renames and reshapes.

The proof is a second model: written into the live first one, by the names of the files, it gives the logits
that it gives when transformers loads it.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForImageTextToText,
    PreTrainedModel,
)

from kingyo.errors import KingyoError
from kingyo.merging.engine import into, open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe, Source
from kingyo.models.kinds import LoadOptions
from kingyo.models.loading import live_weights, load_model
from kingyo.models.training import gradients
from tests.decoders import maker
from tests.merging.checkpoints.architectures import ARCHITECTURES, DECODER, MOE, VISION, write
from tests.merging.checkpoints.fitting import rewrite
from tests.models.vision_families import FAMILIES, build, inputs
from tests.slow import slow

Make = Callable[[], PreTrainedModel]


classifier = partial(maker, head="ForImageClassification", num_labels=3)
MAKERS: Mapping[str, Make] = {
    **ARCHITECTURES,
    "deit": classifier("DeiT", **VISION),
    "beit": classifier("Beit", **VISION),
    "dinov2": classifier("Dinov2", **VISION),
    "dinov2, split": classifier("Dinov2", **VISION, use_swiglu_ffn=True),
    "swin": classifier(
        "Swin", image_size=8, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[2, 4], window_size=2
    ),
    "convnext": classifier("ConvNext", hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], patch_size=1),
}
WRITES = ("gpt2", "llama", "qwen2", "gemma2", "gemma3_text", "mixtral", "qwen2_moe", "qwen3_next", "jamba")
CLASSIFIES = ("vit", "deit", "swin", "beit", "convnext", "dinov2", "dinov2, split")


def auto(name: str) -> type[Any]:
    if name in WRITES:
        return AutoModelForCausalLM
    return AutoModelForImageClassification if name in CLASSIFIES else AutoModelForImageTextToText


def load(name: str, folder: Path) -> PreTrainedModel:
    return load_model(folder, LoadOptions(), auto(name))


def logits(name: str, model: PreTrainedModel) -> Tensor:
    if name in FAMILIES:
        given = inputs(name)
    elif name in WRITES:
        given = {"input_ids": torch.tensor([[5, 7, 8, 9]])}
    else:
        given = {"pixel_values": torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))}
    with torch.inference_mode():
        return model(**given).logits


def stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def check(name: str, folder: Path, other: Path) -> None:
    """Copy another model into the live one, tensor by tensor."""
    live = load(name, folder)
    weights = live_weights(live, folder)
    tensors = stored(other)
    assert list(weights) == sorted(tensors)
    for each, tensor in tensors.items():
        assert torch.equal(weights[each], stored(folder)[each]), each
        assert weights[each].is_contiguous(), f"{each}: it cannot be merged into"
        weights[each].copy_(tensor)
    expected = load(name, other)
    for each, tensor in expected.state_dict().items():
        assert torch.equal(live.state_dict()[each], tensor), each
    assert not torch.equal(logits(name, load(name, folder)), logits(name, expected))
    assert torch.equal(logits(name, live), logits(name, expected))


def pair(folder: Path, name: str, **saving: Any) -> tuple[Path, Path]:
    if name in FAMILIES:
        return build(name, folder / "1", seed=1), build(name, folder / "2", seed=2)
    first, second = (write(MAKERS[name], folder / str(n), seed=n, **saving) for n in (1, 2))
    return first, second


@pytest.mark.parametrize("original", [True, *slow(False)], ids=["first names", "names in memory"])
@pytest.mark.parametrize("name", [*WRITES, *CLASSIFIES])
def test_writing_a_model_by_its_names_makes_it_that_model(tmp_path: Path, name: str, original: bool) -> None:
    check(name, *pair(tmp_path, name, save_original_format=original))


@pytest.mark.parametrize("name", FAMILIES)
def test_writing_a_model_that_sees_by_the_names_of_its_release(tmp_path: Path, name: str) -> None:
    check(name, *pair(tmp_path, name))


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("original", [True, False])
def test_experts_whose_names_lack_the_prefix(tmp_path: Path, prefix: str, original: bool) -> None:
    tied = maker("Qwen2Moe", **DECODER, **MOE, tie_word_embeddings=True)
    first, second = (write(tied, tmp_path / str(n), seed=n, save_original_format=original) for n in (1, 2))
    for folder in (first, second):
        rewrite(folder, lambda all_: {prefix + name.removeprefix("model."): all_[name] for name in all_})
    check("qwen2_moe", first, second)


def test_the_experts_of_a_layer_in_several_files(tmp_path: Path) -> None:
    folder = write(MAKERS["mixtral"], tmp_path / "model", max_shard_size="10KB")
    assert len(list(folder.glob("*.safetensors"))) > 3
    weights = live_weights(load("mixtral", folder), folder)
    stored_tensors = {n: each for file in folder.glob("*.safetensors") for n, each in load_file(file).items()}
    assert list(weights) == sorted(stored_tensors)
    for name, tensor in stored_tensors.items():
        assert torch.equal(weights[name], tensor), name


@pytest.mark.parametrize("name", ["mixtral", "gemma3", "dinov2, split"])
def test_a_live_merge_is_the_merge_that_is_written(tmp_path: Path, name: str) -> None:
    first, second = pair(tmp_path, name)
    recipe = Recipe(
        merge_method="slerp",
        sources=(Source(model=str(first)), Source(model=str(second))),
        base_model=str(first),
        parameters={"t": 0.4},
    )
    live = load(name, second)
    into(plan(recipe, open_sources(recipe, tmp_path)), live_weights(live, second))
    out = to_folder(plan(recipe, open_sources(recipe, tmp_path)), tmp_path / "out", {})
    assert torch.equal(logits(name, live), logits(name, load(name, out)))


def test_separate_parts_of_a_tensor_are_joined(tmp_path: Path) -> None:
    first, second = pair(tmp_path, "dinov2, split")
    live = load("dinov2, split", first)
    for parameter in live.parameters():
        parameter.data = parameter.data.clone()
    before = logits("dinov2, split", live)
    weights = live_weights(live, first)
    assert torch.equal(logits("dinov2, split", live), before)
    for name, tensor in stored(second).items():
        weights[name].copy_(tensor)
    assert torch.equal(logits("dinov2, split", live), logits("dinov2, split", load("dinov2, split", second)))


@pytest.mark.parametrize("name", ["mixtral", "dinov2, split"])
def test_weights_that_share_memory_have_gradients(tmp_path: Path, name: str) -> None:
    """Those of experts are views into a live tensor; a split weight has two live tensors as views."""
    folder, _ = pair(tmp_path, name)
    live = load(name, folder)
    weights = live_weights(live, folder)
    own = {id(each) for each in live.parameters()}
    shared = [each for each, weight in weights.items() if id(weight) not in own]
    generator = torch.Generator().manual_seed(0)

    def loss() -> Tensor:
        inputs = (
            torch.tensor([[5, 7, 8, 9]]) if name in WRITES else torch.linspace(-1, 1, 192).view(1, 3, 8, 8)
        )
        return live(inputs).logits.double().square().sum()

    derivatives: dict[str, Tensor] = {}
    value = gradients([loss], live, weights, shared, derivatives.__setitem__)
    assert sorted(derivatives) == shared
    for each, derivative in derivatives.items():
        step, ends = 1e-2 * torch.randn(derivative.shape, generator=generator), list[float]()
        for sign in (1, -2, 1):
            weights[each].add_(step, alpha=sign)
            ends.append(float(loss()))
        expected = float((derivative * step).sum())
        assert expected == pytest.approx((ends[0] - ends[1]) / 2, rel=5e-2, abs=1e-5 * value)


def test_weights_that_are_turned_when_loaded_are_refused(tmp_path: Path) -> None:
    vision = {"depth": 1, "hidden_size": 16, "num_heads": 4, "out_hidden_size": 16}
    text = {**DECODER, **MOE, "head_dim": 4, "rope_parameters": {"mrope_section": [1, 1, 0]}}
    config = transformers.Qwen3VLMoeConfig(text_config=text, vision_config=vision)
    folder = write(lambda: transformers.Qwen3VLMoeForConditionalGeneration(config), tmp_path / "model")
    rewrite(
        folder,
        lambda all_: {
            name: each.transpose(1, 2).contiguous() if ".experts." in name else each
            for name, each in all_.items()
        },
    )
    live = load("qwen3_vl_moe", folder)
    with pytest.raises(KingyoError) as caught:
        live_weights(live, folder)
    assert "experts" in caught.value.argument and "shape" in caught.value.received
