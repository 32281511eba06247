"""The command ``init``: few questions, a task guessed from the models and its first row, a commented file.

Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, cast

import typer

from kingyo.cli.init_file import InitOptions, TaskKind, run_yaml
from kingyo.cli.options import declared, unwritable
from kingyo.cli.output import echo
from kingyo.core.io.files import write_text
from kingyo.errors import KingyoError, suggest

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.runs.run import Run

T = TypeVar("T")

SPLIT_SIZES = {"fit": 100, "validation": 150, "test": 300}  # of a large task file
MIN_ROWS = 4
PROMPTS: Mapping[TaskKind, Sequence[str]] = {"vqa": ("question", "prompt"), "draw": ("prompt", "caption")}
"""Usual names of the column of the prompt; `prompt` for other kinds."""
ANSWERS: Mapping[TaskKind, Sequence[str]] = {"vqa": ("answer", "answers"), "classify": ("label", "class")}
"""Usual names of the column of the right answer; `answer` for other kinds."""
UNLIKELY = ("id", "index", "split", "seed")
"""Columns that are rarely the prompt or the answer."""
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")


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

    Prompts for missing models, task and grader. The models decide the kind of
    task: text, questions about images, classes of images, or pictures to draw.

    Example: `kingyo init --base base --source a --source b --task quiz.jsonl --grader exact`
    """
    folder, base, source = out.parent, options.base, options.source
    if out.exists():
        raise KingyoError(str(out), "a new file", "an existing file", "Choose another name.")
    if not folder.is_dir():
        remedy = "Create the folder, or choose another."
        raise KingyoError(str(out), "a file in an existing folder", f"no folder {folder}", remedy)
    if not source:
        base = base or _ask("Base model (folder or Hub name; empty if there is none)", str, default="")
        source = _ask_sources()
    data = options.task
    if data is None:
        data = _ask("Task file (.jsonl or .csv with prompts or images, and answers)", _with_rows)
    base, sources = _with_bases(base or None, _named(source))
    base = None if base is None else _relative(base, folder)
    sources = {name: _relative(each, folder) for name, each in sources.items()}
    run = _opened(out, base, sources)
    task = _task_keys(options, data, run.kind)
    chat = _chat(run, task, options.chat)
    grader = None if options.grader is None else _parse_grader(options.grader)
    if grader is None and task.get("kind") != "classify":
        grader = _ask_grader(task, folder)
    if options.language:
        grader = [grader, {"language": options.language}]
    text = run_yaml(
        replace(options, base=base, chat=chat),
        _safe(out.stem),
        sources,
        {**task, "data": _relative(data, folder)},
        grader,
        _splits(Path(data)),
        frame=run.models.frame,
    )
    run = _write_checked(out, text, run)
    if run.models.frame is not None and "images" not in task:
        echo("The task is text only; --images names a field with images.")
    echo(f"Wrote {out}. Next: kingyo evolve {shlex.quote(str(out))}")


