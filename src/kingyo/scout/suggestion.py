"""The run.yaml that a choice of sources leads to, with the reasons as comments."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from statistics import median_low

import yaml

from kingyo.io.files import write_text
from kingyo.io.units import counted, percent
from kingyo.run.config import RANDOM_SOURCES
from kingyo.run.config_file import name_from_path
from kingyo.run.spaces import merged_layout
from kingyo.scout.choice import ChosenSources, trials_in
from kingyo.scout.contest import Contest
from kingyo.scout.frame import sources_of_run
from kingyo.scout.paths import relative_path, relative_to
from kingyo.space.subsets import HIGHEST
from kingyo.stats import Interval
from kingyo.stats.ranks import Correlation
from kingyo.strategies.gain_model import Gain

CANDIDATES = 400
"""Candidates of the suggested search."""
MOST_GENES = 48
"""Weights that a search of this size can use; with more sources, each gets fewer."""
ABOVE: Mapping[str, tuple[str, ...]] = {
    "name": (),
    "seed": (),
    "base": ("",),
    "sources": (),
    "task": (),
    "merge": ("",),
    "budget": ("",),
    "scout": ("", "# Scores of equal merges are copied from here."),
    "controls": ("", "# Searches of equal cost; random_sources merges as many sources, drawn at random."),
}
"""Key of the run.yaml, in their order -> lines above it."""


def write_run_yaml(contest: Contest, choice: ChosenSources, task: Path) -> Path:
    """Write the run.yaml of a choice into the scout's folder, with the reasons as comments."""
    path = contest.request.out / "run.yaml"
    data = {
        "name": name_from_path(path.parent.resolve()),
        "seed": contest.run.config.seed,
        "task": {"file": relative_path(str(task), path.parent)},
        "budget": {"candidates": CANDIDATES},
        **decided(contest, choice, path.parent),
        "controls": {"random": True, "grid": True, RANDOM_SOURCES: drawn(contest, choice, path.parent)},
    }
    write_text(path, run_yaml(data, choice))
    return path


def decided(contest: Contest, choice: ChosenSources, folder: Path) -> dict[str, object]:
    """Return the keys of a run.yaml in a folder that a choice decides.

    Each source has a weight per span of layers; the search begins at the choice's plain merge.
    """
    layout, start = merged_layout(contest.run), median_low(choice.weights.values())
    n_spans = min(layout.n_blocks, MOST_GENES // len(choice.chosen)) if len(layout.stacks) == 1 else 1
    return {
        "base": relative_to(contest.tried.group.base or "", folder),
        "sources": {name: relative_to(contest.references[name], folder) for name in sources_of_run(choice)},
        "merge": {
            "method": "task_arithmetic",
            **({} if choice.frame is None else {"frame": choice.frame}),
            "groups": f"layers:{n_spans}" if n_spans > 1 else "one",
            "parameters": _weight_from(start),
            **_others(choice, start),
            "dtype": contest.run.config.merge.dtype,
        },
        "scout": os.path.relpath(trials_in(contest.request.out).resolve(), folder.resolve()),
    }


def _weight_from(start: float) -> dict[str, object]:
    return {"weight": {"from": 0, "to": HIGHEST, "start": start}}


def _others(choice: ChosenSources, start: float) -> dict[str, object]:
    """Return the key of ``merge`` for sources that begin elsewhere; a frame that is not chosen has 0."""
    others = {
        name: {"parameters": _weight_from(weight)}
        for name, weight in choice.weights.items()
        if weight != start
    }
    if choice.frame is not None and choice.frame not in choice.chosen:
        others[choice.frame] = {"parameters": {"weight": 0}}
    return {"sources": others} if others else {}


def drawn(contest: Contest, choice: ChosenSources, folder: Path) -> dict[str, str]:
    """Draw as many candidates as were chosen, for the control random_sources."""
    names = random.Random(contest.run.config.seed).sample(sorted(choice.sources), len(choice.chosen))
    return {name: relative_to(contest.references[name], folder) for name in sorted(names)}


def run_yaml(data: Mapping[str, object], choice: ChosenSources) -> str:
    """Return the text of a run.yaml, with what was measured as comments."""
    lines = ["# Written by `kingyo scout`. Start it with `kingyo evolve`; paths are relative to this file."]
    lines += [f"# {line}" for line in _summary(choice)]
    for key, above in ABOVE.items():
        dumped = yaml.safe_dump({key: data[key]}, sort_keys=False, allow_unicode=True, width=10**6)
        lines += [*above, *dumped.splitlines()]
        if key == "sources":
            names = sources_of_run(choice)
            last = lines[-len(names) :]
            lines[-len(names) :] = [
                line + _reasons(choice, name) for name, line in zip(names, last, strict=True)
            ]
    return "\n".join(lines) + "\n"


def _reasons(choice: ChosenSources, name: str) -> str:
    """Return why a run has a source, as a comment behind it."""
    reasons: list[str] = []
    if name not in choice.chosen:
        reasons.append("not merged: all merges have its other parts, such as its vision")
    if name in choice.contributions:
        reasons.append(f"{gain_text(choice.contributions[name])} in this set")
    if name in choice.alone:
        reasons.append(f"alone {percent(choice.alone[name].score)}")
    return f"    # {'; '.join(reasons)}" if reasons else ""


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
