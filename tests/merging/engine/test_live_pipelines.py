"""A merge of denoisers is the same live and on disk, for every family of pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from kingyo.core.types import Drawing, DrawingPrompt
from kingyo.merging.checkpoints.locate import whole_pipeline
from kingyo.merging.engine import into, open_sources, plan, to_folder
from kingyo.merging.recipe import Recipe, Source
from kingyo.models.kinds import MODEL_KINDS, LoadOptions

pytest.importorskip("diffusers")
from tests.tiny_pipelines import DRAW, EACH_PIPELINE, WRITERS

KIND = MODEL_KINDS.get("text-to-image")
PROMPTS = [DrawingPrompt("a cat", 3), DrawingPrompt("a dog on a mat", 4)]


@pytest.mark.parametrize("name", EACH_PIPELINE)
def test_a_merged_folder_draws_what_the_live_candidate_drew(name: str, tmp_path: Path) -> None:
    part = "unet" if name.startswith("stable_diffusion") and name != "stable_diffusion_3" else "transformer"
    for seed, model in enumerate("abc"):
        WRITERS[name](tmp_path / model, seed)
    recipe = Recipe(
        merge_method="task_arithmetic",
        base_model=f"a/{part}",
        sources=tuple(Source(model=f"{m}/{part}", parameters={"weight": 0.4}) for m in "bc"),
    )
    planned = plan(recipe, open_sources(recipe, tmp_path))
    live = KIND.load(tmp_path / "a" / part, LoadOptions(batch_size=2))
    arguments = {key: value for key, value in DRAW[name].items() if key not in ("height", "width")}
    drawing = Drawing(steps=2, height=32, width=32, arguments=arguments)
    before = live.draw(PROMPTS, drawing)
    into(planned, live.weights)
    drawn = live.draw(PROMPTS, drawing)
    to_folder(planned, tmp_path / "out", around=whole_pipeline(planned.like, tmp_path))
    loaded = KIND.load(tmp_path / "out" / part, LoadOptions(batch_size=2))
    for tensor, other in zip(live.weights.values(), loaded.weights.values(), strict=True):
        assert torch.equal(tensor, other)
    assert loaded.draw(PROMPTS, drawing) == drawn != before
