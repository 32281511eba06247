"""The command ``init``."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kingyo.cli.init_file import InitOptions, RunAnswers, run_yaml
from kingyo.cli.init_task import (
    TaskColumns,
    ask_answer,
    ask_base,
    ask_chat,
    ask_grader,
    ask_prompt,
    ask_sources,
    ask_task,
    likely_answer,
    likely_task,
    parse_grader,
)
from kingyo.cli.options import declared
from kingyo.cli.output import echo
from kingyo.core.io.files import write_text
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.runs.run import Run

SPLIT_SIZES = {"fit": 100, "validation": 150, "test": 300}  # of a large task file


@declared(
    "kingyo.cli.init_file:InitOptions",
    chat={"names": ("--chat/--no-chat",)},
    candidates={"min": 1},
    max_new_tokens={"min": 1},
)
def init(
    options: InitOptions,
    out: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The file to write.")] = Path("run.yaml"),
) -> None:
    """Write a commented run.yaml for your models and task file, and check that they fit together.

    Prompts for missing models, task, prompt and answer; with --source and
    --task, only for the grader. The models decide the kind of task: text,
    questions about images, classes of images, or pictures to draw.

    Example: `kingyo init --base base --source a --source b --task quiz.jsonl --grader exact`
    """
    if out.exists():
        raise KingyoError(str(out), "a new file", "an existing file", "Choose another name.")
    if not out.parent.is_dir():
        remedy = "Create the folder, or choose another."
        raise KingyoError(str(out), "a file in an existing folder", f"no folder {out.parent}", remedy)
    folder, asks, base, source = (
        out.parent,
        not (options.source and options.task),
        options.base,
        options.source,
    )
    if not source:
        base = ask_base() if base is None else base
        source = ask_sources(_named)
    base, sources = _with_bases(base, _named(source))
    base = None if base is None else _relative(base, folder)
    sources = {name: _relative(each, folder) for name, each in sources.items()}
    run = _opened(out, base, sources)
    columns = _columns(options, run.kind, asks=asks)
    grader = None if options.grader is None else parse_grader(options.grader)
    if grader is None and columns.kind != "classify":
        grader = ask_grader(columns, folder)
    answers = RunAnswers(
        name=_safe(out.stem),
        options=replace(options, base=base, chat=_chat(run, columns, options.chat, asks=asks)),
        sources=sources,
        columns=replace(columns, data=_relative(columns.data, folder)),
        grader=[grader, {"language": options.language}] if options.language else grader,
        splits=_splits(Path(columns.data)),
        frame=run.models.frame,
    )
    run = _write_checked(out, answers, run)
    echo(f"Wrote {out}. Next: kingyo evolve {shlex.quote(str(out))}")


def _columns(options: InitOptions, kind: ModelKind, *, asks: bool) -> TaskColumns:
    """Return the columns of the task: the given ones; ask for the others, or take the most likely ones."""
    task = ask_task() if options.task is None else options.task
    prompt, answer = options.prompt, options.answer
    columns = likely_task(task, kind, options.images)
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
        expected = f"a field of {task} with the right answer, besides those of the prompt"
        remedy = "Add such a field, name one with --answer, or separate the columns by commas."
        raise KingyoError("--answer", expected, f"only {', '.join(columns.cells)}", remedy)


def _chat(run: Run, columns: TaskColumns, chosen: bool | None, *, asks: bool) -> bool | None:
    """Return whether prompts are sent in the chat template; None if that is unknown."""
    from kingyo.runs.preflight import is_written_out, templates_of

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
    from kingyo.merging.vocabulary.templates import read_template, syntax_fault
    from kingyo.runs.preflight import reads_like

    folder = reads_like(run)
    fault = syntax_fault(read_template(folder) or "")
    if fault is not None:
        remedy = "Fix it (chat_template.jinja or tokenizer_config.json), or use --no-chat and --prompt."
        raise KingyoError(f"chat template of {folder}", "a Jinja template that can be parsed", fault, remedy)


def _write_checked(out: Path, answers: RunAnswers, run: Run) -> Run:
    import yaml

    from kingyo.runs.config_file import load_config
    from kingyo.runs.dry_run import describe

    text = run_yaml(answers)
    config = load_config(out, yaml.safe_load(text))
    run = run.with_config(config)
    findings = describe(run)
    try:
        write_text(out, text)
    except OSError as error:
        expected = "a file that can be written"
        remedy = "Choose a folder that you may write to, on a disk with free space."
        raise KingyoError(str(out), expected, error.strerror or str(error), remedy) from error
    if run.models.frame is not None and answers.columns.images is None:
        findings.append("The task is text only; --images names a field with images.")
    for finding in findings:
        echo(finding)
    return run


def _opened(out: Path, base: str | None, sources: Mapping[str, str]) -> Run:
    """Open the models of a run without a task yet; of those on the Hub only configs and headers are read."""
    from kingyo.runs.config_file import load_config
    from kingyo.runs.run import Run

    task = {"data": "unknown", "grader": "exact"}
    config = load_config(out, {"base": base, "sources": sources, "task": task, "budget": {"candidates": 1}})
    return Run.open(config, out.parent, fetch=False)


def _named(sources: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for source in sources:
        name, _, reference = source.rpartition("=")
        name = _safe(name or Path(reference).name)
        if name in named:
            raise KingyoError(
                "--source", "different names", f"'{name}' twice", "Name each model with NAME=PATH."
            )
        named[name] = reference
    return named


def _with_bases(base: str | None, sources: Mapping[str, str]) -> tuple[str | None, Mapping[str, str]]:
    """Return the base, and the sources with each LoRA written after its model.

    The model is the given base, else the one that the config or the card of the LoRA names, as for a scout.

    Raises:
        KingyoError: a LoRA names no model, or LoRAs name different ones and there is no base.
    """
    unclear = {name: each for name, each in sources.items() if not (Path(each) / "config.json").is_file()}
    if not unclear:
        return base, sources
    from kingyo.scout.base import Names
    from kingyo.scout.places import find_places

    found = {name: find_places([each]) for name, each in unclear.items()}
    loras = {
        name: each[0]
        for name, each in found.items()
        if [p.is_adapter and p.on is None for p in each] == [True]
    }
    places = list(loras.values())
    meant = [base] * len(places) if base is not None else Names(places).all_meant(places)
    for place, model in zip(places, meant, strict=True):
        if model is None:
            expected = f"the model of the LoRA {place.name}: its config and card name none that is here"
            raise KingyoError("--base", expected, "nothing", "Add --base MODEL.")
    if base is None and loras:
        base = meant[0]
        if len({*meant}) > 1:
            expected = "the base of the run, since LoRAs name different ones"
            received = ", ".join(f"{model} of {name}" for name, model in zip(loras, meant, strict=True))
            remedy = "Add --base MODEL for all of them, or write each as --source MODEL+LORA."
            raise KingyoError("--base", expected, received, remedy)
        echo(f"The base is {base}, as {' and '.join(loras)} name{'s' if len(loras) == 1 else ''} it.")
    models = zip(loras, meant, strict=True)
    return base, {**sources, **{name: f"{model}+{sources[name]}" for name, model in models}}


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
    from kingyo.merging.checkpoints.model_reference import parse_reference

    parsed = parse_reference(reference)
    paths = {
        part: os.path.relpath(name, folder)
        for part, name in (("model", parsed.model), ("lora", parsed.lora))
        if name and Path(name).exists()
    }
    return str(replace(parsed, **paths))
