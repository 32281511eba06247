"""The run.yaml that a choice of sources leads to, with the reasons as comments."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import yaml

from kingyo.checkpoints.layout import Layout
from kingyo.checkpoints.model_reference import parse_reference
from kingyo.io.files import write_text
from kingyo.io.model_names import is_local, local_path
from kingyo.io.units import counted, percent
from kingyo.run.config_file import name_from_path
from kingyo.run.run import Run
from kingyo.run.spaces import merged_layout
from kingyo.scout.choice import ChosenSources
from kingyo.scout.frame import frame_keys, sources_of_run
from kingyo.space.subsets import HIGHEST
from kingyo.stats import Interval
from kingyo.stats.ranks import Correlation
from kingyo.strategies.gain_model import Gain

CANDIDATES = 200
"""Candidates of the suggested search."""
MOST_GENES = 48
"""Weights that a search of this size can use; with more sources, each gets fewer."""


def write_run_yaml(choice: ChosenSources, run: Run, task: Path, out: Path, trials: Path) -> Path:
    """Write the run.yaml of a choice into its folder; the seed draws the sources of the control.

    Args:
        choice: what was chosen.
        run: the run of its trial merges.
        task: the task file.
        out: the folder.
        trials: the folder of the trial merges.
    """
    path = out / "run.yaml"
    write_text(path, run_yaml(choice, run, task, out, trials))
    return path


def run_yaml(choice: ChosenSources, run: Run, task: Path, out: Path, trials: Path) -> str:
    """Return the text of the run.yaml."""
    groups = groups_for(len(choice.chosen), merged_layout(run))
    base, dtype = run.config.base or "", run.config.merge.dtype
    others = _random_sources(choice, run.config.seed)
    return f"""\
# Written by `kingyo scout`. Start it with `kingyo evolve`; paths are relative to this file.
{_comments(_summary(choice))}
name: {_flow(name_from_path(out.resolve()))}
seed: {run.config.seed}

base: {_flow(relative_to(base, out))}
sources:
{_sources(choice, run.config.sources, out)}
task: {_flow({"file": _relative(str(task), out)})}

merge:
  method: task_arithmetic
{_block(frame_keys(choice), 2)}  groups: {groups}
  parameters:
    weight: {{from: 0, to: {HIGHEST}, start: {start_of(choice)}}}
{"" if dtype is None else f"  dtype: {dtype}"}

budget:
  candidates: {CANDIDATES}

# The search begins with the best trial merges, and copies their scores.
scout: {_flow(_relative(str(trials), out))}

# Searches of equal cost to compare with; random_sources merges as many sources, drawn at random.
controls:
  random: true
  grid: true
  random_sources: {_flow({name: relative_to(run.config.sources[name], out) for name in others})}
"""


def start_of(choice: ChosenSources) -> float:
    """Return the median weight in the plain merge, where a search begins."""
    return round(median(choice.weights.values()), 2)


def groups_for(n_sources: int, layout: Layout) -> str:
    """Return the granularity of weights for a search of some sources: spans of layers, or one for all."""
    one_stack = len(layout.stacks) == 1
    n_spans = min(layout.n_blocks, MOST_GENES // max(1, n_sources)) if one_stack else 1
    return f"layers:{n_spans}" if n_spans > 1 else "one"


def _random_sources(choice: ChosenSources, seed: int) -> list[str]:
    """Draw as many candidates as were chosen."""
    return sorted(random.Random(seed).sample(sorted(choice.sources), len(choice.chosen)))


def relative_to(reference: str, out: Path) -> str:
    """Return a reference of a model as a run.yaml in a folder writes it."""
    parsed = parse_reference(reference)
    lora = None if parsed.lora is None else _relative(parsed.lora, out)
    return str(replace(parsed, model=_relative(parsed.model, out), lora=lora))


def _relative(name: str, out: Path) -> str:
    """Return the path of a local model relative to a folder; names on the Hub stay."""
    return os.path.relpath(os.path.normpath(local_path(name)), out.resolve()) if is_local(name) else name


def gain_text(gain: Gain) -> str:
    """Return a gain in points with its interval, such as ``+12 points [+5, +19]``."""
    low, high = gain.interval
    return f"{100 * gain.mean:+.0f} points [{100 * low:+.0f}, {100 * high:+.0f}]"


def score_text(score: Interval) -> str:
    """Return a score with its interval and number of items."""
    low, high = 100 * score.low, 100 * score.high
    return f"{percent(score.score)} [{low:.0f}, {high:.0f}] of {counted(score.n, 'item')}"


def predictions_text(found: Correlation | None) -> str:
    """Return how well gains were predicted, as a sentence."""
    if found is None:
        return "Too few gains were predicted to say how good predictions are."
    rank = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    text = f"The rank correlation of predicted and measured gains is {rank} ({counted(found.n, 'gain')})"
    return f"{text}." if found.low > 0 else f"{text}: too uncertain to say whether predictions help."


def next_gain(choice: ChosenSources) -> tuple[str, Gain] | None:
    """Return the best of the sources that were not added at the end, and its gain."""
    last = choice.steps[-1] if choice.steps else None
    if last is None or last.added is not None or not last.gains:
        return None
    best = max(last.gains, key=lambda i: last.gains[i].mean)
    return choice.sources[best], last.gains[best]


def _summary(choice: ChosenSources) -> list[str]:
    n = counted(len(choice.sources), "candidate")
    answers = counted(choice.item_evaluations, "answer")
    lines = [f"{len(choice.chosen)} of {n}, chosen by trial merges with {answers} to fit items."]
    if choice.score is not None:
        lines.append(f"Their plain merge solves {score_text(choice.score)}.")
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


def _sources(choice: ChosenSources, references: Mapping[str, str], out: Path) -> str:
    lines: list[str] = []
    for name in sources_of_run(choice):
        reasons: list[str] = []
        if name not in choice.chosen:
            reasons.append("not merged: all merges have its other parts, such as its vision")
        if name in choice.contributions:
            reasons.append(f"{gain_text(choice.contributions[name])} in this set")
        if name in choice.alone:
            reasons.append(f"alone {percent(choice.alone[name].score)}")
        comment = f"    # {'; '.join(reasons)}" if reasons else ""
        lines.append(f"  {_flow(name)}: {_flow(relative_to(references[name], out))}{comment}\n")
    return "".join(lines)


def _comments(lines: Sequence[str]) -> str:
    return "\n".join(f"# {line}" for line in lines)


def _block(keys: Mapping[str, object], indent: int) -> str:
    """Return keys as lines of YAML."""
    return "".join(f"{' ' * indent}{key}: {_flow(value)}\n" for key, value in keys.items())


def _flow(value: object) -> str:
    """Return a value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.strip().removesuffix("...").strip()
