"""The run.yaml that a choice of sources leads to, with the reasons as comments."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from kingyo.io.model_names import is_local, local_path
from kingyo.io.units import counted, percent
from kingyo.scout.choice import Choice
from kingyo.stats import Interval
from kingyo.strategies.gain_model import Gain

CANDIDATES = 200
"""Candidates of the suggested search."""
MOST_GENES = 64
"""Weights that a search of this size can use; with more, sources get fewer groups."""
GROUPS = ("block", "one")


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What a run.yaml needs beside the choice.

    Attributes:
        name: name of the run.
        base: reference of the base.
        sources: name of a chosen source -> reference.
        tasks: lines of YAML with the task or the tasks.
        seed: seed of scout and run.
        n_groups: number of groups of tensors at each granularity.
        dtype: dtype of candidates.
    """

    name: str
    base: str
    sources: Mapping[str, str]
    tasks: str
    seed: int
    n_groups: Mapping[str, int]
    dtype: str | None


def run_yaml(choice: Choice, given: Suggestion) -> str:
    """Return the text of a run.yaml in the scout's folder."""
    groups = _groups(len(given.sources), given.n_groups)
    dtype = "" if given.dtype is None else f"  dtype: {given.dtype}\n"
    return f"""\
# Written by `kingyo scout`. Start it with `kingyo evolve`; paths are relative to this file.
{_comments(_summary(choice))}
name: {given.name}
seed: {given.seed}

base: {_flow(given.base)}
sources:
{_sources(choice, given.sources)}
{given.tasks}
# The trial merges had weights of 1; the search begins there. {_why(groups, given)}
merge:
  method: task_arithmetic
  groups: {groups}
  parameters:
    weight: {{from: 0, to: 1.5, start: 1}}
{dtype}
budget:
  candidates: {CANDIDATES}

# Reuse the scores of the trial merges in this folder.
scout: .

# Merges of as many sources drawn at random, a random search and a grid of equal cost, a LoRA trained on the
# fit items: `kingyo control RUN NAME` runs one of them later.
controls: {{random_sources: true, random: true, grid: true, trained: false}}
"""


def relative_to(reference: str, out: Path) -> str:
    """Return a reference of a model as a run.yaml in a folder writes it."""
    return "+".join(
        os.path.relpath(local_path(part), out) if is_local(part) else part for part in reference.split("+")
    )


def gain_text(gain: Gain) -> str:
    """Return a gain in points with its interval, such as ``+12 points [+5, +19]``."""
    low, high = gain.interval
    return f"{100 * gain.mean:+.0f} points [{100 * low:+.0f}, {100 * high:+.0f}]"


def score_text(score: Interval) -> str:
    """Return a score with its interval and number of items."""
    low, high = 100 * score.low, 100 * score.high
    return f"{percent(score.score)} [{low:.0f}, {high:.0f}] of {counted(score.n, 'item')}"


def next_gain(choice: Choice) -> tuple[str, Gain] | None:
    """Return the best of the sources that were not added at the end, and its gain."""
    last = choice.steps[-1] if choice.steps else None
    if last is None or last.added is not None or not last.gains:
        return None
    best = max(last.gains, key=lambda i: last.gains[i].mean)
    return choice.sources[best], last.gains[best]


def _summary(choice: Choice) -> list[str]:
    n = counted(len(choice.sources), "candidate")
    answers = counted(choice.item_evaluations, "answer")
    lines = [f"{len(choice.chosen)} of {n}, chosen by trial merges with {answers} to fit items."]
    if choice.score is not None:
        lines.append(f"Their merge with weights of 1 solves {score_text(choice.score)}.")
    after = next_gain(choice)
    if after is not None:
        lines.append(f"The best further source is {after[0]}: {gain_text(after[1])}.")
    if choice.verdict in ENDS:
        lines.append(ENDS[choice.verdict])
    return lines


ENDS: Mapping[str, str] = {
    "open": "The budget ended before this was decided; `kingyo scout` with a larger --budget continues.",
    "cannot tell": "Whether a further source adds something cannot be told from these items.",
    "full": "No further source may be added.",
}
"""Verdict -> what to say about it."""


def _sources(choice: Choice, sources: Mapping[str, str]) -> str:
    lines: list[str] = []
    for name, reference in sources.items():
        reasons: list[str] = []
        if name in choice.contributions:
            reasons.append(f"{gain_text(choice.contributions[name])} in this set")
        if name in choice.alone:
            reasons.append(f"alone {percent(choice.alone[name].score)}")
        comment = f"    # {'; '.join(reasons)}" if reasons else ""
        lines.append(f"  {name}: {_flow(reference)}{comment}\n")
    return "".join(lines)


def _groups(n_sources: int, n_groups: Mapping[str, int]) -> str:
    return next((each for each in GROUPS if n_sources * n_groups[each] <= MOST_GENES), GROUPS[-1])


def _why(groups: str, given: Suggestion) -> str:
    n = len(given.sources) * given.n_groups[groups]
    return f"These are {counted(n, 'weight')}."


def _comments(lines: Sequence[str]) -> str:
    return "\n".join(f"# {line}" for line in lines)


def _flow(value: object) -> str:
    """Return a value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
