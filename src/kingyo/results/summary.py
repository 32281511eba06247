"""The summary of a run, and its JSON: the stable interface of ``kingyo show --json``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from kingyo.evolution import Finalist, Front, FrontPoint
from kingyo.evolution.best_of_run import BestOfRun
from kingyo.evolution.set_measures import READ, SetValue
from kingyo.io.units import percent
from kingyo.results.comparisons import PairedComparison
from kingyo.results.estimates import FitEstimate
from kingyo.results.layer_paths import NamedPath
from kingyo.results.learning import Learning
from kingyo.results.model_result import MIXTURES, ModelResult, measure_text
from kingyo.results.trials import row_title
from kingyo.results.tuning import Tuning
from kingyo.run.adapters import Training
from kingyo.run.choice import ChosenSources
from kingyo.run.extensions import Extension, TestReading
from kingyo.run.provenance import Renewal
from kingyo.stats import Interval, interval_json, mean_name
from kingyo.tasks import NearDuplicates
from kingyo.types import SPLITS, Split


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The summary of a run.

    Attributes:
        run, folder, status: its name, folder and state.
        trials, failures: those of the main search; with ``space: hybrid``, of both searches.
        item_evaluations, copied, seconds: the cost; ``copied`` item scores were free.
        items: number of items of each split.
        leader: the best of the main search on fit so far; before it begins, of the weight search.
        winner, baselines, controls: the models.
        comparisons: the winner with the other models, on test.
        choice: the best of bred winner, baselines and winners of controls, see ``best_of_run``.
        finalists: those scored on all of validation, with the numbers that decided.
        predicted: the winner's test score, predicted from the finalists' validation scores.
        winner_score: the winner's fit score as the search was told; an estimate if it got some items only.
        leader_score: the same for the leader.
        weights: weight of each task, by its name.
        objectives: their names; empty for a single one.
        decided_by: the set measure that decided the run (``Objectives.title``); None if item scores did.
        front: front of the main search.
        path: layer path of the winner, or of the leader if there is no winner; None without layer paths.
        estimates: id of a trial -> estimate for all of fit, for models that were scored on some of its items.
        notes: warnings about settings and data, from before the run.
        near_duplicates: among the items; None if an older version began the run.
        extensions: what was added to the budget.
        readings: the winners that test was read for.
        test_note: how an extension after reading test affects the winner's test score.
        renewals: when scores were made with different versions, or again.
        controls_to_run: controls that were not run -> the command that runs them.
        training: the result and cost of the control ``trained``.
        tuning: the tuned model beside bred and the same training on the best parent.
        learning: what learned weights cost and brought; None if none were learned.
        not_learned: why none were learned, in a finished run that could.
        chosen: how the sources were chosen; None if the user named them.
    """

    run: str
    folder: str
    status: str
    trials: int
    failures: int
    item_evaluations: int
    copied: int
    seconds: float
    items: Mapping[Split, int]
    leader: ModelResult | None
    winner: ModelResult | None
    baselines: Mapping[str, ModelResult]
    controls: Mapping[str, ModelResult]
    comparisons: tuple[PairedComparison, ...]
    choice: BestOfRun | None = None
    finalists: tuple[Finalist, ...] = ()
    predicted: Interval | None = None
    winner_score: float | None = None
    leader_score: float | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    objectives: tuple[str, ...] = ()
    decided_by: str | None = None
    front: Front = field(default_factory=Front)
    path: NamedPath | None = None
    estimates: Mapping[int, FitEstimate] = field(default_factory=dict[int, FitEstimate])
    notes: tuple[str, ...] = ()
    near_duplicates: NearDuplicates | None = None
    extensions: tuple[Extension, ...] = ()
    readings: tuple[TestReading, ...] = ()
    test_note: str | None = None
    renewals: tuple[Renewal, ...] = ()
    controls_to_run: Mapping[str, str] = field(default_factory=dict[str, str])
    training: Training | None = None
    tuning: Tuning | None = None
    learning: Learning | None = None
    not_learned: str | None = None
    chosen: ChosenSources | None = None

    @property
    def best(self) -> ModelResult | None:
        """Return the model that was chosen as the best of the run; None until it is known."""
        return None if self.choice is None else self.model(self.choice.best)

    def model(self, trial: int) -> ModelResult:
        """Return the winner, baseline or winner of a control with this id."""
        return next(model for model in self.models if model.trial.id == trial)

    def best_parent(self) -> ModelResult | None:
        """Return the best of the base and the sources: on test if known, else on validation, else on fit."""
        return max(self._parents, key=_rank, default=None)

    @property
    def parents_tie(self) -> bool:
        """Whether all parents have the same score, so that none is the best."""
        return len(self._parents) > 1 and len({_rank(parent) for parent in self._parents}) == 1

    @property
    def _parents(self) -> list[ModelResult]:
        return [model for name, model in self.baselines.items() if name not in MIXTURES]

    def estimate(self, model: ModelResult | None) -> FitEstimate | None:
        """Return the estimate of a model for all of fit; None if it was scored on all of it."""
        return None if model is None else self.estimates.get(model.trial.id)

    def in_words(self, value: float) -> str:
        """Return a value that the run decides by as text: scores in percent, set measures as numbers."""
        return percent(value) if self.decided_by is None else measure_text(value)

    @property
    def set_splits(self) -> tuple[Split, ...]:
        """Return the splits on which set measures are computed."""
        return READ if self.decided_by is None else SPLITS

    @property
    def score_name(self) -> str:
        """Return the name of the scores: ``mean item scores``, or ``weighted means of 2 tasks``."""
        if len(self.weights) == 1:
            return "mean item scores"
        return f"{mean_name(self.weights.values())}s of {len(self.weights)} tasks"

    @property
    def models(self) -> tuple[ModelResult, ...]:
        """Return the bred winner, if there is one, the baselines, and the winners of the controls."""
        winner = () if self.winner is None else (self.winner,)
        return (*winner, *self.baselines.values(), *self.controls.values())

    def set_rows(self) -> list[tuple[str, str, Mapping[Split, SetValue]]]:
        """Return the rows of a table of set measures: measure, model, and split -> value."""
        models = {} if self.winner is None else {"bred": self.winner}
        models |= {**self.baselines, **{row_title(name): model for name, model in self.controls.items()}}
        measures = dict.fromkeys(
            (value.task, value.measure) for each in models.values() for value in each.sets
        )
        rows: list[tuple[str, str, Mapping[Split, SetValue]]] = []
        for task, measure in measures:
            for name, model in models.items():
                own = [value for value in model.sets if (value.task, value.measure) == (task, measure)]
                values: dict[Split, SetValue] = {value.split: value for value in own}
                title = f"{task}: {measure}" if task else measure
                rows += [(title, name, values)] if values else []
        return rows

    def scores_on(self, split: Split) -> list[Interval]:
        """Return the known scores on a split; racing scores some models on fewer items than others."""
        child = self.winner or self.leader
        models = [*([child] if child else []), *self.baselines.values(), *self.controls.values()]
        return [score for model in models if (score := model.on(split)) is not None]

    @property
    def learned(self) -> str | None:
        """Say what learned weights cost and brought, or why none were learned; None if none should be."""
        winner = None if self.winner is None else self.winner.trial
        return self.not_learned if self.learning is None else self.learning.in_words(winner)

    def to_json(self) -> dict[str, object]:
        """Return the JSON of ``kingyo show --json``."""
        return _summary_json(self)


