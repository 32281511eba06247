"""The numbers of a run, each with n and interval, for show, report and export.

Every number is computed from rows of the store. It prints nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, cast

from kingyo.evolution import (
    BASELINES,
    MAIN,
    RACED,
    Finalist,
    Front,
    FrontPoint,
    read_finalists,
    read_front,
    stored_objectives,
)
from kingyo.evolution.set_measures import READ, SetValue, read_set_values
from kingyo.evolution.trial_recipes import read_recipe
from kingyo.evolution.verdict import best_trial, read_verdict
from kingyo.results.estimates import FitEstimate, estimate
from kingyo.results.layer_paths import NamedPath, read_atlas
from kingyo.results.set_values import SetRow, decided, interval_in_words, plain
from kingyo.results.trials import describe_trial, row_title
from kingyo.run.config import FRANKENMERGE, TRAINED, WEIGHT_SEARCH
from kingyo.run.extensions import Extension, TestReading, note_on_test, read_extensions, readings_of_test
from kingyo.run.later_controls import control_command, missing_controls
from kingyo.run.renewals import Renewal, renewals
from kingyo.run.trained_control import TrainedControl, read_training
from kingyo.stats import (
    ROUNDING,
    Interval,
    PairedDifference,
    interval,
    mean_name,
    paired_difference,
    percent,
    weighted_mean,
)
from kingyo.stats.prediction import predict_weighted_winner
from kingyo.store import EvaluationRow, RunStore, StoredTrial
from kingyo.tasks import NearDuplicates, TextSettings
from kingyo.types import SPLITS, Evaluation, Genome, Split

STATISTICS_SEED = 0
MIXTURES = ("uniform", FRANKENMERGE)
"""Baselines that are no parent: what people make of the parents without a search."""


@dataclass(frozen=True, kw_only=True)
class ModelResult:
    """A model of a run: the winner, a baseline, or the winner of a control search.

    Scores are None where the model was not evaluated on that split (yet). With several tasks they are the
    weighted means of what stands under ``tasks``: name -> split -> score. ``cut`` counts the answers of each
    split that had no end within ``max_new_tokens``. ``sets`` are measures of sets of answers. ``decided`` is,
    by split, what the run chose by in place of scores; None where these count.
    """

    name: str
    trial: StoredTrial
    recipe: Mapping[str, object]
    fit: Interval | None
    validation: Interval | None
    test: Interval | None
    tasks: Mapping[str, Mapping[Split, Interval]] = field(default_factory=dict[str, Mapping[Split, Interval]])
    cut: Mapping[Split, int] = field(default_factory=dict[Split, int])
    sets: tuple[SetValue, ...] = ()
    decided: Mapping[Split, Interval] | None = None

    @property
    def genome(self) -> Genome:
        """Its genes; empty for a baseline."""
        return self.trial.asked.genome

    def on(self, split: Split) -> Interval | None:
        """Return its score on a split."""
        return {"fit": self.fit, "validation": self.validation, "test": self.test}[split]

    def counts_on(self, split: Split) -> Interval | None:
        """Return what counts of it on a split: its score, or what is measured in place of it."""
        return self.on(split) if self.decided is None else self.decided.get(split)


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Winner minus another model, over the same test items.

    Attributes:
        difference: mean paired difference with its interval.
        p: that the two are equally good, two-sided.
        test: how it was found: McNemar's exact test where there is one task, scored right or wrong; else
            the level at which the interval leaves out 0. By bootstrap where measures count: then the
            difference is theirs.
        is_alike: whether both gave the same answer to every item: then they may well be one model.
    """

    other: str
    difference: Interval
    p: float
    test: Literal["mcnemar", "gaffke", "bootstrap"]
    is_alike: bool = False

    def text(self, sign: Literal["", "+"] = "+") -> str:
        """Return the difference in points, or in units of the measure."""
        if self.test == "bootstrap":
            return self.difference.plain(sign)
        return self.difference.in_percent(" points", sign)


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """A run at a glance.

    Attributes:
        copied: item scores that trials of one recipe copied from one another, at no cost.
        items: how many items each split has.
        trials, failures: of weights and paths in turn, those of both searches.
        leader: the best of the main search on fit, so far; before it begins, of the search of weights.
        best: of the bred winner, the baselines and the winners of the controls; see ``_best``.
        finalists: those that were scored on all of validation, with the numbers that decided.
        predicted: what the finalists' validation scores say of the winner's test score, without the luck
            that it was picked for.
        told: what the search was told of the winner: an estimate for all of fit where it met some of it.
        leading: the same of the leader.
        weights: of each task, by its name.
        objectives: their names; empty where there is one.
        decided_by: the set measure that decided the run (``Objectives.title``); None if item scores did.
        front: of the main search, in these objectives.
        notes: warnings about settings and data, found before the run.
        near_duplicates: among the items; None where an older kingyo began the run.
        path: of the winner, before there is one of the leader; None where it is no path through layers.
        extensions: what was added to the budget.
        readings: the winners that test was read for.
        test_note: what an extension after test was read means for the winner's test score.
        renewals: that scores were made with different versions, or all again.
        controls_to_run: controls that the run could have and has not -> the command that runs them.
        estimate: of the same trial for all of fit; None where it met all of it.
        training: what the control ``trained`` did, and what it cost.
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
    told: float | None = None
    leading: float | None = None
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
        """The best of the sources and the base: on test where known, else on validation, else on fit."""
        parents = [entry for name, entry in self.baselines.items() if name not in MIXTURES]
        return max(parents, key=_rank, default=None)

    def in_words(self, value: float) -> str:
        """Return what counts of a model as text: a score in percent, a measure as a number."""
        return percent(value) if self.decided_by is None else plain(value)

    @property
    def set_splits(self) -> tuple[Split, ...]:
        """The splits on which sets of answers are measured."""
        return READ if self.decided_by is None else SPLITS

    @property
    def score_name(self) -> str:
        """Return what to call the scores: ``mean item scores``, or ``weighted means of 2 tasks``."""
        if len(self.weights) == 1:
            return "mean item scores"
        return f"{mean_name(self.weights.values())}s of {len(self.weights)} tasks"

    @property
    def models(self) -> tuple[ModelResult, ...]:
        """The bred winner where there is one, the baselines, the winners of the controls."""
        winner = () if self.winner is None else (self.winner,)
        return (*winner, *self.baselines.values(), *self.controls.values())

    def set_rows(self) -> list[SetRow]:
        """Return what was measured of sets of answers: the rows of a table, measure by measure."""
        models = {"bred": self.winner, **self.baselines}
        models |= {row_title(name): entry for name, entry in self.controls.items()}
        known = {name: entry for name, entry in models.items() if entry is not None}
        measures = dict.fromkeys((each.task, each.measure) for entry in known.values() for each in entry.sets)
        rows: list[SetRow] = []
        for task, measure in measures:
            for name, entry in known.items():
                own = [each for each in entry.sets if (each.task, each.measure) == (task, measure)]
                values: dict[Split, SetValue] = {each.split: each for each in own}
                title = f"{task}: {measure}" if task else measure
                rows += [SetRow(measure=title, model=name, values=values)] if values else []
        return rows

    def dropped(self) -> str | None:
        """Say which baselines were dropped on validation; None if none was, and until validation is over."""
        n, after = self.items["validation"], dict[int, list[str]]()
        for name, each in self.baselines.items():
            if self.best is not None and each.validation is not None and each.validation.n < n:
                after.setdefault(each.validation.n, []).append(name)
        if not after:
            return None
        parts = [f"{', '.join(names)} after {met:,}" for met, names in sorted(after.items())]
        return f"Dropped on validation, as clearly behind: {'; '.join(parts)} of {n:,} items."

    def better_than_bred(self) -> str | None:
        """Say which model is the best of the run where that is not the bred winner; else None."""
        best, winner = self.best, self.winner
        if best is None or winner is None or best is winner:
            return None
        mine, other = winner.counts_on("validation"), best.counts_on("validation")
        assert mine is not None and other is not None, "both were scored on it"
        is_close = mine.score > other.score - ROUNDING
        why = ", but not clearly ahead on fit and validation together" if is_close else ""
        by = "" if self.decided_by is None else f"by {self.decided_by}, "
        return (
            f"The best model of this run is {describe_trial(best.trial)} ({by}validation "
            f"{interval_in_words(other, self.decided_by)}, n = {other.n}; the bred model "
            f"{interval_in_words(mine, self.decided_by)}{why})."
        )

    def beside_baselines(self, trial: StoredTrial) -> str | None:
        """Say what a model scores on test, and the best baseline; None if test was not read for it."""
        own = next((each for each in self.models if each.trial == trial), None)
        mine = None if own is None else own.counts_on("test")
        others = [(each.counts_on("test"), each.trial) for each in self.baselines.values()]
        rivals = [(score, other) for score, other in others if score is not None and other != trial]
        if mine is None or not rivals:
            return None
        score, other = max(rivals, key=lambda each: each[0].score)
        text = (
            f"On test (n = {mine.n}) it scores {interval_in_words(mine, self.decided_by)}; "
            f"the best baseline, {describe_trial(other)}, scores {interval_in_words(score, self.decided_by)}"
        )
        return f"{text}{'.' if mine.score > score.score else ', so nothing is gained.'}"

    def how_picked(self) -> str | None:
        """Say by what the winner was picked, and which finalist came next; None if there was one alone."""
        picked = self.winner and self.winner.trial.asked.number
        own = next((each for each in self.finalists if each.trial == picked), None)
        others = [each for each in self.finalists if each is not own]
        if own is None or not others:
            return None
        other = max(others, key=lambda each: each.together)
        score, theirs = self.in_words(own.together), self.in_words(other.together)
        name, is_kept = f"trial {other.trial}, {theirs}", other.together > own.together + ROUNDING
        if score == theirs:
            rest = f"trial {other.trial} is as good"
        elif is_kept:  # see ``Search.keep``
            rest = f"{name}, is not clearly ahead on validation"
        else:
            rest = f"the next is {name}"
        by = "the search's estimate on fit and the score on validation, together"
        if self.decided_by is not None and self.winner is not None:
            by = f"{self.decided_by} on validation"
            score = interval_in_words(self.winner.counts_on("validation"), self.decided_by)
        return f"Picked from {len(self.finalists)} by {by} {score}; {rest}."

    def not_compared(self) -> str | None:
        """Say of searches of equal cost that were not run which commands run them; else None."""
        missing = self.controls_to_run
        if not missing:
            return None
        has_one = any(name in self.controls for name in ("random", "grid"))
        what = f"a {' or '.join(missing)} search" if has_one else "a search"
        return (
            f"The winner was not compared with {what} of equal cost. To do so: "
            f"{' or '.join(missing.values())}"
        )

    def counts(self, split: Split) -> tuple[int, int] | None:
        """Return the fewest and the most items of a split behind the score of any model that is shown.

        They differ where a screen's rule sends some candidates on to more items; None before any score.
        """
        child = self.winner or self.leader
        entries = [*([child] if child else []), *self.baselines.values(), *self.controls.values()]
        sizes = [found.n for each in entries if (found := each.on(split)) is not None]
        return (min(sizes), max(sizes)) if sizes else None

    def estimate_beside_test(self) -> str | None:
        """Say what the search estimated of the winner on fit, beside its test score.

        None where it met all of fit, or no test.
        """
        winner, n_fit = self.winner, self.items["fit"]
        if winner is None or winner.fit is None or winner.test is None:
            return None
        if winner.fit.n == n_fit or self.told is None:
            return None
        gap = round(100 * (self.told - winner.test.score), 1) + 0.0  # never -0.0
        return (
            f"The search scored the winner on {winner.fit.n:,} of the {n_fit:,} items of fit "
            f"({percent(winner.fit.score)}) and estimated {percent(self.told)} for all of them: "
            f"{gap:+.1f} points from test."
        )

    def to_json(self) -> dict[str, object]:
        """The stable interface of ``kingyo show --json``."""
        path: dict[str, object] = {} if self.path is None else {"path": self.path.to_json()}
        path["estimate"] = None if self.estimate is None else self.estimate.to_json()
        winner = leader = None
        if self.winner is not None:
            winner = {
                "trial": self.winner.trial.asked.number,
                "genome": list(self.winner.genome),
                "recipe": self.winner.recipe,
                **path,
                **_scores(self.winner),
            }
        if self.leader is not None:
            own = {} if self.winner is not None else path
            leader = {"trial": self.leader.trial.asked.number, "search": self.leader.trial.search}
            leader |= {"recipe": self.leader.recipe, **own}
            leader |= _scores(self.leader)
        front = {} if not self.objectives else {"front": self._front_json()}
        near = {} if self.near_duplicates is None else {"near_duplicates": asdict(self.near_duplicates)}
        return {
            "run": self.folder,
            "status": self.status,
            "trials": self.trials,
            "failures": self.failures,
            "notes": list(self.notes),
            **near,
            "item_evaluations": self.item_evaluations,
            "copied": self.copied,
            "seconds": round(self.seconds, 3),
            "leader": leader,
            "winner": winner,
            "best": None if self.best is None else _named(self.best),
            "finalists": [asdict(each) for each in self.finalists],
            "predicted": interval_json(self.predicted),
            "told": self.told,
            **({} if self.decided_by is None else {"decided_by": self.decided_by}),
            "baselines": {name: _scores(entry) for name, entry in self.baselines.items()},
            "controls": {
                name: {"trial": entry.trial.asked.number, **_scores(entry)}
                for name, entry in self.controls.items()
            },
            "cut": {
                "winner" if each is self.winner else each.name: dict(each.cut)
                for each in (*self.models, *((self.leader,) if self.leader else ()))
            },
            "comparisons": {each.other: _compared(each) for each in self.comparisons},
            "extensions": [
                {"at": each.at, "more": dict(each.more), "test_was_read": each.test_was_read}
                for each in self.extensions
            ],
            "test_readings": [
                {"trial": each.trial, "after": [dict(one.more) for one in each.after]}
                for each in self.readings
            ],
            "test_note": self.test_note,
            "accepted_changes": [asdict(each) for each in self.renewals if each.archive is None],
            "rescored": [asdict(each) for each in self.renewals if each.archive is not None],
            "controls_to_run": dict(self.controls_to_run),
            **({} if self.training is None else {"training": self.training.to_json()}),
            **front,
        }

    def _front_json(self) -> dict[str, object]:
        knee = self.front.knee
        return {
            "objectives": list(self.objectives),
            "knee": knee and knee.trial.asked.number,
            "points": [
                {
                    "trial": point.trial.asked.number,
                    "objectives": dict(zip(self.objectives, point.objectives, strict=True)),
                    "mean": point.value,
                    "estimated": point.is_partial,
                    **({"raw": _raw_json(self.objectives, point)} if point.is_partial else {}),
                }
                for point in self.front.points
            ],
        }


def _raw_json(objectives: Sequence[str], point: FrontPoint) -> dict[str, object]:
    measured = zip(objectives, point.raw, strict=True)
    return {name: {"score": each[0], "n": each[1]} for name, each in measured if each is not None}


def interval_json(value: Interval | None) -> dict[str, object] | None:
    """Return score, n, low, high as JSON."""
    return None if value is None else _numbers(value)


def summarize(store: RunStore) -> RunSummary:
    """Read a run: finished, under way or interrupted."""
    bred = (WEIGHT_SEARCH, MAIN)
    fits = [each for each in store.summaries("fit") if each.search in bred]
    baselines = {
        str(trial.name): read_entry(store, str(trial.name), trial) for trial in store.trials(BASELINES)
    }
    winners = {name: store.winner(name) for name in store.searches() if name != BASELINES}
    entries = {name: read_entry(store, name, trial) for name, trial in winners.items() if trial is not None}
    winner = entries.pop(MAIN, None)
    leader = _leader(store, fits)
    child = winner or leader
    objectives, made = stored_objectives(store), renewals(store)
    return RunSummary(
        run=str(store.fact("name")),
        folder=str(store.folder),
        status=store.status(),
        trials=len(fits),
        failures=sum(each.failure is not None for each in fits),
        item_evaluations=store.item_evaluations(),
        copied=store.copied_scores(),
        seconds=store.seconds(),
        items={split: len(items) for split, items in store.items().items()},
        leader=leader,
        winner=winner,
        baselines=baselines,
        controls=entries,
        comparisons=compare(store, winner, [*baselines.values(), *entries.values()]) if winner else (),
        best=None if winner is None else _best(store, [winner, *entries.values()], [*baselines.values()]),
        finalists=() if winner is None else read_finalists(store, MAIN),
        predicted=None if winner is None or objectives.by_set else _predicted(store, winner),
        told=next((each.value for each in fits if winner and each.trial == winner.trial.id), None),
        leading=next((each.value for each in fits if leader and each.trial == leader.trial.id), None),
        weights=objectives.tasks,
        objectives=objectives.names,
        decided_by=objectives.title if objectives.by_set else None,
        notes=tuple(cast("list[str]", store.fact("notes") or [])),
        near_duplicates=_near_duplicates(store),
        front=read_front(store, MAIN) if objectives.names else Front(),
        path=None if child is None else read_atlas(store).read(read_recipe(child.trial)),
        extensions=read_extensions(store),
        readings=readings_of_test(store),
        test_note=_note_on_test(store, made),
        renewals=made,
        controls_to_run={name: control_command(str(store.folder), name) for name in missing_controls(store)},
        estimate=None if child is None else estimate(store, child.trial),
        training=read_training(store),
    )


def _note_on_test(store: RunStore, made: Sequence[Renewal]) -> str | None:
    """Say what more than one reading of test means for the winner's test score; None after one."""
    is_read_before = any(each.test_was_read for each in made)
    again = "Test had been read before everything was scored again." if is_read_before else None
    return " ".join(filter(None, (note_on_test(store), again))) or None


