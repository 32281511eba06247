"""Score a model on a task."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from kingyo.api.inputs import AnyGrader, AnyItems, with_inputs
from kingyo.api.options import AnyPath, as_path, as_reference, checked, takes
from kingyo.api.progress import SILENT, Progress
from kingyo.core.types import MEDIA, SPLITS, Item, ItemScore, Split, Task
from kingyo.errors import unknown_name_error
from kingyo.models.kinds import LoadOptions
from kingyo.runs.model_kind import load_checkpoint, open_alone, require_answers
from kingyo.runs.run import kind_in, open_task
from kingyo.search.runners.evaluate import scores_of
from kingyo.stats import Groups, Interval, interval, interval_json, weighted_mean
from kingyo.tasks import build_tasks, load_splits, parse_task_spec, weights_of
from kingyo.views.results.trial_details import answer_record


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """The scores of a model on the items of a task; with several tasks, on those of each."""

    model: str
    split: str
    task: Task
    items: Sequence[Item]
    scores: Sequence[ItemScore]

    @cached_property
    def by_task(self) -> dict[str, Interval]:
        """Name of each task -> the mean of its item scores, with its interval."""
        pairs = list(zip(self.scores, self.items, strict=True))
        return {
            name: interval(
                [score.score for score, item in pairs if item.task == name],
                Groups.of(item.group for item in self.items if item.task == name),
                seed=0,
            )
            for name in weights_of(self.task)
        }

    @property
    def score(self) -> Interval:
        """The score; of several tasks, their weighted mean."""
        return weighted_mean(list(self.by_task.values()), list(weights_of(self.task).values()))

    def __repr__(self) -> str:
        score = f"{self.score.in_percent('%')}, n={self.score.size}"
        return f"<{self.model} on {self.task.name} ({self.split}): {score}>"

    def to_json(self) -> dict[str, object]:
        record: dict[str, object] = {"model": self.model, "task": self.task.name, "split": self.split}
        record |= interval_json(self.score) or {}
        if len(self.by_task) > 1:
            record["tasks"] = {name: interval_json(each) for name, each in self.by_task.items()}
        return record

    def answers(self) -> list[dict[str, object]]:
        """Return each item with the model's answer and its score; pictures by their place in ``media``."""
        rows: list[dict[str, object]] = []
        for item, score in zip(self.items, self.scores, strict=True):
            picture = {} if score.media is None else {"picture": f"{MEDIA}/{score.media.name}"}
            rows.append({**answer_record(item, score), **picture})
        return rows


@takes(LoadOptions, "scratch")
def evaluate(
    model: AnyPath,
    task: AnyPath | Mapping[str, object],
    *,
    split: str = "test",
    kind: str | None = None,
    data: AnyItems | None = None,
    grader: AnyGrader | None = None,
    progress: Progress | None = None,
    **options: object,
) -> ModelScores:
    """Score a model on a task.

    Args:
        model: a folder, a Hub name, or ``model+lora``.
        task: a task file, a run.yaml, a run folder, or the content of a task file.
        split: ``fit``, ``validation``, ``test`` or ``all``.
        kind: kind of model, if its config does not show it; it overrides that of a run.
        data: for the content of a task file: its items, as a list of dicts or a data frame.
        grader: for the content of a task file: a function, or the name of a grader.
        progress: sees the number of items with an answer.
        options: see below.

    Raises:
        KingyoError: the model cannot be loaded, or cannot answer the items.
    """
    load, reference, shown = checked(LoadOptions, options), as_reference("model", model), progress or SILENT
    if not isinstance(task, Mapping):
        file = as_path("task", task, "or a mapping")
        return _score(reference, open_task(file), split, kind or kind_in(file), load, shown)
    with TemporaryDirectory() as inputs:
        spec = parse_task_spec(with_inputs(task, data, grader, Path(inputs)))
        specs = {spec.name: spec}
        opened = build_tasks(specs, load_splits(specs, Path()).splits, Path())
        return _score(reference, opened, split, kind, load, shown)


def _score(
    model: str, task: Task, split: str, kind: str | None, options: LoadOptions, progress: Progress
) -> ModelScores:
    items = _items(task, split)
    checkpoint, found = open_alone(model, kind, allow_pickle=options.allow_pickle)
    require_answers(task, found)
    live = load_checkpoint(checkpoint, found, options)
    scores = scores_of(task, live, items, lambda each: progress.count("scoring", each.done, each.total))
    return ModelScores(model=model, split=split, task=task, items=items, scores=scores)


def _items(task: Task, split: str) -> Sequence[Item]:
    if split == "all":
        return [item for each in SPLITS for item in task.items(each)]
    if split not in SPLITS:
        raise unknown_name_error("split", split, (*SPLITS, "all"))
    chosen: Split = split
    return task.items(chosen)
