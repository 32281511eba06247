"""What a run will be, before anything of it is run: whether all fits together, and what it will take.

It reads run.yaml, configs, headers, tokenizers and data; it reads no weight and writes nothing.
"""

from kingyo.outlook.cost import STAGES, Cost, Part, Stage, cost_of, total
from kingyo.outlook.look import Outlook, describe, foresee
from kingyo.outlook.memory import Memory
from kingyo.outlook.pace import Leg, Pace
from kingyo.outlook.paths import Paths, foresee_paths
from kingyo.outlook.record import outlook_record

__all__ = [
    "STAGES",
    "Cost",
    "Leg",
    "Memory",
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