def _near_duplicates(store: RunStore) -> NearDuplicates | None:
    fact = cast("dict[str, int] | None", store.fact("near_duplicates"))
    return None if fact is None else NearDuplicates(**fact)


def _best(
    store: RunStore, found: Sequence[ModelResult], baselines: Sequence[ModelResult]
) -> ModelResult | None:
    """The best of a run, see ``best_trial``; where measures count, as the run stores it.

    None until it is known.
    """
    if stored_objectives(store).by_set:
        verdict = read_verdict(store) if store.status() == "finished" else None
        return next(
            (each for each in (*found, *baselines) if verdict and each.trial.id == verdict.best), None
        )
    if not (store.fact(RACED) or _all_met(baselines, len(store.items()["validation"]))):
        return None  # runs of older versions know no race
    winners, others = ([each.trial for each in own] for own in (found, baselines))
    best = best_trial(store, stored_objectives(store), winners, others, (TRAINED,))
    return next((each for each in (*found, *baselines) if each.trial == best), None)


def _all_met(entries: Sequence[ModelResult], n: int) -> bool:
    return all(each.validation is not None and each.validation.n == n for each in entries)


def _predicted(store: RunStore, winner: ModelResult) -> Interval | None:
    """Predict the winner's test score from the validation scores of the finalists that met all of validation.

    Of several tasks the weighted mean of what is predicted for each: their items are independent draws.
    """
    weights, splits = stored_objectives(store).tasks, store.items()
    items, n_validation = splits["test"], len(splits["validation"])
    n_test = {name: sum(len(weights) == 1 or item.task == name for item in items) for name in weights}
    finalists = [each.trial for each in store.summaries("validation") if each.search == MAIN]
    scores = {trial: store.evaluation(trial, "validation") for trial in finalists}
    fine = {trial: found for trial, found in scores.items() if found and len(found.scores) == n_validation}
    if winner.trial.id not in fine or not all(n_test.values()):
        return None
    rows = [_scores_by_task(found, weights) for found in fine.values()]
    place = list(fine).index(winner.trial.id)
    scores = [[own[name] for own in rows] for name in weights]
    return predict_weighted_winner(scores, place, list(n_test.values()), list(weights.values()))


