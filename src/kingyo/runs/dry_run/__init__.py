"""Dry runs: check a run, estimate its cost and memory, and measure its speed; nothing is written.

Reads run.yaml, configs, headers, tokenizers and data; only the measurement reads weights."""

from kingyo.runs.dry_run.collect import DryRun as DryRun
from kingyo.runs.dry_run.collect import describe as describe
from kingyo.runs.dry_run.collect import dry_run as dry_run
from kingyo.runs.dry_run.collect import dry_run_record as dry_run_record
from kingyo.runs.dry_run.cost import STAGES as STAGES
from kingyo.runs.dry_run.cost import Cost as Cost
from kingyo.runs.dry_run.cost import CostPart as CostPart
from kingyo.runs.dry_run.cost import Stage as Stage
from kingyo.runs.dry_run.cost import choice_cost as choice_cost
from kingyo.runs.dry_run.cost import remaining_cost as remaining_cost
from kingyo.runs.dry_run.cost import total as total
from kingyo.runs.dry_run.images import ImageForecast as ImageForecast
from kingyo.runs.dry_run.memory import LearningForecast as LearningForecast
from kingyo.runs.dry_run.memory import MemoryForecast as MemoryForecast
from kingyo.runs.dry_run.memory import PathCosts as PathCosts
from kingyo.runs.dry_run.speed import Speed as Speed
from kingyo.runs.dry_run.speed import Speeds as Speeds
from kingyo.runs.dry_run.speed import measure_speeds as measure_speeds
