"""Dry runs: check a run and forecast its cost, memory, learning and time; nothing is written.

Reads run.yaml, configs, headers, tokenizers and data; weights only for ``measure_speeds``.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from kingyo.core.io.lazy_torch import torch
from kingyo.core.types import SPLITS, DrawsImages
from kingyo.errors import KingyoError, crash
from kingyo.merging.checkpoints.header import WIDTHS
from kingyo.models.kinds import BatchMemory, Workload, call_kind, load_live
from kingyo.runs.begin import is_large, threads_of
from kingyo.runs.cost import Cost, CostPart, count_answers, total
from kingyo.runs.learning import SHORTEST, Allowance, learned_space
from kingyo.runs.model_kind import load_options, task_options
from kingyo.runs.preflight import check, check_prompts, first_prompts, fits_into, notes, warnings
from kingyo.runs.run import Run
from kingyo.runs.settings import why_not_learned
from kingyo.runs.spaces import dataflow_space, frame_of, models_of_paths
from kingyo.search.runners.evaluate import Builder, Evaluator, InPlaceMerger
from kingyo.search.space import path_bytes
from kingyo.search.strategies.combinators import main_batch

MAX_SECONDS = 10.0
"""Time limit of the answers that are timed."""
_SECONDS = 1.5  # about the time of the answers that are timed


@dataclass(frozen=True, kw_only=True)
class MemoryForecast:
    """Memory in bytes.

    Attributes:
        live: weights of the live models, on the run's device.
        batch: memory of a full batch on the device; None if the kind of model gives no estimate.
        sources: files of each model, by reference; mapped, so the system can reclaim this CPU memory.
        missing: the part of them that is still on the Hub, by reference.
    """

    live: int
    n_live: int
    batch: BatchMemory | None
    sources: Mapping[str, int]
    missing: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class PathCosts:
    """Layers of the longest path, and the most bytes that its exported weights can have."""

    longest: int
    longest_bytes: int


@dataclass(frozen=True, kw_only=True)
class LearningForecast:
    """How many weights a run learns by gradient, or why it learns none if run.yaml does not choose it."""

    weights: int = 0
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Everything known about a run before it starts.

    Attributes:
        notes: settings that look like mistakes.
        warnings: settings that probably cost scores.
        prompts: the first prompt of each text task, as models read it.
        paths: length and size of its paths; None if the run merges weights.
        missing_device: why the run's device is not available; None if it is.
    """

    run: Run
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    prompts: Mapping[str, str]
    cost: Cost
    memory: MemoryForecast
    learning: LearningForecast
    missing_device: str | None
    paths: PathCosts | None


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


def dry_run(run: Run) -> DryRun:
    """Check a run and estimate its cost; of models on the Hub it needs configs, tokenizers and headers."""
    check(run)
    config = run.config
    paths = None
    if run.settings.paths is not None:
        models, longest = models_of_paths(run), dataflow_space(run).most_hops
        most = path_bytes(models, next(iter(models)), config.merge.dtype, longest)
        paths = PathCosts(longest=longest, longest_bytes=most)
    memory = estimate_memory(run, paths)
    has_images = any(item.media for items in run.items.values() for item in items)
    has_chat = any(options.get("chat") for options in task_options(config, run.folder))
    if has_images or has_chat or memory.batch is None:  # else the estimate of a batch has read the prompts
        check_prompts(run)
    return DryRun(
        run=run,
        notes=notes(run),
        warnings=warnings(run),
        prompts=first_prompts(run),
        cost=count_answers(run.all_searches, len(run.baselines), run.items, config.finalists),
        memory=memory,
        learning=_forecast_learning(run),
        paths=paths,
        missing_device=_missing_device(config.device),
    )


def _missing_device(device: str) -> str | None:
    if device == "cpu":
        return None
    from kingyo.models.loading import require_device  # it takes seconds

    try:
        require_device(device)
    except KingyoError as error:
        return f"device: expected {error.expected}; received {error.received}"
    return None


