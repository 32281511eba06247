"""Measure the judge on real pictures, and the sources and their plain sums on the validation items.

    python zoo/pictures/measure.py --work DIR

Searches are run by kingyo (`examples/pictures`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import recipes
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from distilling import GUIDANCE, STEPS, SUBSTEPS
from items import Item, items
from judge import NONE
from judging_data import examples
from pictures import JUDGE_SETS, SETS, render
from pools import to_values
from sampling import draw, embed, noise, paint
from scoring import Marks, mark
from stages import Stages
from things import SCENES, STYLES

REAL, SPOILED = 768, 3000
State = Mapping[str, torch.Tensor]


def measure_judge(stages: Stages) -> None:
    """Print how many pictures the judge classifies correctly: real ones of each set, and spoiled ones."""
    judge, scenes = stages.judge(), [SCENES[i % len(SCENES)] for i in range(REAL)]
    for drawing_set in (*SETS, *JUDGE_SETS):
        for style in STYLES:
            rng = random.Random(f"{drawing_set}, {style}")
            pixels = np.stack([render(scene, rng, (drawing_set,), style == "print") for scene in scenes])
            show(f"{drawing_set}, {style}", mark(judge, to_values(pixels), scenes, style))
    pixels, classes = examples(SPOILED, 99, SETS)
    with torch.inference_mode():
        is_none = judge(to_values(pixels[(classes == NONE).numpy()])).argmax(1) == NONE
    show(f"{SETS[0]}, spoiled", f"{is_none.float().mean():.3f} none, n={len(is_none)}")


def show(name: str, result: Marks | str) -> None:
    """Print a row of a table."""
    print(f"| {name} | {result} |", flush=True)


class Exam:
    """Items that models draw and the judge marks."""

    def __init__(self, stages: Stages, rows: Sequence[Item]) -> None:
        self.autoencoder, self.judge = stages.autoencoder(), stages.judge()
        encoder = stages.base()[1]
        self.states, self.empty = embed(encoder, [row.caption for row in rows]), embed(encoder, [""])
        self.noise, self.scenes = noise([row.seed for row in rows]), [row.scene for row in rows]

    def marks(
        self, denoiser: UNet2DConditionModel, style: str, steps: int = STEPS, guidance: float = 1.0
    ) -> Marks:
        """Return the marks of the pictures that a denoiser draws."""
        latents = draw(denoiser, self.states, self.noise, steps, self.empty, guidance)
        return mark(self.judge, to_values(paint(self.autoencoder, latents)), self.scenes, style)


def measure_english(stages: Stages) -> None:
    """Print how well models draw English captions: in many steps with guidance, and in few without."""
    exam = Exam(stages, items("validation", "en"))
    for name, style in (("base", "plain"), ("fast", "plain"), ("ukiyoe", "print")):
        denoiser = stages.denoiser(name)
        for steps, guidance in ((STEPS * SUBSTEPS, GUIDANCE), (STEPS, 1.0)):
            marks = exam.marks(denoiser, style, steps, guidance)
            show(f"{name}, English, {steps} steps, guidance {guidance}", marks)


def sums(names: Sequence[str]) -> dict[str, list[float]]:
    """Return weights by source that need no search."""
    useful = [float(name not in recipes.USELESS) for name in names]
    alone = {name: [float(name == other) for other in names] for name in names}
    parts = {
        f"all useful but {name}": [u * (name != other) for u, other in zip(useful, names, strict=True)]
        for name in names
        if name not in recipes.USELESS
    }
    scaled = {f"all useful at {at:g}": [at * u for u in useful] for at in (0.7, 1.0, 1.2)}
    spoiled = {
        f"all useful at 1, {name} at .5": [
            u + 0.5 * (name == other) for u, other in zip(useful, names, strict=True)
        ]
        for name in recipes.USELESS
    }
    return {"uniform": [1 / len(names)] * len(names)} | alone | scaled | parts | spoiled


def summed(base: State, sources: Sequence[State], weights: Sequence[float]) -> State:
    """Return base + weight x (source - base) of all sources."""
    merged = {name: tensor.clone() for name, tensor in base.items()}
    for source, weight in zip(sources, weights, strict=True):
        if weight:
            for name, tensor in merged.items():
                tensor.add_(source[name] - base[name], alpha=weight)
    return merged


def measure_sums(stages: Stages, name: str) -> None:
    """Print how well merges that need no search draw the validation items of a task."""
    task, exam = recipes.TASKS[name], Exam(stages, items("validation"))
    base, *sources = (stages.denoiser(each).state_dict() for each in ("base", *task.sources))
    denoiser = stages.base()[0]
    for label, weights in sums(task.sources).items():
        denoiser.load_state_dict(summed(base, sources, weights))
        show(f"{name}: {label}", exam.marks(denoiser, task.style))


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder of the build")
    stages = Stages(parser.parse_args().work)
    torch.set_num_threads(1)
    measure_judge(stages)
    measure_english(stages)
    for name in recipes.TASKS:
        measure_sums(stages, name)


if __name__ == "__main__":
    main()
