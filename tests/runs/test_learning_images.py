"""Gradients by genes of merges into vision-language models: into the language part, and into all parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kingyo.core.types import Example, Genome
from kingyo.merging.checkpoints import open_checkpoint
from kingyo.merging.checkpoints.layout import Layout
from kingyo.merging.engine import Sources
from kingyo.merging.methods import METHODS
from kingyo.merging.recipe import Recipe
from kingyo.models.kinds import LoadOptions
from kingyo.models.vision_language import LiveVisionLanguageModel
from kingyo.runs.learning import WeightLearner
from kingyo.search.runners.evaluate import InPlaceMerger
from kingyo.search.space import ParameterSpace
from tests.models.classifiers import picture
from tests.models.vision_families import build, build_text

IMAGES = [picture((40 * n, 200, 9), size=20 + 4 * n) for n in range(3)]


@pytest.mark.parametrize("merges_vision", [False, True])
def test_gradients_by_genes_equal_finite_differences(tmp_path: Path, merges_vision: bool) -> None:
    see = build("llava", tmp_path / "see", seed=3)
    others = [
        build("llava", tmp_path / str(n), seed=n)
        if merges_vision
        else build_text("llava", tmp_path / str(n), seed=n)
        for n in range(2)
    ]
    models = [open_checkpoint(str(each)) for each in (see, *others)]
    frame, sources = models[0].reference, {str(n): each.reference for n, each in enumerate(models[1:])}
    layout = models[0].layout
    names = [name for name in layout.names if merges_vision or layout.part(name) == "language"]
    space = ParameterSpace(
        method=METHODS.get("linear"),
        method_name="linear",
        sources={"see": frame, **sources},
        base=None,
        layout=Layout(names, models[0].config),
        groups="block",
    )

    def decode(genome: Genome) -> Recipe:
        return space.decode(genome) if merges_vision else replace(space.decode(genome), frame=frame)

    live = LiveVisionLanguageModel.load(see, LoadOptions(dtype="float32"))
    opened = Sources({each.reference: each for each in models}, tmp_path)
    learns = WeightLearner(space, decode, InPlaceMerger(live, opened))
    prompts = [live.image_prompt("what is red?", IMAGES[n : n + 2], chat=True) for n in range(2)]
    examples = [
        Example(item="0", prompt=prompts[0].text, images=prompts[0].images, answer="a red mat"),
        Example(
            item="1", prompt=prompts[1].text, images=prompts[1].images, answer="red", others=("the cat",)
        ),
    ]
    genome = np.linspace(0.2, 0.8, len(space.axes))
    _, gradient = learns.loss(tuple(genome.tolist()), examples)
    places = [axis.place for axis in space.axes]
    assert np.count_nonzero(gradient) > len(space.axes) / 2, places
    for gene in np.argsort(-np.abs(gradient))[:4]:
        step = np.zeros_like(genome)
        step[gene] = 0.02
        ends = [learns.loss(tuple((genome + sign * step).tolist()), examples)[0] for sign in (1, -1)]
        assert gradient[gene] == pytest.approx((ends[0] - ends[1]) / 0.04, rel=2e-2)
    encoded = live.n_encoded
    learns.loss(tuple(genome.tolist()), examples)
    assert (live.n_encoded > encoded) == merges_vision
