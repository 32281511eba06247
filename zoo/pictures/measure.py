"""Measures the judge on real pictures, and the sources and their plain sums on the task items.

    python zoo/pictures/measure.py --work DIR

Searches are run by kingyo (`examples/pictures`).
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import judge as judging
import numpy as np
import recipes
import torch
from bench import Bench
from items import items
from merging import one_group
from pictures import HANDS, JUDGE_HANDS, render
from pools import to_values
from sampling import draw, embed, noise, paint
from scoring import mark
from stages import Stages
from things import SCENES

REAL, SPOILED = 768, 3000


def measure_judge(stages: Stages) -> None:
    """Print how many pictures the judge takes for what they are: real ones of each set, and spoiled ones."""
    judge, scenes = stages.judge(), [SCENES[i % len(SCENES)] for i in range(REAL)]
    for hand in (*HANDS, *JUDGE_HANDS):
        for style in judging.STYLES:
            rng = random.Random(f"{hand}, {style}")
            pixels = np.stack([render(scene, rng, (hand,), style == "print") for scene in scenes])
            print(f"| {hand}, {style} | {mark(judge, to_values(pixels), scenes, style)} |", flush=True)
    pixels, classes = judging.examples(SPOILED, 99, HANDS)
    with torch.inference_mode():
        found = judge(to_values(pixels[(classes == judging.NONE).numpy()])).argmax(1)
    print(
        f"| {HANDS[0]}, spoiled | {(found == judging.NONE).float().mean():.3f} none, n={len(found)} |",
        flush=True,
    )


def measure_english(stages: Stages) -> None:
    """Print how well the models draw English captions: alone, in steps with guidance or without."""
    rows = items("validation", "en")
    start, scenes = noise([row.seed for row in rows]), [row.scene for row in rows]
    for name, style in (("base", "plain"), ("fast", "plain"), ("ukiyoe", "print")):
        denoiser, encoder = stages.base()
        if name != "base":
            denoiser.load_state_dict(stages.source(name))
        states, empty = embed(encoder, [row.caption for row in rows]), embed(encoder, [""])
        for steps, guidance in ((16, 2.5), (4, 1.0)):
            drawn = paint(stages.autoencoder(), draw(denoiser, states, start, steps, empty, guidance))
            marks = mark(stages.judge(), to_values(drawn), scenes, style)
            print(f"| {name}, English, {steps} steps, guidance {guidance} | {marks} |", flush=True)


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


def measure_sums(stages: Stages, name: str) -> None:
    """Print how well merges that need no search draw the validation items of a domain."""
    domain = recipes.DOMAINS[name]
    denoiser, encoder = stages.base()
    sources = [stages.source(each) for each in domain.sources]
    parts = (stages.autoencoder(), encoder, denoiser, stages.judge())
    bench = Bench(parts, domain.style, domain.steps, sources)
    merger = bench.merger(one_group)
    for label, row in sums(domain.sources).items():
        print(
            f"| {name}: {label} | {bench.marks(merger, torch.tensor(row).view(-1, 1), 'validation')} |",
            flush=True,
        )


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder of the build")
    stages = Stages(parser.parse_args().work)
    torch.set_num_threads(1)
    measure_judge(stages)
    measure_english(stages)
    for name in recipes.DOMAINS:
        measure_sums(stages, name)


if __name__ == "__main__":
    main()
