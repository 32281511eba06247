"""Scores of a trial on items: stored ones, copies of the same recipe's, and the rest from the evaluator.

Whatever is new is committed at once; what is in the store is never run again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kingyo.errors import KingyoError
from kingyo.evolve.words import Evaluate
from kingyo.recipe import Recipe
from kingyo.store import RunStore, StoredTrial
from kingyo.types import Evaluation, ItemScore, Split


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How a trial did on what was asked; ``replayed``: all was in the store, nothing was run or copied."""

    evaluation: Evaluation
    replayed: bool = False


class Measurer:
    """Evaluates trials, each item once.

    Args:
        store: the run's database, open for writing.
        evaluate: recipe, split and items -> evaluation.
        items: names of the items of each split, in their order.
    """

    def __init__(self, store: RunStore, evaluate: Evaluate, items: Mapping[Split, Sequence[str]]) -> None:
        self._store = store
        self._evaluate = evaluate
        self.items = items

    def measure(self, trial: StoredTrial, split: Split, items: Sequence[str] | None = None) -> Measured:
        """Return how a trial did on a split, once it has scores on these items (default: all).

        Raises:
            KingyoError: a baseline fails; nothing is stored of that.
        """
        known = self._store.evaluation(trial.id, split)
        if known is not None and known.failure is not None:
            return Measured(evaluation=known, replayed=True)
        missing = _without(items or self.items[split], known)
        if not missing:
            assert known is not None, "a split has items"
            return Measured(evaluation=known, replayed=True)
        missing = self._copy(trial, split, missing)
        if missing:
            self._run(trial, split, missing)
        evaluation = self._store.evaluation(trial.id, split)
        assert evaluation is not None, "it was recorded just now"
        return Measured(evaluation=evaluation)

    def _copy(self, trial: StoredTrial, split: Split, missing: list[str]) -> list[str]:
        """Take over what trials of the same recipe scored; return what is still missing."""
        for twin in self._store.same_recipe(trial.recipe_hash, split, but=trial.id):
            known = self._store.evaluation(twin, split)
            wanted = set(missing)
            shared = tuple(each for each in known.scores if each.item in wanted) if known else ()
            if shared:
                self._store.record(trial.id, split, Evaluation(scores=shared, copied_from=twin))
                missing = [item for item in missing if item not in {each.item for each in shared}]
        return missing

    def _run(self, trial: StoredTrial, split: Split, missing: list[str]) -> None:
        new = self._evaluate(Recipe.from_dict(json.loads(trial.recipe)), split, missing)
        if trial.name is not None and new.failure is not None:
            raise _baseline_failed(trial.name, new.failure)
        self._store.record(trial.id, split, replace(new, copied_from=None), n_items=len(missing))


def _without(items: Sequence[str], known: Evaluation | None) -> list[str]:
    scores: Sequence[ItemScore] = () if known is None else known.scores
    have = {each.item for each in scores}
    return [item for item in items if item not in have]


def _baseline_failed(name: str, reason: str) -> KingyoError:
    """Without its baselines a run can compare nothing, so it ends here; nothing is stored of the failure."""
    return KingyoError(
        f"baseline '{name}'",
        expected="a model that can be scored",
        received=reason,
        remedy="Mend the cause, then go on with `kingyo resume`.",
    )
