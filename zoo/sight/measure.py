"""Measures the story on the shipped tasks: parents, plain merges, and searches of equal cost.

    python zoo/sight/measure.py --work DIR [--seeds 3]

Features of the pictures are computed once. `--work` is the folder of the build.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import build
import documents as d
import numpy as np
import scoring
import searching
import shipping
import stages
import torch
import vision
from merging import Merger
from PIL import Image
from questions import Language
from scenes import CELLS
from torch import nn

NAMES = ("see-en", "ja", "poem", "sort")


@dataclass(frozen=True)
class Split:
    """Items of a task file, as documents, with their features."""

    documents: list[tuple[str, d.Document]]
    features: torch.Tensor

    def exam(self, items: Sequence[int] | None = None) -> scoring.Exam:
        chosen = range(len(self.documents)) if items is None else items
        return scoring.exam([self.documents[i] for i in chosen])


def split(work: Path, name: str, language: Language = "ja") -> Split:
    items = shipping.task_items()[name]
    images = [shipping.picture(name, i, item) for i, item in enumerate(items)]
    rows = []
    for i, item in enumerate(items):
        start = (d.prompt("<image>" * CELLS, item.question(language)), d.PROMPT)
        rows.append((item.kind.name, d.Document([start, *d.answered(item.answer(language), language)], i)))
    return Split(rows, vision.features(stages.tower(work), vision.pixels(images)))


class Bench:
    """Everything that a candidate needs in order to be marked."""

    def __init__(self, work: Path) -> None:
        base = build.base(work).state_dict()
        see, projector = build.see_en(work)
        sources = [see, *[build.text_source(work, name) for name in NAMES[1:]]]
        self.projector: nn.Module = projector
        self.shape = (len(NAMES), see.config.num_hidden_layers)
        self.splits = {name: split(work, name) for name in shipping.SPLITS}
        self.exams = {name: part.exam() for name, part in self.splits.items()}
        self.merger = Merger(build.base(work), base, [source.state_dict() for source in sources])

    def mark(self, weights: torch.Tensor, name: str, features: torch.Tensor | None = None) -> scoring.Marks:
        model = self.merger.write(weights)
        shown = self.splits[name].features if features is None else features
        return scoring.score(model, self.exams[name], self.projector, shown)

    def fitness(self, weights: torch.Tensor, items: Sequence[int]) -> float:
        exam = self.splits["fit"].exam(items)
        model = self.merger.write(weights)
        return scoring.score(model, exam, self.projector, self.splits["fit"].features).shaped

    def choosing(self, weights: torch.Tensor) -> float:
        return self.mark(weights, "validation").right

    def by_source(self, *row: float) -> torch.Tensor:
        return torch.tensor(row).view(-1, 1).expand(self.shape)


def show(name: str, marks: scoring.Marks) -> None:
    parts = ", ".join(f"{label} {share:.2f}" for label, share in sorted(marks.by_label().items()))
    print(f"| {name} | {marks.right:.3f} | {parts} | {len(marks.labels)} |", flush=True)


def fixed(bench: Bench) -> None:
    """Parents in the frame, and merges that need no search."""
    plain = {
        "base": (0, 0, 0, 0),
        "uniform": (0.25,) * 4,
        "sum of all": (1, 1, 1, 1),
        "see-en + ja": (1, 1, 0, 0),
    }
    for i, name in enumerate(NAMES):
        plain[name] = tuple(float(i == j) for j in range(len(NAMES)))
    for name, row in plain.items():
        show(name, bench.mark(bench.by_source(*map(float, row)), "test"))


def blind(bench: Bench, weights: torch.Tensor, work: Path) -> None:
    """The same model with the pictures of other items, and with a grey picture."""
    features = bench.splits["test"].features
    order = np.random.default_rng(9).permutation(len(features))
    show("bred, pictures shuffled", bench.mark(weights, "test", features[torch.from_numpy(order)]))
    grey = vision.pixels([Image.new("RGB", (48, 48), (128, 128, 128))])
    shown = vision.features(stages.tower(work), grey).expand_as(features)
    show("bred, a grey picture", bench.mark(weights, "test", shown))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--work", type=Path, required=True, help="folder of the build")
    parser.add_argument("--seeds", type=int, default=1, help="how many times to search")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bench, budget = Bench(arguments.work), searching.Budget()
    fixed(bench)
    for seed in range(arguments.seeds):
        for name, search in (("bred", searching.evolve), ("random", searching.sample)):
            started = time.process_time()
            found = search(bench.shape, bench.fitness, bench.choosing, budget, seed)
            took = time.process_time() - started
            show(f"{name}, seed {seed}, {took:.0f} s", bench.mark(found.weights, "test"))
            if name == "bred":
                print(np.round(found.weights.numpy(), 2).tolist())
                blind(bench, found.weights, arguments.work)
    found = searching.grid(bench.shape, bench.fitness, bench.choosing, budget)
    show(f"grid, {found.candidates} points", bench.mark(found.weights, "test"))


if __name__ == "__main__":
    main()
