"""Tasks: items in splits, and graders that score a model's answers.

One task: ``load_task_spec`` -> ``load_items`` -> ``make_splits`` -> ``build_task``.
Several tasks: ``load_splits`` -> ``build_tasks``.
"""

from kingyo.tasks.combined import (
    LoadedSplits,
    SeveralTasks,
    build_tasks,
    check_order,
    examples_of,
    load_splits,
    require_measures,
    require_teaching,
    set_measures_of,
    single_tasks,
    splits_of,
    weights_of,
)
from kingyo.tasks.graded_settings import GradedSettings
from kingyo.tasks.grader import GRADERS, Grader
from kingyo.tasks.media import with_images
from kingyo.tasks.near_duplicates import NearDuplicates, near_groups
from kingyo.tasks.spec import (
    Sizes,
    TaskSpec,
    load_task_spec,
    measure_name,
    parse_task_spec,
    settings_of,
)
from kingyo.tasks.splits import make_splits
from kingyo.tasks.task import LoadedItems, build_task, load_items
from kingyo.tasks.task_kinds import TASK_KINDS
from kingyo.tasks.text import TextSettings, read_text_item

__all__ = [
    "GRADERS",
    "TASK_KINDS",
    "GradedSettings",
    "Grader",
    "LoadedItems",
    "LoadedSplits",
    "NearDuplicates",
    "SeveralTasks",
    "Sizes",
    "TaskSpec",
    "TextSettings",
    "build_task",
    "build_tasks",
    "check_order",
    "examples_of",
    "load_items",
    "load_splits",
    "load_task_spec",
    "make_splits",
    "measure_name",
    "near_groups",
    "parse_task_spec",
    "read_text_item",
    "require_measures",
    "require_teaching",
    "set_measures_of",
    "settings_of",
    "single_tasks",
    "splits_of",
    "weights_of",
    "with_images",
]
