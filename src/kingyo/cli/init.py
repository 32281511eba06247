"""The command that writes a run.yaml for a user's own models and task file, and checks them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kingyo.cli.init_questions import (
    ANSWER,
    CANDIDATES,
    MAX_NEW_TOKENS,
    InitFlags,
    ask_base,
    ask_sources,
    ask_task,
    by_default,
)
from kingyo.cli.init_yaml import InitAnswers, SearchAnswers, run_yaml
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError

ENOUGH = {"fit": 100, "validation": 150, "test": 300}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(init)


def init(
    out: Annotated[Path, typer.Argument(metavar="RUN.yaml", help="The file to write.")] = Path("run.yaml"),
    base: Annotated[str | None, typer.Option("--base", help="The common ancestor of the models.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="A model, as PATH or NAME=PATH; give it several times."),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="A .jsonl or .csv of prompts and answers.")
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", help="Template of a prompt: {field} is filled in; {{ and }} are literal braces."
        ),
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Ask through the models' chat template.")] = False,
    answer: Annotated[
        str | None,
        typer.Option("--answer", help=f"The field that holds the right answer.  \\[default: {ANSWER}]"),
    ] = None,
    grader: Annotated[str | None, typer.Option("--grader", help="See `kingyo list graders`.")] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Answers must also be in this language, such as ja.")
    ] = None,
    groups: Annotated[
        str,
        typer.Option(
            "--groups",
            help="Which tensors share a weight: one (all), block, kind, block+kind or layers:N.",
        ),
    ] = "one",
    candidates: Annotated[
        int | None,
        typer.Option("--candidates", min=1, help=f"How many merges to try.  \\[default: {CANDIDATES}]"),
    ] = None,
    max_new_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-new-tokens",
            min=1,
            help=f"The longest answer; a shorter one is cheaper.  \\[default: {MAX_NEW_TOKENS}]",
        ),
    ] = None,
) -> None:
    """Write a commented run.yaml for your models and your task file, and check that they fit together.

    What is not given by flags is asked for; with models and task given, only the grader is.

    Example: `kingyo init --base base --source a --source b --task quiz.jsonl --grader exact`
    """
    if out.exists():
        raise KingyoError(
            str(out), expected="a new file", received="one that exists", remedy="Give another name."
        )
    flags = InitFlags(
        prompt=None if prompt is None else prompt.replace("\\n", "\n"),  # shells do not
        answer=answer,
        grader=grader,
        language=language,
        candidates=candidates,
        max_new_tokens=max_new_tokens,
    )
    if source and task:
        said = by_default(flags, task, out.parent)
    else:
        base = base if base is not None or source else ask_base()
        source = source or ask_sources(partial(_named, folder=out.parent))
        said = ask_task(flags, task, out.parent)
    for finding in _write_checked(out, run_yaml(_answers(out, base, source, said, chat=chat, groups=groups))):
        echo(finding)
    echo(f"Wrote {out}. Next: kingyo evolve {shlex.quote(str(out))}")


def _answers(
    out: Path, base: str | None, sources: Sequence[str], said: SearchAnswers, *, chat: bool, groups: str
) -> InitAnswers:
    """All that the file says, with paths as it must have them."""
    return InitAnswers(
        name=_safe(out.stem),
        base=_relative(base, out.parent),
        sources=_named(sources, out.parent),
        data=_relative(said.task, out.parent) or said.task,
        splits=_splits(Path(said.task)),
        chat=chat,
        groups=groups,
        said=said,
    )


def _write_checked(out: Path, text: str) -> list[str]:
    """Write the file when all that it names fits together, else nothing; return what was found."""
    from kingyo.dry_run import describe
    from kingyo.run.config_file import load_config
    from kingyo.run.run import Run

    draft = out.with_name(f".{out.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise KingyoError(
            str(out),
            expected="a folder that can be written",
            received=str(error),
            remedy="Name a file in another folder.",
        ) from error
    try:
        findings = describe(Run.open(load_config(draft), out.parent))
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return findings


def _named(sources: Sequence[str], folder: Path) -> dict[str, str]:
    """Name each source: NAME=PATH, or the last part of the path."""
    found: dict[str, str] = {}
    for source in sources:
        name, _, reference = source.rpartition("=")
        name = _safe(name or Path(reference).name)
        if name in found:
            raise KingyoError(
                "--source", expected="different names", received=f"'{name}' twice", remedy="Use NAME=PATH."
            )
        found[name] = _relative(reference, folder) or reference
    return found


def _splits(data: Path) -> str:
    """Shares of a small file; of a large one, as many items as a search can afford to ask every time."""
    try:
        rows = sum(bool(line.strip()) for line in data.read_bytes().splitlines())
    except OSError:
        rows = 0  # a missing file is named, with a remedy, when the draft is checked
    if rows < 2 * sum(ENOUGH.values()):
        return "{fit: 0.5, validation: 0.25, test: 0.25, seed: 0}"
    return f"{{{', '.join(f'{split}: {n}' for split, n in ENOUGH.items())}, seed: 0}}"


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._") or "model"


def _relative(reference: str | None, folder: Path) -> str | None:
    """A path that exists, as seen from the file that is written; anything else stays (a Hub name)."""
    if reference is None or not Path(reference).exists():
        return reference
    return os.path.relpath(reference, folder)
