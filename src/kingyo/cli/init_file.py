"""The commented run.yaml that ``kingyo init`` writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from kingyo.cli.init_columns import TaskColumns


@dataclass(frozen=True, kw_only=True)
class RunAnswers:
    """All settings of the file. Paths are relative to the file; ``splits`` is a line of YAML.

    Attributes:
        chat: None is the default of the kind of task.
        frame: the model that sees.
    """

    name: str
    base: str | None
    sources: Mapping[str, str]
    data: str
    columns: TaskColumns
    grader: str
    language: str | None
    splits: str
    chat: bool | None
    groups: str
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
    columns = answers.columns
    prompt = json.dumps(columns.prompt, ensure_ascii=False)
    grader = [answers.grader, {"language": answers.language}] if answers.language else answers.grader
    kind = "" if columns.images is None else "  kind: vqa    # questions about images\n"
    return f"""\
# The task: items with a prompt and a correct answer. The search sees only the fit split; validation helps
# to pick the winner; test is read once at the end.
task:
  name: {answers.name}
{kind}\
  data: {_flow(answers.data)}
{_images(columns.images)}\
  prompt: {prompt}    # {{field}} is filled in; {{{{ and }}}} are literal braces
{_chat(answers)}\
  {columns.answer_key}: {_flow(columns.answer)}
  grader: {_flow(grader)}
  max_new_tokens: {answers.max_new_tokens}
  stop: ["\\n\\n"]    # an answer ends before this text, or when the model ends it
  splits: {answers.splits}
"""


def _images(column: str | None) -> str:
    return "" if column is None else f"  images: {_flow(column)}    # the column, or a list of columns\n"


def _chat(answers: RunAnswers) -> str:
    """Return the line of ``chat``; without one, text tasks send the prompt unchanged."""
    images = answers.columns.images
    if answers.chat or (answers.chat is None and images is not None):
        return "  chat: true    # sent as a user message in the models' chat template\n"
    return "" if images is None else "  chat: false    # the prompt is sent unchanged\n"


def _merge(answers: RunAnswers) -> str:
    return f"""\
# What is searched: parameters (how weights are merged), dataflow (the path of layers), or hybrid (first
# parameters, then dataflow). For dataflow, delete search, and everything in merge except dtype.
# space: parameters

# How candidates are merged (`kingyo list methods`). A range is searched; a number is fixed.
# groups: one | kind | block | block+kind | layers:N. Each parameter has one value per group of tensors.
merge:
{_frame(answers.frame)}\
  method: {"linear" if answers.base is None else "task_arithmetic"}
  groups: {_flow(answers.groups)}
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

# CPU threads. Default: 1 for models below 10 million parameters, else one per core. The dry run measures
# other numbers.
# threads: 1
"""


def _flow(value: object) -> str:
    """Return a value as one line of YAML."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
