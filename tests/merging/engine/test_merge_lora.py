"""Sources with a LoRA in a merge: rounded once, in the model's dtype, the same live and on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from kingyo.merging.engine import into, open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe, Source
from tests.models_on_disk import fine_tuned, llama

MODULE = "model.layers.{}.self_attn.{}_proj"


def family_with_lora(folder: Path, dtype: str = "bfloat16") -> None:
    """``m``, ``other`` and ``lora``, all of one Llama."""
    llama(folder / "m", dtype=dtype)
    fine_tuned(folder / "m", folder / "other", seed=1)
    generator = torch.Generator().manual_seed(3)
    pairs: dict[str, torch.Tensor] = {}
    for layer in range(3):
        name = f"base_model.model.{MODULE.format(layer, 'q')}"
        pairs[f"{name}.lora_A.weight"] = torch.randn(2, 16, generator=generator)
        pairs[f"{name}.lora_B.weight"] = torch.randn(16, 2, generator=generator)
    (folder / "lora").mkdir()
    save_file(pairs, folder / "lora" / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 1, "base_model_name_or_path": "m"}
    (folder / "lora" / "adapter_config.json").write_text(json.dumps(config))


def mean(*models: str) -> Recipe:
    return Recipe(
        merge_method="linear",
        sources=tuple(Source(model=model) for model in models),
        parameters={"weight": 1.0},
    )


def test_the_sum_is_rounded_once_to_the_models_dtype_live_and_on_disk(tmp_path: Path) -> None:
    family_with_lora(tmp_path)
    spec = mean("m+lora", "other")
    out = to_folder(plan(spec, open_sources(spec, tmp_path)), tmp_path / "out")
    pairs = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    base, other = (load_file(tmp_path / name / "model.safetensors") for name in ("m", "other"))
    saved = load_file(out / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    for name, tensor in saved.items():
        exact = base[name].double() + other[name].double()
        if "q_proj" in name:
            module = f"base_model.model.{name.removesuffix('.weight')}"
            a, b = (pairs[f"{module}.lora_{side}.weight"].double() for side in "AB")
            exact += b @ a / 2
        assert torch.equal(tensor, (exact / 2).bfloat16())
    live = AutoModelForCausalLM.from_pretrained(tmp_path / "m", dtype=torch.bfloat16).state_dict()
    into(plan(spec, open_sources(spec, tmp_path)), live)
    assert all(torch.equal(live[name], tensor) for name, tensor in saved.items())


def test_candidates_share_the_tensors_that_a_lora_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family_with_lora(tmp_path)
    tensors, name = open_sources(mean("m+lora", "other"), tmp_path).mapped, f"{MODULE.format(0, 'q')}.weight"
    kept = tensors.read("m+lora", name)
    assert tensors.read("m+lora", name) is kept
    monkeypatch.setattr("kingyo.merging.engine.sources._KEPT", kept.nbytes)  # enough for that one
    others = [tensors.read("m+lora", f"{MODULE.format(1, 'q')}.weight") for _ in range(2)]
    assert others[0] is not others[1]
    assert torch.equal(*others)