def read_entry(store: RunStore, name: str, trial: StoredTrial) -> ModelResult:
    """Read what is known of one trial, on all splits, under a name of the caller's."""

    objectives, sets = stored_objectives(store), read_set_values(store, trial)
    weights = objectives.tasks
    read: dict[Split, Evaluation | None] = {split: store.evaluation(trial.id, split) for split in SPLITS}
    found: dict[Split, dict[str, Interval]] = {
        split: _task_intervals(each, weights) for split, each in read.items()
    }

    def scored(split: Split) -> Interval | None:
        own = found[split]
        return weighted_mean(list(own.values()), list(weights.values())) if len(own) == len(weights) else None

    return ModelResult(
        name=name,
        trial=trial,
        recipe=read_recipe(trial).to_dict(),
        fit=scored("fit"),
        validation=scored("validation"),
        test=scored("test"),
        tasks={
            name: {split: own[name] for split, own in found.items() if name in own}
            for name in (weights if len(weights) > 1 else ())
        },
        cut={split: sum(one.is_cut for one in each.scores) for split, each in read.items() if each},
        sets=sets,
        decided=decided(sets, objectives.title) if objectives.by_set else None,
    )


def token_limits(store: RunStore) -> dict[str, int]:
    """Return ``max_new_tokens`` of each task, by what items call it: those of a single task name none."""
    config = cast("Mapping[str, Mapping[str, object]]", store.fact("config") or {})
    tasks = cast("Mapping[str, Mapping[str, int]]", config.get("tasks") or {"": config.get("task") or {}})
    limits = {name: each.get("max_new_tokens", TextSettings.max_new_tokens) for name, each in tasks.items()}
    return limits if len(limits) > 1 else {"": next(iter(limits.values()))}


