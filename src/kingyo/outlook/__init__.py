"""Dry runs: check a run and estimate its cost and memory, without weights and without writing.

Reads run.yaml, configs, headers, tokenizers and data.
"""

from kingyo.outlook.cost import STAGES, Cost, Part, Stage, cost_of, total
from kingyo.outlook.look import Outlook, describe, foresee
from kingyo.outlook.memory import MemoryForecast
from kingyo.outlook.pace import Leg, Pace
from kingyo.outlook.paths import Paths, foresee_paths
from kingyo.outlook.record import outlook_record

__all__ = [
    "STAGES",
    "Cost",
    "Leg",
    "MemoryForecast",
    "Outlook",
    "Pace",
    "Part",
    "Paths",
    "Stage",
    "cost_of",
    "describe",
    "foresee",
    "foresee_paths",
    "outlook_record",
    "total",
]