def _task_keys(options: InitOptions, data: str, model: ModelKind) -> dict[str, object]:
    """Return the keys of the task in the run.yaml: columns that are not given are the most likely ones."""
    from kingyo.tasks.rows import parse_list

    cells = {name: parse_list(cell) for name, cell in _first_row(data).items()}
    images = options.images
    if images and images not in cells:
        raise KingyoError("--images", f"a field of {data}", f"{images!r}", suggest(images, cells))
    if images is None:
        images = next((name for name, cell in cells.items() if _is_image(cell)), None)
    kind = _kind_of_task(model, data, images or None)
    fields = [each for each in cells if each != images] or list(cells)

    def likely(usual: Sequence[str]) -> list[str]:
        named = [each for each in usual if each in cells]
        return [*named, *(each for each in fields if each.lower() not in UNLIKELY), *fields]

    prompt = "" if kind == "classify" else f"{{{likely(PROMPTS.get(kind, ('prompt',)))[0]}}}"
    if options.prompt is not None:
        prompt = options.prompt.replace("\\n", "\n")  # shells do not replace it
    answer = options.answer
    if answer is None:
        answers = likely(ANSWERS.get(kind, ("answer",)))
        answer = next((each for each in answers if f"{{{each}}}" not in prompt), answers[0])
    columns: dict[str, object] = {"prompt": prompt}
    if kind == "classify":
        columns = {"image": images, "label": answer}
    elif kind == "draw":
        columns |= {"seed": "seed"} if "seed" in cells else {}
    else:
        if kind == "vqa":
            columns = {"images": images, **columns}
        elif options.answer is None and f"{{{answer}}}" in prompt:
            expected = f"a field of {data} with the right answer, besides those of the prompt"
            remedy = "Add such a field, name one with --answer, or separate the columns by commas."
            raise KingyoError("--answer", expected, f"only {', '.join(cells)}", remedy)
        has_several = kind == "vqa" and isinstance(cells.get(answer), list)
        columns["answers" if has_several else "answer"] = answer or None
    if options.prompt is None or options.answer is None:
        read = ", ".join(f"{key} {value!r}" for key, value in columns.items())
        echo(f"Read from {data}: {read}. Change them with --images, --prompt and --answer.")
    return {**({} if kind == "generate" else {"kind": kind}), "data": data, **columns}


def _first_row(data: str) -> Mapping[str, object]:
    """Return the columns of the first row. All rows are read, so that a broken line is reported now."""
    from kingyo.tasks.rows import read_rows

    rows = list(read_rows(data, Path()))
    if len(rows) < MIN_ROWS or not rows[0].columns:
        expected = f"at least {MIN_ROWS} rows with fields, for three splits"
        raise KingyoError(data, expected, str(len(rows)), "Add rows to the file, or name another.")
    return rows[0].columns


def _is_image(cell: object) -> bool:
    paths = cast("Sequence[object]", cell) if isinstance(cell, list) else [cell]
    return bool(paths) and all(
        isinstance(each, str) and "://" not in each and Path(each).suffix.lower() in IMAGE_FILES
        for each in paths
    )


def _kind_of_task(model: ModelKind, data: str, images: str | None) -> TaskKind:
    from kingyo.core.types import AnswersImages, DrawsImages, RatesClasses

    if DrawsImages in model.provides:
        return "draw"
    if images is not None and AnswersImages in model.provides:
        return "vqa"
    if (RatesClasses in model.provides) == (images is not None):
        return "generate" if images is None else "classify"
    if images is None:
        expected = f"a field with an image for models of kind {model.name}"
        remedy = "Name the field with paths of images."
        raise KingyoError("--images", expected, f"{data}, whose first row has none", remedy)
    expected = f"a model that sees, for the images in {images!r} of {data}"
    remedy = "Add a vision-language model, or write --images '' for a task without images."
    raise KingyoError("--source", expected, f"models of kind {model.name}", remedy)


def _chat(run: Run, task: Mapping[str, object], chosen: bool | None) -> bool | None:
    """Return whether prompts are sent in the chat template; None if that is unknown."""
    from kingyo.merging.vocabulary.tokenizer_json import read_template, syntax_fault
    from kingyo.runs.preflight import is_written_out, reads_like, templates_of

    if chosen is None:
        if "kind" in task:
            return True if task["kind"] == "vqa" else None
        templates = templates_of(run)
        if not all(templates.values()):
            return None
        chosen = not is_written_out(str(task["prompt"]), templates)
    folder = reads_like(run)
    fault = syntax_fault(read_template(folder) or "") if chosen else None
    if fault is not None:
        remedy = "Fix it (chat_template.jinja or tokenizer_config.json), or use --no-chat and --prompt."
        raise KingyoError(f"chat template of {folder}", "a Jinja template that can be parsed", fault, remedy)
    return chosen


def _opened(out: Path, base: str | None, sources: Mapping[str, str]) -> Run:
    """Open the models of a run without a task yet; of those on the Hub only configs and headers are read."""
    from kingyo.runs.config_file import load_config
    from kingyo.runs.run import Run

    task = {"data": "unknown", "grader": "exact"}
    config = load_config(out, {"base": base, "sources": sources, "task": task, "budget": {"candidates": 1}})
    return Run.open(config, out.parent, fetch=False)


