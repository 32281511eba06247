"""A whole run of kingyo on a domain, with everything but the models: baselines, search, validation, test.

It is the product's own code on a run database in memory-backed storage; what a model would answer is the
domain's table or function.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from searching.ours import Watch

from domains.landscape import Landscape
from kingyo.core.types import (
    SPLITS,
    Axis,
    Evaluation,
    Example,
    Genome,
    Item,
    ItemScore,
    LearningStrategy,
    Lesson,
    Split,
)
from kingyo.merging.checkpoints.layout import Layout
from kingyo.merging.recipe import Recipe
from kingyo.runs.config import RunConfig, parse_config
from kingyo.runs.learning import BATCH_SIZE, FEWEST_STEPS, PASSES, Allowance, Descent, descend
from kingyo.runs.searches import baseline_recipes, searches
from kingyo.runs.settings import settings_of
from kingyo.runs.setup import RunModels, Setup
from kingyo.search.evolution import Event, Journey, Objectives, Search, Space, fixed, objectives_as_facts
from kingyo.search.evolution.scorer import Scorer
from kingyo.search.evolution.search import run_search
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.evolution.set_measures import choose_best
from kingyo.search.evolution.types import BASELINES, MAIN
from kingyo.search.runners import LocalRunner
from kingyo.store import RunStore, StoredTrial
from kingyo.views.results.summary import RunSummary, summarize

Scores = NDArray[np.float64]
SHM = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run ended.

    Attributes:
        exported, bred: test scores, item by item, of the model that is exported and of the search's winner.
        baselines: test scores of each baseline.
        predicted: low, mean, high of the bred model's test score, before test was read.
        items: item evaluations of the search on fit, those of the baselines included.
        winner: genome of the bred model.
        chosen: name of the model that is exported; ``main`` is the bred one.
    """

    exported: Scores
    bred: Scores
    baselines: Mapping[str, Scores]
    items: int
    winner: Genome
    predicted: tuple[float, float, float]
    chosen: str


@dataclass(kw_only=True)
class Recorded:
    """A space that remembers which genome each recipe came from: ``genomes``, by the recipe's hash."""

    space: Space
    genomes: dict[str, Genome]

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
    domain: Landscape,
    seed: int,
    search: Mapping[str, object],
    budget: Mapping[str, object],
    controls: Collection[str] = (),
) -> RunConfig:
    """Return the run.yaml of a domain; no file that it names is read."""
    task = {"data": "none.jsonl", "prompt": "{prompt}", "grader": "exact"}
    tasks = {"tasks": dict.fromkeys(domain.tasks, task)} if domain.tasks else {"task": task}
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
            "controls": dict.fromkeys(controls, True),
        },
        "benchmark",
    )


def models_of(domain: Landscape) -> RunModels:
    """Stand in for opened checkpoints: names, and tensors by block."""
    layout = Layout([f"model.layers.{block}.mlp.weight" for block in range(max(2, domain.n_blocks))])
    base = SimpleNamespace(reference="base", layout=layout, path=Path("base"))
    references = {name: name for name in domain.sources}
    named = {"references": references, "sources": references, "named": {"base": base}}
    return cast("RunModels", SimpleNamespace(base=base, skeleton=base, frame=None, framing=None, **named))


