"""Score what tuning must not lose: items of other abilities, before and after it.

The fact ``kept`` has the scores of the bred model and of each tuned one. Their mean is over all items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from kingyo.core.io.units import counted
from kingyo.core.types import Item, Split, Task
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints import Checkpoint
from kingyo.runs.config import RunConfig
from kingyo.runs.config_file import specs_in
from kingyo.runs.model_kind import check_items, load_checkpoint, load_options, require_answers
from kingyo.runs.setup import Setup
from kingyo.search.runners.evaluate import scores_of
from kingyo.stats import ROUNDING, Groups
from kingyo.store import Fact
from kingyo.tasks import build_task, build_tasks, load_items, load_splits
from kingyo.tasks.kinds import Splits

DATA = (".jsonl", ".csv")
HIDDEN: tuple[Split, ...] = ("validation", "test")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Scores on items of other abilities.

    Attributes:
        file: their file, as the user named it.
        limit: points that a tuned model may lose.
        items: hash of the items.
        groups: item -> group.
        scores: candidate -> item -> score; candidate 0 is the bred model.
    """

    file: str
    limit: float
    items: str
    groups: Mapping[str, str]
    scores: Mapping[str, Mapping[str, float]]

    def mean(self, candidate: int) -> float:
        own = self.scores[str(candidate)].values()
        return sum(own) / len(own)

    def pair(self, candidate: int) -> tuple[list[float], list[float]]:
        """Return the scores of a candidate and of the bred model, item by item."""
        own, bred = self.scores[str(candidate)], self.scores["0"]
        return [own[item] for item in bred], [*bred.values()]

    @property
    def groups_of_items(self) -> Groups | None:
        """Items that belong together, in the order of the scores."""
        return Groups.of(self.groups[item] for item in self.scores["0"])

    def refusal(self, candidate: int) -> str | None:
        """Return why a candidate must not be chosen; None if it may."""
        lost = 100 * (self.mean(0) - self.mean(candidate))
        if lost <= self.limit + 100 * ROUNDING:
            return None
        n = len(self.scores["0"])
        return (
            f"it loses {lost:.1f} points on {self.file} (n = {n:,}), and at most {self.limit:g} may be lost"
        )


KEPT = Fact("kept", Kept)
"""The scores so far, with ``keep``."""


def open_kept(run: Setup, file: str) -> tuple[Task, Sequence[Item]]:
    """Open the items to keep: those for test of a task file, or all if it names no splits or is plain data.

    Raises:
        KingyoError: there is no such file, it is no task, it has items of the run's validation or test, which
            what is kept must not decide by, or the models cannot read or answer it.
    """
    path = run.folder / file
    if not path.is_file():
        expected = "a task file, or a .jsonl or .csv file with items for the run's task"
        remedy = "Correct the path; in a run.yaml it begins at the folder of that file."
        raise KingyoError("tune.keep", expected, f"no file {path}", remedy)
    is_data = path.suffix in DATA
    try:
        task = _task_of(run.config, path, run.folder) if is_data else _task_in(path)
    except KingyoError as error:
        raise error.placed("tune.keep") from error
    require_answers(task, run.kind)
    hidden = {item.id.removeprefix(f"{item.task}/") for split in HIDDEN for item in run.items[split]}
    n_shared = sum(item.id.rpartition("/")[2] in hidden for item in task.items("test"))
    if n_shared:
        expected = "items that are not in the run's validation or test, because they help to choose a LoRA"
        remedy = "Take them out of the file, or name other data."
        raise KingyoError("tune.keep", expected, f"{file}, with {counted(n_shared, 'item')} of them", remedy)
    try:
        check_items(task, run.kind, run.models.skeleton.path)
    except KingyoError as error:
        raise error.placed(file) from error
    return task, task.items("test")


def _task_in(path: Path) -> Task:
    """Build the tasks of a file with their test items, or with all items if it names no splits."""
    specs = specs_in(path)
    splits: Splits = load_splits(specs, path.parent).splits
    if not any("splits" in spec.model_fields_set for spec in specs.values()):
        splits = {"fit": (), "validation": (), "test": (*chain.from_iterable(splits.values()),)}
    return build_tasks(specs, splits, path.parent)


def _task_of(config: RunConfig, data: Path, folder: Path) -> Task:
    specs = [*config.specs.values()]
    if len(specs) > 1:
        remedy = "Write a task file that names the data and its grader."
        raise KingyoError("tune.keep", "a task file, in a run of several tasks", str(data), remedy)
    spec = specs[0].model_copy(update={"data": str(data.resolve())})
    items = load_items(spec, folder).items
    return build_task(spec, {"fit": (), "validation": (), "test": items}, folder)


def score_kept(run: Setup, models: Mapping[int, Callable[[], Checkpoint]]) -> Kept | None:
    """Score the candidates that have no scores yet, and store those of each.

    Args:
        run: a run with ``tune`` that has begun.
        models: number of a candidate -> opens it; 0 is the bred model.

    Returns:
        The scores; None without ``keep``.

    Raises:
        KingyoError: the items have changed since the first of them were scored.
    """
    wanted, store = run.config.tune, run.begun
    if wanted is None or wanted.keep is None:
        return None
    task, items = open_kept(run, wanted.keep)
    kept = store.fact(KEPT) or Kept(
        file=wanted.keep,
        limit=wanted.limit,
        items=_hash(items),
        groups={item.id: item.group for item in items},
        scores={},
    )
    if kept.items != _hash(items):
        remedy = "Restore the file, and continue."
        raise KingyoError(wanted.keep, "the items that the tuning began with", "other ones", remedy)
    for number, open_model in models.items():
        if str(number) not in kept.scores:
            live = load_checkpoint(open_model(), run.kind, load_options(run.config))
            scores = {each.item: each.score for each in scores_of(task, live, items)}
            kept = replace(kept, scores={**kept.scores, str(number): scores})
            store.set_fact(KEPT, kept)
    return kept


def _hash(items: Sequence[Item]) -> str:
    text = "\n".join(repr((item.id, item.prompt, item.answer)) for item in items)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
