"""A run summary as JSON: the stable interface of ``kingyo show --json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from kingyo.evolution import FrontPoint
from kingyo.results.comparisons import PairedComparison
from kingyo.results.model_result import ModelResult
from kingyo.stats import Interval
from kingyo.types import SPLITS, Split

if TYPE_CHECKING:
    from kingyo.results.summary import RunSummary


def interval_json(value: Interval | None) -> dict[str, object] | None:
    """Return score, n, low and high."""
    if value is None:
        return None
    return {"score": value.score, "n": value.n, "low": value.low, "high": value.high}


def summary_json(summary: RunSummary) -> dict[str, object]:
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
        "finalists": [asdict(finalist) for finalist in summary.finalists],
        "predicted": interval_json(summary.predicted),
        "told": summary.winner_score,
        **({} if summary.decided_by is None else {"decided_by": summary.decided_by}),
        **_models(summary),
        **_history(summary),
        "controls_to_run": dict(summary.controls_to_run),
        **({} if summary.training is None else {"training": summary.training.to_json()}),
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
    return {**path, "estimate": None if summary.estimate is None else summary.estimate.to_json()}


def _models(summary: RunSummary) -> dict[str, object]:
    models = (*summary.models, *((summary.leader,) if summary.leader else ()))
    return {
        "baselines": {name: _scores(model) for name, model in summary.baselines.items()},
        "controls": {
            name: {"trial": model.trial.asked.number, **_scores(model)}
            for name, model in summary.controls.items()
        },
        "cut": {"winner" if model is summary.winner else model.name: dict(model.cut) for model in models},
        "comparisons": {comparison.other: _comparison(comparison) for comparison in summary.comparisons},
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


def _named(model: ModelResult) -> dict[str, object]:
    return {"name": model.name, "search": model.trial.search, "trial": model.trial.asked.number}


def _scores(model: ModelResult) -> dict[str, object]:
    tasks = {name: _by_split(own) for name, own in model.tasks.items()}
    return {
        **{split: interval_json(model.on(split)) for split in SPLITS},
        **({"tasks": tasks} if tasks else {}),
        **({"set_measures": [asdict(value) for value in model.sets]} if model.sets else {}),
    }


def _by_split(intervals: Mapping[Split, Interval]) -> dict[str, object]:
    return {split: interval_json(intervals.get(split)) for split in SPLITS}


def _comparison(comparison: PairedComparison) -> dict[str, object]:
    numbers = interval_json(comparison.difference) or {}
    return {**numbers, "p": comparison.p, "test": comparison.test, "alike": comparison.is_alike}


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
