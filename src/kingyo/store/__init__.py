"""The run database: one SQLite file with the full state of a run.

It commits each write at once, so a killed process loses only the evaluation in flight.
"""

from kingyo.store.database import OPTIONS
from kingyo.store.records import EvaluationRow, NewTrial, StoredOutcome, StoredTrial
from kingyo.store.run_store import RunStore
from kingyo.types import DATABASE

__all__ = ["DATABASE", "OPTIONS", "EvaluationRow", "NewTrial", "RunStore", "StoredOutcome", "StoredTrial"]
