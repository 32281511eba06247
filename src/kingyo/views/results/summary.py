"""The summary of a run, and its JSON: the stable interface of ``kingyo show --json``."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from kingyo.core.types import Split
from kingyo.runs.adapters import Training, read_training
from kingyo.runs.choice import CHOSEN, ChosenSources
from kingyo.runs.config import TRAINED, TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH, WEIGHT_SEARCH_LABEL
from kingyo.runs.extensions import (
    EXTENSIONS,
    Extension,
    TestReading,
    missing_controls,
    note_on_test,
    readings_of_test,
)
from kingyo.runs.provenance import Renewal, renewals
from kingyo.search.evolution import (
    BASELINES,
    MAIN,
    RACED,
    Finalist,
    Front,
    read_finalists,
    read_front,
    stored_objectives,
)
from kingyo.search.evolution.set_measures import VERDICT, BestOfRun, best_of_run
from kingyo.search.evolution.trial_recipes import read_recipe
from kingyo.stats import Interval, mean_name
from kingyo.store import NOTES, EvaluationRow, RunStore
from kingyo.tasks import NearDuplicates
from kingyo.views.results.genes import NamedPath, read_path
from kingyo.views.results.model_result import (
    MIXTURES,
    ModelResult,
    PairedComparison,
    compare_on_test,
    predicted_test,
    read_model_result,
)
from kingyo.views.results.plain_data import plain_data
from kingyo.views.results.trials import SHARES, Unit, row_title, unit_of
from kingyo.views.results.tuning import Learning, Tuning, read_learning, read_tuning, why_not_learned

BRED = "bred"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """The summary of a run.

    Attributes:
        copied: item scores that were free, because another trial has the same recipe.
        leader: the best of the main search on fit so far; before it begins, of the weight search.
        predicted: the winner's test score, predicted from the finalists' validation scores.
        winner_score: its fit score as the search was told, an estimate where only some items were scored.
        objectives: their names; empty for a single one.
        path: layer path of the winner or leader.
        controls_to_run: controls that were not run -> the command that runs them.
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
    weights: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    objectives: tuple[str, ...] = ()
    unit: Unit = SHARES
    front: Front = field(default_factory=Front)
    path: NamedPath | None = None
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
        """Return the best of bred model, baselines and winners of controls; None until it is known."""
        return None if self.choice is None else self.model(self.choice.best)

    def model(self, trial: int) -> ModelResult:
        """Return the winner, baseline or winner of a control with this id."""
        return next(model for model in self.models if model.trial.id == trial)

    def best_parent(self) -> ModelResult | None:
        """Return the best of the base and the sources: on test if known, else on validation, else on fit."""
        parents = (model for name, model in self.baselines.items() if name not in MIXTURES)
        return max(parents, key=_rank, default=None)

    @property
    def child(self) -> ModelResult | None:
        """Return the winner; before one is picked, the trial that is best on fit so far."""
        return self.winner or self.leader

    @property
    def child_name(self) -> str:
        return BRED if self.winner is not None else "best so far"

    @property
    def is_tested(self) -> bool:
        return self.winner is not None and self.winner.test is not None

    def comparison(self, name: str) -> PairedComparison | None:
        """Return the winner compared with a baseline or the winner of a control, on test."""
        return next((each for each in self.comparisons if each.other == name), None)

    def command(self, name: str, *arguments: str) -> str:
        return shlex.join(("kingyo", name, self.folder, *arguments))

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

    @property
    def named_models(self) -> dict[str, ModelResult]:
        """Return the models that are compared, by the names that people read; the child is first."""
        named = dict[str, ModelResult]()
        if self.child is not None:
            trial = self.child.trial
            of = f" of {WEIGHT_SEARCH_LABEL}" if trial.search == WEIGHT_SEARCH else ""
            named[f"{self.child_name} (trial {trial.asked.number}{of})"] = self.child
        controls = {row_title(name): model for name, model in self.controls.items()}
        return {**named, **self.baselines, **controls}

    @property
    def learned(self) -> str | None:
        """Say what learned weights cost and brought, or why none were learned; None if none should be."""
        return self.not_learned if self.learning is None else str(self.learning)

    def to_json(self) -> dict[str, object]:
        path = {} if self.path is None else {"path": self.path.to_json()}
        models = (*self.models, *((self.leader,) if self.leader else ()))
        optional = {
            "near_duplicates": self.near_duplicates,
            "decided_by": self.unit.measure,
            "training": self.training,
            "tuning": self.tuning,
            "chosen": self.chosen,
            "front": self._front_json() if self.objectives else None,
        }
        whole: dict[str, object] = {
            "run": self.folder,
            "status": self.status,
            "trials": self.trials,
            "failures": self.failures,
            "notes": self.notes,
            "item_evaluations": self.item_evaluations,
            "copied": self.copied,
            "seconds": round(self.seconds, 3),
            "leader": self.leader and {**self.leader.to_json(), **({} if self.winner else path)},
            "winner": self.winner and {**self.winner.to_json(), **path},
            "best": (best := self.best)
            and {"name": best.name, "search": best.trial.search, "trial": best.trial.asked.number},
            "leads": [
                {
                    "model": self.model(each.trial).name,
                    "over": self.model(each.over).name,
                    "lead": each.lead,
                    **each.size_json,
                    "is_clear": each.is_clear,
                }
                for each in (() if self.choice is None else self.choice.leads)
            ],
            "finalists": self.finalists,
            "predicted": self.predicted,
            "told": self.winner_score,
            "baselines": {name: model.scores_json() for name, model in self.baselines.items()},
            "controls": {
                name: {"trial": model.trial.asked.number, **model.scores_json()}
                for name, model in self.controls.items()
            },
            "cut": {"winner" if model is self.winner else model.name: model.cut for model in models},
            "comparisons": {each.other: each for each in self.comparisons},
            "extensions": self.extensions,
            "test_readings": self.readings,
            "test_note": self.test_note,
            "accepted_changes": [each for each in self.renewals if each.archive is None],
            "rescored": [each for each in self.renewals if each.archive is not None],
            "controls_to_run": self.controls_to_run,
            "learning": self.learning,
            "not_learned": self.not_learned,
        }
        return plain_data(whole | {key: value for key, value in optional.items() if value is not None})

    def _front_json(self) -> dict[str, object]:
        names, knee = self.objectives, self.front.knee
        points: list[dict[str, object]] = []
        for point in self.front.points:
            means = zip(names, point.raw, strict=True) if point.is_partial else ()
            raw = {name: {"score": mean[0], "n": mean[1]} for name, mean in means if mean is not None}
            points.append(
                {
                    "trial": point.trial.asked.number,
                    "objectives": dict(zip(names, point.objectives, strict=True)),
                    "mean": point.value,
                    "estimated": point.is_partial,
                    **({"raw": raw} if point.is_partial else {}),
                }
            )
        return {"objectives": list(names), "knee": knee and knee.trial.asked.number, "points": points}


