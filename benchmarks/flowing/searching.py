"""Strategies on the same paths: how good the best is that each has found, evaluation by evaluation.

Every evaluation scores the same items, so that what differs is the search alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flowing.models import DEMO, ZOO, demo, zoo_models
from kingyo.evaluate import Evaluator, Passed
from kingyo.space import DataflowSpace
from kingyo.strategies import build
from kingyo.tasks import build_tasks, load_splits
from kingyo.types import Outcome

USED = ("ja", "math-en", "math-sym")
ITEMS = 32
MOST_HOPS = 10


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A strategy, and how it says whether a layer is in the path."""

    strategy: str
    inclusion: str = "binary"
    settings: Mapping[str, object] | None = None


CONTENDERS = {
    "mixed CMA-ES": Contender(strategy="mixed-cma-es"),
    "CMA-ES on thresholds": Contender(strategy="cma-es", inclusion="threshold", settings={"x0": 0.5}),
    "GA": Contender(strategy="ga"),
    "random": Contender(strategy="random"),
}


class Course:
    """All that contenders share: models, items, and scores of paths that one has been through."""

    def __init__(self) -> None:
        config = demo()
        splits = load_splits(config.specs, DEMO).splits
        task = build_tasks(config.specs, splits, DEMO)
        self._items = [item.id for item in splits["fit"]][:ITEMS]
        self._evaluate = Evaluator(Passed(zoo_models(), _no_merges), task)
        self._known: dict[str, float] = {}

    def run(self, name: str, seed: int, evaluations: int) -> list[float]:
        """Return the best score after each evaluation; one that was made before counts as well."""
        wanted = CONTENDERS[name]
        space = DataflowSpace(
            sources={each: ZOO[each] for each in USED},
            n_layers=dict.fromkeys(USED, 4),
            frame="ja",
            scales="none",
            inclusion="binary" if wanted.inclusion == "binary" else "threshold",
            max_hops=MOST_HOPS,
            dtype="float32",
        )
        strategy = build(wanted.strategy, space.axes, seed, wanted.settings or {})
        best: list[float] = []
        while len(best) < evaluations:
            outcomes: list[Outcome] = []
            for trial in strategy.ask(min(strategy.batch, evaluations - len(best))):
                recipe = space.decode(trial.genome)
                found = self._evaluate(recipe, "fit", self._items)
                assert found.mean is not None, found.failure
                best.append(max(found.mean, best[-1] if best else 0.0))
                outcomes.append(Outcome(trial=trial, scores=found.scores))
            strategy.tell(outcomes)
        return best


def _no_merges() -> Passed:
    raise AssertionError("every candidate is a path")
