"""Choose sources for a task: score trial merges of the candidates until no other one is worth adding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np

from kingyo.errors import KingyoError
from kingyo.evolution import Event, Search
from kingyo.evolution.screens import ScreenSettings
from kingyo.evolution.search import run_search
from kingyo.evolution.search_log import SearchLog
from kingyo.evolution.trial_evaluation import TrialEvaluator
from kingyo.evolution.types import Limits
from kingyo.io.pipeline_index import DENOISERS
from kingyo.io.schema import parse_settings
from kingyo.run.config import RESERVED_NAMES, RunConfig
from kingyo.run.config_file import config_from_data
from kingyo.run.run import Run
from kingyo.run.scouted import SCOUT, weights_by_source
from kingyo.run.searches import completed
from kingyo.run.spaces import shared_keys
from kingyo.run.worker import runner_of
from kingyo.scout.catalogue import Group
from kingyo.scout.continuing import begun, require_same_options
from kingyo.scout.spans import Changes, Spans
from kingyo.space import WithDefaults
from kingyo.space.subsets import SubsetSpace
from kingyo.stats import Groups, Interval, interval, interval_json, size_of
from kingyo.stats.paired import Correlation, rank_correlation
from kingyo.store import RunStore
from kingyo.strategies.gain_model import Gain
from kingyo.strategies.stepwise import Step, Stepwise, Verdict

ITEMS = 24
"""Items of a heat; half of fit if that is less, since gains are measured on others than the first ones."""


@dataclass(frozen=True, kw_only=True)
class ChoiceLimits:
    """What the user allows.

    Attributes:
        min_gain: least gain in mean score for which a source is added.
        most: most sources.
        costs: source -> its cost, such as its bytes; with ``capacity``, the most total cost.
        item_evaluations, seconds: the budget.
    """

    min_gain: float = 0.01
    most: int | None = None
    costs: Mapping[str, float] = field(default_factory=dict[str, float])
    capacity: float | None = None
    item_evaluations: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class WeightEvidence:
    """What the weights of the sources show.

    Attributes:
        features: source -> its features.
        similarity: of pairs of sources.
        changes: source -> block -> squared norm of its task vector there, and of how many numbers.
    """

    features: Mapping[str, Sequence[float]] = field(default_factory=dict[str, Sequence[float]])
    similarity: Mapping[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    changes: Mapping[str, Changes] = field(default_factory=dict[str, Changes])


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
        item_scores: merged sources, in the order in which they were added -> fit item -> score. Of each
            source alone, the sources before each step (none: the base), and the chosen ones; not in the JSON.
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
    item_scores: Mapping[tuple[str, ...], Mapping[str, float]]
    failed: Mapping[str, str]
    correlation: Correlation | None
    item_evaluations: int
    minutes: float
    item_groups: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def run_sources(self) -> tuple[str, ...]:
        """The sources that a run of the choice names: the chosen ones, and the frame."""
        frame = () if self.frame is None or self.frame in self.chosen else (self.frame,)
        return (*self.chosen, *frame)

    def to_json(self) -> dict[str, object]:
        """Return everything as data, sources by name."""
        return {
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


def gain_json(gain: Gain) -> dict[str, object]:
    """Return a gain with its 95% interval."""
    bounds = gain.interval
    return {"gain": bounds.score, "low": bounds.low, "high": bounds.high, **bounds.size_json}


def choose(
    run: Run,
    out: Path,
    limits: ChoiceLimits,
    evidence: WeightEvidence,
    notify: Callable[[Event, Sequence[Step]], None],
) -> ChosenSources:
    """Choose among the sources of a run, or continue a choice that was stopped.

    Args:
        run: opened from a config with all candidates as sources; only its fit items are scored.
        out: folder of the scout; it gets a run database.
        limits: what the user allows.
        evidence: from the weights.
        notify: called with every event and the decisions so far.

    Raises:
        KingyoError: the run cannot begin, or another choice is in the folder.
    """
    require_budget(run, limits)
    spans = Spans.of(run)
    _ = _strategy(run, spans, _options(run, spans, limits, evidence))  # refuses before anything is written
    with begun(run, out) as opened:
        store, options = opened.begun, _options(opened, spans, limits, evidence)
        require_same_options(store, options)
        strategy = _strategy(opened, spans, options)
        search = _search(opened, spans, strategy, limits)
        items = [item.id for item in store.items()["fit"]]
        evaluator = TrialEvaluator(store, runner_of(opened), {"fit": items})
        log = SearchLog(search, store, items, lambda event: notify(event, strategy.steps))
        run_search(log, evaluator)
        _ = strategy.batch  # takes the last outcomes
        _require_scored_base(store)
        return _choice(opened, spans, strategy)


def _require_scored_base(store: RunStore) -> None:
    """Check that the base alone, the first trial, did not fail; nothing can be compared without it."""
    first = store.trials(SCOUT)[:1]
    evaluation = store.evaluation(first[0].id, "fit") if first else None
    if evaluation is not None and evaluation.failure is not None:
        raise KingyoError(
            "base",
            expected="a model that can be scored, because sources are compared with it",
            received=evaluation.failure,
            remedy="Fix the model or the task, and choose another folder with --out.",
        )


def config_for(
    group: Group, given: Mapping[str, object], folder: Path, seed: int, frame: str | None = None
) -> RunConfig:
    """Return the config of a run with all members of a group as sources.

    Args:
        group: the candidates and their base.
        given: other keys, among them the task.
        folder: base of relative paths.
        seed: draws the items of trial merges.
        frame: name of the source that is the frame; None for the first model that can be one.
    """
    sources = names_of([each.reference for each in group.members])
    return config_from_data(
        {
            "name": SCOUT,
            "seed": seed,
            "base": group.base,
            "sources": sources,
            **given,
            "merge": {
                "method": "task_arithmetic",
                "parameters": {"weight": {"from": 0, "to": 1.5}},
                "dtype": "float32",
                **({} if frame is None else {"frame": frame}),
            },
            "budget": {"candidates": 1},
        },
        folder,
    )


def names_of(references: Sequence[str]) -> dict[str, str]:
    """Return a name for each model, and the model: the last part of its path, or its pipeline's name."""
    named: dict[str, str] = {}
    for reference in references:
        path = Path(reference.rpartition("+")[2].partition("@")[0])
        last = path.parent.name if path.name in DENOISERS and path.parent.name else path.name
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-._") or "model"
        if name in RESERVED_NAMES or name == "base":
            name = f"{name}-1"
        free = (each for k in count(2) if (each := f"{name}-{k}") not in named)
        named[name if name not in named else next(free)] = reference
    return named


