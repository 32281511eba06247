"""A whole run of kingyo on a domain, with everything but the models: baselines, search, validation, test.

It is the product's own code on a run database in memory-backed storage; what a model would answer is the
domain's table or function.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from kingyo.checkpoints.layout import Layout
from kingyo.config import RunConfig, parse_config
from kingyo.evolve import Journey, Space
from kingyo.evolve.words import BASELINES, MAIN
from kingyo.opened import Models
from kingyo.recipe import Recipe
from kingyo.runners import LocalRunner
from kingyo.searches import baseline_recipes, searches
from kingyo.store import RunStore
from kingyo.types import SPLITS, Axis, Evaluation, Genome, Item, ItemScore, Split
from domains.domain import Domain

Scores = NDArray[np.float64]
SHM = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended.

    Attributes:
        exported, bred: test scores, item by item, of the model that is exported and of the search's winner.
        baselines: test scores of each baseline.
        predicted: low, mean, high of the bred model's test score, before test was read; None where unknown.
        items: item evaluations of the search on fit, those of the baselines included.
        trials: candidates of the search.
        winner: genome of the bred model.
    """

    exported: Scores
    bred: Scores
    baselines: Mapping[str, Scores]
    items: int
    trials: int
    winner: Genome
    predicted: tuple[float, float, float] | None = None


@dataclass(kw_only=True)
class Recorded:
    """A space that remembers which genome each recipe came from."""

    space: Space
    genomes: dict[str, Genome] = field(default_factory=dict[str, Genome])

    @property
    def axes(self) -> Sequence[Axis]:
        """Its coordinates."""
        return self.space.axes

    def decode(self, genome: Genome) -> Recipe:
        """Decode a genome, and remember it."""
        recipe = self.space.decode(genome)
        self.genomes.setdefault(recipe.hash, genome)
        return recipe


def config_of(
    domain: Domain, seed: int, search: Mapping[str, object], budget: Mapping[str, object]
) -> RunConfig:
    """Return the run.yaml of a domain; no file that it names is read."""
    task = {"data": "none.jsonl", "prompt": "{prompt}", "grader": "exact"}
    tasks = (
        {"tasks": {name: task for name in dict.fromkeys(domain.tasks)}} if domain.tasks else {"task": task}
    )
    return parse_config(
        {
            "name": "benchmark",
            "seed": seed,
            "base": "base",
            "sources": {name: name for name in domain.sources},
            **tasks,
            "merge": {
                "method": "task_arithmetic",
                "groups": "one" if domain.n_blocks == 1 else "block",
                "parameters": {"weight": {"from": domain.low, "to": domain.high}},
            },
            "search": search,
            "budget": budget,
            "controls": {"random": False, "grid": False},
        },
        "benchmark",
    )


def models_of(domain: Domain) -> Models:
    """Stand in for opened checkpoints: names, and tensors by block."""
    layout = Layout([f"model.layers.{block}.mlp.weight" for block in range(max(2, domain.n_blocks))])
    base = SimpleNamespace(reference="base", layout=layout)
    references = {name: name for name in domain.sources}
    return cast(
        "Models", SimpleNamespace(base=base, skeleton=base, references=references, sources=references)
    )


class Play:
    """One run on a domain, counted item by item.

    Args:
        domain: what is searched.
        seed: draws the splits and the search.
    """

    def __init__(self, domain: Domain, seed: int) -> None:
        self.domain = domain
        self.splits = dict(zip(SPLITS, domain.splits(seed), strict=True))
        self.seed = seed
        self._known = {name: tuple(row.tolist()) for name, row in domain.baselines().items()}
        self._rows: dict[Genome, Scores] = {}

    def items(self) -> dict[Split, tuple[Item, ...]]:
        """The items of each split, as a run stores them."""
        tasks = self.domain.tasks
        return {
            split: tuple(
                Item(
                    id=f"{tasks[k]}/{k}" if tasks else str(k),
                    prompt=f"q{k}",
                    answer="a",
                    task=tasks[k] if tasks else "",
                )
                for k in map(int, rows)
            )
            for split, rows in self.splits.items()
        }

    def row(self, genome: Genome) -> Scores:
        """All scores of a genome."""
        if genome not in self._rows:
            self._rows[genome] = self.domain.score(np.array([genome]))[0]
        return self._rows[genome]

    def mean(self, genome: Genome, split: Split) -> float:
        """The mean score of a genome on a split."""
        return float(self.row(genome)[self.splits[split]].mean())

    def run(self, search: Mapping[str, object], budget: Mapping[str, object]) -> Result:
        """Run kingyo, and return how it ended."""
        config, models = config_of(self.domain, self.seed, search, budget), models_of(self.domain)
        main = searches(config, Path(), models)[0]
        space = Recorded(space=main.space)
        named = baseline_recipes(config, models)
        known = {recipe.hash: self._known[name] for name, recipe in named.items()}

        def evaluate(recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
            row = self.row(known.get(recipe.hash) or space.genomes[recipe.hash])
            numbers = [int(item.rpartition("/")[2]) for item in items]
            scores = tuple(ItemScore(item, float(row[k]), "") for item, k in zip(items, numbers, strict=True))
            return Evaluation(scores=scores)

        with (
            tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder,
            RunStore.create(Path(folder) / "run") as store,
        ):
            store.begin({"status": "running"}, self.items())
            Journey(
                store=store,
                runner=LocalRunner(evaluate),
                baselines=named,
                searches=[replace(main, space=space)],
                finalists=config.finalists,
            ).run()
            return self._result(store, space)

    def _result(self, store: RunStore, space: Recorded) -> Result:
        winner = store.winner(MAIN)
        assert winner is not None, "every merge of a domain can be scored"
        genome = space.genomes.get(winner.recipe_hash, winner.asked.genome)
        test = self.splits["test"]
        validated: list[tuple[float, Genome]] = [(self.mean(genome, "validation"), genome)]
        validated += [(self.mean(each, "validation"), each) for each in self._known.values()]
        exported = max(validated, key=lambda each: each[0])[1]
        costs = [*store.costs(MAIN, "fit").values(), *store.costs(BASELINES, "fit").values()]
        return Result(
            exported=self.row(exported)[test],
            bred=self.row(genome)[test],
            baselines={name: self.row(each)[test] for name, each in self._known.items()},
            items=sum(items for items, _ in costs),
            trials=len(store.trials(MAIN)),
            winner=genome,
        )


os.environ.setdefault("OMP_NUM_THREADS", "1")
