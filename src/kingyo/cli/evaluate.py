"""The command ``evaluate``."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import errors_beside, print_json
from kingyo.cli.options import AllowPickle, AsJson, Device, Kind, Model, TrustRemoteCode
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError, unknown_name_error
from kingyo.io.files import write_bytes, write_text
from kingyo.types import MEDIA, Progress, ignore_progress

if TYPE_CHECKING:
    from kingyo.models.kinds import Live, LoadOptions, ModelKind
    from kingyo.stats import Interval
    from kingyo.types import Item, ItemScore, Split, Task

TaskFile = Annotated[
    Path, typer.Argument(metavar="TASK.yaml", help="A task file, a run.yaml or a run folder.")
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="fit, validation, test or all.  \\[default: test]")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Number of items in a batch.")]
AnswersFile = Annotated[
    Path | None,
    typer.Option(
        "--answers",
        help="Also write all answers to this JSONL file; pictures go to a folder named media next to it.",
    ),
]

_MAX_LINE = 1 << 24  # bytes of the first line of earlier answers


def evaluate(
    model: Model,
    task: TaskFile,
    split: SplitOption = None,
    batch_size: BatchSize = 128,
    device: Device = "cpu",
    trust_remote_code: TrustRemoteCode = False,
    allow_pickle: AllowPickle = False,
    kind: Kind = None,
    answers: AnswersFile = None,
    as_json: AsJson = False,
) -> None:
    """Score a model on a task and print the score with its confidence interval.

    With a run folder as the task, the items are those of the run. With several
    tasks, each is scored, then their weighted mean. --kind overrides the `kind`
    of a run or run.yaml.

    Example: `kingyo evaluate my-model task.yaml --split test`
    """
    if split is None:
        _require_finished(task)
    if answers is not None:
        _require_free(answers)
    from kingyo.cli.scout_progress import scoring
    from kingyo.models.kinds import LoadOptions

    chosen = "test" if split is None else split
    options = LoadOptions(
        device=device, batch_size=batch_size, remote_code=trust_remote_code, allow_pickle=allow_pickle
    )
    counted = nullcontext(ignore_progress) if as_json else scoring()
    with redirect_stdout(sys.stderr), counted as progress:  # output of graders
        opened, items, scores = _score(model, kind, task, chosen, options, progress)
    by_task = _by_task(opened, items, scores)
    record = _record(model, opened, chosen, by_task)
    with errors_beside(record) if as_json else nullcontext():
        try:
            if answers is not None:
                _write_answers(answers, items, scores)
        finally:
            if as_json:
                print_json(record)
            else:
                _print_score(model, opened, chosen, by_task)
    cut = sum(each.is_cut for each in scores)
    if cut and not as_json:
        echo(f"{cut:,} of {len(scores):,} answers were cut at max_new_tokens.")


def load_model(
    model: str, kind_name: str | None, check: Callable[[ModelKind], None], options: LoadOptions
) -> Live:
    """Load a model, with its LoRA if it has one. ``check`` may refuse its kind before weights are read."""
    from kingyo.run.model_kind import load_checkpoint, open_alone

    checkpoint, kind = open_alone(model, kind_name, allow_pickle=options.allow_pickle)
    check(kind)
    return load_checkpoint(checkpoint, kind, options)


def _score(
    model: str, kind: str | None, task: Path, split: str, options: LoadOptions, progress: Progress
) -> tuple[Task, Sequence[Item], Sequence[ItemScore]]:
    """Return the task, its items of a split, and the model's score on each."""
    from kingyo.cli.advice import note_versions
    from kingyo.run.model_kind import require_answers
    from kingyo.run.open_task import kind_in, open_task
    from kingyo.runners.evaluate import scores_of
    from kingyo.store import RunStore

    opened = open_task(task)
    if task.is_dir():
        with RunStore.read(task) as store:
            note_versions(store, "evaluated")
    items = _items(opened, split)
    live = load_model(model, kind or kind_in(task), partial(require_answers, opened), options)
    return opened, items, scores_of(opened, live, items, progress)


