"""The domains of `learning.py`: real models, tasks with 64 fit items, and a budget."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from domains.smollm2 import FACTS, PARTIAL
from domains.text_zoo import EN_MATH, EVERY, JA_MATH, JAPANESE, SUMS, ZOO

Config = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain to breed for.

    Attributes:
        sources: names of models in the folder ``models``, or of the user's with ``needs_models``.
        task: the task, with paths relative to that folder.
        splits: sizes of the splits.
        models: the folder of the models.
        needs_models: whether the user has the folder.
        more: other keys of run.yaml.
    """

    sources: tuple[str, ...]
    task: Mapping[str, object]
    splits: Mapping[str, int]
    models: Path = ZOO
    needs_models: bool = False
    more: Mapping[str, object] = field(default_factory=dict[str, object])

    def config(self, seed: int, models: Path | None) -> Config:
        """Return the run.yaml of a seed, which also splits the items."""
        if self.needs_models and models is None:
            raise SystemExit("--models: name the folder that benchmarks/domains/specialists.py wrote")
        folder = (models if self.needs_models and models is not None else self.models).resolve()
        task = copy.deepcopy(dict(self.task))
        task["data"] = str(folder / str(task["data"]))
        task["splits"] = {**self.splits, "seed": seed}
        return {
            "seed": seed,
            "base": str(folder / "base"),
            "sources": {name: str(folder / name) for name in self.sources},
            "task": {"name": "task", **task},
            "budget": {"candidates": 60},
            "threads": 1,
            "batch_size": 64,
            **self.more,
        }


@dataclass(frozen=True, kw_only=True)
class Example:
    """An example of the repository with 64 fit items; its splits, groups and budget stay."""

    file: Path
    candidates: int

    def config(self, seed: int, _: Path | None) -> Config:
        """Return the example's run.yaml with another seed."""
        config: Config = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        folder = self.file.parent
        config["base"] = str((folder / config["base"]).resolve())
        config["sources"] = {name: str((folder / path).resolve()) for name, path in config["sources"].items()}
        config["task"]["data"] = str((folder / config["task"]["data"]).resolve())
        return {**config, "seed": seed, "budget": {"candidates": self.candidates}, "controls": {}}


TEXT = {"fit": 64, "validation": 150, "test": 500}
FEW = {"fit": 40, "validation": 60, "test": 100}
DOMAINS: Mapping[str, Domain | Example] = {
    "ja-five": Domain(sources=EVERY, task=JA_MATH, splits=TEXT),
    "ja-partial": Domain(sources=EVERY, task={**JA_MATH, "grader": JAPANESE["partial"]}, splits=TEXT),
    "en-three": Domain(sources=("math-en", "math-sym", "poem"), task=EN_MATH, splits=FEW),
    "sums-four": Domain(sources=("math-en", "math-sym", "poem", "sort"), task=SUMS, splits=FEW),
    "sight": Example(file=EXAMPLES / "sight" / "run.yaml", candidates=60),
    "smol-format": Domain(
        sources=("goods", "house", "staff"),
        task={**FACTS, "grader": PARTIAL},
        splits={"fit": 48, "validation": 40, "test": 56},
        needs_models=True,
    ),
}
