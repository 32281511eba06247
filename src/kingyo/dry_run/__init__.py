"""Dry runs: check a run and estimate its cost and memory, without weights and without writing.

Reads run.yaml, configs, headers, tokenizers and data.
"""

from kingyo.dry_run.collect import DryRun, describe, dry_run
from kingyo.dry_run.cost import STAGES, Cost, CostPart, Stage, remaining_cost, total
from kingyo.dry_run.memory import MemoryForecast
from kingyo.dry_run.path_costs import PathCosts, estimate_paths
from kingyo.dry_run.record import dry_run_record

__all__ = [
    "STAGES",
    "Cost",
    "CostPart",
    "DryRun",
    "MemoryForecast",
    "PathCosts",
    "Stage",
    "describe",
    "dry_run",
    "dry_run_record",
    "estimate_paths",
    "remaining_cost",
    "total",
]
