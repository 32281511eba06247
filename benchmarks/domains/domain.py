"""A domain as the data of a run.yaml, and the same with its models opened.

A genome gets the answers that a run would get: the code that makes a run's models, space (with its
rounding), prompts, tasks and graders makes these too. Two things differ. All items of the pool are answered
in one call, where a run asks for a split or a part of it: other neighbours in a batch mean other padding,
which changes a logit in its last bits, and so an answer where two tokens are about equally likely. On
`ja-two` none of 1600 answers differed when 40 merges were asked for 40 random items each. And scores are
rounded to hundredths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from domains.table import TableAxis
from kingyo.core.types import Evaluation, Genome
from kingyo.models.kinds import LoadOptions
from kingyo.models.language_model import LiveModel
from kingyo.runs.config import parse_config
from kingyo.runs.run import Run
from kingyo.search.runners.evaluate import Evaluator, InPlaceMerger
from kingyo.tasks.graders import build_graders

LOW, HIGH = 0.0, 1.5


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What is recorded.

    Attributes:
        name: of its tables, with the grader's name behind it.
        family: domains of one family are alike.
        sources: name -> model.
        tasks: name -> task, as run.yaml says it but for ``splits``.
        pool: number of items of each task.
        graders: name -> what judges the answers. None is what the tasks say.
        folder: where relative paths start; it holds the base.
        models: what else run.yaml says, such as ``batch_size``.
    """

    name: str
    family: str
    sources: Mapping[str, str]
    tasks: Mapping[str, Mapping[str, object]]
    pool: int
    folder: Path
    graders: Mapping[str, object] = field(default_factory=lambda: {"exact": None})
    models: Mapping[str, object] = field(default_factory=dict[str, object])

    def run_data(self, splits: Mapping[str, object]) -> dict[str, object]:
        """Return the run.yaml with these splits of every task."""
        return {
            "name": self.name,
            "base": "base",
            "sources": dict(self.sources),
            "tasks": {name: {**task, "splits": splits} for name, task in self.tasks.items()},
            "merge": {
                "method": "task_arithmetic",
                "groups": "one",
                "parameters": {"weight": {"from": LOW, "to": HIGH}},
                "dtype": "float32",
            },
            "controls": {"random": False, "grid": False},
            "budget": {"candidates": 1},
            **self.models,
        }


class OpenedDomain:
    """A domain that answers.

    Args:
        domain: what is opened.
    """

    def __init__(self, domain: Domain) -> None:
        torch.set_num_threads(1)
        self.domain = domain
        # Each split needs an item: the pool is what a search would call fit.
        data = domain.run_data({"fit": domain.pool, "validation": 1, "test": 1, "seed": 0})
        config = parse_config(data, domain.name)
        self._run = Run.open(config, domain.folder)
        main = self._run.searches[0]
        self._space, self.items = main.space, self._run.items["fit"]
        base = tuple(0.0 for _ in main.space.axes)
        self.known: dict[str, Genome] = {"base": base, **main.known}
        self.axes = tuple(TableAxis(name=axis.name, low=axis.low, high=axis.high) for axis in main.space.axes)
        self._evaluator: Evaluator | None = None

    def evaluate(self, genome: Genome) -> Evaluation:
        """Merge and answer all items of the pool; the first call loads the model."""
        if self._evaluator is None:
            path, size = self._run.models.skeleton.path, self._run.config.batch_size
            live = LiveModel.load(path, LoadOptions(dtype="float32", device="cpu", batch_size=size))
            self._evaluator = Evaluator(InPlaceMerger(live, self._run.open_sources()), self._run.task)
        return self._evaluator(self._space.decode(genome), "fit")

    def regrade(self, grader: object, answers: Sequence[str]) -> list[float]:
        """Return the scores of answers to all items by another grader."""
        spec = next(iter(self._run.config.specs.values())).model_copy(update={"grader": grader})
        verdict = build_graders(spec.graders, self.domain.folder)
        return verdict.grade(answers, self.items)
