"""The run.yaml that a choice of sources leads to, with the reasons as comments."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median_low
from typing import cast

import yaml

from kingyo.errors import KingyoError
from kingyo.io.files import write_text
from kingyo.io.units import counted, joined, percent
from kingyo.run.config import RANDOM_SOURCES, TRAINED
from kingyo.run.config_file import name_from_path
from kingyo.run.run import Run
from kingyo.run.searches import require_control
from kingyo.scout.choice import ChosenSources, trials_in
from kingyo.scout.paths import relative_path, relative_to
from kingyo.scout.spans import Spans
from kingyo.scout.task_candidates import TaskCandidates
from kingyo.space.subsets import HIGHEST
from kingyo.stats import Interval
from kingyo.stats.paired import Correlation
from kingyo.strategies.gain_model import Gain
from kingyo.strategies.stepwise import Verdict, best_measured

_WRITTEN = "Written by `kingyo scout`."
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
    "controls": (
        "",
        "# Controls at the same cost. random_sources: as many sources, drawn at random.",
        "# trained: a LoRA that is trained on fit (needs peft).",
    ),
}
"""Key of the run.yaml, in their order -> lines above it."""


def write_run_yaml(candidates: TaskCandidates, choice: ChosenSources, task: Path) -> Path:
    """Write the run.yaml of a choice into the scout's folder, with the reasons as comments."""
    path = require_own_run_yaml(candidates.request.out)
    data = {
        "name": f"{name_from_path(path.parent.resolve())}-run",  # its run folder is not the scout's
        "seed": candidates.run.config.seed,
        "task": {"file": relative_path(str(task), path.parent)},
        "budget": {"candidates": CANDIDATES},
        **decided(candidates, choice, path.parent),
        "controls": _controls(candidates, choice, path.parent),
    }
    write_text(path, run_yaml(data, choice))
    return path


def require_own_run_yaml(out: Path) -> Path:
    """Return the path of the run.yaml in the scout's folder.

    Raises:
        KingyoError: something is there that no scout wrote.
    """
    path = out / "run.yaml"
    try:
        is_own = not path.exists() or path.read_text(encoding="utf-8").startswith(f"# {_WRITTEN}")
    except (OSError, UnicodeDecodeError):
        is_own = False
    if is_own:
        return path
    raise KingyoError(
        str(path),
        expected="no file, or one that `kingyo scout` wrote",
        received="another one",
        remedy="Move it, or choose another folder with --out.",
    )


def decided(candidates: TaskCandidates, choice: ChosenSources, folder: Path) -> dict[str, object]:
    """Return the keys of a run.yaml in a folder that a choice decides.

    Each source has a weight per span of layers; the search begins at the choice's plain merge.
    """
    spans = _spans(candidates.run, choice)
    rows = {
        name: spans.spread(row) if _is_trimmed(choice) else row[:1] for name, row in choice.weights.items()
    }
    start = median_low(max(row) for row in rows.values())
    return {
        "base": relative_to(candidates.tried.group.base or "", folder),
        "sources": {name: relative_to(candidates.references[name], folder) for name in choice.run_sources},
        "merge": {
            "method": "task_arithmetic",
            **({} if choice.frame is None else {"frame": choice.frame}),
            "groups": spans.groups,
            "parameters": _weight_from([start]),
            **_others(choice, rows, start),
            "dtype": candidates.run.config.merge.dtype,
        },
        "scout": os.path.relpath(trials_in(candidates.request.out).resolve(), folder.resolve()),
    }


