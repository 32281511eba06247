"""Evaluate a candidate: build its recipe into a live model and score that on items of a split.

A crash becomes an evaluation with a ``failure``, here and nowhere else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

from kingyo.core.io.lazy_torch import Tensor
from kingyo.core.types import Evaluation, Item, ItemScore, Media, Progress, Split, Task, ignore_progress
from kingyo.core.user_code.timeout import TooSlowError, within_on_main
from kingyo.errors import ChangedSourceError, KingyoError, crash, crashes_as_errors
from kingyo.merging.engine import MergeOptions, Plan, Sources, compute, into, plan
from kingyo.merging.recipe import Recipe, cumulative
from kingyo.models.kinds import Live, LoadsWeights, PassableModels
from kingyo.search.runners.runner import ItemProgress, ReportFailedError, reporting
from kingyo.tasks.graders.process import GRADER_PROCESS
from kingyo.tasks.kinds import FIX

Builder = Callable[[Recipe], Any]
"""Builds the model of a recipe, for the tasks of a run to score; the next call may overwrite it."""
_HOW = MergeOptions(compiled=True)
"""Compiled code takes time to load, which pays off over many candidates."""


class InPlaceMerger:
    """Merges each recipe into the weights of one live model."""

    def __init__(self, model: Live, sources: Sources) -> None:
        self.model = model
        self.sources = sources

    def __call__(self, recipe: Recipe) -> Any:
        self.merge(recipe)
        return self.model

    def merge(self, recipe: Recipe) -> Plan:
        merged = plan(recipe, self.sources)
        if isinstance(self.model, LoadsWeights):
            self.model.load_weights(_tensors(merged))
        else:
            into(merged, self.model.weights, _HOW)
        return merged


def _tensors(merged: Plan) -> Iterator[tuple[str, Tensor]]:
    merged.sources.check_unchanged()
    for job in merged.jobs:
        yield job.name, compute(job, merged.sources.read)
    merged.sources.check_unchanged()


class LayerPathBuilder:
    """Builds paths through the layers of live models. A recipe without a path is merged.

    ``mergers`` merge into some of the live models, by the names in ``merges`` of recipes; the first also
    merges recipes without a path. Without any, ``load_merger`` loads another model for these.
    """

    def __init__(
        self,
        models: PassableModels,
        load_merger: Callable[[], Builder],
        mergers: Mapping[str, Builder] | None = None,
    ) -> None:
        self._models = models
        self._load_merger = load_merger
        self._merger: Builder | None = None
        self._mergers = dict(mergers or {})
        self._merged_recipes: dict[str, str] = {}

    def __call__(self, recipe: Recipe) -> Any:
        """Return the path of the recipe between embeddings and head of its base model, or the merge."""
        if recipe.path:
            cumulative(recipe.path)  # raises for a path that could not be exported
            assert recipe.base_model is not None, "a recipe with a path has a base model"
            for name, each in recipe.merges.items():
                self._merge(name, each)
            return self._models.follow(recipe.path, recipe.base_model)
        if self._mergers:
            name = next(iter(self._mergers))
            self._merge(name, recipe)
            return self._models.whole(name)
        self._merger = self._merger or self._load_merger()
        return self._merger(recipe)

    def _merge(self, name: str, recipe: Recipe) -> None:
        if self._merged_recipes.get(name) != recipe.hash:
            self._merged_recipes.pop(name, None)  # if merging fails, the model holds no merge
            self._mergers[name](recipe)
            self._merged_recipes[name] = recipe.hash


class Evaluator:
    """Builds and scores recipes.

    The timeout, in seconds, limits scoring, but not building, whose threads write into the model.
    ``progress`` is called when scoring begins, and with each change that the model reports.
    """

    def __init__(self, build: Builder, task: Task, timeout: float | None = None) -> None:
        self.build = build
        self._task = task
        self._timeout = timeout
        self.progress: Progress = ignore_progress

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str] | None = None) -> Evaluation:
        """Return the scores of a recipe on the named items in this order, or a failure with its reason."""
        started = built = time.perf_counter()
        scores, failure = (), None
        GRADER_PROCESS.opened.clear()
        try:
            model = self.build(recipe)
            built = time.perf_counter()
            selected = self._select(split, items)
            scores = _checked(self._score(model, selected), selected)
        except ChangedSourceError:
            raise
        except ReportFailedError as error:
            raise error.__cause__ or error from None
        except TooSlowError:
            failure = f"took longer than {self._timeout:g} s"
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a crash is a result of the candidate)
            failure = str(error) if isinstance(error, KingyoError) else crash(error)
        return Evaluation(
            scores=scores,
            failure=failure,
            build_seconds=built - started,
            score_seconds=time.perf_counter() - built,
            files=tuple(sorted(GRADER_PROCESS.opened.items())),
        )

    def _score(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        progress = ItemProgress(items, self.progress)
        progress.begin()
        with reporting(model, progress):
            return within_on_main(self._timeout, lambda: self._task.score(model, items))

    def _select(self, split: Split, names: Sequence[str] | None) -> Sequence[Item]:
        items = self._task.items(split)
        if names is None:
            return items
        by_name = {item.id: item for item in items}
        return [by_name[name] for name in names]


def scores_of(
    task: Task, model: Any, items: Sequence[Item], progress: Progress = ignore_progress
) -> tuple[ItemScore, ...]:
    with task_crashes_as_errors(task), reporting(model, ItemProgress(items, progress)):
        scores = task.score(model, items)
    return _checked(scores, items)


def task_crashes_as_errors(task: Task) -> AbstractContextManager[None]:
    remedy = "Fix the task; kingyo.testing.tasks holds its contract."
    return crashes_as_errors(f"task {task.name}", expected="a score for each item", remedy=remedy)


def _checked(scores: Sequence[ItemScore], items: Sequence[Item]) -> tuple[ItemScore, ...]:
    results = cast("Sequence[object]", scores) if isinstance(cast(object, scores), Sequence) else ()
    given = [each.item if isinstance(each, ItemScore) else None for each in results]
    if given != [item.id for item in items]:
        is_valid = bool(results) and None not in given
        expected = f"an ItemScore for each of {len(items)} items, in their order"
        received = f"{len(given)} in another order or number" if is_valid else f"{scores!r:.80}"
        raise KingyoError("task", expected, received, FIX)
    for each in scores:
        if not math.isfinite(each.score) or not 0 <= each.score <= 1:
            expected = "a number from 0 to 1"
            remedy = "Return 1 for a right answer, 0 for a wrong one, a fraction for a partly right one."
            raise KingyoError(f"task: score of item {each.item}", expected, str(each.score), remedy)
        if each.media is not None and not isinstance(cast(object, each.media), Media):
            expected = "kingyo.core.types.Media, or None"
            remedy = "Return an image as Media, with the hash of its bytes."
            raise KingyoError(f"task: media of item {each.item}", expected, f"{each.media!r:.80}", remedy)
    return tuple(scores)
