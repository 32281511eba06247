"""The command ``init``, and the commented run.yaml that it writes."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kingyo.cli.init_questions import (
    ANSWER,
    ask_answer,
    ask_base,
    ask_grader,
    ask_prompt,
    ask_sources,
    ask_task,
    likely_answer,
    likely_prompt,
    read_fields,
)
from kingyo.cli.terminal import echo
from kingyo.errors import KingyoError
from kingyo.io.files import write_text

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
ChatFlag = Annotated[bool, typer.Option("--chat", help="Use the chat template of the models.")]
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
    chat: ChatFlag = False,
    answer: AnswerOption = None,
    grader: GraderOption = None,
    language: LanguageOption = None,
    groups: GroupsOption = "one",
    candidates: CandidatesOption = 200,
    max_new_tokens: MaxNewTokens = 64,
) -> None:
    """Write a commented run.yaml for your models and task file, and check that they fit together.

    Prompts for missing models, task, prompt and answer; with --source and
    --task, only for the grader.

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
    if prompt is not None:
        prompt = prompt.replace("\\n", "\n")  # shells do not replace it
    prompt, answer = _prompt_and_answer(task, prompt, answer, asks=asks)
    answers = _Answers(
        name=_safe(out.stem),
        base=_relative(base, folder),
        sources=_named(source, folder),
        data=_relative(task, folder) or task,
        prompt=prompt,
        answer=answer,
        grader=grader or ask_grader(task, prompt, answer, folder),
        language=language,
        splits=_splits(Path(task)),
        chat=chat,
        groups=groups,
        candidates=candidates,
        max_new_tokens=max_new_tokens,
    )
    for finding in _write_checked(out, _run_yaml(answers)):
        echo(finding)
    echo(f"Wrote {out}. Next: kingyo evolve {shlex.quote(str(out))}")


def _prompt_and_answer(task: str, prompt: str | None, answer: str | None, *, asks: bool) -> tuple[str, str]:
    """Ask for the prompt and the answer field if they are missing, or take the most likely fields."""
    if prompt is not None and answer is not None:
        return prompt, answer
    fields = read_fields(task)
    if prompt is None:
        prompt = ask_prompt(task, fields) if asks else likely_prompt(fields)
    if answer is None:
        answer = ask_answer(task, prompt, fields) if asks else likely_answer(fields, prompt)
    if not asks:
        echo(
            f"Read from {task}: prompt {prompt!r}, answer {answer!r}. Change them with --prompt and --answer."
        )
    return prompt, answer


def _write_checked(out: Path, text: str) -> list[str]:
    """Write the file if its models and data fit together, and return a description of them."""
    import yaml

    from kingyo.dry_run import describe
    from kingyo.run.config_file import load_config
    from kingyo.run.run import Run

    findings = describe(Run.open(load_config(out, yaml.safe_load(text)), out.parent))
    try:
        write_text(out, text)
    except OSError as error:
        raise KingyoError(
            str(out),
            expected="a file that can be written",
            received=error.strerror or str(error),
            remedy="Choose a folder that you may write to, on a disk with free space.",
        ) from error
    return findings


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


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """All settings of the file. Paths are relative to the file; ``splits`` is a line of YAML."""

    name: str
    base: str | None
    sources: Mapping[str, str]
    data: str
    prompt: str
    answer: str
    grader: str
    language: str | None
    splits: str
    chat: bool
    groups: str
    candidates: int
    max_new_tokens: int


_CHAT = "  chat: true    # sent as a user message in the models' chat template\n"


def _run_yaml(answers: _Answers) -> str:
    return "\n".join((_models(answers), _task(answers), _search(answers)))


def _models(answers: _Answers) -> str:
    sources = "\n".join(f"  {name}: {_flow(reference)}" for name, reference in answers.sources.items())
    base = (
        "# base: path/to/base   (most methods need it)"
        if answers.base is None
        else f"base: {_flow(answers.base)}"
    )
    return f"""\
# Settings of a run. Start it with `kingyo evolve`. Paths are relative to this file.
name: {answers.name}
seed: 0

# The common base model, and the models to merge.
{base}
sources:
{sources}
"""


def _task(answers: _Answers) -> str:
    prompt = json.dumps(answers.prompt, ensure_ascii=False)
    grader = [answers.grader, {"language": answers.language}] if answers.language else answers.grader
    return f"""\
# The task: items with a prompt and a correct answer. The search sees only the fit split; validation helps
# to pick the winner; test is read once at the end.
task:
  name: {answers.name}
  data: {_flow(answers.data)}
  prompt: {prompt}    # {{field}} is filled in; {{{{ and }}}} are literal braces
{_CHAT if answers.chat else ""}\
  answer: {_flow(answers.answer)}
  grader: {_flow(grader)}
  max_new_tokens: {answers.max_new_tokens}
  stop: ["\\n\\n"]    # an answer ends before this text, or when the model ends it
  splits: {answers.splits}
"""


def _search(answers: _Answers) -> str:
    return f"""\
# What is searched: parameters (how weights are merged), dataflow (the path of layers), or hybrid (first
# parameters, then dataflow). For dataflow, delete search, and everything in merge except dtype.
# space: parameters

# How candidates are merged (`kingyo list methods`). A range is searched; a number is fixed.
# groups: one | kind | block | block+kind | layers:N. Each parameter has one value per group of tensors.
merge:
  method: {"linear" if answers.base is None else "task_arithmetic"}
  groups: {_flow(answers.groups)}
  parameters:
    weight: {{from: 0.0, to: {"1.0" if answers.base is None else "1.5"}}}
  # The dtype of candidates and of the exported model. Most CPUs are faster in float32 than in 16 bits.
  dtype: float32

# The search strategy (`kingyo list strategies`). This is the strategy of the preset fast: a Gaussian process
# that scores each candidate on 32 items, or fewer if a small budget only has item_evaluations.
# `preset: NAME` instead uses named settings (`kingyo list presets`). If the preset has a merge method, delete
# merge.method and merge.parameters.
search:
  strategy: item-gp
  # screen: {{items: 32}}

# The search ends at the first limit that is reached: candidates, item_evaluations or minutes.
budget:
  candidates: {answers.candidates}

# Controls to compare the winner with: a random search, a grid, a trained LoRA. Each costs as much as the
# search. `kingyo control RUN random` adds one to a finished run.
controls: {{random: false, grid: false, trained: false}}

# CPU threads. Default: 1 for models below 10 million parameters, else one per core.
# threads: 1
"""


def _flow(value: object) -> str:
    """Return a value as one line of YAML."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
