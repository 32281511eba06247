"""Time the first candidate on a few items of fit, to estimate how long a run takes without training."""

from __future__ import annotations

from dataclasses import dataclass

from kingyo.core.io.lazy_torch import torch
from kingyo.core.types import DrawsImages
from kingyo.errors import KingyoError, crash
from kingyo.merging.kernels.statistics_cache import memory_size
from kingyo.models.kinds import load_live
from kingyo.runs.begin import threads_of
from kingyo.runs.cost import Cost, CostPart, total
from kingyo.runs.model_kind import load_options
from kingyo.runs.preflight import fits_into
from kingyo.runs.run import Run
from kingyo.runs.spaces import frame_of
from kingyo.search.runners.evaluate import Builder, Evaluator, InPlaceMerger

MAX_SECONDS = 10.0
"""Time limit of the answers that are timed."""
_SECONDS = 1.5  # about the time of the answers that are timed
_MOST_PARAMETERS = 10**9  # a dry run should not wait longer for a model
_BYTES = 16  # of memory per parameter


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """The seconds to merge a candidate (0 for a path) and to score it on an item, or why they are unknown."""

    untimed: str | None = None
    build_seconds: float | None = None
    item_seconds: float | None = None

    def seconds(self, part: CostPart, n_workers: int) -> float | None:
        """Return the time of a part that scores as many models as it may; None if it is unknown."""
        if part.models is None or self.build_seconds is None or self.item_seconds is None:
            return part.seconds
        scoring = part.models * (self.build_seconds + part.items * self.item_seconds)
        scoring /= max(1, min(n_workers, part.models))
        return scoring if part.seconds is None else min(part.seconds, scoring)

    def run_seconds(self, cost: Cost, n_workers: int) -> float | None:
        return total(self.seconds(part, n_workers) for part in cost.parts)


def measure_speeds(run: Run, seconds: float = MAX_SECONDS) -> Speeds:
    """Time the first candidate of a run within a limit; a failure is the result's ``untimed``."""
    reason = _obstacle(run)
    if reason is not None:
        return Speeds(untimed=reason)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads_of(run))
    try:
        evaluate = Evaluator(_builder_of(run), run.task, seconds)
        return _timed(run, evaluate)
    except Exception as error:  # noqa: BLE001 (a model may raise anything)
        return Speeds(untimed=str(error) if isinstance(error, KingyoError) else crash(error))
    finally:
        torch.set_num_threads(threads)


def _obstacle(run: Run) -> str | None:
    models = run.models.by_reference.values()
    largest = max(model.n_parameters for model in models)
    if DrawsImages in run.kind.provides:
        return "drawing an image takes too long"
    if any(model.n_missing for model in models):
        return "the weights are not downloaded"
    if largest > _MOST_PARAMETERS or _BYTES * largest > memory_size():
        return f"a model of {largest:,} parameters is too large to try here"
    return None


def _builder_of(run: Run) -> Builder:
    """Return what merges candidates; paths, and merges of another shape, are timed as one of the models."""
    options = load_options(run.config)
    if run.settings.paths is None and fits_into(run.plan, run.models.skeleton):
        return InPlaceMerger(load_live(run.kind, run.models.skeleton.path, options), run.open_sources())
    like = run.models.skeleton if run.settings.paths is None else frame_of(run)
    live = load_live(run.kind, like.path, options)
    return lambda _: live


def _timed(run: Run, evaluate: Evaluator) -> Speeds:
    items = [item.id for item in run.items["fit"]]
    first = evaluate(run.first, "fit", items[:1])  # this loads or compiles code
    n = min(run.config.batch_size, len(items), max(1, round(_SECONDS / first.score_seconds)))
    again = evaluate(run.first, "fit", items[:: len(items) // n][:n])  # of all tasks
    failure = first.failure or again.failure
    if failure is not None:
        return Speeds(untimed=failure)
    return Speeds(build_seconds=again.build_seconds, item_seconds=again.score_seconds / n)
