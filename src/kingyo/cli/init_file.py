"""The commented run.yaml that ``kingyo init`` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class RunAnswers:
    """All settings of the file. Paths are relative to the file; ``splits`` is a line of YAML.

    Attributes:
        grader: as in the file; None without one.
        chat: None writes no line.
        groups: None writes them as a comment.
        frame: the model that sees.
    """

    name: str
    base: str | None
    sources: Mapping[str, str]
    columns: TaskColumns
    grader: object
    splits: str
    chat: bool | None
    groups: str | None
    candidates: int
    max_new_tokens: int
    frame: str | None = None


def run_yaml(answers: RunAnswers) -> str:
    """Return the text of the file."""
    return "\n".join((_models(answers), _task(answers), _merge(answers), _search(answers)))


def _models(answers: RunAnswers) -> str:
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


def _task(answers: RunAnswers) -> str:
    lines = "".join(f"  {key}: {text}{_comment(key)}\n" for key, text in _keys(answers))
    return f"""\
# The task: {KINDS[answers.columns.kind]}.
# The search sees only the fit split; validation helps to pick the winner; test is read once at the end.
task:
  name: {answers.name}
{lines}\
  splits: {answers.splits}
"""


def _keys(answers: RunAnswers) -> Iterator[tuple[str, str]]:
    """Yield the keys of the task and their values as YAML."""
    columns = answers.columns
    yield from ((key, _flow(value)) for key, value in columns.keys.items())
    if answers.chat is not None:
        yield "chat", _flow(answers.chat)
    if answers.grader is not None:
        yield "grader", _flow(answers.grader)
    if columns.kind == "draw":
        yield "steps", "20"
    elif columns.kind != "classify":
        yield "max_new_tokens", str(answers.max_new_tokens)
        if not answers.chat:  # instruct models write blank lines, and end their answers themselves
            yield "stop", _flow(["\n\n"])


def _comment(key: str) -> str:
    return f"    # {COMMENTS[key]}" if key in COMMENTS else ""


def _merge(answers: RunAnswers) -> str:
    return f"""\
# What is searched: parameters (how weights are merged), dataflow (the path of layers), or hybrid (first
# parameters, then dataflow). For dataflow, delete search, and everything in merge except dtype.
# space: parameters

# How candidates are merged (`kingyo list methods`). A range is searched; a number is fixed.
# groups: one | kind | block | block+kind | tensor | layers:N. Each parameter has one value per group.
# Default: each tensor where weights are learned by gradient, else all tensors together.
merge:
{_frame(answers.frame)}\
  method: {"linear" if answers.base is None else "task_arithmetic"}
  {"# groups: one" if answers.groups is None else f"groups: {_flow(answers.groups)}"}
  parameters:
    weight: {{from: 0.0, to: {"1.0" if answers.base is None else "1.5"}}}
  # The dtype of candidates and of the exported model. The dry run measures which is faster on this machine:
  # kingyo evolve FILE --dry-run
  dtype: float32
"""


def _frame(name: str | None) -> str:
    if name is None:
        return ""
    return f"  frame: {_flow(name)}    # gives image encoder, projector, embeddings and head\n"


def _search(answers: RunAnswers) -> str:
    return f"""\
# The search: a Gaussian process that scores each candidate on 32 items, or fewer if a small budget only has
# item_evaluations. In between, weights are learned by gradient from right answers to items of fit, if models,
# method and task allow it; the dry run says so. `learn: false` never learns, and with `learn: true` a run
# that cannot is an error. `search: {{strategy: NAME}}` is another strategy (`kingyo list strategies`), and
# `search: {{preset: NAME}}` named settings (`kingyo list presets`). If the preset has a merge method, delete
# merge.method and merge.parameters.
# learn: false
# search:
#   strategy: cma-es
#   screen: {{items: 32}}

# The search ends at the first limit that is reached: candidates, item_evaluations or minutes.
budget:
  candidates: {answers.candidates}

# Controls to compare the winner with: a random search, a grid. Each costs as much as the search.
# `kingyo control RUN random` adds one to a finished run. `trained: true` or `false` is about a LoRA; without
# it a short training (`trained: 0.25`) follows where items have reference answers that the graders accept.
controls: {{random: false, grid: false}}

# CPU threads. Default: 1 for models below 10 million parameters, else one per core. The dry run measures
# other numbers.
# threads: 1
"""


def _flow(value: object) -> str:
    """Return a value as one line of YAML."""
    import yaml

    as_json = json.dumps(value, ensure_ascii=False)
    if "\\n" in as_json:  # yaml would fold it
        return as_json
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
