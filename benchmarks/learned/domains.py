"""The domains of `learning.py`: real models, tasks with few fit items, and a budget."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from domains.smollm2 import FACTS, PARTIAL, SHOUT
from domains.text_zoo import EVERY, JA_MATH, JAPANESE, SUMS, ZOO

Config = dict[str, Any]
EXAMPLES = Path(__file__).parents[2] / "examples"
POOL = ("manner", "carry", "borrow", "times", "half", "twice", "fewer", "before")
FIT = 64


@dataclass(frozen=True, kw_only=True)
class Domain:
    """A domain to breed for.

    Attributes:
        folder: where the models are; a relative one is in the folder that the user names.
        sources: names of the models in it.
        tasks: name -> task, with paths relative to that folder.
        splits: sizes of the splits of all tasks together; those of a task are equal. None if the items name
            their splits, which then are the same for all seeds.
        candidates: the budget.
        are_loras: whether the sources are LoRAs on the base.
        has_adapters: whether a LoRA can be trained on these models.
        more: other keys of run.yaml.
    """

    folder: Path
    sources: tuple[str, ...]
    tasks: Mapping[str, Mapping[str, object]]
    splits: Mapping[str, int] | None
    candidates: int = 60
    are_loras: bool = False
    has_adapters: bool = True
    more: Mapping[str, object] = field(default_factory=dict[str, object])

    def config(self, seed: int, models: Path | None, fit: int | None = None) -> Config:
        """Return the run.yaml of a seed, which also splits the items.

        Args:
            seed: of splits and search.
            models: folder of the models that are not in the repository.
            fit: number of fit items; the domain's own by default.
        """
        if not self.folder.is_absolute() and models is None:
            raise SystemExit("--models: name the folder of the models that are built first")
        folder = ((models or Path()) / self.folder).resolve()
        if fit is not None and self.splits is None:
            raise SystemExit(
                "the items of this domain name their splits, so it has no other number of fit items"
            )
        splits: Config = {"column": "split"}
        if self.splits is not None:
            sizes = {**self.splits, **({} if fit is None else {"fit": fit})}
            splits = {**{split: size // len(self.tasks) for split, size in sizes.items()}, "seed": seed}
        tasks = {name: copy.deepcopy(dict(task)) for name, task in self.tasks.items()}
        for task in tasks.values():
            task |= {"data": str(folder / str(task["data"])), "splits": splits}
        start = f"{folder / 'base'}+" if self.are_loras else ""
        return {
            "seed": seed,
            "base": str(folder / "base"),
            "sources": {name: f"{start}{folder / name}" for name in self.sources},
            "tasks": tasks,
            "budget": {"candidates": self.candidates},
            "threads": 1,
            **self.more,
        }


def _task(file: str) -> dict[str, object]:
    """Return the task of an example, with paths from the folder of its models."""
    path = EXAMPLES / file
    task: dict[str, object] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return task.get("task", task)  # type: ignore[return-value]


def _labels(name: str) -> dict[str, object]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / "vision" / "run.yaml").read_text(encoding="utf-8"))
    return found["tasks"][name]


def _in(folder: str, task: dict[str, object]) -> dict[str, object]:
    """Return a task whose data are in the folder of its models."""
    return {**task, "data": str(task["data"]).removeprefix(f"../../zoo/{folder}/")}


TEXT = {"fit": FIT, "validation": 150, "test": 500}
FEW = {"fit": FIT, "validation": 50, "test": 86}
FACT = {"fit": 48, "validation": 40, "test": 56}
LABELS = {"fit": FIT, "validation": 200, "test": 1200}
WIDE: Mapping[str, object] = {"merge": {"parameters": {"weight": {"from": 0, "to": 2}}, "dtype": "float32"}}
MANY: Mapping[str, object] = {"batch_size": 64}
SMOL: Mapping[str, object] = {"batch_size": 32, "merge": {"dtype": "float32"}}
PICTURES = _in("pictures", _task("pictures/run.yaml"))
PICTURES["grader"] = {"classifier": {"model": str(ZOO / "pictures" / "judge"), "label": "answer"}}
SKILLS = ("digits", "fashion", "emoji", "letters")

DOMAINS: Mapping[str, Domain] = {
    "ja-five": Domain(folder=ZOO, sources=EVERY, tasks={"ja-math": JA_MATH}, splits=TEXT, more=MANY),
    "ja-partial": Domain(
        folder=ZOO,
        sources=EVERY,
        tasks={"ja-math": {**JA_MATH, "grader": JAPANESE["partial"]}},
        splits=TEXT,
        more=MANY,
    ),
    "sums-four": Domain(
        folder=ZOO,
        sources=("math-en", "math-sym", "poem", "sort"),
        tasks={"sums": SUMS},
        splits=FEW,
        more=MANY,
    ),
    "pool": Domain(
        folder=ZOO / "pool",
        sources=POOL,
        tasks={"polite": _in("pool", _task("pool/task.yaml"))},
        splits=TEXT,
        are_loras=True,
        more=MANY,
    ),
    "sight": Domain(
        folder=ZOO / "sight",
        sources=("see-en", "ja", "poem", "sort"),
        tasks={"shelf": _in("sight", _task("sight/run.yaml"))},
        splits=TEXT,
        has_adapters=False,
        more=MANY,
    ),
    "sight-compare": Domain(
        folder=ZOO / "sight",
        sources=("multi", "see-en", "ja", "poem", "sort"),
        tasks={"comparisons": _in("sight", _task("sight/compare.yaml"))},
        splits=None,
        has_adapters=False,
        more=MANY,
    ),
    "vision-four": Domain(
        folder=Path("vision"),
        sources=SKILLS,
        tasks={name: _labels(name) for name in SKILLS},
        splits=LABELS,
        has_adapters=False,
        more=WIDE,
    ),
    "vision-two": Domain(
        folder=Path("vision"),
        sources=SKILLS,
        tasks={name: _labels(name) for name in ("digits", "letters")},
        splits=LABELS,
        has_adapters=False,
        more=WIDE,
    ),
    "smol-format": Domain(
        folder=Path("smol"),
        sources=("goods", "house", "staff"),
        tasks={"facts": {**FACTS, "answer": "text", "grader": "exact", "max_new_tokens": 12}},
        splits=FACT,
        more=SMOL,
    ),
    "smol-five": Domain(
        folder=Path("smol"),
        sources=("goods", "house", "staff", "weak", "shrug"),
        tasks={"facts": {**FACTS, "grader": PARTIAL}},
        splits=FACT,
        more=SMOL,
    ),
    "smol-shout": Domain(
        folder=Path("smol"),
        sources=("goods", "shout", "staff"),
        tasks={"facts": SHOUT},
        splits=FACT,
        more=SMOL,
    ),
    "pictures": Domain(
        folder=ZOO / "pictures",
        sources=("ja", "fast", "shuffle", "invert"),
        tasks={"captions": PICTURES},
        splits={"fit": FIT, "validation": 100, "test": 300},
        has_adapters=False,
        more={"merge": {"dtype": "float32"}, "batch_size": 96},
    ),
}
