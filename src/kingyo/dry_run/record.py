"""Convert a dry run to JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TypeAlias

from kingyo.dry_run.collect import DryRun
from kingyo.dry_run.cost import STAGES, Cost
from kingyo.dry_run.memory import MemoryForecast
from kingyo.strategies.initial_points import main_batch
from kingyo.types import SPLITS, Axis

Json: TypeAlias = Mapping[str, object]


def dry_run_record(dry_run: DryRun) -> Json:
    """Return a dry run as JSON data: models, genes, search, answers, memory and the first recipe."""
    run, settings = dry_run.run, dry_run.run.settings.first
    main = run.searches[0]
    return {
        "name": run.config.name,
        "device": run.config.device,
        "missing_device": dry_run.missing_device,
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
            "genes": [_gene(axis) for axis in run.axes],
        },
        "controls": [search.name for search in run.all_searches[1:]],
        "baselines": list(run.baselines),
        "answers": _cost(dry_run.cost),
        "memory": _memory(dry_run.memory),
        "paths": None if dry_run.paths is None else asdict(dry_run.paths),
        "first_recipe": run.first.to_dict(),
        "notes": list(dry_run.notes),
    }


def _gene(axis: Axis) -> Json:
    return {
        "name": axis.name,
        "low": axis.low,
        "high": axis.high,
        "kind": axis.kind,
        "choices": list(axis.choices),
        "start": axis.first,
    }


def _cost(cost: Cost) -> Json:
    return {
        "at_most": cost.answers(),
        "by_split": {split: cost.answers(split) for split in SPLITS},
        "by_stage": {
            stage: {
                "answers": cost.answers(stage=stage),
                "share": cost.share(stage),
                "seconds": cost.seconds(stage),
            }
            for stage in STAGES
        },
        "parts": [{**asdict(part), "answers": part.answers} for part in cost.parts],
    }


def _memory(memory: MemoryForecast) -> Json:
    return {
        "live_bytes": memory.live,
        "live_models": memory.n_live,
        "cache_bytes": None if memory.batch is None else memory.batch.bytes,
        "source_bytes": dict(memory.sources),
        "to_download_bytes": dict(memory.missing),
        **({} if memory.batch is None else memory.batch.record),
    }