def _rank(model: ModelResult) -> tuple[float, float, float]:
    def score(value: Interval | None) -> float:
        return -math.inf if value is None else value.score

    return score(model.counts_on("test")), score(model.counts_on("validation")), score(model.counts_on("fit"))


def _summary_json(summary: RunSummary) -> dict[str, object]:
    """Return a summary as JSON. Keys that do not apply to a run are left out."""
    near = summary.near_duplicates
    return {
        "run": summary.folder,
        "status": summary.status,
        "trials": summary.trials,
        "failures": summary.failures,
        "notes": list(summary.notes),
        **({} if near is None else {"near_duplicates": asdict(near)}),
        "item_evaluations": summary.item_evaluations,
        "copied": summary.copied,
        "seconds": round(summary.seconds, 3),
        "leader": _leader(summary),
        "winner": _winner(summary),
        "best": None if summary.best is None else _named(summary.best),
        "leads": _leads(summary),
        "finalists": [asdict(finalist) for finalist in summary.finalists],
        "predicted": interval_json(summary.predicted),
        "told": summary.winner_score,
        **({} if summary.decided_by is None else {"decided_by": summary.decided_by}),
        **_models(summary),
        **_history(summary),
        "controls_to_run": dict(summary.controls_to_run),
        "learning": _learning(summary),
        "not_learned": summary.not_learned,
        **({} if summary.training is None else {"training": summary.training.to_json()}),
        **({} if summary.tuning is None else {"tuning": summary.tuning.to_json()}),
        **({} if summary.chosen is None else {"chosen": summary.chosen.to_json()}),
        **({"front": _front(summary)} if summary.objectives else {}),
    }


