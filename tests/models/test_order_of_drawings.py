"""Pictures depend on their own task only, whatever other tasks the same live pipeline draws before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.core.types import Drawing, DrawingPrompt
from kingyo.models.kinds import MODEL_KINDS, LoadOptions

pytest.importorskip("diffusers")
from kingyo.models.pipelines import named_parameters, pipeline_class
from tests.tiny_pipelines import DRAW, WRITERS

PROMPTS = [DrawingPrompt("a cat", 0), DrawingPrompt("a cat", 1)]
EULER = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
DDIM = {"class": "DDIMScheduler"}
KEYS: list[dict[str, object]] = [
    {"steps": 3},
    {"guidance_scale": 1.5},
    {"negative_prompt": "a bird", "guidance_scale": 4.0},
    {"height": 64, "width": 32},
    {"scheduler": {**EULER, "timestep_spacing": "leading"}},
    {"scheduler": DDIM},
]
"""Changes of the keys of a task. Those of schedulers are for pipelines that add noise as DDPM does."""
ARGUMENTS: dict[str, list[dict[str, object]]] = {
    "timesteps": [{"timesteps": [900, 300]}, {"timesteps": [500, 100]}],
    "sigmas": [{"sigmas": [0.9, 0.3]}, {"sigmas": [0.5, 0.1]}],
    "eta": [{"eta": 0.5}],
    "guidance_rescale": [{"guidance_rescale": 0.5}],
    "clip_skip": [{"clip_skip": 1}],
    "prompt_2": [{"prompt_2": "a fish"}],
    "negative_prompt_2": [{"negative_prompt_2": "a fish"}],
    "prompt_3": [{"prompt_3": "a fish"}],
    "denoising_end": [{"denoising_end": 0.5}],
    "original_size": [{"original_size": (64, 48)}],
    "crops_coords_top_left": [{"crops_coords_top_left": (8, 4)}],
    "target_size": [{"target_size": (64, 48)}],
    "mu": [{"mu": 0.3}],
    "true_cfg_scale": [{"true_cfg_scale": 3.0}],
    "max_sequence_length": [{"max_sequence_length": 16}],
    "complex_human_instruction": [{"complex_human_instruction": ["Describe the picture."]}],
}
"""Further arguments of a pipeline's call -> values."""


def drawings(name: str, folder: Path) -> list[Drawing]:
    """Return a drawing, and others that differ from it in one argument."""
    adds_noise = name not in ("stable_diffusion_3", "flux", "sana")
    fixed = {key: value for key, value in DRAW[name].items() if key not in ("height", "width")}
    plain = Drawing(
        steps=2,
        height=32,
        width=32,
        arguments=fixed,
        scheduler=EULER if adds_noise else {},
        guidance_scale=3.0,
    )
    changed = [replace(plain, **each) for each in KEYS if adds_noise or "scheduler" not in each]
    known = named_parameters(pipeline_class(folder).__call__)
    if name == "stable_diffusion":
        known.discard("clip_skip")  # fails in diffusers 0.42 with transformers 5
    for argument in sorted(ARGUMENTS.keys() & known):
        for value in ARGUMENTS[argument]:
            has_eta = {"scheduler": DDIM} if "eta" in value and adds_noise else {}
            changed.append(replace(plain, arguments={**fixed, **value}, **has_eta))
    return [plain, *changed]


def drawn_in_any_order(folder: Path, hows: list[Drawing]) -> list[list[str]]:
    """Return hashes of the pictures of each drawing, which are the same alone and in both orders."""
    path = next(folder / each for each in ("unet", "transformer") if (folder / each).is_dir())

    def drawn(hows: list[Drawing]) -> list[list[str]]:
        live = MODEL_KINDS.get("text-to-image").load(path, LoadOptions(batch_size=2))
        return [[each.sha256 for each in live.draw(PROMPTS, how)] for how in hows]

    alone = [drawn([how])[0] for how in hows]
    assert drawn(hows) == alone
    assert drawn(hows[::-1]) == alone[::-1]
    return alone


QUIET = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""diffusers' Euler schedulers warn with NumPy 2."""


@QUIET
def test_timesteps_draw_the_same_alone_and_after_others(tmp_path: Path) -> None:
    folder = WRITERS["stable_diffusion"](tmp_path / "pipeline", seed=1)
    hows = drawings("stable_diffusion", folder)
    hows = [how for how in hows if how is hows[0] or "timesteps" in how.arguments]
    pictures = drawn_in_any_order(folder, hows)
    assert len({each for own in pictures for each in own}) == len(hows) * len(PROMPTS) == 6


@QUIET
@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_each_argument_draws_the_same_alone_and_after_others(name: str, tmp_path: Path) -> None:
    folder = WRITERS[name](tmp_path / name, seed=1)
    pictures = drawn_in_any_order(folder, drawings(name, folder))
    assert len({own[0] for own in pictures}) > len(pictures) / 2  # some arguments matter to long prompts only