def estimate_memory(run: Run, paths: PathCosts | None = None) -> MemoryForecast:
    """Estimate the memory of a run.

    Raises:
        KingyoError: the models cannot answer an item, for example because its prompt is too long.
    """
    config, models, planned = run.config, run.models, run.plan
    load = Workload(
        items=[item for split in SPLITS for item in run.items[split]],
        options=task_options(config, run.folder),
        batch_size=config.batch_size,
        n_bytes=max((WIDTHS[job.dtype] for job in planned.jobs), default=4),
    )
    path, like = models.skeleton.path, planned.like.config
    batch = call_kind(run.kind, "memory", lambda: run.kind.memory(path, like, load), BatchMemory | None)
    live, n_live = sum(math.prod(job.shape) * WIDTHS[job.dtype] for job in planned.jobs), 1
    if paths is not None:  # all sources are live, and none is copied
        alive = list({model.reference: model for model in models.sources.values()}.values())
        if config.space == "hybrid" or {"base", "uniform"} & set(run.baselines):
            alive.append(models.skeleton)
        frame, sizes = frame_of(run), Counter[str]()
        for info in frame.tensors.values():
            sizes[info.stored_dtype] += info.n_elements
        width = WIDTHS[config.merge.dtype or sizes.most_common(1)[0][0]]
        live = width * sum(info.n_elements for model in alive for info in model.tensors.values())
        n_live = len(alive)
        if batch is not None and batch.bytes is not None:  # it grows with the layers
            batch = replace(batch, bytes=batch.bytes // frame.layout.n_blocks * paths.longest)
    opened = models.by_reference.values()
    return MemoryForecast(
        live=live,
        n_live=n_live,
        batch=batch,
        sources={m.reference: sum(info.n_bytes for info in m.tensors.values()) for m in opened},
        missing={m.reference: m.n_missing for m in opened if m.n_missing},
    )


def _forecast_learning(run: Run) -> LearningForecast:
    search = run.searches[0]
    space = learned_space(search) if run.learns else None
    if space is None:
        return LearningForecast(reason=why_not_learned(run.config, run.settings, run.kind, run.folder))
    allowance = Allowance.of(search, len(run.items["fit"]))
    if not allowance.is_enough:
        return LearningForecast(
            reason=f"a budget of {allowance.budget:,} item evaluations: a lesson costs at least {SHORTEST}, "
            f"and may cost {max(0, allowance.most or 0)} here"
        )
    weights = {gene for genes in space.genes_by_tensor.values() for gene in genes.values()}
    return LearningForecast(weights=len(weights))


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
    if is_large(largest):
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


def dry_run_record(plan: DryRun, speeds: Speeds) -> dict[str, object]:
    run, settings, memory = plan.run, plan.run.settings.first, plan.memory
    main, parts = run.searches[0], plan.cost.parts
    return {
        "name": run.config.name,
        "device": run.config.device,
        "missing_device": plan.missing_device,
        "base": run.config.base,
        "sources": dict(run.config.sources),
        "parameters": run.models.skeleton.n_parameters,
        "items": {
            **{split: len(items) for split, items in run.items.items()},
            "duplicates": run.data.duplicates,
            "unused": run.data.unused,
        },
        "near_duplicates": asdict(run.data.near),
        "search": {
            "preset": settings.preset.name,
            "strategy": settings.strategy,
            "settings": dict(settings.settings),
            "population": main_batch(main.strategy),
            "screen": asdict(settings.screen),
            "methods": list(settings.methods),
            "groups": settings.groups,
            "genes": [{**asdict(axis), "start": axis.first} for axis in run.axes],
        },
        "controls": [search.name for search in run.all_searches[1:]],
        "baselines": list(run.baselines),
        "answers": {
            "at_most": plan.cost.answers,
            "parts": [{**asdict(part), "answers": part.answers} for part in parts],
        },
        "memory": {
            "live_bytes": memory.live,
            "live_models": memory.n_live,
            "cache_bytes": None if memory.batch is None else memory.batch.bytes,
            "source_bytes": dict(memory.sources),
            "to_download_bytes": dict(memory.missing),
            **({} if memory.batch is None else memory.batch.record),
        },
        "learning": asdict(plan.learning),
        "speed": asdict(speeds),
        "seconds": speeds.run_seconds(plan.cost, run.config.workers),
        "paths": None if plan.paths is None else asdict(plan.paths),
        "first_recipe": run.first.to_dict(),
        "notes": list(plan.notes),
        "warnings": list(plan.warnings),
        "prompts": dict(plan.prompts),
    }