def _options(run: Run, spans: Spans, limits: ChoiceLimits, evidence: WeightEvidence) -> dict[str, object]:
    names = list(run.config.sources)
    return {
        "min_gain": limits.min_gain,
        "most": limits.most,
        "costs": [float(limits.costs[name]) for name in names] if limits.costs else [],
        "capacity": limits.capacity,
        "features": [list(evidence.features[name]) for name in names] if evidence.features else [],
        "similarity": [[evidence.similarity.get((a, b), 0.0) for b in names] for a in names]
        if evidence.similarity
        else [],
        "norms": [list(spans.norms(evidence.changes.get(name, {}))) for name in names],
        "item_groups": {item.id: item.group for item in run.items["fit"] if item.group},
    }


def _strategy(run: Run, spans: Spans, options: Mapping[str, object]) -> Stepwise:
    settings = parse_settings(Stepwise.Settings, options, "choice of sources")
    return Stepwise(_space(run, spans).axes, run.config.seed, settings)


def _space(run: Run, spans: Spans) -> WithDefaults:
    assert run.models.base is not None, "a choice needs a base"
    space = SubsetSpace(
        sources=run.models.references,
        base=run.models.base.reference,
        layout=spans.layout,
        groups=spans.groups,
        dtype=run.config.merge.dtype,
    )
    return WithDefaults(space=space, keys=shared_keys(run))


def trials_in(out: Path) -> Path:
    """Return the folder of the trial merges in a scout's folder."""
    return out / "trials"


def answers_alone(n_sources: int, n_fit: int) -> int:
    """Return the answers that the base and each source alone give before anything is compared."""
    return (n_sources + 1) * _items_of_a_heat(n_fit)


