"""Pictures depend on their own task only, whatever other tasks the same live pipeline draws before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from kingyo.core.types import Drawing, DrawingPrompt
from kingyo.models.kinds import MODEL_KINDS, LoadOptions

pytest.importorskip("diffusers")
from tests.tiny_pipelines import DRAW, EACH_PIPELINE, WRITERS

PROMPTS = [DrawingPrompt("a cat", 0), DrawingPrompt("a cat", 1)]
EULER = {"class": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
CHANGES: list[dict[str, object]] = [
    {"steps": 3},
    {"guidance_scale": 1.5},
    {"negative_prompt": "a bird", "guidance_scale": 4.0},
    {"height": 64, "width": 32},
]
OF_NOISE: list[dict[str, object]] = [
    {"scheduler": {**EULER, "timestep_spacing": "leading"}},
    {"scheduler": {"class": "DDIMScheduler"}, "arguments": {"eta": 0.5}},
    {"arguments": {"timesteps": [900, 300]}},
    {"arguments": {"timesteps": [500, 100]}},
]
"""Changes for pipelines that add noise as DDPM does."""


def drawings(name: str) -> list[Drawing]:
    """Return a drawing, and others that differ from it."""
    adds_noise = name not in ("stable_diffusion_3", "flux", "sana")
    fixed = {key: value for key, value in DRAW[name].items() if key not in ("height", "width")}
    scheduler = EULER if adds_noise else {}
    plain = Drawing(steps=2, height=32, width=32, arguments=fixed, scheduler=scheduler, guidance_scale=3.0)
    changes = [*CHANGES, *(OF_NOISE if adds_noise and name != "pixart" else [])]
    return [plain, *(replace(plain, **each) for each in changes)]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Euler's, with NumPy 2
@pytest.mark.parametrize("name", EACH_PIPELINE)
def test_pictures_are_the_same_alone_and_after_others(name: str, tmp_path: Path) -> None:
    folder, hows = WRITERS[name](tmp_path / "pipeline", seed=1), drawings(name)
    path = next(folder / each for each in ("unet", "transformer") if (folder / each).is_dir())

    def drawn(hows: list[Drawing]) -> list[list[str]]:
        live = MODEL_KINDS.get("text-to-image").load(path, LoadOptions(batch_size=2))
        return [[each.sha256 for each in live.draw(PROMPTS, how)] for how in hows]

    alone = [drawn([how])[0] for how in hows]
    assert drawn(hows) == alone
    assert drawn(hows[::-1]) == alone[::-1]
    assert len({own[0] for own in alone}) > len(alone) / 2
