"""Merge block weights against sd-mecha's conversion of supermerger's: each tensor has the same weight."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kingyo.merging.engine import open_sources, plan
from kingyo.merging.recipe import Recipe
from tests.oracle.peer import SD_MECHA, find_python

pytestmark = pytest.mark.oracle
IN, OUT = [f"IN{i:02}" for i in range(12)], [f"OUT{i:02}" for i in range(12)]
SD1, SDXL = ["BASE", *IN, "M00", *OUT], ["BASE", *IN[:9], "M00", *OUT[:9]]
# Presets as sd-webui-supermerger ships them (scripts/mbwpresets.txt), and numbers that all differ.
SMOOTHSTEP = (
    "SMOOTHSTEP\t0,0,0.00506365740740741,0.0196759259259259,0.04296875,0.0740740740740741,0.112123842592593,"
    "0.15625,0.205584490740741,0.259259259259259,0.31640625,0.376157407407407,0.437644675925926,0.5,"
    "0.562355324074074,0.623842592592592,0.68359375,0.740740740740741,0.794415509259259,0.84375,"
    "0.887876157407408,0.925925925925926,0.95703125,0.980324074074074,0.994936342592593,1"
)
RING = "RING08_SOFT:0,0,0,0,0,0,0.5,1,1,1,0.5,0,0,0,0,0,0.5,1,1,1,0.5,0,0,0,0,0"
CASES: Mapping[str, tuple[str, str]] = {
    "sd1 smoothstep": ("sd1-ldm", SMOOTHSTEP),
    "sd1 ring": ("sd1-ldm", RING),
    "sd1 distinct": ("sd1-ldm", ",".join(str(i / 32) for i in range(26))),
    "sdxl distinct": ("sdxl-sgm", ",".join(str(i / 32) for i in range(20))),
    "sdxl with vae": ("sdxl-sgm", ",".join(str(i / 32) for i in range(21))),
    "sdxl from sd1": ("sdxl-sgm", SMOOTHSTEP),
}
CONFIGS: Mapping[str, Mapping[str, object]] = {
    "sd1-ldm": {"layers_per_block": 2},
    "sdxl-sgm": {"layers_per_block": 2, "addition_embed_type": "text_time"},
}
N_TENSORS = {"sd1-ldm": 686, "sdxl-sgm": 1680}


def blocks_of(model: str, text: str) -> dict[str, float]:
    """The numbers by the names of their blocks, for sd-mecha."""
    numbers = [float(number) for number in text.replace("\t", ":").rpartition(":")[2].split(",")]
    blocks = dict(zip(SD1 if len(numbers) == 26 else [*SDXL, "VAE"], numbers, strict=False))
    return blocks if model == "sd1-ldm" else {"VAE": 0.0, **{k: blocks[k] for k in SDXL}}


def write_denoiser(folder: Path, names: list[str]) -> None:
    """Write a UNet with zero matrices of 4 × 4."""
    folder.mkdir(parents=True)
    tensors = {name: torch.zeros(4, 4) for name in names}
    save_file(tensors, folder / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))


def weights_of(folder: Path, names: list[str], text: str) -> dict[str, float]:
    """Our weight of each tensor of a UNet."""
    for name in ("a", "b"):
        if not (folder / name).exists():
            write_denoiser(folder / name, names)
    models = [{"model": "b", "parameters": {"weight": {"mbw": text}}}]
    recipe = Recipe.from_dict({"merge_method": "task_arithmetic", "base_model": "a", "models": models})
    jobs = plan(recipe, open_sources(recipe, folder)).jobs
    return {job.name: job.values.each("weight")[0] for job in jobs}


def test_each_tensor_has_the_weight_that_sd_mecha_gives_it(tmp_path: Path) -> None:
    single_file = pytest.importorskip("diffusers.loaders.single_file_utils")
    python = find_python(SD_MECHA)
    if python is None:
        pytest.skip(SD_MECHA.absent)
    jobs = [{"model": model, "blocks": blocks_of(model, text)} for model, text in CASES.values()]
    for (model, text), answer in zip(CASES.values(), sd_mecha(python, jobs), strict=True):
        tensors = {key: torch.tensor(number, dtype=torch.float64) for key, number in answer.items()}
        theirs = single_file.convert_ldm_unet_checkpoint(tensors, CONFIGS[model])
        assert len(theirs) == N_TENSORS[model]
        ours = weights_of(tmp_path / model, sorted(theirs), text)
        exact = {name: float(number) for name, number in theirs.items()}
        assert ours == pytest.approx(exact, rel=1e-7)  # sd-mecha's numbers are float32


def sd_mecha(python: Path, jobs: list[dict[str, Any]]) -> list[dict[str, float]]:
    """The answers of sd-mecha."""
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("sd_mecha_driver.py"))],
        input=json.dumps(jobs),
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