def _items_of_a_heat(n_fit: int) -> int:
    return max(1, min(ITEMS, n_fit // 2))


def require_budget(run: Run, limits: ChoiceLimits, argument: str = "--budget") -> None:
    """Check that a budget suffices to score each candidate alone; an error names the argument."""
    fewest = answers_alone(len(run.config.sources), len(run.items["fit"]))
    if limits.item_evaluations is not None and limits.item_evaluations < fewest:
        raise KingyoError(
            argument,
            expected=f"at least {fewest:,} answers: the base and each candidate alone",
            received=f"{limits.item_evaluations:,}",
            remedy="Raise it, or name fewer candidates.",
        )


def _search(run: Run, spans: Spans, strategy: Stepwise, limits: ChoiceLimits) -> Search:
    search = Search(
        name=SCOUT,
        space=_space(run, spans),
        strategy=strategy,
        limits=Limits(item_evaluations=limits.item_evaluations, seconds=limits.seconds),
        screen=ScreenSettings(items=_items_of_a_heat(len(run.items["fit"])), choose="in turn"),
        seed=run.config.seed,
        description={"strategy": "stepwise selection", "method": "task_arithmetic", "groups": spans.groups},
    )
    return replace(completed(search, run, run.settings.controls), space=search.space)


def _choice(run: Run, spans: Spans, strategy: Stepwise) -> ChosenSources:
    store, names = run.begun, tuple(run.config.sources)
    trials = store.trials(SCOUT)
    failed: dict[str, str] = {}
    alone: dict[str, Interval] = {}
    item_groups = store.groups()
    for i, name in enumerate(names):
        scores = strategy.scores_of([i])
        if scores:
            alone[name] = mean_score(scores, item_groups)
    for trial in trials:
        evaluation = store.evaluation(trial.id, "fit")
        on = weights_by_source(names, trial.asked.genome)
        if evaluation is not None and evaluation.failure is not None and len(on) == 1:
            failed |= dict.fromkeys(on, evaluation.failure)
    scores = strategy.scores_of(strategy.chosen)
    seconds = sum(cost for _, cost in store.costs(SCOUT, "fit").values())
    return ChosenSources(
        sources=names,
        chosen=tuple(names[i] for i in strategy.chosen),
        groups=spans.groups,
        weights={names[i]: strategy.weights.of(i) for i in strategy.chosen},
        steps=tuple(strategy.steps),
        contributions={names[i]: gain for i, gain in strategy.contributions.items()},
        verdict=strategy.verdict,
        score=mean_score(scores, item_groups) if scores else None,
        item_groups=item_groups,
        frame=run.models.frame if run.models.frame in names else None,
        alone=alone,
        item_scores=_item_scores(strategy, names),
        failed=failed,
        correlation=_correlation(strategy.steps),
        item_evaluations=store.item_evaluations(SCOUT, "fit"),
        minutes=seconds / 60,
    )


def mean_score(scores: Mapping[str, float], groups: Mapping[str, str]) -> Interval:
    """Bound the mean of item scores; ``groups`` has the groups of items that belong together."""
    return interval([*scores.values()], _groups(scores, groups), seed=0)


def _groups(items: Iterable[str], labels: Mapping[str, str]) -> Groups | None:
    return Groups.of(labels.get(item, "") for item in items)


def _item_scores(strategy: Stepwise, names: Sequence[str]) -> dict[tuple[str, ...], Mapping[str, float]]:
    """Return the item scores of the merges along the way, each with its weights when it was scored."""
    along = {step.chosen: step.items for step in strategy.steps}
    alone = {(i,): strategy.scores_of([i]) for i in range(len(names))}
    merges = {**along, **alone, strategy.chosen: strategy.scores_of(strategy.chosen)}
    return {tuple(names[i] for i in sources): items for sources, items in merges.items() if items}


def _correlation(steps: Sequence[Step]) -> Correlation | None:
    """Return the rank correlation of predicted and measured gains within steps, all steps but the first."""
    predicted: list[float] = []
    measured: list[float] = []
    for step in steps[1:]:
        pairs = [(step.predicted[i].mean, gain.mean) for i, gain in step.gains.items() if i in step.predicted]
        if len(pairs) > 1:
            centres = np.mean(pairs, axis=0)
            predicted += [each[0] - centres[0] for each in pairs]
            measured += [each[1] - centres[1] for each in pairs]
    return rank_correlation(predicted, measured)
