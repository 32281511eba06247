"""Report the progress of a search: from the best baseline and the first batch to its best trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.advice.message import ENOUGH, FEW, Advice, current_search, folder_of, is_of_paths, seeds_command
from kingyo.results.estimates import estimate, estimate_note, raw_means
from kingyo.results.model_result import read_model_result
from kingyo.results.summary import RunSummary
from kingyo.run.extensions import read_extensions
from kingyo.stats import ROUNDING, percent
from kingyo.store import EvaluationRow, RunStore, StoredTrial

MORE = 60  # smallest number of candidates that advice suggests to add


@dataclass(frozen=True, kw_only=True)
class _Progress:
    """The best baseline, the best of the first successful trials, and the best of all n trials."""

    baseline: StoredTrial
    first: EvaluationRow
    n_first: int
    best: EvaluationRow
    best_trial: StoredTrial
    n: int


def search_progress(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report the progress on fit; warn if the search has not improved on its start, or not for long.

    Nothing is reported for several objectives, because their front may grow while the mean does not.
    """
    progress = None if summary.objectives else _read(store, summary)
    if progress is None:
        return
    baseline, number = _on_fit(store, summary, progress.baseline), progress.best_trial.asked.number
    raw = raw_means(store, progress.best.search)
    first, best = (_fit_value(summary, row, raw) for row in (progress.first, progress.best))
    by = "" if summary.decided_by is None else f", by {summary.decided_by}"
    what = (
        f"On fit{by}: the best baseline ({progress.baseline.name}) scores {baseline[1]}, the best of the "
        f"first {progress.n_first} successful candidates {first[1]}, the best of all {progress.n} "
        f"(trial {number}) {best[1]}."
    )
    is_early = progress.n < ENOUGH or _is_perfect(store, progress.best_trial)
    if not is_early and (best[0] <= baseline[0] + ROUNDING or progress.best == progress.first):
        why, remedy = "The search has not improved on its start.", _next_steps(store, progress)
        yield Advice(kind="start", level="warning", what=what, why=why, remedy=remedy)
    elif not is_early and 2 * (number + 1) <= progress.n:
        why = "The best came in the first half of the candidates: the search looks stuck."
        yield Advice(kind="stuck", level="warning", what=what, why=why, remedy=_next_steps(store, progress))
    else:
        yield Advice(kind="progress", level="note", what=what)


def _read(store: RunStore, summary: RunSummary) -> _Progress | None:
    search = current_search(store)
    fits = [(model.counts_on("fit"), model.trial) for model in summary.baselines.values()]
    known = [(fit.score, trial) for fit, trial in fits if fit is not None]
    rows = [row for row in store.summaries("fit") if row.search == search and row.value is not None]
    if not known or not rows:
        return None
    trials = {trial.id: trial for trial in store.trials(search)}
    first = [row for row in rows if trials[row.trial].batch == trials[rows[0].trial].batch]
    if len(first) < FEW:
        first = rows[:FEW]
    best = _best(rows)
    return _Progress(
        baseline=max(known, key=lambda scored: scored[0])[1],
        first=_best(first),
        n_first=len(first),
        best=best,
        best_trial=trials[best.trial],
        n=len(trials),
    )


def _best(rows: Sequence[EvaluationRow]) -> EvaluationRow:
    """Return the trial with the best value; ties go to the earliest."""
    return max(rows, key=lambda row: (row.value or 0.0, -row.trial))


def _fit_value(summary: RunSummary, row: EvaluationRow, raw: Mapping[int, float]) -> tuple[float, str]:
    """Return the fit score that the search received, as a number and as text."""
    value = row.value or 0.0
    note = f" ({estimate_note(raw[row.trial], row.n)})" if row.is_partial else ""
    return value, f"{summary.in_words(value)}{note}"


def _on_fit(store: RunStore, summary: RunSummary, trial: StoredTrial) -> tuple[float, str]:
    """Return a fit score, estimated if only some items were scored, as a number and as text."""
    estimated = estimate(store, trial)
    if estimated is not None:
        return estimated.score.score, f"{percent(estimated.score.score)} ({estimated.note})"
    fit = read_model_result(store, "", trial).counts_on("fit")
    assert fit is not None, "it was scored"
    return fit.score, summary.in_words(fit.score)


def _is_perfect(store: RunStore, trial: StoredTrial) -> bool:
    """Return whether a trial solved all items that it was scored on."""
    evaluation = store.evaluation(trial.id, "fit")
    return evaluation is not None and evaluation.mean is not None and evaluation.mean >= 1 - ROUNDING


def _next_steps(store: RunStore, progress: _Progress) -> str:
    ways = [f"with other seeds: `{seeds_command(store)}`"]
    if progress.best.is_partial:
        ways.insert(0, "with more items per candidate (search.screen.items)")
    if not is_of_paths(store, progress.best.search):
        ways.insert(0, "with other bounds (narrower where candidates break, wider where the best lie at one)")
    more = " ".join(
        f"--{key.replace('_', '-')} +{amount}" for key, amount in _more(store, progress.n).items()
    )
    return (
        f"Continue with `kingyo resume {folder_of(store)} {more}`. Or begin a new run {', or '.join(ways)}."
    )


def _more(store: RunStore, n: int) -> dict[str, int]:
    """Return what to add to each limit of the budget: its extended value, or enough for 60 candidates."""
    config = cast("Mapping[str, Mapping[str, float | None]]", store.fact("config") or {})
    amount, extensions = max(MORE, n), read_extensions(store)
    given = config.get("budget", {"candidates": n})
    budget = {key: value for key, value in given.items() if value is not None}
    total = {key: value + sum(each.more.get(key, 0) for each in extensions) for key, value in budget.items()}
    return {
        key: amount if key == "candidates" else math.ceil(value * amount / n) for key, value in total.items()
    }
