"""Collect everything known about a run before it starts, as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from kingyo.core.io.units import counted, size_text
from kingyo.core.types import SPLITS, Axis
from kingyo.errors import KingyoError
from kingyo.runs.dry_run.cost import STAGES, Cost, count_answers
from kingyo.runs.dry_run.images import ImageForecast, estimate_images
from kingyo.runs.dry_run.memory import (
    LearningForecast,
    MemoryForecast,
    PathCosts,
    estimate_memory,
    estimate_paths,
    forecast_learning,
    with_path_memory,
)
from kingyo.runs.dry_run.speed import Speeds
from kingyo.runs.model_kind import task_options
from kingyo.runs.preflight import check, check_prompts, first_prompts, notes, warnings
from kingyo.runs.run import Run
from kingyo.runs.tune import n_loras, steps_of
from kingyo.search.strategies.wrapper import main_batch

MOST_NAMES = 8
"""Genes, or families of genes, that a description names."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """Everything known about a run before it starts.

    Attributes:
        run: opened and checked, except for its weights.
        notes: settings that look like mistakes.
        warnings: settings that probably cost scores.
        prompts: the first prompt of each text task, as models read it.
        cost: number of graded answers.
        memory: memory estimate.
        learning: how weights are learned, or why they are not.
        images: estimate of image encodings and features; None if there are none, or they are unknown.
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
    paths: PathCosts | None = None
    images: ImageForecast | None = None


def dry_run(run: Run) -> DryRun:
    """Check a run and estimate its cost without reading weights.

    Args:
        run: opened; models on the Hub need only configs, tokenizers and headers.

    Raises:
        KingyoError: models, data or settings are invalid.
    """
    check(run)
    config, memory = run.config, estimate_memory(run)
    has_images = any(item.media for items in run.items.values() for item in items)
    has_chat = any(options.get("chat") for options in task_options(config, run.folder))
    if has_images or has_chat or memory.batch is None:  # else the estimate of a batch has read the prompts
        check_prompts(run)
    paths = None if run.settings.paths is None else estimate_paths(run)
    if paths is not None:
        memory = with_path_memory(memory, run, paths.longest)
    cost = count_answers(run.all_searches, len(run.baselines), run.items, config.finalists)
    tuned = 0 if config.tune is None else len(run.items["fit"])
    cost = replace(cost, training=float(config.controls.trained or 0.0), tuned=tuned)
    images = None if memory.batch is None else memory.batch.images
    return DryRun(
        run=run,
        notes=notes(run),
        warnings=warnings(run),
        prompts=first_prompts(run),
        cost=cost,
        memory=memory,
        learning=forecast_learning(run, memory.live),
        images=None if images is None else estimate_images(run, images, cost),
        paths=paths,
        missing_device=_missing_device(config.device),
    )


def describe(run: Run) -> list[str]:
    """Check models, data and settings without reading weights, and return a description in sentences."""
    check(run)
    size, n = run.models.skeleton.n_parameters, len(run.models.sources)
    splits = ", ".join(f"{len(items)} {split}" for split, items in run.items.items())
    example = run.items["fit"][0]
    near = f" {run.data.near}." if run.data.near.groups else ""
    unused = f", {run.data.unused:,} not used (see splits)" if run.data.unused else ""
    paths = None if run.settings.paths is None else estimate_paths(run)
    longest = (
        f"The longest path has {counted(paths.longest, 'layer')} and {size_text(paths.longest_bytes)} "
        "of weights."
        if paths is not None
        else None
    )
    return [
        f"{counted(n, 'model')} of {size:,} parameters {'fits' if n == 1 else 'fit together'}.",
        *([longest] if longest is not None else []),
        f"Items: {splits}{unused}; {counted(run.data.duplicates, 'duplicate')} dropped.{near}",
        f"An item: {example.in_a_line()} -> {example.answer!r}",
        f"{counted(len(run.axes), 'gene')}: {_names(run.axes)}",
        *(f"Note: {note}" for note in notes(run)),
        *(f"Warning: {warning}." for warning in warnings(run)),
    ]


def _names(axes: Sequence[Axis]) -> str:
    """Return the names of genes; of many those of their families, with the number of genes of each."""
    names = [axis.name for axis in axes]
    if len(names) > MOST_NAMES:
        families = Counter(axis.family or axis.name for axis in axes)
        names = [name if n == 1 else f"{name} ({n})" for name, n in families.items()]
    return f"{', '.join(names[:MOST_NAMES])}{', …' if len(names) > MOST_NAMES else ''}"


def dry_run_record(plan: DryRun, speeds: Speeds) -> dict[str, object]:
    run, settings = plan.run, plan.run.settings.first
    main = run.searches[0]
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
            "genes": [_gene_record(axis) for axis in run.axes],
        },
        "controls": [search.name for search in run.all_searches[1:]],
        "baselines": list(run.baselines),
        "answers": _cost_record(plan.cost),
        "memory": _memory_record(plan.memory),
        "learning": asdict(plan.learning),
        "tuning": _tuning_record(plan, speeds),
        "speed": asdict(speeds),
        "seconds": speeds.run_seconds(plan.cost, run.config.workers),
        "images": None if plan.images is None else _images_record(plan.images),
        "paths": None if plan.paths is None else asdict(plan.paths),
        "first_recipe": run.first.to_dict(),
        "notes": list(plan.notes),
        "warnings": list(plan.warnings),
        "prompts": dict(plan.prompts),
    }


def _gene_record(axis: Axis) -> dict[str, object]:
    return {
        "name": axis.name,
        "low": axis.low,
        "high": axis.high,
        "kind": axis.kind,
        "choices": list(axis.choices),
        "start": axis.first,
    }


def _cost_record(cost: Cost) -> dict[str, object]:
    return {
        "at_most": cost.answers(),
        "by_split": {split: cost.answers(split) for split in SPLITS},
        "by_stage": {
            stage: {
                "answers": cost.answers(stage=stage),
                "share": cost.share(stage),
                "seconds": cost.seconds(stage),
            }
            for stage in STAGES[1:]  # a choice of sources is planned by itself
        },
        "parts": [{**asdict(part), "answers": part.answers} for part in cost.parts],
    }


def _tuning_record(plan: DryRun, speeds: Speeds) -> dict[str, object] | None:
    n = plan.cost.tuned
    if not n:
        return None
    seconds = speeds.tuning_seconds(plan.cost)
    return {"loras": n_loras(n), "steps": steps_of(n), "seconds": seconds, "written_bytes": plan.memory.live}


def _memory_record(memory: MemoryForecast) -> dict[str, object]:
    return {
        "live_bytes": memory.live,
        "live_models": memory.n_live,
        "training_bytes": memory.training,
        "cache_bytes": None if memory.batch is None else memory.batch.bytes,
        "source_bytes": dict(memory.sources),
        "to_download_bytes": dict(memory.missing),
        **({} if memory.batch is None else memory.batch.record),
    }


def _images_record(images: ImageForecast) -> dict[str, object]:
    return {**asdict(images), "merged": list(images.merged), "excess_bytes": images.excess_bytes}


def _missing_device(device: str) -> str | None:
    """Return why a device is not available, or None: a dry run works without it."""
    if device == "cpu":
        return None
    from kingyo.models.loading import require_device  # it takes seconds

    try:
        require_device(device)
    except KingyoError as error:
        return f"device: expected {error.expected}; received {error.received}"
    return None
