"""What a run will be, before anything of it is run: whether all fits together, and what it will take.

It reads run.yaml, configs, headers, tokenizers and data; it reads no weight and writes nothing.
"""

from kingyo.outlook.cost import STAGES, Cost, Part, Stage, cost_of, total
from kingyo.outlook.look import Outlook, check, foresee
from kingyo.outlook.memory import Memory
from kingyo.outlook.pace import Leg, Pace
from kingyo.outlook.paths import Paths, foresee_paths
from kingyo.outlook.record import outlook_record
from kingyo.run.prepared import Prepared, is_like, prepare

__all__ = [
    "STAGES",
    "Cost",
    "Leg",
    "Memory",
    "Outlook",
    "Pace",
    "Part",
    "Paths",
    "Prepared",
    "Stage",
    "check",
    "cost_of",
    "foresee",
    "foresee_paths",
    "is_like",
    "outlook_record",
    "prepare",
    "total",
]