def _winner(summary: RunSummary) -> dict[str, object] | None:
    winner = summary.winner
    if winner is None:
        return None
    return {
        "trial": winner.trial.asked.number,
        "genome": list(winner.genome),
        "recipe": winner.recipe,
        **_path_and_estimate(summary),
        **_scores(winner),
    }


def _leader(summary: RunSummary) -> dict[str, object] | None:
    leader = summary.leader
    if leader is None:
        return None
    return {
        "trial": leader.trial.asked.number,
        "search": leader.trial.search,
        "recipe": leader.recipe,
        **(_path_and_estimate(summary) if summary.winner is None else {}),
        **_scores(leader),
    }


def _path_and_estimate(summary: RunSummary) -> dict[str, object]:
    path = {} if summary.path is None else {"path": summary.path.to_json()}
    estimate = summary.estimate(summary.winner or summary.leader)
    return {**path, "estimate": None if estimate is None else estimate.to_json()}


def _models(summary: RunSummary) -> dict[str, object]:
    models = (*summary.models, *((summary.leader,) if summary.leader else ()))
    return {
        "baselines": {name: _scores(model) for name, model in summary.baselines.items()},
        "controls": {
            name: {"trial": model.trial.asked.number, **_scores(model)}
            for name, model in summary.controls.items()
        },
        "cut": {"winner" if model is summary.winner else model.name: dict(model.cut) for model in models},
        "comparisons": {each.other: each.to_json() for each in summary.comparisons},
    }


def _history(summary: RunSummary) -> dict[str, object]:
    return {
        "extensions": [
            {"at": each.at, "more": dict(each.more), "test_was_read": each.test_was_read}
            for each in summary.extensions
        ],
        "test_readings": [
            {"trial": reading.trial, "after": [dict(extension.more) for extension in reading.after]}
            for reading in summary.readings
        ],
        "test_note": summary.test_note,
        "accepted_changes": [asdict(each) for each in summary.renewals if each.archive is None],
        "rescored": [asdict(each) for each in summary.renewals if each.archive is not None],
    }


def _learning(summary: RunSummary) -> dict[str, object] | None:
    winner = None if summary.winner is None else summary.winner.trial
    return None if summary.learning is None else summary.learning.to_json(winner)


def _named(model: ModelResult) -> dict[str, object]:
    return {"name": model.name, "search": model.trial.search, "trial": model.trial.asked.number}


def _leads(summary: RunSummary) -> list[dict[str, object]]:
    """Return the comparisons on fit and validation that decided which model is the best."""
    leads = () if summary.choice is None else summary.choice.leads
    return [
        {
            "model": summary.model(each.trial).name,
            "over": summary.model(each.over).name,
            "lead": each.lead,
            **each.size_json,
            "is_clear": each.is_clear,
        }
        for each in leads
    ]


def _scores(model: ModelResult) -> dict[str, object]:
    tasks = {name: _by_split(own) for name, own in model.tasks.items()}
    return {
        **{split: interval_json(model.on(split)) for split in SPLITS},
        **({"tasks": tasks} if tasks else {}),
        **({"set_measures": [asdict(value) for value in model.sets]} if model.sets else {}),
    }


def _by_split(intervals: Mapping[Split, Interval]) -> dict[str, object]:
    return {split: interval_json(intervals.get(split)) for split in SPLITS}


def _front(summary: RunSummary) -> dict[str, object]:
    knee, names = summary.front.knee, summary.objectives
    return {
        "objectives": list(names),
        "knee": knee and knee.trial.asked.number,
        "points": [
            {
                "trial": point.trial.asked.number,
                "objectives": dict(zip(names, point.objectives, strict=True)),
                "mean": point.value,
                "estimated": point.is_partial,
                **({"raw": _raw(names, point)} if point.is_partial else {}),
            }
            for point in summary.front.points
        ],
    }


def _raw(names: tuple[str, ...], point: FrontPoint) -> dict[str, object]:
    means = zip(names, point.raw, strict=True)
    return {name: {"score": mean[0], "n": mean[1]} for name, mean in means if mean is not None}
