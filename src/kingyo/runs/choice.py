"""Choose the sources of a run: the request, the search, what is stored, and the run.yaml with its sources."""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import median_low
from typing import cast

import numpy as np

from kingyo.core.io.schema import parse_settings
from kingyo.core.types import Genome
from kingyo.errors import KingyoError
from kingyo.merging.checkpoints.layout import Layout
from kingyo.runs.config import RANDOM_SOURCES
from kingyo.runs.run import Run
from kingyo.runs.searches import new_search
from kingyo.runs.spaces import merged_layout
from kingyo.runs.worker import runner_of
from kingyo.search.evolution import Event, Limits, Search
from kingyo.search.evolution.screens import ScreenSettings
from kingyo.search.evolution.search import run_search
from kingyo.search.evolution.search_log import SearchLog
from kingyo.search.evolution.trial_evaluation import TrialEvaluator
from kingyo.search.space.parameter import HIGHEST, SubsetSpace
from kingyo.search.strategies.source_changes import Gain
from kingyo.search.strategies.stepwise import Step, Stepwise, Verdict
from kingyo.stats import Groups, Interval, interval, interval_json, size_of
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
        capacity: most bytes of all chosen sources.
        costs, changes: bytes and changes of each candidate, in their order.
    """

    asked: Mapping[str, object] = field(default_factory=dict[str, object])
    min_gain: float = 0.01
    most: int | None = None
    capacity: float | None = None
    item_evaluations: int | None = None
    seconds: float | None = None
    costs: tuple[float, ...] = ()
    changes: tuple[Changes, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ChosenSources:
    """The chosen sources with reasons.

    Attributes:
        sources: all candidates, in order; numbers in ``steps`` count them.
        chosen: in the order in which they were added.
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
    item_evaluations: int
    minutes: float
    item_groups: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def run_sources(self) -> tuple[str, ...]:
        frame = () if self.frame is None or self.frame in self.chosen else (self.frame,)
        return (*self.chosen, *frame)

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
        }


REQUEST = Fact(CHOICE, ChoiceRequest)
"""What the choice of a run is asked for; none if the user named the sources."""
CHOSEN = Fact("chosen", ChosenSources)
"""The choice that a run has made; none before it has ended."""
CANDIDATES = Fact("candidates", dict[str, object])
"""The config of a run before it chose its sources."""


def is_choosing(store: RunStore) -> bool:
    return store.fact(REQUEST) is not None and store.fact(CHOSEN) is None


def gain_json(gain: Gain) -> dict[str, object]:
    bounds = gain.interval
    return {"gain": bounds.score, "low": bounds.low, "high": bounds.high, **bounds.size_json}


def _mean_score(scores: Mapping[str, float], groups: Mapping[str, str]) -> Interval:
    return interval([*scores.values()], _groups(scores, groups), seed=0)


def _groups(items: Iterable[str], labels: Mapping[str, str]) -> Groups | None:
    return Groups.of(labels.get(item, "") for item in items)


