"""The command ``evaluate``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.as_json import errors_beside, print_json
from kingyo.cli.options import AsJson, Kind, Model, declared, require_writable, unwritable
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.files import write_bytes, write_text
from kingyo.types import MEDIA

if TYPE_CHECKING:
    from kingyo.api.scoring import ModelScores
    from kingyo.models.kinds import Live, LoadOptions, ModelKind

REMOTE_CODE = {"names": ("--trust-remote-code",)}


@declared(
    "kingyo.models.kinds:LoadOptions",
    *("device", "batch_size", "remote_code", "allow_pickle"),
    batch_size={"min": 1},
    remote_code=REMOTE_CODE,
)
def evaluate(
    options: LoadOptions,
    model: Model,
    task: Annotated[
        Path, typer.Argument(metavar="TASK.yaml", help="A task file, a run.yaml or a run folder.")
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="fit, validation, test or all.  \\[default: test]")
    ] = None,
    kind: Kind = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            help="Also write all answers to this JSONL file; pictures go to a folder named media next to it.",
        ),
    ] = None,
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
        media = answers.parent / MEDIA  # the folder of pictures
        require_writable("--answers", media.parent if answers == media else answers, _are_answers)
    from kingyo.api.scoring import score
    from kingyo.cli.advice import note_versions
    from kingyo.cli.progress import Counts
    from kingyo.store import RunStore

    if task.is_dir():
        with RunStore.read(task) as store:
            note_versions(store, "evaluated")
    with redirect_stdout(sys.stderr), Counts(quiet=as_json) as progress:  # output of graders
        scores = score(model, task, "test" if split is None else split, kind, options, progress)
    record = scores.to_json()
    with errors_beside(record) if as_json else nullcontext():
        try:
            if answers is not None:
                _write_answers(answers, scores)
        finally:
            if as_json:
                print_json(record)
            else:
                _print_scores(scores)


def load_model(
    model: str, kind_name: str | None, check: Callable[[ModelKind], None], options: LoadOptions
) -> Live:
    """Load a model, with its LoRA if it has one. ``check`` may refuse its kind before weights are read."""
    from kingyo.run.model_kind import load_checkpoint, open_alone

    checkpoint, kind = open_alone(model, kind_name, allow_pickle=options.allow_pickle)
    check(kind)
    return load_checkpoint(checkpoint, kind, options)


def _print_scores(scores: ModelScores) -> None:
    from kingyo.stats import mean_name
    from kingyo.tasks import weights_of

    by_task = scores.by_task
    of = f"{scores.model} on"
    lines = {f"{of} {name or scores.task.name} ({scores.split})": each for name, each in by_task.items()}
    if len(by_task) > 1:
        mean = mean_name(list(weights_of(scores.task).values()))
        lines[f"{mean.capitalize()} of {len(by_task)} tasks"] = scores.score
    for name, each in lines.items():
        echo(f"{name}: {each.in_percent('%')}, n = {each.size}")
    if cut := sum(each.is_cut for each in scores.scores):
        echo(f"{cut:,} of {len(scores.scores):,} answers were cut at max_new_tokens.")


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


def _are_answers(begins: bytes) -> bool:
    try:
        row: object = json.loads(begins.partition(b"\n")[0])
    except ValueError:
        return False
    return isinstance(row, dict) and row.keys() >= {"id", "answer", "score", "cut"}


def _write_answers(path: Path, scores: ModelScores) -> None:
    pictures = {each.media.name: each.media for each in scores.scores if each.media is not None}
    lines = (json.dumps(each, ensure_ascii=False) for each in scores.answers())
    try:
        for name, picture in pictures.items():
            write_bytes(path.parent / MEDIA / name, picture.read())
        write_text(path, "".join(f"{line}\n" for line in lines))
    except OSError as error:
        raise unwritable("--answers", error.strerror or str(error)) from error
