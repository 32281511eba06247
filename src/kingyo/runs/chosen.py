"""What a choice of sources is asked for, the choice as a run stores it, and the run.yaml with its sources."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median_low
from typing import cast

import numpy as np

from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.layout import Layout
from kingyo.runs.config import RANDOM_SOURCES
from kingyo.runs.run import Run
from kingyo.search.space.parameter import HIGHEST
from kingyo.search.strategies.source_changes import Gain
from kingyo.search.strategies.stepwise import Step, Verdict
from kingyo.stats import Groups, Interval, interval, interval_json, size_of
from kingyo.stats.paired import Correlation
from kingyo.store import Fact, RunStore

CHOICE = "choice"
"""Name of the search, and of the fact with its request."""
TRIAL_DTYPE = "float32"
MOST_GENES = 48
"""Weights that a search of the chosen sources can use; with more sources, each gets fewer."""
Changes = Mapping[str, tuple[float, int]]
"""Block -> the squared norm of a task vector there, and of how many numbers."""


@dataclass(frozen=True, kw_only=True)
class ChoiceRequest:
    """What a choice is asked for; a fact of the run.

    Attributes:
        asked: the run.yaml, whose sources are ``{scout: WHERE}``.
        min_gain: least gain in mean score for which a source is added.
        most: most sources.
        capacity: most bytes of all chosen sources.
        item_evaluations, seconds: the budget.
        costs: bytes of each candidate, in their order.
        features: of each candidate, from its weights.
        similarity: of each pair of candidates.
        changes: of each candidate.
    """

    asked: Mapping[str, object] = field(default_factory=dict[str, object])
    min_gain: float = 0.01
    most: int | None = None
    capacity: float | None = None
    item_evaluations: int | None = None
    seconds: float | None = None
    costs: tuple[float, ...] = ()
    features: tuple[tuple[float, ...], ...] = ()
    similarity: tuple[tuple[float, ...], ...] = ()
    changes: tuple[Changes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChosenSources:
    """The chosen sources with reasons.

    Attributes:
        sources: all candidates, in order; numbers in ``steps`` count them.
        chosen: names, in the order in which they were added.
        groups: spans of layers in which sources have weights, as in ``Layout.groups``.
        weights: chosen source -> its weight in each of them, in the plain merge of the chosen ones.
        steps: the decisions.
        contributions: chosen source -> what the merge loses without it.
        verdict: why the selection ended; ``open`` if the budget ended it.
        score: score of the merge of the chosen sources on fit items, with these weights.
        frame: the source whose other parts all merges have, such as its vision; None if it is the base,
            or models have no other parts. It is merged only if it is chosen, too.
        alone: source -> its score alone.
        failed: source -> why it cannot be scored.
        correlation: of predicted and measured gains; None with fewer than four pairs.
        item_evaluations: number of graded answers.
        item_groups: fit item -> its group, for items that belong together; not in the JSON.
    """

    sources: tuple[str, ...]
    chosen: tuple[str, ...]
    groups: str
    weights: Mapping[str, tuple[float, ...]]
    steps: tuple[Step, ...]
    contributions: Mapping[str, Gain]
    verdict: Verdict
    score: Interval | None
    frame: str | None
    alone: Mapping[str, Interval]
    failed: Mapping[str, str]
    correlation: Correlation | None
    item_evaluations: int
    minutes: float
    item_groups: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def run_sources(self) -> tuple[str, ...]:
        frame = () if self.frame is None or self.frame in self.chosen else (self.frame,)
        return (*self.chosen, *frame)

    @property
    def is_trimmed(self) -> bool:
        """Whether the merge of the chosen sources leaves out parts of them."""
        return any(len(set(row)) > 1 for row in self.weights.values())

    def to_json(self) -> dict[str, object]:
        return {
            "candidates": list(self.sources),
            "chosen": list(self.chosen),
            "groups": self.groups,
            "weights": {name: list(row) for name, row in self.weights.items()},
            "verdict": self.verdict,
            "score": interval_json(self.score),
            "frame": self.frame,
            "steps": [self._step(step) for step in self.steps],
            "contributions": {name: gain_json(gain) for name, gain in self.contributions.items()},
            "alone": {name: interval_json(score) for name, score in self.alone.items()},
            "failed": dict(self.failed),
            "rank_correlation": None if self.correlation is None else asdict(self.correlation),
            "item_evaluations": self.item_evaluations,
            "minutes": self.minutes,
        }

    def _step(self, step: Step) -> dict[str, object]:
        return {
            "chosen": [self.sources[i] for i in step.chosen],
            "added": None if step.added is None else self.sources[step.added],
            "score": step.score,
            **size_of(step.n, _groups(step.items, self.item_groups)).size_json,
            "gains": {self.sources[i]: gain_json(gain) for i, gain in step.gains.items()},
            "predicted": {self.sources[i]: gain_json(gain) for i, gain in step.predicted.items()},
        }


REQUEST = Fact(CHOICE, ChoiceRequest)
"""What the choice of a run is asked for; none if the user named the sources."""
CHOSEN = Fact("chosen", ChosenSources)
"""The choice that a run has made; none before it has ended."""


def is_choosing(store: RunStore) -> bool:
    """Return whether a run still chooses its sources."""
    return store.fact(REQUEST) is not None and store.fact(CHOSEN) is None


def gain_json(gain: Gain) -> dict[str, object]:
    bounds = gain.interval
    return {"gain": bounds.score, "low": bounds.low, "high": bounds.high, **bounds.size_json}


def mean_score(scores: Mapping[str, float], groups: Mapping[str, str]) -> Interval:
    """Bound the mean of item scores; ``groups`` has the groups of items that belong together."""
    return interval([*scores.values()], _groups(scores, groups), seed=0)


def _groups(items: Iterable[str], labels: Mapping[str, str]) -> Groups | None:
    return Groups.of(labels.get(item, "") for item in items)


def with_sources(
    asked: Mapping[str, object], run: Run, choice: ChosenSources, layout: Layout
) -> dict[str, object]:
    """Return the run.yaml with the chosen sources.

    Each source has a weight per span of layers, and the search begins at the choice's plain merge, unless the
    run.yaml has a merge of its own.

    Raises:
        KingyoError: no source is worth adding.
    """
    if not choice.chosen:
        is_open = choice.verdict == "open"
        received = (
            "none within the budget" if is_open else "none: no candidate solves enough of the fit items"
        )
        remedy = "Raise item_evaluations." if is_open else "Name other candidates, or see docs/zero.md."
        raise KingyoError("sources.scout", "a source that is worth merging", received, remedy)
    data, config = dict(asked), run.config
    data |= {"base": config.base, "sources": {name: config.sources[name] for name in choice.run_sources}}
    controls = _section(asked, "controls")
    if controls.get(RANDOM_SOURCES) is True:
        data["controls"] = {**controls, RANDOM_SOURCES: _drawn(run, choice)}
    own = _section(asked, "merge")
    if decides_merge(asked):
        data["merge"] = _merge_of(choice, layout)
    elif choice.frame is not None and own:
        data["merge"] = {**own, "frame": choice.frame}
    return data


def decides_merge(asked: Mapping[str, object]) -> bool:
    """Return whether the choice decides how the chosen sources are merged."""
    return _section(asked, "merge").keys() <= {"frame"} and asked.get("space") != "dataflow"


def _merge_of(choice: ChosenSources, layout: Layout) -> dict[str, object]:
    groups, rows = spans_of(layout, MOST_GENES // len(choice.chosen)), dict(choice.weights)
    if choice.is_trimmed:  # as many spans as the search can use, within those of the choice
        n = len(next(iter(rows.values())))
        n_spans = len(layout.groups(groups))
        n_spans = max(n, n_spans - n_spans % n)
        groups = f"layers:{n_spans}" if n_spans > 1 else "one"
        rows = {name: tuple(np.repeat(row, n_spans // n).tolist()) for name, row in rows.items()}
    else:
        rows = {name: row[:1] for name, row in rows.items()}
    start = median_low(max(row) for row in rows.values())
    others = {name: {"parameters": _weight_from(row)} for name, row in rows.items() if set(row) != {start}}
    if choice.frame is not None and choice.frame not in choice.chosen:
        others[choice.frame] = {"parameters": {"weight": 0}}
    return {
        "method": "task_arithmetic",
        **({} if choice.frame is None else {"frame": choice.frame}),
        "groups": groups,
        "parameters": _weight_from([start]),
        **({"sources": others} if others else {}),
        "dtype": TRIAL_DTYPE,
    }


def _weight_from(row: Sequence[float]) -> dict[str, object]:
    start = row[0] if len(set(row)) == 1 else list(row)
    return {"weight": {"from": 0, "to": HIGHEST, "start": start}}


def _drawn(run: Run, choice: ChosenSources) -> dict[str, str]:
    """Draw as many candidates as were chosen, but not the same ones; none if there are no others."""
    chosen = names = sorted(choice.chosen)
    if len(chosen) == len(choice.sources):
        return {}
    chance = random.Random(run.config.seed)
    while names == chosen:
        names = sorted(chance.sample(sorted(choice.sources), len(chosen)))
    return {name: run.config.sources[name] for name in names}


def _section(data: Mapping[str, object], key: str) -> dict[str, object]:
    section = data.get(key)
    return cast("dict[str, object]", section) if isinstance(section, dict) else {}


def spans_of(layout: Layout, most: int) -> str:
    """Return spans of layers, at most one per layer; one for models with several stacks of layers."""
    n = min(layout.n_blocks, most) if len(layout.stacks) == 1 else 1
    return f"layers:{n}" if n > 1 else "one"
