"""Screened runs with real strategies and stores, and simulated answers."""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kingyo.core.types import Axis, Evaluation, Genome, ItemScore, Outcome, Split, Strategy, Trial
from kingyo.merging.recipe import Recipe, Source
from kingyo.search.evolution import MAIN, Event, Journey, Limits, Search, fixed, ignore_events
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.runners import LocalRunner
from kingyo.search.strategies import build
from kingyo.store import RunStore
from tests.fake_runs import begun as begun_with
from tests.fake_runs import made_splits

AXES = tuple(
    Axis(name=f"weight/{who}/{place}", low=0, high=1, place=place, family=f"weight/{who}")
    for who in ("a", "b")
    for place in (0.0, 1.0)
)
PEAK = (0.7, 0.5, 0.2, 0.3)
N_ITEMS: dict[Split, int] = {"fit": 24, "validation": 20, "test": 10}
SPLITS = made_splits(N_ITEMS)
RULES: dict[str, ScreenSettings] = {
    "none": ScreenSettings(),
    "some": ScreenSettings(items=8),
}
SMALL_GP: dict[str, object] = {"batch": 5, "initial": 5, "pool": 60}
STRATEGIES: dict[str, dict[str, object]] = {
    "item-gp": SMALL_GP,
    "cma-es": {"population": 5},
    "ga": {"population": 5},
    "m2n2": {"population": 5, "batch": 5},
    "nsga2": {"population": 6},
    "coarse-to-fine": {"settings": SMALL_GP, "per_gene": 4.0},
}
BUDGET = Limits(item_evaluations=24 * 12)


class Space4:
    """Recipes with four weights, rounded so that some genomes share a recipe."""

    axes = AXES

    def decode(self, genome: Genome) -> Recipe:
        return weights(*(round(gene, 1) for gene in genome))


def weights(*values: float) -> Recipe:
    return Recipe(
        merge_method="linear",
        sources=tuple(Source(model=f"m{n}", parameters={"weight": each}) for n, each in enumerate(values)),
    )


def chance(recipe: Recipe) -> float:
    """The true score: how likely an item is solved."""
    source_weights = [float(source.parameters["weight"]) for source in recipe.sources]  # type: ignore[arg-type]
    return math.exp(-sum((gene - best) ** 2 for gene, best in zip(source_weights, PEAK, strict=True)))


def solves(recipe: Recipe, item: str) -> float:
    """A coin that falls the same way each time."""
    return float(zlib.crc32(f"{recipe.hash}/{item}".encode()) / 2**32 < chance(recipe))


Fails = Callable[[Recipe, int], bool]


class Model:
    """Answers items, and counts what was asked.

    Args:
        fails: whether a recipe fails, given how many evaluations of it there were before on this split.
        before: what an earlier session had asked.
        stop_after: evaluations in this session after which it is killed.
        solves: the score of a recipe on an item.
    """

    def __init__(
        self,
        fails: Fails = lambda recipe, before: False,
        *,
        before: "Model | None" = None,
        stop_after: int | None = None,
        solves: Callable[[Recipe, str], float] = solves,
    ) -> None:
        self.calls: Counter[tuple[str, Split]] = Counter() if before is None else Counter(before.calls)
        self.scored: Counter[tuple[str, str]] = Counter() if before is None else Counter(before.scored)
        self.asked: list[tuple[Split, int]] = []
        self._fails = fails
        self._stop_after = stop_after
        self._solves = solves

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str]) -> Evaluation:
        if len(self.asked) == self._stop_after:
            raise KeyboardInterrupt
        self.asked.append((split, len(items)))
        self.calls[recipe.hash, split] += 1
        if self._fails(recipe, self.calls[recipe.hash, split] - 1):
            return Evaluation(failure="it crashed", score_seconds=0.01)
        self.scored.update((recipe.hash, item) for item in items)
        scores = tuple(ItemScore(item=item, score=self._solves(recipe, item), answer="") for item in items)
        return Evaluation(scores=scores, build_seconds=0.001, score_seconds=0.01)


KNOWN: Mapping[str, Genome] = {
    "a": (1.0, 1.0, 0.0, 0.0),
    "b": (0.0, 0.0, 1.0, 1.0),
    "uniform": (0.5, 0.5, 0.5, 0.5),
}
BASELINE_RECIPES = {name: weights(*genome) for name, genome in KNOWN.items()}


def journey(
    store: RunStore,
    model: Model,
    strategy: str | Strategy = "ga",
    rule: str = "some",
    *,
    limits: Limits = BUDGET,
    notify: Callable[[Event], None] = ignore_events,
) -> Journey:
    built = build(strategy, AXES, 3, STRATEGIES[strategy]) if isinstance(strategy, str) else strategy
    main = Search(
        name=MAIN,
        space=Space4(),
        strategy=built,
        limits=limits,
        screen=RULES[rule],
        seed=3,
        known=KNOWN,
    )
    control = replace(
        main, name="random", strategy=build("random", AXES, 3, {}), limits=Limits(), like=MAIN, known={}
    )
    return Journey(
        store=store,
        runner=LocalRunner(model),
        baselines=BASELINE_RECIPES,
        stages=[fixed(main, control)],
        finalists=3,
        notify=notify,
    )


def begun(folder: Path) -> RunStore:
    return begun_with(folder, SPLITS)


NAMED = {recipe.hash for recipe in BASELINE_RECIPES.values()}


def some_fail(recipe: Recipe, before: int) -> bool:
    return recipe.hash not in NAMED and int(recipe.hash[:8], 16) % 4 == 0


class Listed:
    """A strategy of given genomes, four at a time, then of none."""

    batch = 4

    def __init__(self, genomes: Sequence[Genome]) -> None:
        self._genomes = list(genomes)
        self._count = 0
        self.told: list[Outcome] = []

    def ask(self, n: int) -> list[Trial]:
        first, self._count = self._count, min(self._count + n, len(self._genomes))
        return [Trial(number=number, genome=self._genomes[number]) for number in range(first, self._count)]

    def tell(self, outcomes: Sequence[Outcome]) -> None:
        self.told += outcomes
