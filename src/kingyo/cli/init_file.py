"""The commented run.yaml that ``kingyo init`` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from string import Template

from kingyo.cli.init_task import TaskColumns, TaskKind

KINDS: Mapping[TaskKind, str] = {
    "generate": "items with a prompt and a correct answer",
    "vqa": "questions about images",
    "classify": "images and their classes",
    "draw": "prompts of pictures",
}
COMMENTS = {
    "images": "the column, or a list of columns",
    "prompt": "{field} is filled in; {{ and }} are literal braces",
    "chat": "true: sent as a user message in the models' chat template; false: sent unchanged",
    "seed": "the column of the seed of the noise",
    "steps": "denoising steps",
    "stop": "an answer ends before this text, or when the model ends it",
}
FILE = Template("""\
# Settings of a run. Start it with `kingyo evolve`. Paths are relative to this file.
name: $name
seed: 0

# The common base model, and the models to merge.
$base
sources:
$sources
# The task: $kind.
# The search sees only the fit split; validation helps to pick the winner; test is read once at the end.
task:
  name: $name
$task\
  splits: $splits

# What is searched: parameters (how weights are merged), dataflow (the path of layers), or hybrid (first
# parameters, then dataflow). For dataflow, delete search, and everything in merge except dtype.
# space: parameters

# How candidates are merged (`kingyo list methods`). A range is searched; a number is fixed.
# groups: one | kind | block | block+kind | tensor | layers:N. Each parameter has one value per group.
# Default: each tensor where weights are learned by gradient, else all tensors together.
merge:
$frame\
  method: $method
  $groups
  parameters:
    weight: {from: 0.0, to: $most}
  # The dtype of candidates and of the exported model. The dry run measures which is faster on this machine:
  # kingyo evolve FILE --dry-run
  dtype: float32

# The search: a Gaussian process that scores each candidate on 32 items, or fewer if a small budget only has
# item_evaluations. In between, weights are learned by gradient from right answers to items of fit, if models,
# method and task allow it; the dry run says so. `learn: false` never learns, and with `learn: true` a run
# that cannot is an error. `search: {strategy: NAME}` is another strategy (`kingyo list strategies`), and
# `search: {preset: NAME}` named settings (`kingyo list presets`). If the preset has a merge method, delete
# merge.method and merge.parameters.
# learn: false
# search:
#   strategy: cma-es
#   screen: {items: 32}

# The search ends at the first limit that is reached: candidates, item_evaluations or minutes.
budget:
  candidates: $candidates

# Controls to compare the winner with: a random search, a grid. Each costs as much as the search.
# `kingyo control RUN random` adds one to a finished run. `trained: true` or `false` is about a LoRA; without
# it a short training (`trained: 0.25`) follows where items have reference answers that the graders accept.
controls: {random: false, grid: false}

# CPU threads. Default: 1 for models below 10 million parameters, else one per core. The dry run measures
# other numbers.
# threads: 1
""")


@dataclass(frozen=True, kw_only=True)
class InitOptions:
    """The options of ``kingyo init``.

    Attributes:
        base: the common base model. Default: the one that a LoRA names, or none.
        source: a model or a LoRA to merge, as PATH or NAME=PATH. Repeatable.
        task: a .jsonl or .csv file with prompts and answers, images, or both.
        prompt: prompt template: {field} is filled in; {{ and }} are literal braces.
        images: field with images; '' for none. Default: the first with paths of images.
        chat: send prompts in the models' chat template. Default: if all models have one.
        answer: field with the correct answer or class. Default: answer, or for images label.
        grader: grader of the answers or pictures: a name, or YAML with options; see ``kingyo list graders``.
        language: language that answers must be in, such as ja.
        groups: tensors that share a weight: one (all), block, kind, block+kind, tensor or layers:N. Default:
            tensor where weights are learned by gradient, else one.
        candidates: number of candidates.
        max_new_tokens: maximum length of an answer. Shorter is faster.
    """

    base: str | None = None
    source: list[str] | None = None
    task: str | None = None
    prompt: str | None = None
    images: str | None = None
    chat: bool | None = None
    answer: str | None = None
    grader: str | None = None
    language: str | None = None
    groups: str | None = None
    candidates: int = 200
    max_new_tokens: int = 64


@dataclass(frozen=True, kw_only=True)
class RunAnswers:
    """The content of a new run.yaml. Paths are relative to it; ``splits`` is a line of YAML.

    Attributes:
        options: its base, chat (None writes no line), groups (None writes them as a comment), candidates and
            max_new_tokens.
        grader: as in the file; None without one.
        frame: the model that sees.
    """

    name: str
    options: InitOptions
    sources: Mapping[str, str]
    columns: TaskColumns
    grader: object
    splits: str
    frame: str | None = None


def run_yaml(answers: RunAnswers) -> str:
    options, frame = answers.options, answers.frame
    has_base = options.base is not None
    comments = {key: f"    # {text}" for key, text in COMMENTS.items()}
    sees = f"  frame: {_flow(frame)}    # gives image encoder, projector, embeddings and head\n"
    return FILE.substitute(
        name=answers.name,
        base=f"base: {_flow(options.base)}" if has_base else "# base: path/to/base   (most methods need it)",
        sources="".join(f"  {name}: {_flow(each)}\n" for name, each in answers.sources.items()),
        kind=KINDS[answers.columns.kind],
        task="".join(f"  {key}: {text}{comments.get(key, '')}\n" for key, text in _keys(answers)),
        splits=answers.splits,
        frame="" if frame is None else sees,
        method="task_arithmetic" if has_base else "linear",
        groups="# groups: one" if options.groups is None else f"groups: {_flow(options.groups)}",
        most="1.5" if has_base else "1.0",
        candidates=options.candidates,
    )


def _keys(answers: RunAnswers) -> Iterator[tuple[str, str]]:
    columns, chat = answers.columns, answers.options.chat
    yield from ((key, _flow(value)) for key, value in columns.keys.items())
    if chat is not None:
        yield "chat", _flow(chat)
    if answers.grader is not None:
        yield "grader", _flow(answers.grader)
    if columns.kind == "draw":
        yield "steps", "20"
    elif columns.kind != "classify":
        yield "max_new_tokens", str(answers.options.max_new_tokens)
        if not chat:  # instruct models write blank lines, and end their answers themselves
            yield "stop", _flow(["\n\n"])


def _flow(value: object) -> str:
    import yaml

    as_json = json.dumps(value, ensure_ascii=False)
    if "\\n" in as_json:  # yaml would fold it
        return as_json
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
