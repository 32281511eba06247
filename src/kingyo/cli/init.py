"""The command ``init``: few questions, a task guessed from the models and its first row, a commented file.

Imports are light, so that the first question appears at once.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import typer

from kingyo.cli.options import Positive, writing
from kingyo.cli.output import echo
from kingyo.core.io.files import write_text
from kingyo.core.io.units import joined
from kingyo.errors import KingyoError

if TYPE_CHECKING:
    from kingyo.models.kinds import ModelKind
    from kingyo.runs.run import Run

TaskKind: TypeAlias = Literal["generate", "vqa", "classify", "draw"]

SPLIT_SIZES = {"fit": 100, "validation": 150, "test": 300}  # of a large task file
MIN_ROWS = 4
USUAL = ("prompt", "question", "caption", "answer", "answers", "label", "class")
"""Usual names of the columns of prompts, then of right answers."""
N_PROMPTS = 3
UNLIKELY = ("id", "index", "split", "seed")
"""Columns that are rarely the prompt or the answer."""
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
COMMENTS = {
    "prompt": "{field} is filled in; {{ and }} are literal braces",
    "chat": "true: sent as a user message in the models' chat template; false: sent unchanged",
    "steps": "denoising steps",
    "stop": "an answer ends before this text, or when the model ends it",
}


def init(
    out: Path = Path("run.yaml"),
    *,
    base: str | None = None,
    source: list[str] | None = None,
    task: str | None = None,
    prompt: str | None = None,
    grader: str | None = None,
    language: str | None = None,
    groups: str | None = None,
    candidates: Positive = 200,
    max_new_tokens: Positive = 64,
) -> None:
    """Write a commented run.yaml for your models and task file, and check that they fit together.

    Prompts for missing models, task and grader; all else is guessed and can be
    changed in the file. The models decide the kind of task: text, questions about
    images, classes of images, or pictures to draw.

    Example: `kingyo init --base base --source a --source b --task quiz.jsonl --grader exact`

    Args:
        out (RUN.yaml): the file to write.
        base: the common base model. Default: the one that all LoRAs among the sources name.
        source: a model or a LoRA to merge, as PATH or NAME=PATH. Repeatable.
        task: a .jsonl or .csv file with prompts and answers, images, or both.
        prompt: prompt template: {field} is filled in; {{ and }} are literal braces.
        grader: grader of the answers or pictures: a name, or YAML with options; see `kingyo list graders`.
        language: language that answers must be in, such as ja.
        groups: tensors that share a weight: one (all), block, kind, block+kind, tensor or layers:N.
            Default: tensor where weights are learned by gradient, else one.
        candidates: number of candidates.
        max_new_tokens: maximum length of an answer. Shorter is faster.
    """
    folder = out.parent
    if out.exists():
        raise KingyoError(str(out), "a new file", "an existing file", "Choose another name.")
    if not folder.is_dir():
        remedy = "Create the folder, or choose another."
        raise KingyoError(str(out), "a file in an existing folder", f"no folder {folder}", remedy)
    if not source:
        base = base or _ask("Base model (folder or Hub name; empty if there is none)", str, default="")
        source = _ask_sources()
    if task is None:
        task = _ask("Task file (.jsonl or .csv with prompts or images, and answers)", _first_row)
    base, named = _with_base(base, _named(source))
    base = _relative(base, folder) if base else None
    sources = {name: _relative(each, folder) for name, each in named.items()}
    run = _opened(out, base, sources)
    kind, keys = _task_keys(task, prompt, run.kind)
    if kind in ("generate", "vqa"):
        chat = kind == "vqa" or _chats(run, str(keys["prompt"]))
        keys |= {} if chat is None else {"chat": chat}
        keys |= {"max_new_tokens": max_new_tokens}
        keys |= {} if chat else {"stop": ["\n\n"]}  # instruct models write blank lines
    if kind == "draw":
        keys["steps"] = 20
    graded = None if grader is None else _parse_grader(grader)
    if graded is None and kind != "classify":
        graded = _ask_grader({**keys, "data": task}, folder)
    if graded is not None:
        keys["grader"] = [graded, {"language": language}] if language else graded
    keys["data"] = _relative(task, folder)
    comments = {key: f"    # {text}" for key, text in COMMENTS.items()}
    frame = run.models.frame
    template = Template(Path(__file__).with_name("template.yaml").read_text(encoding="utf-8"))
    text = template.substitute(
        name=_safe(out.stem),
        base=f"base: {_flow(base)}" if base else "# base: path/to/base   (most methods need it)",
        sources="\n".join(f"  {key}: {_flow(each)}" for key, each in sources.items()),
        task="".join(f"\n  {key}: {_flow(each)}{comments.get(key, '')}" for key, each in keys.items()),
        splits=_splits(Path(task)),
        frame=f"\n  frame: {_flow(frame)}    # gives image encoder, embeddings and head" if frame else "",
        method="task_arithmetic" if base else "linear",
        groups="# groups: one" if groups is None else f"groups: {_flow(groups)}",
        most="1.5" if base else "1.0",
        candidates=candidates,
    )
    _write_checked(out, text, run)
    echo(f"Wrote {out}, with the columns {', '.join(f'{key} {each!r}' for key, each in keys.items())}.")
    echo(f"Next: kingyo evolve {shlex.quote(str(out))}")


def _task_keys(data: str, prompt: str | None, model: ModelKind) -> tuple[TaskKind, dict[str, object]]:
    from kingyo.core.types import AnswersImages, DrawsImages, RatesClasses
    from kingyo.tasks.rows import parse_list

    cells = {name: parse_list(cell) for name, cell in _first_row(data).items()}
    images = next((name for name, cell in cells.items() if _is_image(cell)), None)
    kind: TaskKind = "generate"
    if DrawsImages in model.provides:
        kind = "draw"
    elif RatesClasses in model.provides:
        kind = "classify"
    elif images is not None and AnswersImages in model.provides:
        kind = "vqa"
    if images is None and kind == "classify":
        expected = f"a field with the path of an image for models of kind {model.name}"
        raise KingyoError("--task", expected, f"{data}, whose first row has none", "Add such a field.")
    fields = [each for each in cells if each != images] or list(cells)

    def likely(usual: Sequence[str]) -> list[str]:
        named = [each for each in usual if each in cells]
        return [*named, *(each for each in fields if each.lower() not in UNLIKELY), *fields]

    text = f"{{{likely(USUAL[:N_PROMPTS])[0]}}}"
    if prompt is not None:
        text = prompt.replace("\\n", "\n")  # shells do not replace it
    answers = likely(USUAL[N_PROMPTS:])
    answer = next((each for each in answers if kind == "classify" or f"{{{each}}}" not in text), None)
    columns: dict[str, object] = {"prompt": text}
    if kind == "classify":
        columns = {"image": images, "label": answer}
    elif kind == "draw":
        columns |= {"seed": "seed"} if "seed" in cells else {}
    elif answer is None:
        expected = f"a field of {data} with the right answer, besides those of the prompt"
        raise KingyoError("--task", expected, f"only {', '.join(cells)}", "Add it to each row.")
    else:
        several = kind == "vqa" and isinstance(cells[answer], list)
        columns = {**({"images": images} if kind == "vqa" else {}), **columns}
        columns["answers" if several else "answer"] = answer
    return kind, {**({} if kind == "generate" else {"kind": kind}), "data": data, **columns}


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


def _chats(run: Run, prompt: str) -> bool | None:
    """Return whether prompts are sent in the chat template; None if a model has none."""
    from kingyo.runs.preflight import is_written_out, templates_of

    templates = templates_of(run)
    return not is_written_out(prompt, templates) if all(templates.values()) else None


def _opened(out: Path, base: str | None, sources: Mapping[str, str]) -> Run:
    """Open the models of a run without a task yet; of those on the Hub only configs and headers are read."""
    from kingyo.runs.config_file import load_config
    from kingyo.runs.run import Run

    task = {"data": "unknown", "grader": "exact"}
    config = load_config(out, {"base": base, "sources": sources, "task": task, "budget": {"candidates": 1}})
    return Run.open(config, out.parent, fetch=False)


def _write_checked(out: Path, text: str, run: Run) -> None:
    import yaml

    from kingyo.cli.dry_run import gene_line, item_lines
    from kingyo.runs.config_file import load_config
    from kingyo.runs.preflight import check, notes, warnings

    run = run.with_config(load_config(out, yaml.safe_load(text)))
    check(run)
    with writing(str(out)):
        write_text(out, text)
    for line in (*item_lines(run, {}), gene_line(run.axes), *(f"note: {note}" for note in notes(run))):
        echo(line)
    for warning in warnings(run):
        echo(f"Warning: {warning}.")
    echo("All fits together.")


def _named(sources: Sequence[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for source in filter(None, sources):
        name, _, reference = source.rpartition("=")
        name = _safe(name or Path(reference).name)
        if name in named:
            remedy = "Name each model with NAME=PATH."
            raise KingyoError("--source", "different names", f"'{name}' twice", remedy)
        named[name] = reference
    return named


def _with_base(base: str | None, sources: Mapping[str, str]) -> tuple[str | None, Mapping[str, str]]:
    """Return the base, or the model that all LoRAs name, and the sources with each LoRA written after it."""
    from kingyo.scout.base import Names
    from kingyo.scout.places import find_places

    unclear = {name: each for name, each in sources.items() if not (Path(each) / "config.json").is_file()}
    found = {name: find_places([reference]) for name, reference in unclear.items()}
    loras = {
        name: places[0]
        for name, places in found.items()
        if len(places) == 1 and places[0].is_adapter and places[0].on is None
    }
    named = set[str | None]() if base else set(Names([*loras.values()]).all_meant([*loras.values()]))
    if len(named) > 1 or None in named:
        expected = f"the model of {joined(list(loras))}, which their configs or cards name"
        received = joined(sorted(each or "none" for each in named))
        raise KingyoError("--base", expected, received, "Add --base MODEL.")
    base = base or next(iter(named), None)
    return base, {**sources, **{name: f"{base}+{sources[name]}" for name in loras}}


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


def _ask_sources() -> list[str]:
    models: list[str] = []

    while True:
        is_optional = len(models) > 1
        hint = "; empty to continue" if is_optional else ""
        question = f"Model {len(models) + 1} to merge (folder or Hub name{hint})"
        model = _ask(question, lambda each: _named([*models, each]), default="" if is_optional else None)
        if not model:
            return models
        models.append(model)


def _ask_grader(task: Mapping[str, object], folder: Path) -> object:

    def check(text: str) -> None:
        from kingyo.tasks import Sizes, build_task, load_items, make_splits, parse_task_spec

        spec = parse_task_spec({**task, "grader": _parse_grader(text)})
        build_task(spec, make_splits(load_items(spec, Path()).items, Sizes()), folder)

    question, default = "Grader (exact, number, contains, or file.py:function)", "exact"
    if task.get("kind") == "draw":
        question, default = "Grader, such as {classifier: {model: judge, label: motif}}", None
    return _parse_grader(_ask(question, check, default=default))


def _parse_grader(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text) if text.startswith(("{", "[")) else text
    except yaml.YAMLError as error:
        expected = "a name, or YAML such as {classifier: {model: judge, label: motif}}"
        raise KingyoError("grader", expected, f"{text!r:.80}", "Close all brackets.") from error


def _ask(question: str, check: Callable[[str], object], *, default: str | None = None) -> str:
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
            check(text)
            return text
        except KingyoError as error:
            echo(f"Error: {error}", err=True)


def _flow(value: object) -> str:
    import yaml

    as_json = json.dumps(value, ensure_ascii=False)
    if "\\n" in as_json:  # yaml would fold it
        return as_json
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
