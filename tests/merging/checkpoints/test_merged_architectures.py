"""transformers and diffusers load merged models of all architectures completely."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from kingyo.merging.engine import open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe
from tests.merging.checkpoints.architectures import ARCHITECTURES, DIFFUSERS, HAS_DIFFUSERS, build
from tests.models_on_disk import fine_tuned

QUICK = ("bert", "clip", "gemma3", "gpt2", "llava", "mamba", "qwen3_moe", "t5", "unet", "vit")
"""One architecture of each sort; all others would be slow."""


def load(folder: Path) -> Any:
    config = json.loads((folder / "config.json").read_text())
    if "_class_name" in config:
        import diffusers

        return getattr(diffusers, config["_class_name"]).from_pretrained(folder)
    model, report = getattr(transformers, config["architectures"][0]).from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(ARCHITECTURES)],
)
def test_a_merge_loads_and_is_the_merge(tmp_path: Path, name: str) -> None:
    if name in DIFFUSERS and not HAS_DIFFUSERS:
        pytest.skip("diffusers is not installed")
    base = build(name, tmp_path / "base")
    for i in range(2):
        fine_tuned(base, tmp_path / f"source-{i}", seed=i + 1)
    recipe = Recipe.from_dict(
        {
            "merge_method": "linear",
            "base_model": "base",
            "models": [{"model": f"source-{i}", "parameters": {"weight": 1.0}} for i in range(2)],
        }
    )
    planned = plan(recipe, open_sources(recipe, tmp_path))
    assert planned.warnings == ()
    to_folder(planned, tmp_path / "out")
    merged, *sources = (load(tmp_path / each).state_dict() for each in ("out", "source-0", "source-1"))
    assert merged.keys() == sources[0].keys()
    for key, value in merged.items():
        if value.is_floating_point():
            mean = (sources[0][key].double() + sources[1][key].double()) / 2
            assert torch.allclose(value.double(), mean, rtol=1e-6, atol=1e-7), key