def _rank(model: ModelResult) -> tuple[float, ...]:
    values = (model.counts_on(split) for split in ("test", "validation", "fit"))
    return tuple(-math.inf if value is None else value.score for value in values)


def summarize(store: RunStore) -> RunSummary:
    """Read the summary of a run, finished or not."""
    fits = [row for row in store.summaries("fit") if row.search in (WEIGHT_SEARCH, MAIN)]
    baselines = {
        str(trial.name): read_model_result(store, str(trial.name), trial) for trial in store.trials(BASELINES)
    }
    searches = {name: store.winner(name) for name in store.searches() if name != BASELINES}
    winners = {name: read_model_result(store, name, each) for name, each in searches.items() if each}
    winner, leader = winners.pop(MAIN, None), _leader(store, fits)
    # a control that kept the model that it started from is listed already
    controls = {
        name: each
        for name, each in winners.items()
        if name not in (TUNED, TUNED_PARENT) or each.trial.asked.number
    }
    child, objectives = winner or leader, stored_objectives(store)
    others = [*baselines.values(), *controls.values()]
    comparisons = () if winner is None else compare_on_test(store, winner, others)
    choice = None if winner is None else _choice(store, [winner, *controls.values()], [*baselines.values()])
    read_again = any(renewal.test_was_read for renewal in renewals(store))
    notes = (
        note_on_test(store),
        "Test had been read before everything was scored again." if read_again else None,
    )
    near = cast("dict[str, int] | None", store.fact("near_duplicates"))
    predicted = None if winner is None or objectives.by_set else predicted_test(store, winner)
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
        comparisons=comparisons,
        choice=choice,
        finalists=() if winner is None else read_finalists(store, MAIN),
        predicted=predicted,
        winner_score=next((row.value for row in fits if winner and row.trial == winner.trial.id), None),
        weights=objectives.tasks,
        objectives=objectives.names,
        unit=unit_of(objectives),
        notes=store.fact(NOTES),
        near_duplicates=None if near is None else NearDuplicates(**near),
        front=read_front(store, MAIN) if objectives.names else Front(),
        path=None if child is None else read_path(store, read_recipe(child.trial)),
        extensions=store.fact(EXTENSIONS),
        readings=readings_of_test(store),
        test_note=" ".join(filter(None, notes)) or None,
        renewals=renewals(store),
        controls_to_run={
            name: shlex.join(("kingyo", "control", str(store.folder), name))
            for name in missing_controls(store)
        },
        training=read_training(store, TRAINED),
        tuning=read_tuning(store, winner, winners),
        learning=read_learning(store, winner and winner.trial),
        not_learned=why_not_learned(store),
        chosen=store.fact(CHOSEN),
    )


def _leader(store: RunStore, fits: Sequence[EvaluationRow]) -> ModelResult | None:
    scored = [row for row in fits if row.value is not None]
    ranks = [(row.value, -row.trial) for row in scored if row.search == scored[-1].search]
    return read_model_result(store, "leader", store.trial(-max(ranks)[1])) if ranks else None


def _choice(
    store: RunStore, winners: Sequence[ModelResult], baselines: Sequence[ModelResult]
) -> BestOfRun | None:
    """Return the choice of the best model, see ``best_of_run``; if set measures count, the stored one.

    None until it is known.
    """
    objectives = stored_objectives(store)
    if objectives.by_set:
        verdict = store.fact(VERDICT) if store.status() == "finished" else None
        return None if verdict is None else verdict.choice
    n = len(store.items()["validation"])
    is_complete = all(each.validation is not None and each.validation.n == n for each in baselines)
    if not (store.fact(RACED) or is_complete):
        return None  # older versions do not race baselines
    trials, others = ([model.trial for model in own] for own in (winners, baselines))
    trained = (*TRAININGS, *(search for search in store.searches() if store.lessons(search)))
    return best_of_run(store, objectives, trials, others, trained)