def _by_task(task: Task, items: Sequence[Item], scores: Sequence[ItemScore]) -> dict[str, Interval]:
    from kingyo.stats import Groups, interval
    from kingyo.tasks import weights_of

    pairs = list(zip(scores, items, strict=True))
    return {
        name: interval(
            [score.score for score, item in pairs if item.task == name],
            Groups.of(item.group for item in items if item.task == name),
            seed=0,
        )
        for name in weights_of(task)
    }


def _record(model: str, task: Task, split: str, by_task: Mapping[str, Interval]) -> dict[str, object]:
    from kingyo.stats import interval_json

    record = {
        "model": model,
        "task": task.name,
        "split": split,
        **(interval_json(_mean(task, by_task)) or {}),
    }
    if len(by_task) > 1:
        record["tasks"] = {name: interval_json(each) for name, each in by_task.items()}
    return record


def _print_score(model: str, task: Task, split: str, by_task: Mapping[str, Interval]) -> None:
    from kingyo.stats import mean_name
    from kingyo.tasks import weights_of

    lines = {f"{model} on {name or task.name} ({split})": each for name, each in by_task.items()}
    if len(by_task) > 1:
        mean = mean_name(list(weights_of(task).values()))
        lines[f"{mean.capitalize()} of {len(by_task)} tasks"] = _mean(task, by_task)
    for name, each in lines.items():
        echo(f"{name}: {each.in_percent('%')}, n = {each.size}")


def _mean(task: Task, by_task: Mapping[str, Interval]) -> Interval:
    from kingyo.stats import weighted_mean
    from kingyo.tasks import weights_of

    return weighted_mean(list(by_task.values()), list(weights_of(task).values()))


def _require_finished(task: Path) -> None:
    """Refuse to read the test split of an unfinished run by default."""
    from kingyo.store import RunStore

    if not task.is_dir():
        return
    with RunStore.read(task) as store:
        status = store.status()
    if status != "finished":
        raise KingyoError(
            str(task),
            expected="a finished run, whose test split has been read",
            received=f"a run that is {status}",
            remedy=f"Continue it with `kingyo resume {shlex.quote(str(task))}`, or add --split.",
        )


def _items(task: Task, split: str) -> Sequence[Item]:
    from kingyo.types import SPLITS

    if split == "all":
        return [item for each in SPLITS for item in task.items(each)]
    if split not in SPLITS:
        raise unknown_name_error("--split", split, (*SPLITS, "all"))
    chosen: Split = split
    return task.items(chosen)


def _require_free(answers: Path) -> None:
    """Refuse a path that is not a new file or earlier answers, such as a model or the task."""
    is_new = not answers.exists() and answers.parent.is_dir() and answers.name != MEDIA
    if is_new or (answers.is_file() and _holds_answers(answers)):
        if not os.access(answers.parent, os.W_OK):
            raise _unwritable("a file in a read-only folder")
        return
    raise KingyoError(
        "--answers",
        expected="a new file in an existing folder, or an earlier file of answers",
        received=str(answers),
        remedy="Name another file.",
    )


def _unwritable(received: str) -> KingyoError:
    return KingyoError(
        "--answers",
        expected="a file that can be written",
        received=received,
        remedy="Name another file.",
    )


def _holds_answers(file: Path) -> bool:
    with file.open("rb") as stream:
        line = stream.readline(_MAX_LINE)
    try:
        row: object = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and row.keys() >= {"id", "answer", "score", "cut"}


def _write_answers(path: Path, items: Sequence[Item], scores: Sequence[ItemScore]) -> None:
    pictures = {each.media.name: each.media for each in scores if each.media is not None}
    lines = [
        json.dumps(
            {
                "id": item.id,
                **({"task": item.task} if item.task else {}),
                "prompt": item.prompt,
                **({"images": item.images} if item.media else {}),
                **({} if item.seed is None else {"seed": item.seed}),
                "reference": item.answer,
                "answer": each.answer,
                **({} if each.media is None else {"picture": f"{MEDIA}/{each.media.name}"}),
                "score": each.score,
                "cut": each.is_cut,
            },
            ensure_ascii=False,
        )
        for item, each in zip(items, scores, strict=True)
    ]
    try:
        for name, picture in pictures.items():
            write_bytes(path.parent / MEDIA / name, picture.read())
        write_text(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise _unwritable(error.strerror or str(error)) from error
