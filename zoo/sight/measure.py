"""Measures a story on the shipped tasks: parents, plain merges, and searches of equal cost.

    python zoo/sight/measure.py --work DIR [--story several] [--seeds 3]

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
import recipes
import scoring
import searching
import stages
import task_files
import torch
import vision
from merging import Merger
from PIL import Image
from questions import Language
from transformers import LlamaForCausalLM


@dataclass(frozen=True)
class Story:
    """A task and the sources of its merges; the first source is the frame."""

    task: str
    names: tuple[str, ...]


STORIES = {
    "one": Story("questions", ("see-en", "ja", "poem", "sort")),
    "several": Story("comparisons", ("multi", "see-en", "ja", "poem", "sort")),
}


@dataclass(frozen=True)
class Split:
    """Items of a task file, as documents, with the features of the split's pictures."""

    documents: list[tuple[str, d.Document]]
    features: torch.Tensor

    def exam(self, items: Sequence[int] | None = None) -> scoring.Exam:
        chosen = range(len(self.documents)) if items is None else items
        return scoring.exam([self.documents[i] for i in chosen])


def split(work: Path, task: str, name: str, language: Language = "ja") -> Split:
    items = task_files.TASKS[task]()[name]
    images = [task_files.picture(name, i) for i in range(task_files.SPLITS[name])]
    rows = [(item.kind.name, d.pictured(item, language)) for item in items]
    return Split(rows, vision.features(stages.tower(work), vision.pixels(images)))


def source(work: Path, name: str) -> LlamaForCausalLM:
    sees = name in recipes.SEEING_SOURCES
    return build.seeing_source(work, name) if sees else build.text_source(work, name)


class Bench:
    """Everything that a candidate needs in order to be marked."""

    def __init__(self, work: Path, story: Story) -> None:
        base = build.base(work)
        self.names, self.projector = story.names, build.projector(work)
        self.shape = (len(story.names), base.config.num_hidden_layers)
        self.splits = {name: split(work, story.task, name) for name in task_files.SPLITS}
        self.exams = {name: part.exam() for name, part in self.splits.items()}
        states = [source(work, name).state_dict() for name in story.names]
        self.merger = Merger(base, build.base(work).state_dict(), states)

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

    def by_source(self, row: Sequence[float]) -> torch.Tensor:
        return torch.tensor(row, dtype=torch.float32).view(-1, 1).expand(self.shape)


def show(name: str, marks: scoring.Marks) -> None:
    parts = ", ".join(f"{label} {share:.2f}" for label, share in sorted(marks.by_label().items()))
    print(f"| {name} | {marks.right:.3f} | {parts} | {len(marks.labels)} |", flush=True)


def fixed(bench: Bench) -> None:
    """Parents in the frame, and merges that need no search."""
    names = bench.names
    useful = [float(name in ("see-en", "multi", "ja")) for name in names]
    plain = {
        "base": [0.0] * len(names),
        "uniform": [1 / len(names)] * len(names),
        "sum of all": [1.0] * len(names),
        "sum of the useful": useful,
    }
    for i, name in enumerate(names):
        plain[name] = [float(i == j) for j in range(len(names))]
        if useful[i] and sum(useful) > 2:
            plain[f"sum of the useful but {name}"] = [x * (i != j) for j, x in enumerate(useful)]
    for name, row in plain.items():
        show(name, bench.mark(bench.by_source(row), "test"))


def english(work: Path, story: Story, name: str) -> None:
    """A model that sees, on the same test in English."""
    part = split(work, story.task, "test", "en")
    marks = scoring.score(source(work, name), part.exam(), build.projector(work), part.features)
    show(f"{name}, the same test in English", marks)


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
    parser.add_argument("--story", choices=STORIES, default="one")
    parser.add_argument("--seeds", type=int, default=1, help="how many times to search")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    story = STORIES[arguments.story]
    bench, budget = Bench(arguments.work, story), searching.Budget()
    fixed(bench)
    for name in recipes.SEEING_SOURCES:
        english(arguments.work, story, name)
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