def _spans(run: Run, choice: ChosenSources) -> Spans:
    """Return as many spans as the search can use; they divide those of the choice if it leaves out parts."""
    spans = Spans.of(run, MOST_GENES // len(choice.chosen))
    if not _is_trimmed(choice):
        return spans
    n = len(next(iter(choice.weights.values())))
    return Spans.of(run, max(n, spans.n - spans.n % n))


def _weight_from(row: Sequence[float]) -> dict[str, object]:
    start = row[0] if len(set(row)) == 1 else list(row)
    return {"weight": {"from": 0, "to": HIGHEST, "start": start}}


def _is_trimmed(choice: ChosenSources) -> bool:
    """Return whether the merge of the chosen sources leaves out parts of them."""
    return any(len(set(row)) > 1 for row in choice.weights.values())


def _others(choice: ChosenSources, rows: Mapping[str, Sequence[float]], start: float) -> dict[str, object]:
    """Return the key of ``merge`` for sources that begin elsewhere; a frame that is not chosen has 0."""
    others = {name: {"parameters": _weight_from(row)} for name, row in rows.items() if set(row) != {start}}
    if choice.frame is not None and choice.frame not in choice.chosen:
        others[choice.frame] = {"parameters": {"weight": 0}}
    return {"sources": others} if others else {}


def _controls(candidates: TaskCandidates, choice: ChosenSources, folder: Path) -> dict[str, object]:
    """Return all controls that are possible."""
    controls: dict[str, object] = {"random": True, "grid": True}
    with suppress(KingyoError):
        require_control(TRAINED, candidates.run)
        controls[TRAINED] = True
    others = drawn(candidates, choice, folder)
    return {**controls, RANDOM_SOURCES: others} if others else controls


def drawn(candidates: TaskCandidates, choice: ChosenSources, folder: Path) -> dict[str, str]:
    """Draw as many candidates as were chosen, but not the same ones; none if there are no others."""
    chosen = names = sorted(choice.chosen)
    if len(chosen) == len(choice.sources):
        return {}
    chance = random.Random(candidates.run.config.seed)
    while names == chosen:
        names = sorted(chance.sample(sorted(choice.sources), len(chosen)))
    return {name: relative_to(candidates.references[name], folder) for name in names}


def run_yaml(data: Mapping[str, object], choice: ChosenSources) -> str:
    """Return the text of a run.yaml, with what was measured as comments."""
    lines = [f"# {_WRITTEN} Start it with `kingyo evolve`; paths are relative to this file."]
    lines += [f"# {line}" for line in _summary(choice)]
    for key, above in ABOVE.items():
        is_sources = key == "sources"
        own = ["sources:", *_source_lines(cast("dict[str, str]", data[key]), choice)] if is_sources else None
        lines += [*above, *(own or _dumped({key: data[key]}, flow=None if key == "merge" else False))]
    return "\n".join(lines) + "\n"


def _dumped(data: Mapping[str, object], *, flow: bool | None = False) -> list[str]:
    """Return the lines of YAML; with ``flow`` None, lists and mappings of plain values are on one line."""
    text = yaml.safe_dump(
        dict(data), sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=flow
    )
    return text.splitlines()


def _source_lines(sources: Mapping[str, str], choice: ChosenSources) -> list[str]:
    """Return the sources, each with its reasons behind it; a source of several lines has none."""
    lines: list[str] = []
    for name, reference in sources.items():
        dumped = _dumped({name: reference})
        dumped[0] += _reasons(choice, name) if len(dumped) == 1 else ""
        lines += [f"  {line}" for line in dumped]
    return lines


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
    low, high = gain.interval.low, gain.interval.high
    return f"{100 * gain.mean:+.0f} points [{100 * low:+.0f}, {100 * high:+.0f}]"


def score_text(score: Interval) -> str:
    """Return a score with its interval and number of items."""
    low, high = 100 * score.low, 100 * score.high
    return f"{percent(score.score)} [{low:.0f}, {high:.0f}] of {score.items}"


def predictions_text(found: Correlation | None) -> str:
    """Return how well gains were predicted, as a sentence."""
    if found is None:
        return "Too few gains were predicted to say how good predictions are."
    rank = f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
    text = f"The rank correlation of predicted and measured gains is {rank} ({counted(found.n, 'gain')})"
    return f"{text}." if found.low > 0 else f"{text}: predictions may not have helped to find sources faster."


def dropped_sources(choice: ChosenSources) -> list[str]:
    """Return the sources that were added and dropped at the end."""
    added = [choice.sources[step.added] for step in choice.steps if step.added is not None]
    return [name for name in added if name not in choice.chosen]


def next_gain(choice: ChosenSources) -> tuple[str, Gain] | None:
    """Return the best of the sources that were not added at the end, and its gain."""
    last = choice.steps[-1] if choice.steps else None
    if last is None or last.added is not None or not last.gains:
        return None
    best = best_measured(last.gains)
    return choice.sources[best], last.gains[best]


def next_text(choice: ChosenSources, name: str, shown: str) -> str:
    """Return the sentence about the best of the sources that were not added, with its gain as shown."""
    whole = "others" if choice.chosen else "candidates"
    return f"Of the {whole}, '{name}' is nearest to being added: {shown}."


def trimmed_text(choice: ChosenSources) -> str | None:
    """Say how many parts of task vectors the plain merge leaves out; None if it has all."""
    if not _is_trimmed(choice):
        return None
    weights = [weight for row in choice.weights.values() for weight in row]
    n_spans = len(weights) // len(choice.weights)
    return (
        f"This merge leaves out {weights.count(0.0)} of {len(weights)} parts, which change little; "
        f"a part is one source in one of {n_spans} spans of layers."
    )


def doubts_text(choice: ChosenSources) -> str | None:
    """Say which chosen sources may not help; None if contributions were not measured."""
    gains = choice.contributions
    if not gains:
        return None
    unsure = [f"'{name}'" for name in choice.chosen if name in gains and gains[name].interval.low <= 0]
    if not unsure:
        return "Each of them helps: the merge is worse without it."
    text = f"The merge may do as well without {joined(unsure, last='or')}"
    n_sure = len(gains) - len(unsure)
    if n_sure:
        text += "; the other one helps" if n_sure == 1 else f"; each of the other {n_sure} helps"
    return f"{text}."


def _summary(choice: ChosenSources) -> list[str]:
    n = counted(len(choice.sources), "candidate")
    answers = counted(choice.item_evaluations, "answer")
    lines = [f"{len(choice.chosen)} of {n}, chosen by trial merges with {answers} to fit items."]
    if choice.score is not None:
        lines.append(f"Their plain merge solves {score_text(choice.score)}.")
    lines += filter(None, (trimmed_text(choice), doubts_text(choice)))
    after = next_gain(choice)
    if after is not None:
        lines.append(next_text(choice, after[0], gain_text(after[1])))
    return [*lines, ENDS[choice.verdict]]


ENDS: Mapping[Verdict, str] = {
    "open": "The budget ended before this was decided; `kingyo scout` with a larger --budget continues.",
    "cannot tell": "Whether a further source adds something cannot be told from these items.",
    "enough": "No further source adds enough.",
    "full": "The limits allow no further source.",
    "all": "No other candidate is left.",
}
"""Verdict -> what to say about it."""
