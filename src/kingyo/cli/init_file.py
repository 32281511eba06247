"""The commented run.yaml that ``kingyo init`` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from string import Template
from typing import Literal, TypeAlias, cast

TaskKind: TypeAlias = Literal["generate", "vqa", "classify", "draw"]
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
  # The dtype of candidates and of the exported model.
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

# CPU threads. Default: 1 for models below 10 million parameters, else one per core.
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


def run_yaml(
    options: InitOptions,
    name: str,
    sources: Mapping[str, str],
    task: Mapping[str, object],
    grader: object,
    splits: str,
    *,
    frame: str | None,
) -> str:
    """Return the text of a run.yaml; paths are relative to it.

    Args:
        options: their chat may be None, which writes no line; groups of None become a comment.
        name: of the run and its task.
        sources: name -> reference.
        task: its kind unless it is text, data and columns.
        grader: as in the file; None without one.
        splits: a line of YAML.
        frame: the model that sees.
    """
    has_base, kind = options.base is not None, cast(TaskKind, task.get("kind", "generate"))
    keys = {key: _flow(value) for key, value in task.items()}
    if options.chat is not None:
        keys["chat"] = _flow(options.chat)
    if grader is not None:
        keys["grader"] = _flow(grader)
    if kind == "draw":
        keys["steps"] = "20"
    elif kind != "classify":
        keys["max_new_tokens"] = str(options.max_new_tokens)
        if not options.chat:  # instruct models write blank lines, and end their answers themselves
            keys["stop"] = _flow(["\n\n"])
    comments = {key: f"    # {text}" for key, text in COMMENTS.items()}
    sees = f"  frame: {_flow(frame)}    # gives image encoder, projector, embeddings and head\n"
    return FILE.substitute(
        name=name,
        base=f"base: {_flow(options.base)}" if has_base else "# base: path/to/base   (most methods need it)",
        sources="".join(f"  {key}: {_flow(each)}\n" for key, each in sources.items()),
        kind=KINDS[kind],
        task="".join(f"  {key}: {text}{comments.get(key, '')}\n" for key, text in keys.items()),
        splits=splits,
        frame="" if frame is None else sees,
        method="task_arithmetic" if has_base else "linear",
        groups="# groups: one" if options.groups is None else f"groups: {_flow(options.groups)}",
        most="1.5" if has_base else "1.0",
        candidates=options.candidates,
    )


def _flow(value: object) -> str:
    import yaml

    as_json = json.dumps(value, ensure_ascii=False)
    if "\\n" in as_json:  # yaml would fold it
        return as_json
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