def _write_checked(out: Path, text: str, run: Run) -> Run:
    """Write the file if models and data fit together, and print what was found."""
    import yaml

    from kingyo.cli.dry_run import gene_line, item_lines
    from kingyo.runs.config_file import load_config
    from kingyo.runs.preflight import check, notes, warnings

    run = run.with_config(load_config(out, yaml.safe_load(text)))
    check(run)
    try:
        write_text(out, text)
    except OSError as error:
        raise unwritable(str(out), error.strerror or str(error)) from error
    for line in (*item_lines(run, {}), gene_line(run.axes), *(f"note: {note}" for note in notes(run))):
        echo(line)
    for warning in warnings(run):
        echo(f"Warning: {warning}.")
    echo("All fits together.")
    return run


def _named(sources: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for source in sources:
        name, _, reference = source.rpartition("=")
        name = _safe(name or Path(reference).name)
        if name in named:
            remedy = "Name each model with NAME=PATH."
            raise KingyoError("--source", "different names", f"'{name}' twice", remedy)
        named[name] = reference
    return named


def _with_bases(base: str | None, sources: Mapping[str, str]) -> tuple[str | None, Mapping[str, str]]:
    """Return the base, and the sources with each LoRA written after its model.

    The model is the given base, else the one that the config or the card of the LoRA names, as for a scout.
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
        if [place.is_adapter and place.on is None for place in each] == [True]
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
    rows = sum(bool(line.strip()) for line in data.read_bytes().splitlines())
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


def _with_rows(data: str) -> str:
    _first_row(data)
    return data


def _ask_sources() -> list[str]:
    """Ask for two or more models with different names."""
    models: list[str] = []

    def check(model: str) -> str:
        _named([*models, model] if model else models)
        return model

    while True:
        is_optional = len(models) > 1
        hint = "; empty to continue" if is_optional else ""
        question = f"Model {len(models) + 1} to merge (folder or Hub name{hint})"
        model = _ask(question, check, default="" if is_optional else None)
        if not model:
            return models
        models.append(model)


def _ask_grader(task: Mapping[str, object], folder: Path) -> object:
    """Ask for a grader that can grade the items; ``folder`` is that of the grader's files."""

    def check(text: str) -> object:
        from kingyo.tasks import Sizes, build_task, load_items, make_splits, parse_task_spec

        grader = _parse_grader(text)
        spec = parse_task_spec({**task, "grader": grader})
        build_task(spec, make_splits(load_items(spec, Path()).items, Sizes()), folder)
        return grader

    if task.get("kind") == "draw":
        return _ask("Grader, such as {classifier: {model: judge, label: motif}}", check)
    return _ask("Grader (exact, number, contains, or file.py:function)", check, default="exact")


def _parse_grader(text: str) -> object:
    """Return a grader, or several with options, as run.yaml has them."""
    import yaml

    try:
        return yaml.safe_load(text) if text.startswith(("{", "[")) else text
    except yaml.YAMLError as error:
        expected = "a name, or YAML such as {classifier: {model: judge, label: motif}}"
        remedy = "Close all brackets, and write a space after each colon."
        raise KingyoError("grader", expected, f"{text!r:.80}", remedy) from error


def _ask(question: str, check: Callable[[str], T], *, default: str | None = None) -> T:
    """Ask until the answer is valid."""
    line = f"{question} [{default}]" if default else question
    while True:
        try:
            if sys.stdin is None:  # closed
                raise typer.Abort
            text = str(typer.prompt(line, default=default, show_default=False))
        except typer.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):
                raise
            echo("")
            remedy = "Give options instead: --source for each model, --task, --grader, and --base if any."
            raise KingyoError("standard input", "an answer to each question", "its end", remedy) from error
        try:
            return check(text)
        except KingyoError as error:
            echo(f"Error: {error}", err=True)
