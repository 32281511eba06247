"""The summary of a run for show, report and export: numbers from the store, with n and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from kingyo.evolution import (
    BASELINES,
    MAIN,
    Finalist,
    Front,
    read_finalists,
    read_front,
    stored_objectives,
)
from kingyo.evolution.set_measures import READ, SetValue
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.results.best_model import best_model, predicted_test
from kingyo.results.comparisons import PairedComparison, compare_on_test
from kingyo.results.estimates import FitEstimate, estimate
from kingyo.results.layer_paths import NamedPath, read_run_layers
from kingyo.results.model_result import MIXTURES, ModelResult, read_model_result
from kingyo.results.set_values import SetRow, measure_text
from kingyo.results.summary_json import summary_json
from kingyo.results.trials import row_title
from kingyo.run.config import WEIGHT_SEARCH
from kingyo.run.extensions import Extension, TestReading, note_on_test, read_extensions, readings_of_test
from kingyo.run.later_controls import control_command, missing_controls
from kingyo.run.renewals import Renewal, renewals
from kingyo.run.trained_control import TrainedControl, read_training
from kingyo.stats import Interval, mean_name, percent
from kingyo.store import EvaluationRow, RunStore
from kingyo.tasks import NearDuplicates
from kingyo.types import SPLITS, Split


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The summary of a run.

    Attributes:
        run, folder, status: its name, folder and state.
        trials, failures: of the main search; with ``space: hybrid``, of both searches.
        item_evaluations, copied, seconds: the cost; ``copied`` item scores were free.
        items: number of items of each split.
        leader: the best of the main search on fit so far; before it begins, of the search of weights.
        winner, baselines, controls: the models.
        comparisons: the winner with the other models, on test.
        best: the best of the bred winner, the baselines and the winners of the controls, see ``best_model``.
        finalists: those scored on all of validation, with the numbers that decided.
        predicted: the winner's test score, predicted from the finalists' validation scores.
        winner_score: the winner's fit score as the search was told; an estimate if it got some items only.
        leader_score: the same for the leader.
        weights: weight of each task, by its name.
        objectives: their names; empty for a single one.
        decided_by: the set measure that decided the run (``Objectives.title``); None if item scores did.
        front: of the main search.
        path: layer path of the winner, or of the leader if there is no winner; None without layer paths.
        estimate: of the same trial for all of fit; None if it was scored on all of it.
        notes: warnings about settings and data, from before the run.
        near_duplicates: among the items; None if an older version began the run.
        extensions: what was added to the budget.
        readings: the winners that test was read for.
        test_note: how an extension after reading test affects the winner's test score.
        renewals: when scores were made with different versions, or again.
        controls_to_run: controls that were not run -> the command that runs them.
        training: the result and cost of the control ``trained``.
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
    best: ModelResult | None = None
    finalists: tuple[Finalist, ...] = ()
    predicted: Interval | None = None
    winner_score: float | None = None
    leader_score: float | None = None
    weights: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    objectives: tuple[str, ...] = ()
    decided_by: str | None = None
    front: Front = field(default_factory=Front)
    path: NamedPath | None = None
    estimate: FitEstimate | None = None
    notes: tuple[str, ...] = ()
    near_duplicates: NearDuplicates | None = None
    extensions: tuple[Extension, ...] = ()
    readings: tuple[TestReading, ...] = ()
    test_note: str | None = None
    renewals: tuple[Renewal, ...] = ()
    controls_to_run: Mapping[str, str] = field(default_factory=dict[str, str])
    training: TrainedControl | None = None

    def best_parent(self) -> ModelResult | None:
        """Return the best of the base and the sources: on test if known, else on validation, else on fit."""
        parents = [model for name, model in self.baselines.items() if name not in MIXTURES]
        return max(parents, key=_rank, default=None)

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

    def set_rows(self) -> list[SetRow]:
        """Return the rows of a table of set measures, measure by measure."""
        models = {} if self.winner is None else {"bred": self.winner}
        models |= {**self.baselines, **{row_title(name): model for name, model in self.controls.items()}}
        measures = dict.fromkeys(
            (value.task, value.measure) for each in models.values() for value in each.sets
        )
        rows: list[SetRow] = []
        for task, measure in measures:
            for name, model in models.items():
                own = [value for value in model.sets if (value.task, value.measure) == (task, measure)]
                values: dict[Split, SetValue] = {value.split: value for value in own}
                title = f"{task}: {measure}" if task else measure
                rows += [SetRow(measure=title, model=name, values=values)] if values else []
        return rows

    def counts(self, split: Split) -> tuple[int, int] | None:
        """Return the fewest and the most items behind the scores on a split; None before any score.

        They differ if racing gives some candidates more items.
        """
        child = self.winner or self.leader
        models = [*([child] if child else []), *self.baselines.values(), *self.controls.values()]
        sizes = [score.n for model in models if (score := model.on(split)) is not None]
        return (min(sizes), max(sizes)) if sizes else None

    def to_json(self) -> dict[str, object]:
        """Return the JSON of ``kingyo show --json``."""
        return summary_json(self)


def summarize(store: RunStore) -> RunSummary:
    """Read the summary of a run, finished or not."""
    fits = [row for row in store.summaries("fit") if row.search in (WEIGHT_SEARCH, MAIN)]
    baselines = {
        str(trial.name): read_model_result(store, str(trial.name), trial) for trial in store.trials(BASELINES)
    }
    controls = _winners(store)
    winner, leader = controls.pop(MAIN, None), _leader(store, fits)
    child, objectives = winner or leader, stored_objectives(store)
    others = [*baselines.values(), *controls.values()]
    return RunSummary(
        run=str(store.fact("name")),
        folder=str(store.folder),
        status=store.status(),
        trials=len(fits),
        failures=sum(row.failure is not None for row in fits),
        item_evaluations=store.item_evaluations(),
        copied=store.copied_scores(),
        seconds=store.seconds(),
        items={split: len(items) for split, items in store.items().items()},
        leader=leader,
        winner=winner,
        baselines=baselines,
        controls=controls,
        comparisons=() if winner is None else compare_on_test(store, winner, others),
        best=None
        if winner is None
        else best_model(store, [winner, *controls.values()], [*baselines.values()]),
        finalists=() if winner is None else read_finalists(store, MAIN),
        predicted=None if winner is None or objectives.by_set else predicted_test(store, winner),
        winner_score=_fit_value(fits, winner),
        leader_score=_fit_value(fits, leader),
        weights=objectives.tasks,
        objectives=objectives.names,
        decided_by=objectives.title if objectives.by_set else None,
        notes=tuple(cast("list[str]", store.fact("notes") or [])),
        near_duplicates=_near_duplicates(store),
        front=read_front(store, MAIN) if objectives.names else Front(),
        path=None if child is None else read_run_layers(store).read(read_recipe(child.trial)),
        extensions=read_extensions(store),
        readings=readings_of_test(store),
        test_note=_note_on_test(store),
        renewals=renewals(store),
        controls_to_run={name: control_command(str(store.folder), name) for name in missing_controls(store)},
        estimate=None if child is None else estimate(store, child.trial),
        training=read_training(store),
    )


def _winners(store: RunStore) -> dict[str, ModelResult]:
    """Return search -> its winner, for the searches that have one."""
    winners = {name: store.winner(name) for name in store.searches() if name != BASELINES}
    return {name: read_model_result(store, name, trial) for name, trial in winners.items() if trial}


def _leader(store: RunStore, fits: Sequence[EvaluationRow]) -> ModelResult | None:
    """Return the best trial of the last search with any success."""
    scored = [row for row in fits if row.value is not None]
    ranks = [(row.value, -row.trial) for row in scored if row.search == scored[-1].search]
    return read_model_result(store, "leader", store.trial(-max(ranks)[1])) if ranks else None


def _fit_value(fits: Sequence[EvaluationRow], model: ModelResult | None) -> float | None:
    """Return the fit score of a model as its search was told."""
    return next((row.value for row in fits if model and row.trial == model.trial.id), None)


def _note_on_test(store: RunStore) -> str | None:
    """Return what repeated readings of test mean for the winner's test score; None after one."""
    is_read_before = any(renewal.test_was_read for renewal in renewals(store))
    again = "Test had been read before everything was scored again." if is_read_before else None
    return " ".join(filter(None, (note_on_test(store), again))) or None


def _near_duplicates(store: RunStore) -> NearDuplicates | None:
    fact = cast("dict[str, int] | None", store.fact("near_duplicates"))
    return None if fact is None else NearDuplicates(**fact)


def _rank(model: ModelResult) -> tuple[float, float, float]:
    def score(value: Interval | None) -> float:
        return -math.inf if value is None else value.score

    return score(model.counts_on("test")), score(model.counts_on("validation")), score(model.counts_on("fit"))
