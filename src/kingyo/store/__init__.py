"""The run database: one SQLite file with the full state of a run.

It commits each write at once, so a killed process loses only the evaluation in flight.
"""

from kingyo.core.types import DATABASE as DATABASE
from kingyo.store.run_store import OPTIONS as OPTIONS
from kingyo.store.run_store import RunStore as RunStore
from kingyo.store.run_store import require_new as require_new
from kingyo.store.trial_log import CONFIG as CONFIG
from kingyo.store.trial_log import NOTES as NOTES
from kingyo.store.trial_log import WARNINGS as WARNINGS
from kingyo.store.trial_log import EvaluationRow as EvaluationRow
from kingyo.store.trial_log import Fact as Fact
from kingyo.store.trial_log import StoredTrial as StoredTrial