class Play:
    """One run on a domain, counted item by item.

    Args:
        domain: what is searched.
        seed: draws the splits and the search.
    """

    def __init__(self, domain: Landscape, seed: int) -> None:
        self.domain = domain
        self.splits = dict(zip(SPLITS, domain.splits(seed), strict=True))
        self.seed = seed
        self.spent = 0
        self._known = {name: tuple(row.tolist()) for name, row in domain.baselines().items()}
        self._rows: dict[Genome, Scores] = {}
        self._genomes: dict[str, Genome] = {}

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
        """All scores of a genome; one gene per source holds for all of its blocks."""
        if genome not in self._rows:
            genes = np.repeat(genome, self.domain.n_genes // len(genome))
            self._rows[genome] = self.domain.score(genes[None])[0]
        return self._rows[genome]

    def mean(self, genome: Genome, split: Split) -> float:
        """The mean score of a genome on a split: of several tasks, the mean of theirs."""
        rows, tasks = self.splits[split], np.array(self.domain.tasks or [""] * self.domain.n_items)
        own = self.row(genome)
        return float(np.mean([own[rows[tasks[rows] == task]].mean() for task in dict.fromkeys(tasks[rows])]))

    def evaluation(self, genome: Genome, items: Sequence[str]) -> Evaluation:
        """Score a genome on items, as a run does."""
        row = self.row(genome)
        return Evaluation(
            scores=tuple(ItemScore(item, float(row[int(item.rpartition("/")[2])]), "") for item in items)
        )

    def best_of_run(self, bred: Genome) -> Genome:
        """Return the best of a genome and the baselines, as a run chooses it (``RunSummary.best``).

        Peers score all items of fit, so all count here; in a run of kingyo those count that both answered.
        """
        items = [item for split in ("fit", "validation") for item in self.items()[split]]
        scorer = Scorer(Objectives(tasks=dict.fromkeys(self.domain.tasks or [""], 1.0)), items)
        genomes = [bred, *self._known.values()]
        rows = [self.evaluation(each, list(scorer.task_of)) for each in genomes]
        choice = choose_best(scorer, {0: rows[0]}, dict(enumerate(rows[1:], start=1)))
        return genomes[choice.best]

    def run(
        self, search: Mapping[str, object], budget: Mapping[str, object], controls: Collection[str] = ()
    ) -> Result:
        """Run kingyo with controls, and return how it ended."""
        with self._begun(search, budget, controls) as journey:
            journey.run()
            return self._result(journey.store)

    def answers(self, search: Mapping[str, object], budget: Mapping[str, object]) -> list[tuple[int, float]]:
        """Let kingyo search, without validation, and see what it would answer after each generation.

        Returns:
            Item evaluations so far, those of the baselines included, and the test score of the answer.
        """
        found: list[tuple[int, float]] = []
        with self._begun(search, budget) as journey:
            evaluator = journey.evaluator
            journey.score_baselines()
            watch = Watch(self, lambda spent, genome: found.append((spent, self.mean(genome, "test"))))
            items = evaluator.items["fit"]
            watch.log = SearchLog(journey.first[0], journey.store, items, watch.notify)
            run_search(watch.log, evaluator)
            watch.answer()
        return found

    @contextmanager
    def _begun(
        self, search: Mapping[str, object], budget: Mapping[str, object], controls: Collection[str] = ()
    ) -> Iterator[Journey]:
        """A run that has not begun to score; item evaluations are counted as ``spent``."""
        config = config_of(self.domain, self.seed, search, budget, controls)
        models = models_of(self.domain)
        setup = Setup(config=config, folder=Path(), settings=settings_of(config), models=models)
        genomes = self._genomes = {}
        recorded = [
            replace(self._taught(each), space=Recorded(space=each.space, genomes=genomes))
            for each in searches(setup)
        ]
        named = baseline_recipes(setup)
        known = {recipe.hash: self._known[name] for name, recipe in named.items()}
        self.spent = 0

        def evaluate(recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:  # noqa: ARG001 (as runners call it)
            self.spent += len(items)
            return self.evaluation(known.get(recipe.hash) or genomes[recipe.hash], items)

        with (
            tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder,
            RunStore.create(Path(folder) / "run") as store,
        ):
            store.begin(
                {"name": "benchmark", "status": "running", **objectives_as_facts(recorded[0].objectives)},
                self.items(),
            )
            journey = Journey(
                store=store,
                runner=LocalRunner(evaluate),
                baselines=named,
                stages=[fixed(*recorded)],
                finalists=config.finalists,
            )
            yield journey

    def _taught(self, search: Search) -> Search:
        """Return a search that learns, if its strategy can and the domain has a loss."""
        loss, allowance = self.domain.loss, Allowance.of(search, len(self.splits["fit"]))
        if loss is None or not isinstance(search.strategy, LearningStrategy):
            return search
        examples = [
            Example(item=str(k), prompt="", answer="right", others=("wrong",)) for k in self.splits["fit"]
        ]

        def loss_of(genome: Genome, some: Sequence[Example]) -> tuple[float, Scores]:
            return loss(np.array(genome), [int(each.item) for each in some])

        def prepare(store: RunStore, _: Callable[[Event], None]) -> None:
            def learn(number: int, start: Genome) -> tuple[Genome, Lesson] | None:
                steps = allowance.steps(store, BATCH_SIZE)
                if steps < FEWEST_STEPS:
                    return None
                descent = Descent(steps=steps, seed=self.seed + number)
                genome, losses = descend(loss_of, search.space.axes, start, examples, descent)
                cost = steps * BATCH_SIZE * PASSES
                ends = losses[0], losses[-1]
                return genome, Lesson(steps=steps, targets=len(examples), items=cost, seconds=0.0, loss=ends)

            assert isinstance(search.strategy, LearningStrategy), "it was checked"
            search.strategy.learn = learn

        return replace(search, prepare=prepare)

    def _result(self, store: RunStore) -> Result:
        summary = summarize(store)
        assert summary.winner is not None, "every merge of a domain can be scored"
        assert summary.best is not None, "all are scored on validation"
        genome, test = self._genome(summary.winner.trial), self.splits["test"]
        costs = [*store.costs(MAIN, "fit").values(), *store.costs(BASELINES, "fit").values()]
        return Result(
            exported=self.row(self._genome(summary.best.trial))[test],
            bred=self.row(genome)[test],
            baselines={name: self.row(each)[test] for name, each in self._known.items()},
            predicted=_predicted(summary),
            items=sum(items for items, _ in costs),
            winner=genome,
            chosen=summary.best.name,
        )

    def _genome(self, trial: StoredTrial) -> Genome:
        """Return the genome of a stored trial, or of a baseline."""
        if trial.search == BASELINES:
            return self._known[str(trial.name)]
        return self._genomes[trial.recipe_hash]


def _predicted(summary: RunSummary) -> tuple[float, float, float]:
    """Return what the run predicts of the bred model's test score."""
    found = summary.predicted
    assert found is not None, "the winner was scored on validation"
    return found.low, found.score, found.high
