"""Tasks: items in splits, and graders that score a model's answers.

One task: ``load_task_spec`` -> ``load_items`` -> ``make_splits`` -> ``build_task``.
Several tasks: ``load_splits`` -> ``build_tasks``.
"""

from kingyo.tasks.combined import LoadedItems as LoadedItems
from kingyo.tasks.combined import LoadedSplits as LoadedSplits
from kingyo.tasks.combined import SeveralTasks as SeveralTasks
from kingyo.tasks.combined import build_task as build_task
from kingyo.tasks.combined import build_tasks as build_tasks
from kingyo.tasks.combined import examples_of as examples_of
from kingyo.tasks.combined import load_items as load_items
from kingyo.tasks.combined import load_splits as load_splits
from kingyo.tasks.combined import require_measures as require_measures
from kingyo.tasks.combined import require_teaching as require_teaching
from kingyo.tasks.combined import set_measures_of as set_measures_of
from kingyo.tasks.combined import single_tasks as single_tasks
from kingyo.tasks.combined import splits_of as splits_of
from kingyo.tasks.combined import weights_of as weights_of
from kingyo.tasks.graders.grader import GRADERS as GRADERS
from kingyo.tasks.graders.grader import Grader as Grader
from kingyo.tasks.kinds import TASK_KINDS as TASK_KINDS
from kingyo.tasks.kinds import GradedSettings as GradedSettings
from kingyo.tasks.kinds import TextSettings as TextSettings
from kingyo.tasks.kinds import read_text_item as read_text_item
from kingyo.tasks.rows import with_images as with_images
from kingyo.tasks.spec import Sizes as Sizes
from kingyo.tasks.spec import TaskSpec as TaskSpec
from kingyo.tasks.spec import load_task_spec as load_task_spec
from kingyo.tasks.spec import measure_name as measure_name
from kingyo.tasks.spec import parse_task_spec as parse_task_spec
from kingyo.tasks.spec import settings_of as settings_of
from kingyo.tasks.splits import NearDuplicates as NearDuplicates
from kingyo.tasks.splits import make_splits as make_splits
from kingyo.tasks.splits import near_groups as near_groups
