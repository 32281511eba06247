"""The commented run.yaml that ``kingyo init`` writes. Text from the user's words; it checks nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SearchAnswers:
    """What the user said of task and search, by flags or when asked. Without a prompt: the default one."""

    task: str
    prompt: str | None
    answer: str
    grader: str
    language: str | None
    candidates: int
    max_new_tokens: int


@dataclass(frozen=True, kw_only=True)
class InitAnswers:
    """All that the file says. Paths are as the file must have them; ``splits`` is a line of YAML."""

    name: str
    base: str | None
    sources: Mapping[str, str]
    data: str
    splits: str
    chat: bool
    groups: str
    said: SearchAnswers


CHAT = "  chat: true    # sent as a user's message, through the models' chat template\n"


def run_yaml(answers: InitAnswers) -> str:
    """Write the file: models, task, then how to merge and search."""
    return "\n".join((_models(answers), _task(answers), _search(answers)))


def _models(answers: InitAnswers) -> str:
    sources = "\n".join(f"  {name}: {_flow(reference)}" for name, reference in answers.sources.items())
    base = (
        "# base: path/to/base   (most methods need it)"
        if answers.base is None
        else f"base: {_flow(answers.base)}"
    )
    return f"""\
# What to breed. `kingyo evolve` reads this file; paths are relative to it.
name: {answers.name}
seed: 0

# The common ancestor, and the models that are merged.
{base}
sources:
{sources}
"""


def _task(answers: InitAnswers) -> str:
    said = answers.said
    prompt = json.dumps(said.prompt or "{prompt}", ensure_ascii=False)
    return f"""\
# The domain: items with a prompt and a right answer. Splits are made once: the search sees fit only,
# validation helps to pick the winner, test is read once at the end.
task:
  name: {answers.name}
  data: {_flow(answers.data)}
  prompt: {prompt}    # {{field}} is filled in; {{{{ and }}}} are literal braces
{CHAT if answers.chat else ""}\
  answer: {_flow(said.answer)}
  grader: {_flow([said.grader, {"language": said.language}] if said.language else said.grader)}
  max_new_tokens: {said.max_new_tokens}
  stop: ["\\n\\n"]    # an answer ends before this text, or where the model ends it
  splits: {answers.splits}
"""


def _search(answers: InitAnswers) -> str:
    return f"""\
# What is searched: parameters, how weights are merged; dataflow, which layers the tokens pass through; or
# hybrid, both in turn. For dataflow delete search, and all below merge but dtype.
# space: parameters

# How candidates are merged (`kingyo list methods`). A range is searched, a number is fixed.
# groups: one | kind | block | block+kind | layers:N gives every parameter a value per group of tensors.
merge:
  method: {"linear" if answers.base is None else "task_arithmetic"}
  groups: {_flow(answers.groups)}
  parameters:
    weight: {{from: 0.0, to: {"1.0" if answers.base is None else "1.5"}}}
  # Candidates live, and are exported, in this type. Most CPUs are slower in 16 bits than in float32.
  dtype: float32

# The strategy. As in the preset fast: a Gaussian process that learns from single items; each candidate
# answers 32, or fewer if a small budget is in item_evaluations alone. `kingyo list strategies` has others.
# `preset: NAME` in its place takes named settings (`kingyo list presets`); then delete merge.method and its
# parameters if it brings its own.
search:
  strategy: item-gp
  # screen: {{items: 32}}

# The first bound that is reached ends the search: candidates, item_evaluations, minutes.
budget:
  candidates: {answers.said.candidates}

# What else the winner is compared with: a random search, a grid, a trained LoRA. Each costs as much again as
# the search itself, so they are off. `kingyo control RUN random` runs one on the finished run, too.
controls: {{random: false, grid: false, trained: false}}

# Threads of the CPU; by default 1 for models below 10 million parameters, else one for each core.
# threads: 1
"""


def _flow(value: object) -> str:
    """A value on one line of YAML."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