def _task_intervals(evaluation: Evaluation | None, weights: Mapping[str, float]) -> dict[str, Interval]:
    """The mean item score on each task of which it has any scores, with its interval."""
    by_task = _scores_by_task(evaluation, weights)
    return {name: interval(scores, seed=STATISTICS_SEED) for name, scores in by_task.items() if scores}


def _scores_by_task(evaluation: Evaluation | None, weights: Mapping[str, float]) -> dict[str, list[float]]:
    """Task -> its scores in the order of the items; a single task is called nothing.

    An item of one of several tasks is called ``TASK/ID``.
    """
    scores = () if evaluation is None or evaluation.failure is not None else evaluation.scores
    if len(weights) == 1:
        return {name: [each.score for each in scores] for name in weights}
    found: dict[str, list[float]] = {name: [] for name in weights}
    for each in scores:
        found[each.item.partition("/")[0]].append(each.score)
    return found


def compare(
    store: RunStore, entry: ModelResult, others: Sequence[ModelResult]
) -> tuple[PairedComparison, ...]:
    """Compare a model with others on the test items; with none where it was not tested.

    By what counts: where measures do, as the run stores it.
    """
    own = None if entry.test is None else store.evaluation(entry.trial.id, "test")
    if own is None:
        return ()
    objectives = stored_objectives(store)
    tested = [
        (each, found) for each in others if each.test and (found := store.evaluation(each.trial.id, "test"))
    ]
    if not objectives.by_set:
        return tuple(_comparison(own, theirs, objectives.tasks, each.name) for each, theirs in tested)
    verdict = read_verdict(store)
    pairs = [
        (each, theirs, verdict.difference(entry.trial.id, each.trial.id) if verdict else None)
        for each, theirs in tested
    ]
    return tuple(
        _as_comparison(found, each.name, own, theirs) for each, theirs, found in pairs if found is not None
    )


