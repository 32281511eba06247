"""The command ``init``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.init_columns import ANSWER, TaskColumns, likely_answer, likely_columns
from kingyo.cli.init_file import RunAnswers, run_yaml
from kingyo.cli.init_questions import ask_answer, ask_base, ask_grader, ask_prompt, ask_sources, ask_task
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.files import write_text

if TYPE_CHECKING:
    from kingyo.run.run import Run

SPLIT_SIZES = {"fit": 100, "validation": 150, "test": 300}  # of a large task file

OutFile = Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The file to write.")]
BaseOption = Annotated[str | None, typer.Option("--base", help="The common base model.")]
SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", help="A model to merge, as PATH or NAME=PATH. Repeatable."),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="A .jsonl or .csv file with prompts and answers.")
]
PromptOption = Annotated[
    str | None,
    typer.Option("--prompt", help="Prompt template: {field} is filled in; {{ and }} are literal braces."),
]
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="Field with images, for questions about them; '' for none.  "
        "\\[default: the first with paths of images]",
    ),
]
ChatFlag = Annotated[
    bool | None,
    typer.Option(
        "--chat/--no-chat",
        help="Use the chat template of the models.  \\[default: for questions about images]",
    ),
]
AnswerOption = Annotated[
    str | None,
    typer.Option("--answer", help=f"Field with the correct answer.  \\[default: {ANSWER}]"),
]
GraderOption = Annotated[
    str | None, typer.Option("--grader", help="Grader of the answers; see `kingyo list graders`.")
]
LanguageOption = Annotated[
    str | None, typer.Option("--language", help="Language that answers must be in, such as ja.")
]
GroupsOption = Annotated[
    str,
    typer.Option(
        "--groups", help="Tensors that share a weight: one (all), block, kind, block+kind or layers:N."
    ),
]
CandidatesOption = Annotated[int, typer.Option("--candidates", min=1, help="Number of candidates.")]
MaxNewTokens = Annotated[
    int,
    typer.Option("--max-new-tokens", min=1, help="Maximum length of an answer. Shorter is faster."),
]


def init(
    out: OutFile = Path("run.yaml"),
    base: BaseOption = None,
    source: SourceOption = None,
    task: TaskOption = None,
    prompt: PromptOption = None,
    images: ImagesOption = None,
    chat: ChatFlag = None,
    answer: AnswerOption = None,
    grader: GraderOption = None,
    language: LanguageOption = None,
    groups: GroupsOption = "one",
    candidates: CandidatesOption = 200,
    max_new_tokens: MaxNewTokens = 64,
) -> None:
    """Write a commented run.yaml for your models and task file, and check that they fit together.

    Prompts for missing models, task, prompt and answer; with --source and
    --task, only for the grader. A field with images makes a task of questions
    about images; then one model must see.

    Example: `kingyo init --base base --source a --source b --task quiz.jsonl --grader exact`
    """
    if out.exists():
        raise KingyoError(
            str(out), expected="a new file", received="an existing file", remedy="Choose another name."
        )
    if not out.parent.is_dir():
        raise KingyoError(
            str(out),
            expected="a file in an existing folder",
            received=f"no folder {out.parent}",
            remedy="Create the folder, or choose another.",
        )
    folder, asks = out.parent, not (source and task)
    if not source:
        base = ask_base() if base is None else base
        source = ask_sources(partial(_named, folder=folder))
    task = ask_task() if task is None else task
    columns = _columns(task, prompt, answer, images, asks=asks)
    answers = RunAnswers(
        name=_safe(out.stem),
        base=_relative(base, folder),
        sources=_named(source, folder),
        data=_relative(task, folder) or task,
        columns=columns,
        grader=grader or ask_grader(columns, folder),
        language=language,
        splits=_splits(Path(task)),
        chat=chat,
        groups=groups,
        candidates=candidates,
        max_new_tokens=max_new_tokens,
    )
    for finding in _write_checked(out, answers):
        echo(finding)
    echo(f"Wrote {out}. Next: kingyo evolve {shlex.quote(str(out))}")


def _columns(
    task: str, prompt: str | None, answer: str | None, images: str | None, *, asks: bool
) -> TaskColumns:
    """Return the columns of the task: the given ones; ask for the others, or take the most likely ones."""
    columns = likely_columns(task, images)
    if asks and columns.images is not None:
        echo(f"The images are in the field {columns.images!r}. Change it with --images.")
    if prompt is not None:
        columns = replace(columns, prompt=prompt.replace("\\n", "\n"))  # shells do not replace it
    elif asks:
        columns = replace(columns, prompt=ask_prompt(columns))
    columns = replace(columns, answer=likely_answer(columns) if answer is None else answer)
    if asks and answer is None:
        columns = replace(columns, answer=ask_answer(columns))
    if not asks and (prompt is None or answer is None):
        echo(f"Read from {task}: {columns}. Change them with {columns.flags}.")
    return columns


def _write_checked(out: Path, answers: RunAnswers) -> list[str]:
    """Write the file if its models and data fit together, and return a description of them."""
    from kingyo.dry_run import describe

    run = _opened(out, answers)
    findings = describe(run)
    try:
        write_text(out, run_yaml(replace(answers, frame=run.models.frame)))
    except OSError as error:
        raise KingyoError(
            str(out),
            expected="a file that can be written",
            received=error.strerror or str(error),
            remedy="Choose a folder that you may write to, on a disk with free space.",
        ) from error
    if run.models.frame is not None and answers.columns.images is None:
        findings.append("The task is text only; --images names a field with images.")
    return findings


def _opened(out: Path, answers: RunAnswers) -> Run:
    """Open the run of the file, after checking that a model sees if the task has images."""
    import yaml

    from kingyo.run.config_file import load_config
    from kingyo.run.run import Run
    from kingyo.tasks.picture_grader import PICTURE_GRADERS
    from kingyo.types import AnswersImages, DrawsPictures

    if answers.grader in PICTURE_GRADERS.names():
        raise _draws("--grader", f"'{answers.grader}', which grades pictures")
    config, images = load_config(out, yaml.safe_load(run_yaml(answers))), answers.columns.images
    run = Run.open(config, out.parent, fetch=False)
    if DrawsPictures in run.kind.provides:
        raise _draws("--source", f"models of kind {run.kind.name}, which draw")
    if images is not None and AnswersImages not in run.kind.provides:
        raise KingyoError(
            "--source",
            expected=f"a model that sees, for the images in {images!r} of {answers.data}",
            received=f"models of kind {run.kind.name}",
            remedy="Add a vision-language model, or write --images '' for a task without images.",
        )
    return run


def _draws(argument: str, received: str) -> KingyoError:
    return KingyoError(
        argument,
        expected="a run whose models write text, because `kingyo init` writes no other",
        received=received,
        remedy="Copy the run.yaml at the top of docs/pictures.md: it names the judge and the column of the "
        "right class, as in `grader: {classifier: {model: judge, label: motif}}`.",
    )


def _named(sources: Sequence[str], folder: Path) -> dict[str, str]:
    """Name each source: NAME=PATH, or the last part of the path."""
    named: dict[str, str] = {}
    for source in sources:
        name, _, reference = source.rpartition("=")
        name = _safe(name or Path(reference).name)
        if name in named:
            raise KingyoError(
                "--source",
                expected="different names",
                received=f"'{name}' twice",
                remedy="Name each model with NAME=PATH.",
            )
        named[name] = _relative(reference, folder) or reference
    return named


def _splits(data: Path) -> str:
    """Return the splits: shares of a small file, or fixed numbers of items of a large one."""
    try:
        rows = sum(bool(line.strip()) for line in data.read_bytes().splitlines())
    except OSError:
        rows = 0  # a missing file is reported when the file is checked
    if rows < 2 * sum(SPLIT_SIZES.values()):
        return "{fit: 0.5, validation: 0.25, test: 0.25, seed: 0}"
    return f"{{{', '.join(f'{split}: {n}' for split, n in SPLIT_SIZES.items())}, seed: 0}}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._") or "model"


def _relative(reference: str | None, folder: Path) -> str | None:
    """Return an existing path relative to a folder; other references, such as Hub names, are unchanged."""
    if not reference or not Path(reference).exists():
        return reference
    return os.path.relpath(reference, folder)
