"""Dry runs: check a run and estimate its cost and memory, without weights and without writing.

Reads run.yaml, configs, headers, tokenizers and data.
"""

from kingyo.dry_run.collect import DryRun, describe, dry_run, dry_run_record
from kingyo.dry_run.cost import STAGES, Cost, CostPart, Stage, remaining_cost, total
from kingyo.dry_run.images import ImageForecast
from kingyo.dry_run.memory import MemoryForecast, PathCosts

__all__ = [
    "STAGES",
    "Cost",
    "CostPart",
    "DryRun",
    "ImageForecast",
    "MemoryForecast",
    "PathCosts",
    "Stage",
    "describe",
    "dry_run",
    "dry_run_record",
    "remaining_cost",
    "total",
]