def _as_comparison(
    found: PairedDifference, name: str, own: Evaluation, other: Evaluation
) -> PairedComparison:
    is_alike = _answers(own) == _answers(other)
    return PairedComparison(
        other=name, difference=found.interval, p=found.p, test=found.test, is_alike=is_alike
    )


def _comparison(
    own: Evaluation, other: Evaluation, weights: Mapping[str, float], name: str
) -> PairedComparison:
    """Paired by item within each task; of several the weighted mean."""
    mine, theirs = (_scores_by_task(each, weights) for each in (own, other))
    found = paired_difference(
        [(mine[task], theirs[task]) for task in weights], list(weights.values()), STATISTICS_SEED
    )
    return _as_comparison(found, name, own, other)


def _answers(found: Evaluation) -> dict[str, tuple[object, ...]]:
    """Item -> its score and what was answered, the image with it."""
    return {each.item: each[1:] for each in found.scores}


def minus_test(entry: ModelResult, split: Split) -> Interval | None:
    """Say by how much a model did better on fit or validation than on test, where both splits are known.

    The interval tells whether the draw of the items alone can explain the difference; when it lies above 0,
    picking by this split most likely flattered it. Of fit only for a model that was scored on all of it:
    items that a screen chose are harder or easier than others. The items differ, so the two scores are
    independent: square-and-add (Newcombe 1998, Statistics in Medicine 17:873, method 10; for any two
    intervals Zou & Donner 2008). ``n`` is that of the smaller split.
    """
    chosen, test = entry.on(split), entry.test
    if chosen is None or test is None:
        return None
    difference = chosen.score - test.score
    return Interval(
        score=difference,
        n=min(chosen.n, test.n),
        low=difference - math.hypot(chosen.score - chosen.low, test.high - test.score),
        high=difference + math.hypot(chosen.high - chosen.score, test.score - test.low),
        method="newcombe",
    )


