"""Paths written as checkpoints: transformers gives the logits of the live path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from kingyo.errors import KingyoError
from kingyo.merging.engine import plan, to_folder
from kingyo.merging.engine.modules import FOLDABLE
from kingyo.merging.engine.sources import open_sources
from kingyo.merging.recipe import Hop, Recipe, path_as_slices
from kingyo.models.layers import Layers
from tests.decoders import ARCHITECTURES, far, logits, loud
from tests.models_on_disk import tokenizer

SCALED = (("a", 0, 1.0), ("b", 1, 0.9), ("b", 1, 1.3), ("a", 3, 1.0), ("b", 2, 0.7), ("a", 1, 1.2))
FOLDED = [name for name in ARCHITECTURES if name.partition(",")[0] in FOLDABLE]
OTHERS = [name for name in ARCHITECTURES if name.partition(",")[0] not in FOLDABLE]


def path(folders: Mapping[str, Path], steps: tuple[tuple[str, int, float], ...]) -> tuple[Hop, ...]:
    return tuple(Hop(model=str(folders[model]), layer=layer, scale=scale) for model, layer, scale in steps)


def save_pair(kind: str, folder: Path) -> dict[str, Path]:
    """Two models of one architecture on disk."""
    for seed, name in enumerate("ab"):
        loud(ARCHITECTURES[kind], seed).save_pretrained(folder / name)
        tokenizer().save_pretrained(folder / name)
    return {name: folder / name for name in "ab"}


def merge_to_folder(recipe: Recipe, folder: Path) -> Path:
    return to_folder(plan(recipe, open_sources(recipe)), folder / "out")


@pytest.mark.parametrize("kind", sorted(FOLDED))
def test_folded_scales_match_the_live_path(kind: str, tmp_path: Path) -> None:
    folders = save_pair(kind, tmp_path)
    models = {str(each): AutoModelForCausalLM.from_pretrained(each).eval() for each in folders.values()}
    hops = path(folders, SCALED)
    live = logits(Layers(models).follow(hops, str(folders["b"])))
    out = merge_to_folder(
        Recipe(merge_method="passthrough", path=hops, base_model=str(folders["b"])), tmp_path
    )
    loaded = AutoModelForCausalLM.from_pretrained(out).eval()
    assert loaded.config.num_hidden_layers == len(hops)
    assert far(live, logits(loaded)) < 1e-5
    unfolded = tuple((model, layer, 1.0) for model, layer, _ in SCALED)
    assert far(live, logits(Layers(models).follow(path(folders, unfolded), str(folders["b"])))) > 1e-3


@pytest.mark.parametrize("kind", sorted(FOLDED))
def test_small_streams_are_read_equally(kind: str, tmp_path: Path) -> None:
    """With embeddings of initial size, the epsilon of a norm is not small."""
    folders: dict[str, Path] = {}
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        folders[name] = tmp_path / name
        ARCHITECTURES[kind]().save_pretrained(folders[name])
        tokenizer().save_pretrained(folders[name])
    models = {str(each): AutoModelForCausalLM.from_pretrained(each).eval() for each in folders.values()}
    steps = (("a", 0, 0.001), ("b", 1, 1.1), ("b", 1, 1.0), ("a", 0, 0.9))
    layers = Layers(models)
    before = logits(layers.follow(path(folders, tuple(("a", k, 1.0) for k in range(4))), str(folders["a"])))
    hops = path(folders, steps)
    live = logits(layers.follow(hops, str(folders["a"])))
    out = merge_to_folder(
        Recipe(merge_method="passthrough", path=hops, base_model=str(folders["a"])), tmp_path
    )
    assert far(live, logits(AutoModelForCausalLM.from_pretrained(out).eval())) < 1e-5
    full_path = path(folders, tuple(("a", k, 1.0) for k in range(4)))
    assert torch.equal(before, logits(layers.follow(full_path, str(folders["a"])))), "norms are as they were"


@pytest.mark.parametrize("kind", sorted(OTHERS))
def test_only_scales_that_cannot_be_folded_are_refused(kind: str, tmp_path: Path) -> None:
    folders = save_pair(kind, tmp_path)
    with pytest.raises(KingyoError, match="scales in a model of type") as caught:
        merge_to_folder(Recipe(merge_method="passthrough", path=path(folders, SCALED)), tmp_path)
    assert "scales: none" in caught.value.remedy
    assert not (tmp_path / "out").exists()
    hops = path(folders, tuple((model, layer, 1.0) for model, layer, _ in SCALED))
    models = {str(each): AutoModelForCausalLM.from_pretrained(each).eval() for each in folders.values()}
    live = logits(Layers(models).follow(hops, str(folders["a"])))
    out = merge_to_folder(
        Recipe(merge_method="passthrough", path=hops, base_model=str(folders["a"])), tmp_path
    )
    assert torch.equal(live, logits(AutoModelForCausalLM.from_pretrained(out).eval()))


def test_a_path_without_scales_is_the_merge_of_its_slices(tmp_path: Path) -> None:
    folders = save_pair("qwen2", tmp_path)
    hops = path(folders, (("a", 0, 1.0), ("a", 1, 1.0), ("b", 1, 1.0), ("b", 2, 1.0)))
    merge_to_folder(Recipe(merge_method="passthrough", path=hops), tmp_path)
    sliced = Recipe(merge_method="passthrough", slices=path_as_slices(hops))
    to_folder(plan(sliced, open_sources(sliced)), tmp_path / "sliced")
    one, other = (load_file(tmp_path / each / "model.safetensors") for each in ("out", "sliced"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"merge_method": "linear"}, "merge_method: expected passthrough"),
        ({"parameters": {"scale": 0.5}}, "received 'passthrough', parameters"),
    ],
)
def test_keys_that_exclude_a_path(keys: dict[str, object], says: str, tmp_path: Path) -> None:
    folders = save_pair("llama", tmp_path)
    spec = {"merge_method": "passthrough", "path": [{"model": str(folders["a"]), "layer": 0}], **keys}
    recipe = Recipe.from_dict(spec)
    with pytest.raises(KingyoError, match=says):
        plan(recipe, open_sources(recipe))


def test_missing_layers_and_incompatible_models_are_refused(tmp_path: Path) -> None:
    folders = save_pair("llama", tmp_path) | {"q": save_pair("qwen3", tmp_path / "other")["a"]}
    refused = {("a", 4, 1.0): r"layers of \[0, 4\]", ("q", 0, 1.0): "model_type|none of this name"}
    for step, says in refused.items():
        recipe = Recipe(merge_method="passthrough", path=path(folders, (("a", 0, 1.0), step)))
        with pytest.raises(KingyoError, match=says):
            plan(recipe, open_sources(recipe))
