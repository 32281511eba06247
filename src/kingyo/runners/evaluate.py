"""A candidate to its outcome: build the recipe into the live model, score it on a split.

The one place where a crash becomes a failure, a value with a reason. It does not know who asked.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from kingyo.engine import How, Sources, into, plan
from kingyo.errors import ChangedSourceError, KingyoError, crash
from kingyo.io.lazy_torch import Tensor
from kingyo.models.kinds import PassableModels
from kingyo.recipe import Recipe, cumulative
from kingyo.tasks import check_order
from kingyo.types import Evaluation, Item, ItemScore, Media, Split, Task
from kingyo.user_code.timeout import TooSlowError, within_or_end


class Builder(Protocol):
    """Makes a recipe into a model that answers what the tasks of the run ask."""

    def __call__(self, recipe: Recipe) -> Any:
        """Build a candidate; it lives until the next one is built."""
        ...


class FillableModel(Protocol):
    """A model whose weights can be written in place."""

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The live tensors, by their names in the checkpoint."""
        ...


_HOW = How(compiled=True)
"""Loading the compiled code pays where many candidates follow."""


class Filled:
    """Builds merges into one live model, which is filled anew for every candidate.

    Args:
        model: built once.
        sources: all models that recipes may name.
    """

    def __init__(self, model: FillableModel, sources: Sources) -> None:
        self._model = model
        self._sources = sources

    def __call__(self, recipe: Recipe) -> Any:
        """Merge into the model; see ``kingyo.engine.into``."""
        into(plan(recipe, self._sources), self._model.weights, _HOW)
        return self._model


class Passed:
    """Builds paths out of the layers of live models, and merges of weights.

    Args:
        models: by the references of recipes.
        merged: makes what builds merges, when the first one comes: it takes the memory of a model.
        inner: what builds merges into those of the models that are named by ``merges`` of recipes. If there
            are any, the first one also builds the merges that are no path.
    """

    def __init__(
        self,
        models: PassableModels,
        merged: Callable[[], Builder],
        inner: Mapping[str, Builder] | None = None,
    ) -> None:
        self._models = models
        self._make = merged
        self._merged: Builder | None = None
        self._inner = dict(inner or {})
        self._made: dict[str, str] = {}

    def __call__(self, recipe: Recipe) -> Any:
        """Follow the path of the recipe in the frame of its base, or merge it."""
        if recipe.path:
            cumulative(recipe.path)  # a path that could not be exported fails here already
            assert recipe.base_model is not None, "without one, other models give what is no layer"
            for name, each in recipe.merges.items():
                self._build_inner(name, each)
            return self._models.follow(recipe.path, recipe.base_model)
        if self._inner:
            name = next(iter(self._inner))
            self._build_inner(name, recipe)
            return self._models.whole(name)
        self._merged = self._merged or self._make()
        return self._merged(recipe)

    def _build_inner(self, name: str, recipe: Recipe) -> None:
        """Merge into the model of this name, unless it is that merge already."""
        if self._made.get(name) != recipe.hash:
            self._made.pop(name, None)  # half a merge, should it fail, is none
            self._inner[name](recipe)
            self._made[name] = recipe.hash


class Evaluator:
    """Scores recipes on a task.

    Args:
        build: makes a recipe into a model.
        task: what candidates are scored on.
        timeout: seconds that scoring may take. The merge is not ended: threads of it write into the model.
    """

    def __init__(self, build: Builder, task: Task, timeout: float | None = None) -> None:
        self._build = build
        self._task = task
        self._timeout = timeout

    def __call__(self, recipe: Recipe, split: Split, items: Sequence[str] | None = None) -> Evaluation:
        """Build and score; whatever goes wrong is in the result's ``failure``.

        Args:
            recipe: of the candidate.
            split: of the items.
            items: their names, in the order of the scores; default: all of the split.

        Raises:
            ChangedSourceError: the sources are no longer what they were: no candidate can be measured.
        """
        started = time.perf_counter()
        built = started
        try:
            model = self._build(recipe)
            built = time.perf_counter()
            asked = self._items(split, items)
            scores = _checked(self._scored(model, asked), asked)
        except ChangedSourceError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 (a candidate that crashes is a result, not an accident)
            return Evaluation(
                failure=_reason(error),
                build_seconds=built - started,
                score_seconds=time.perf_counter() - built,
            )
        return Evaluation(
            scores=scores, build_seconds=built - started, score_seconds=time.perf_counter() - built
        )

    def _scored(self, model: Any, items: Sequence[Item]) -> Sequence[ItemScore]:
        limit = f"{self._timeout or 0:g} s"
        late = KingyoError(
            f"task {self._task.name}",
            expected=f"a score within {limit} (timeout)",
            received="none, and a task that does not let itself be ended",
            remedy="Fix the task, or let timeout be larger. What was scored is stored.",
        )
        try:
            return within_or_end(self._timeout, lambda: self._task.score(model, items), late)
        except TooSlowError as error:
            raise ValueError(f"took longer than {limit}") from error

    def _items(self, split: Split, wanted: Sequence[str] | None) -> Sequence[Item]:
        items = self._task.items(split)
        if wanted is None:
            return items
        by_name = {item.id: item for item in items}
        return [by_name[name] for name in wanted]


def scores_of(task: Task, model: Any, items: Sequence[Item]) -> tuple[ItemScore, ...]:
    """Score a model on items of a task, which may be of a kind of the user's own.

    Raises:
        KingyoError: the task crashed, or its scores are not what a task promises.
    """
    try:
        scores = task.score(model, items)
    except KingyoError:
        raise
    except (Exception, SystemExit) as error:
        raise KingyoError(
            f"task {task.name}",
            expected="a score for each item",
            received=crash(error),
            remedy="Fix the task; kingyo.testing.tasks holds its contract.",
        ) from error
    return _checked(scores, items)


def _checked(scores: Sequence[ItemScore], items: Sequence[Item]) -> tuple[ItemScore, ...]:
    """What a task promises, whoever wrote it: a finite score for each item, in the order of the items."""
    check_order("task", items, scores)
    for each in scores:
        if not math.isfinite(each.score) or not 0 <= each.score <= 1:
            raise KingyoError(
                f"task: score of item {each.item}",
                expected="a number from 0 to 1",
                received=str(each.score),
                remedy="Let the task give 1 for right, 0 for wrong, and a share for what is partly right.",
            )
        if each.media is not None and not isinstance(cast(object, each.media), Media):
            raise KingyoError(
                f"task: media of item {each.item}",
                expected="kingyo.types.Media, or None",
                received=repr(each.media)[:80],
                remedy="Let the task give an image as Media, with the hash of its bytes.",
            )
    return tuple(scores)


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