def _leader(store: RunStore, fits: Sequence[EvaluationRow]) -> ModelResult | None:
    """The best of the last search that has any success."""
    fine = [each for each in fits if each.value is not None]
    known = [(each.value, -each.trial) for each in fine if each.search == fine[-1].search]
    return read_entry(store, "leader", store.trial(-max(known)[1])) if known else None


def _named(entry: ModelResult) -> dict[str, object]:
    return {"name": entry.name, "search": entry.trial.search, "trial": entry.trial.asked.number}


def _scores(entry: ModelResult) -> dict[str, object]:
    return {
        "fit": interval_json(entry.fit),
        "validation": interval_json(entry.validation),
        "test": interval_json(entry.test),
        **({"tasks": _tasks_json(entry)} if entry.tasks else {}),
        **({"set_measures": [asdict(each) for each in entry.sets]} if entry.sets else {}),
    }


def _compared(found: PairedComparison) -> dict[str, object]:
    said = {"p": found.p, "test": found.test, "alike": found.is_alike}
    return {**_numbers(found.difference), **said}


def _tasks_json(entry: ModelResult) -> dict[str, object]:
    return {
        name: {split: interval_json(own.get(split)) for split in SPLITS} for name, own in entry.tasks.items()
    }


def _numbers(value: Interval) -> dict[str, object]:
    return {"score": value.score, "n": value.n, "low": value.low, "high": value.high}


def _rank(entry: ModelResult) -> tuple[float, float, float]:
    def score(value: Interval | None) -> float:
        return -math.inf if value is None else value.score

    return score(entry.counts_on("test")), score(entry.counts_on("validation")), score(entry.counts_on("fit"))
