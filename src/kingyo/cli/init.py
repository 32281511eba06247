"""The command ``init``."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.init_file import RunAnswers, run_yaml
from kingyo.cli.init_models import with_bases
from kingyo.cli.init_questions import (
    ask_answer,
    ask_base,
    ask_chat,
    ask_grader,
    ask_prompt,
    ask_sources,
    ask_task,
    parse_grader,
)
from kingyo.cli.init_task import TaskColumns, likely_answer, likely_task
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.files import write_text

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.run.run import Run

SPLIT_SIZES = {"fit": 100, "validation": 150, "test": 300}  # of a large task file

OutFile = Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The file to write.")]
BaseOption = Annotated[
    str | None,
    typer.Option("--base", help="The common base model.  \\[default: the one that a LoRA names, or none]"),
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option("--source", help="A model or a LoRA to merge, as PATH or NAME=PATH. Repeatable."),
]
TaskOption = Annotated[
    str | None,
    typer.Option("--task", help="A .jsonl or .csv file with prompts and answers, images, or both."),
]
PromptOption = Annotated[
    str | None,
    typer.Option("--prompt", help="Prompt template: {field} is filled in; {{ and }} are literal braces."),
]
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="Field with images; '' for none.  \\[default: the first with paths of images]",
    ),
]
ChatFlag = Annotated[
    bool | None,
    typer.Option(
        "--chat/--no-chat",
        help="Send prompts in the models' chat template.  \\[default: if all models have one]",
    ),
]
AnswerOption = Annotated[
    str | None,
    typer.Option(
        "--answer", help="Field with the correct answer or class.  \\[default: answer, or for images label]"
    ),
]
GraderOption = Annotated[
    str | None,
    typer.Option(
        "--grader",
        help="Grader of the answers or pictures: a name, or YAML with options; see `kingyo list graders`.",
    ),
]
LanguageOption = Annotated[
    str | None, typer.Option("--language", help="Language that answers must be in, such as ja.")
]
GroupsOption = Annotated[
    str | None,
    typer.Option(
        "--groups",
        help="Tensors that share a weight: one (all), block, kind, block+kind, tensor or layers:N.  "
        "\\[default: tensor where weights are learned by gradient, else one]",
    ),
]
CandidatesOption = Annotated[int, typer.Option("--candidates", min=1, help="Number of candidates.")]
MaxNewTokens = Annotated[
    int,
    typer.Option("--max-new-tokens", min=1, help="Maximum length of an answer. Shorter is faster."),
]

MeasureFlag = Annotated[
    bool,
    typer.Option(
        "--measure", help="Also measure which dtype and number of threads are fastest, in some seconds."
    ),
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
    groups: GroupsOption = None,
    candidates: CandidatesOption = 200,
    max_new_tokens: MaxNewTokens = 64,
    measure: MeasureFlag = False,
) -> None:
    """Write a commented run.yaml for your models and task file, and check that they fit together.

    Prompts for missing models, task, prompt and answer; with --source and
    --task, only for the grader. The models decide the kind of task: text,
    questions about images, classes of images, or pictures to draw.

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
        source = ask_sources(_named)
    base, sources = with_bases(base, _named(source))
    base = None if base is None else _relative(base, folder)
    sources = {name: _relative(each, folder) for name, each in sources.items()}
    run = _opened(out, base, sources)
    columns = _columns(ask_task() if task is None else task, run.kind, prompt, answer, images, asks=asks)
    chosen = None if grader is None else parse_grader(grader)
    if chosen is None and columns.kind != "classify":
        chosen = ask_grader(columns, folder)
    answers = RunAnswers(
        name=_safe(out.stem),
        base=base,
        sources=sources,
        columns=replace(columns, data=_relative(columns.data, folder)),
        grader=[chosen, {"language": language}] if language else chosen,
        splits=_splits(Path(columns.data)),
        chat=_chat(run, columns, chat, asks=asks),
        groups=groups,
        candidates=candidates,
        max_new_tokens=max_new_tokens,
        frame=run.models.frame,
    )
    whole, findings = _write_checked(out, answers, run)
    for finding in findings:
        echo(finding)
    if measure:
        _measure(whole)
    echo(f"Wrote {out}. Next: kingyo evolve {shlex.quote(str(out))}")


