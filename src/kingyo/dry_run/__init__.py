"""Dry runs: check a run, estimate its cost and memory, and measure its speed; nothing is written.

Reads run.yaml, configs, headers, tokenizers and data; only the measurement reads weights.
"""

from kingyo.dry_run.collect import DryRun, describe, dry_run, dry_run_record
from kingyo.dry_run.cost import STAGES, Cost, CostPart, Stage, choice_cost, remaining_cost, total
from kingyo.dry_run.images import ImageForecast
from kingyo.dry_run.learning import LearningForecast
from kingyo.dry_run.memory import MemoryForecast, PathCosts
from kingyo.dry_run.speed import Speed, Speeds, measure_speeds

__all__ = [
    "STAGES",
    "Cost",
    "CostPart",
    "DryRun",
    "ImageForecast",
    "LearningForecast",
    "MemoryForecast",
    "PathCosts",
    "Speed",
    "Speeds",
    "Stage",
    "choice_cost",
    "describe",
    "dry_run",
    "dry_run_record",
    "measure_speeds",
    "remaining_cost",
    "total",
]