def with_sources(
    asked: Mapping[str, object], run: Run, choice: ChosenSources, layout: Layout
) -> dict[str, object]:
    """Return the run.yaml with the chosen sources.

    Each source has a weight per span of layers, and the search begins at the choice's plain merge, unless the
    run.yaml has a merge of its own.
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
    controls = section(asked, "controls")
    if controls.get(RANDOM_SOURCES) is True:
        drawn = _drawn(sorted(choice.sources), sorted(choice.chosen), config.seed)
        data["controls"] = {**controls, RANDOM_SOURCES: {name: config.sources[name] for name in drawn}}
    own = section(asked, "merge")
    if own.keys() <= {"frame"} and asked.get("space") != "dataflow":
        data["merge"] = _merge_of(choice, layout)
    elif choice.frame is not None and own:
        data["merge"] = {**own, "frame": choice.frame}
    return data


def _merge_of(choice: ChosenSources, layout: Layout) -> dict[str, object]:
    groups, rows = _spans_of(layout, MOST_GENES // len(choice.chosen)), dict(choice.weights)
    if any(len(set(row)) > 1 for row in rows.values()):  # spans are left out: as many more as there is room
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


def _drawn(sources: Sequence[str], chosen: Sequence[str], seed: int) -> Sequence[str]:
    """Draw as many candidates as were chosen, but not the same ones; none if there are no others."""
    names, chance = chosen, random.Random(seed)
    while names == chosen and len(chosen) < len(sources):
        names = sorted(chance.sample(sources, len(chosen)))
    return () if names == chosen else names


def section(data: Mapping[str, object], key: str) -> dict[str, object]:
    section = data.get(key)
    return cast("dict[str, object]", section) if isinstance(section, dict) else {}


def _spans_of(layout: Layout, most: int) -> str:
    """Return spans of layers, at most one per layer; one for models with several stacks of layers."""
    n = min(layout.n_blocks, most) if len(layout.stacks) == 1 else 1
    return f"layers:{n}" if n > 1 else "one"


ITEMS = 24
"""Items of a heat; half of fit if that is less, since gains are measured on others than the first ones."""
MOST_SPANS = 4
"""Most spans of layers in trial merges."""
NO_CHANGES: Changes = {}


@dataclass(frozen=True, kw_only=True)
class ChoiceStage:
    """A choice among the sources of an opened run."""

    run: Run
    request: ChoiceRequest

    @cached_property
    def layout(self) -> Layout:
        return merged_layout(self.run)

    @property
    def groups(self) -> str:
        return _spans_of(self.layout, MOST_SPANS)

    @cached_property
    def space(self) -> SubsetSpace:
        models = self.run.models
        assert models.base is not None, "a choice needs a base"
        return SubsetSpace(
            sources=models.references,
            base=models.base.reference,
            layout=self.layout,
            groups=self.groups,
            dtype=TRIAL_DTYPE,
        )

    @cached_property
    def strategy(self) -> Stepwise:
        """The strategy; its state is the choice."""
        request, n = self.request, len(self.run.config.sources)
        options = {
            "min_gain": request.min_gain,
            "most": request.most,
            "costs": request.costs if request.capacity is not None else (),
            "capacity": request.capacity,
            "norms": [self._norms(changes) for changes in request.changes or (NO_CHANGES,) * n],
            "item_groups": {item.id: item.group for item in self.run.items["fit"] if item.group},
        }
        settings = parse_settings(Stepwise.Settings, options, "choice of sources")
        return Stepwise(self.space.axes, self.run.config.seed, settings)

    def _norms(self, changes: Changes) -> tuple[float, ...]:
        groups = self.layout.groups(self.groups)
        span_of = {name: span for span, names in groups.items() for name in names}
        squares, numbers = dict.fromkeys(groups, 0.0), dict.fromkeys(groups, 0)
        for block, names in self.layout.groups("block").items():
            square, n = changes.get(block, (0.0, 0))
            if square > 0:
                squares[span_of[names[0]]] += square
                numbers[span_of[names[0]]] += n
        return tuple(math.sqrt(squares[span] / numbers[span]) if numbers[span] else 0.0 for span in groups)

    @property
    def search(self) -> Search:
        request, run = self.request, self.run
        what = {"strategy": "stepwise selection", "method": "task_arithmetic", "groups": self.groups}
        search = new_search(CHOICE, self.space, self.strategy, run, run.settings.controls)
        return replace(
            search,
            limits=Limits(
                item_evaluations=request.item_evaluations,
                minutes=None if request.seconds is None else request.seconds / 60,
            ),
            screen=ScreenSettings(items=items_of_a_heat(len(run.items["fit"])), choose="in turn"),
            is_asynchronous=False,
            description=what,
        )

    def make(self, notify: Callable[[Event], None]) -> ChosenSources:
        """Score trial merges, or go on with them, until the choice is made."""
        store, strategy, search = self.run.begun, self.strategy, self.search
        names, said = list(self.run.config.sources), 0

        def say(event: Event | None) -> None:
            nonlocal said
            if event is not None:
                notify(event)
            for step in strategy.steps[said:]:
                notify(Event(kind="said", search=CHOICE, split="fit", text=step_text(step, names)))
            said = len(strategy.steps)

        items = [item.id for item in store.items()["fit"]]
        runner = runner_of(self.run)
        try:
            evaluator = TrialEvaluator(store, runner, {"fit": items})
            evaluator.notify = notify
            run_search(SearchLog(search, store, items, say), evaluator)
        finally:
            runner.close()
        _ = strategy.batch  # takes the last outcomes
        say(None)
        first = store.trials(CHOICE)[:1]  # the base alone; without it, nothing can be compared
        evaluation = store.evaluation(first[0].id, "fit") if first else None
        if evaluation is not None and evaluation.failure is not None:
            expected = "a model that can be scored, because sources are compared with it"
            remedy = "Fix the model or the task, and start a new run."
            raise KingyoError("base", expected, evaluation.failure, remedy)
        return self._chosen()

    def _chosen(self) -> ChosenSources:
        store, strategy, models = self.run.begun, self.strategy, self.run.models
        names, item_groups = tuple(models.sources), store.groups()
        failed: dict[str, str] = {}
        for trial in store.trials(CHOICE):
            evaluation = store.evaluation(trial.id, "fit")
            merged = _weights_by_source(names, trial.asked.genome)
            if evaluation is not None and evaluation.failure is not None and len(merged) == 1:
                failed |= dict.fromkeys(merged, evaluation.failure)
        alone = {name: strategy.scores_of([i]) for i, name in enumerate(names)}
        scores = strategy.scores_of(strategy.chosen)
        return ChosenSources(
            sources=names,
            chosen=tuple(names[i] for i in strategy.chosen),
            groups=self.groups,
            weights={names[i]: strategy.weights.of(i) for i in strategy.chosen},
            steps=tuple(strategy.steps),
            contributions={names[i]: gain for i, gain in strategy.contributions.items()},
            verdict=strategy.verdict,
            score=_mean_score(scores, item_groups) if scores else None,
            item_groups=item_groups,
            frame=models.frame if models.frame in names else None,
            alone={name: _mean_score(own, item_groups) for name, own in alone.items() if own},
            failed=failed,
            item_evaluations=store.item_evaluations(CHOICE, "fit"),
            minutes=sum(seconds for _, seconds in store.costs(CHOICE, "fit").values()) / 60,
        )


def step_text(step: Step, names: Sequence[str]) -> str:
    if step.added is None:
        left_out = "; now each is left out in turn" if len(step.chosen) > 1 else ""
        return f"{len(step.chosen)} of {len(names)} sources; no further one is added{left_out}"
    gain = step.gains[step.added]
    is_pair = step.gains[step.added].mean <= 0
    text = "best in pairs" if is_pair else f"{100 * gain.mean:+.0f} points ({gain.interval.items})"
    return f"{len(step.chosen) + 1}. {names[step.added]}: {text}"


def answers_alone(n_sources: int, n_fit: int) -> int:
    """Return the answers that the base and each source alone give before anything is compared."""
    return (n_sources + 1) * items_of_a_heat(n_fit)


def items_of_a_heat(n_fit: int) -> int:
    return max(1, min(ITEMS, n_fit // 2))


def _weights_by_source(names: Sequence[str], genome: Genome) -> dict[str, tuple[float, ...]]:
    n_spans = len(genome) // len(names)
    rows = {name: genome[i * n_spans : (i + 1) * n_spans] for i, name in enumerate(names)}
    return {name: tuple(row) for name, row in rows.items() if any(row)}
