"""Strategies, and settings of the preset `paths`, on the same paths: how good the best is that each found.

Every evaluation scores the same items, so that what differs is the search alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flowing.models import DEMO, ZOO, demo, zoo_models
from kingyo.core.types import Evaluation, Outcome, Split, Strategy, Trial
from kingyo.merging.recipe import Hop, Recipe
from kingyo.search.runners.evaluate import Evaluator, LayerPathBuilder
from kingyo.search.space import DataflowSpace, RoundedSpace
from kingyo.search.strategies import build
from kingyo.search.strategies.combinators import InitialPointsStrategy
from kingyo.search.strategies.presets import PRESETS
from kingyo.tasks import build_tasks, load_splits

USED = ("ja", "math-en", "math-sym")
ITEMS, TEST_ITEMS = 32, 200
MOST_HOPS = 10


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A strategy, what is said of its paths, and whether it begins with the seeds of the space."""

    strategy: str
    settings: Mapping[str, object] | None = None
    paths: Mapping[str, Any] | None = None
    seeds: bool = False


def _ga(paths: Mapping[str, Any] | None = None, *, seeds: bool = True, from_known: float = 0.5) -> Contender:
    settings = {"population": 20, "from_known": from_known}
    return Contender(strategy="ga", settings=settings, paths=paths, seeds=seeds)


def _preset(paths: Mapping[str, Any] | None = None, *, seeds: bool = True) -> Contender:
    preset = PRESETS["paths"]
    return Contender(strategy=preset.strategy, settings=preset.settings, paths=paths, seeds=seeds)


STRATEGIES = {
    "mixed CMA-ES": Contender(strategy="mixed-cma-es"),
    "CMA-ES on thresholds": Contender(
        strategy="cma-es", paths={"inclusion": "threshold"}, settings={"x0": 0.5}
    ),
    "GA": Contender(strategy="ga"),
    "random": Contender(strategy="random"),
}
"""What finds paths, from nothing."""
_PATHS: Mapping[str, Mapping[str, Any]] = {
    "order: source": {"order": "source"},
    "repetitions: 1": {"repetitions": 1},
    "repetitions: 3": {"repetitions": 3},
    "scales: layer, max_scale: 1.25": {"scales": "layer", "max_scale": 1.25},
    "scales: layer, max_scale: 2": {"scales": "layer", "max_scale": 2.0},
}
DEFAULTS: Mapping[str, Mapping[str, Contender]] = {
    "the preset": {
        "the preset": _preset(),
        "the preset, no seeds": _preset(seeds=False),
        **{f"the preset, {said}": _preset(paths) for said, paths in _PATHS.items()},
    },
    "GA": {
        "GA of 20, half children of seeds": _ga(),
        "GA, no seeds": _ga(seeds=False),
        "GA, none children of seeds": _ga(from_known=0.0),
        "GA, all children of seeds": _ga(from_known=1.0),
        **{f"GA, {said}": _ga(paths) for said, paths in _PATHS.items()},
    },
}
"""What the defaults of a search of paths are compared with: each change beside the first of its block."""
CONTENDERS = {**STRATEGIES, **{name: each for block in DEFAULTS.values() for name, each in block.items()}}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search came to.

    Attributes:
        best: score so far, after each evaluation; failures and repetitions count as evaluations.
        test: score of the last best on items that no search has seen.
        hops: of it.
    """

    best: Sequence[float]
    test: float
    hops: int


class Course:
    """All that contenders share: models, items, and scores of paths that one has been through."""

    def __init__(self) -> None:
        config = demo()
        splits = load_splits(config.specs, DEMO).splits
        task = build_tasks(config.specs, splits, DEMO)
        self._items: dict[Split, list[str]] = {
            "fit": [item.id for item in splits["fit"]][:ITEMS],
            "test": [item.id for item in splits["test"]][:TEST_ITEMS],
        }
        self._evaluate = Evaluator(LayerPathBuilder(zoo_models(), _no_merges), task)
        self._known: dict[tuple[Hop, ...], Evaluation] = {}

    def run(self, name: str, seed: int, evaluations: int) -> Found:
        """Let a contender search."""
        wanted = CONTENDERS[name]
        given = {"max_hops": MOST_HOPS, "dtype": "float32", **(wanted.paths or {})}
        sources = {each: ZOO[each] for each in USED}
        space = DataflowSpace(sources=sources, n_layers=dict.fromkeys(USED, 4), frame="ja", **given)
        strategy: Strategy = build(wanted.strategy, space.axes, seed, wanted.settings or {})
        if wanted.seeds:
            strategy = InitialPointsStrategy(strategy, space.seeds())
        decode, best, winner = RoundedSpace(space=space).decode, list[float](), space.probe()
        while len(best) < evaluations:
            outcomes: list[Outcome] = []
            for trial in strategy.ask(min(strategy.batch, evaluations - len(best))):
                recipe, last = decode(trial.genome), best[-1] if best else -1.0
                outcomes.append(self._outcome(trial, recipe))
                score = outcomes[-1].score
                winner = winner if score is None or score <= last else recipe
                best.append(max(0.0 if score is None else score, last))
            strategy.tell(outcomes)
        test = self._evaluate(winner, "test", self._items["test"]).mean
        assert test is not None, "it was scored on fit"
        return Found(best=best, test=test, hops=len(winner.path))

    def _outcome(self, trial: Trial, recipe: Recipe) -> Outcome:
        found = self._known.get(recipe.path) or self._evaluate(recipe, "fit", self._items["fit"])
        self._known[recipe.path] = found
        return Outcome(trial=trial, items=found.items, failure=found.failure)


def _no_merges() -> LayerPathBuilder:
    raise AssertionError("every candidate is a path")