def _columns(
    task: str,
    kind: ModelKind,
    prompt: str | None,
    answer: str | None,
    images: str | None,
    *,
    asks: bool,
) -> TaskColumns:
    """Return the columns of the task: the given ones; ask for the others, or take the most likely ones."""
    columns = likely_task(task, kind, images)
    if asks and columns.images is not None:
        echo(f"The images are in the field {columns.images!r}. Change it with --images.")
    if prompt is not None:
        columns = replace(columns, prompt=prompt.replace("\\n", "\n"))  # shells do not replace it
    elif asks and columns.kind != "classify":
        columns = replace(columns, prompt=ask_prompt(columns))
    columns = replace(columns, answer=likely_answer(columns) if answer is None else answer)
    if asks and answer is None and columns.kind != "draw":
        columns = replace(columns, answer=ask_answer(columns))
    if not asks and answer is None and columns.kind == "generate":
        _require_other_field(task, columns)
    if not asks and (prompt is None or answer is None):
        echo(f"Read from {task}: {columns}. Change them with {columns.flags}.")
    return columns


def _require_other_field(task: str, columns: TaskColumns) -> None:
    """Refuse a prompt that shows the right answer, because the data have no other field."""
    if f"{{{columns.answer}}}" in columns.prompt:
        raise KingyoError(
            "--answer",
            expected=f"a field of {task} with the right answer, besides those of the prompt",
            received=f"only {', '.join(columns.cells)}",
            remedy="Add such a field, name one with --answer, or separate the columns by commas.",
        )


def _chat(run: Run, columns: TaskColumns, chosen: bool | None, *, asks: bool) -> bool | None:
    """Return whether prompts are sent in the chat template; None if that is unknown."""
    from kingyo.run.prompts import is_written_out, templates_of

    if chosen is not None:
        if chosen:
            _require_template(run)
        return chosen
    if columns.kind != "generate":
        return True if columns.kind == "vqa" else None
    templates = templates_of(run)
    if not all(templates.values()):
        return None
    if is_written_out(columns.prompt, templates):
        return False
    is_used = ask_chat() if asks else True
    if is_used:
        _require_template(run)
    return is_used


def _require_template(run: Run) -> None:
    """Refuse a chat template that cannot be parsed, before a run.yaml that uses it is written."""
    from kingyo.run.prompts import reads_like
    from kingyo.vocabulary.templates import read_template, syntax_fault

    folder = reads_like(run)
    fault = syntax_fault(read_template(folder) or "")
    if fault is not None:
        raise KingyoError(
            f"chat template of {folder}",
            expected="a Jinja template that can be parsed",
            received=fault,
            remedy="Fix it (chat_template.jinja or tokenizer_config.json), or use --no-chat and --prompt.",
        )


def _write_checked(out: Path, answers: RunAnswers, run: Run) -> tuple[Run, list[str]]:
    """Write the file if its models and data fit together, and return its run and a description of them."""
    import yaml

    from kingyo.dry_run import describe
    from kingyo.run.config_file import load_config

    text = run_yaml(answers)
    config = load_config(out, yaml.safe_load(text))
    run = run.with_config(config)
    findings = describe(run)
    try:
        write_text(out, text)
    except OSError as error:
        raise KingyoError(
            str(out),
            expected="a file that can be written",
            received=error.strerror or str(error),
            remedy="Choose a folder that you may write to, on a disk with free space.",
        ) from error
    if run.models.frame is not None and answers.columns.images is None:
        findings.append("The task is text only; --images names a field with images.")
    return run, findings


def _measure(run: Run) -> None:
    """Measure and print what the dry run does."""
    from kingyo.cli.dry_run import speed_lines
    from kingyo.dry_run import measure_speeds

    echo("Measuring the speed of dtypes and threads…", err=True)
    with redirect_stdout(sys.stderr):
        speeds = measure_speeds(run, is_timed=False)
    for line in speed_lines(speeds):
        echo(line)


def _opened(out: Path, base: str | None, sources: Mapping[str, str]) -> Run:
    """Open the models of a run without a task yet; of those on the Hub only configs and headers are read."""
    from kingyo.run.config_file import load_config
    from kingyo.run.run import Run

    task = {"data": "unknown", "grader": "exact"}
    config = load_config(out, {"base": base, "sources": sources, "task": task, "budget": {"candidates": 1}})
    return Run.open(config, out.parent, fetch=False)


def _named(sources: Sequence[str]) -> dict[str, str]:
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
        named[name] = reference
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


def _relative(reference: str, folder: Path) -> str:
    """Return existing paths in a reference relative to a folder; names on the Hub are unchanged."""
    from kingyo.checkpoints.model_reference import parse_reference

    parsed = parse_reference(reference)
    paths = {
        part: os.path.relpath(name, folder)
        for part, name in (("model", parsed.model), ("lora", parsed.lora))
        if name and Path(name).exists()
    }
    return str(replace(parsed, **paths))
