"""Report the progress of a search, from the best baseline to its best trial, and that seeds differ."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from kingyo.advice.message import ENOUGH, FEW, Advice, current_search, folder_of, is_of_paths, seeds_command
from kingyo.io.units import percent
from kingyo.results.estimates import estimate, estimate_note, raw_means
from kingyo.results.model_result import ModelResult
from kingyo.results.summary import RunSummary
from kingyo.run.seed_runs import PREFIX
from kingyo.stats import ROUNDING, SampleSize
from kingyo.store import EvaluationRow, RunStore


def search_progress(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report the progress on fit; warn if a finished search has not improved on its start, or not for long.

    Nothing is reported for several objectives, because their front may grow while the mean does not.
    """
    search = current_search(store)
    tried = [row for row in store.summaries("fit") if row.search == search]
    rows = [row for row in tried if row.value is not None]
    fits = [(fit.score, model) for model in summary.baselines.values() if (fit := model.counts_on("fit"))]
    if summary.objectives or not rows or not fits:
        return
    trials = {trial.id: trial for trial in store.trials(search)}
    first = [row for row in rows if trials[row.trial].batch == trials[rows[0].trial].batch]
    first = first if len(first) >= FEW else rows[:FEW]
    start, best = _best(first), _best(rows)
    n, number = len(tried), trials[best.trial].asked.number
    top, baseline = max(fits, key=lambda scored: scored[0])
    known, known_text = _on_fit(store, summary, baseline)
    is_tie = len(fits) > 1 and {score for score, _ in fits} == {top}
    who = "all baselines score" if is_tie else f"the best baseline ({baseline.trial.name}) scores"
    by = "" if summary.decided_by is None else f", by {summary.decided_by}"
    raw = raw_means(store, best.search)
    what = (
        f"On fit{by}: {who} {known_text}, the best of the first "
        f"{len(first)} successful candidates {_value_text(summary, start, raw)}, the best of all {n} (trial "
        f"{number}) {_value_text(summary, best, raw)}."
    )
    is_early = n < ENOUGH or summary.status != "finished" or _is_perfect(store, best.trial)
    # Scores on a few items are noisy: a winner that was picked late shows that the search went on.
    winner = None if summary.winner is None else trials.get(summary.winner.trial.id)
    last = trials[best.trial]
    if winner is not None and winner.asked.number > number:
        last = winner
    begins = last.id in {row.trial for row in first}
    if not is_early and ((best.value or 0.0) <= known + ROUNDING or begins):
        why = "The search has not improved on its start."
        yield Advice(kind="start", level="warning", what=what, why=why, remedy=_next_steps(store, best))
    elif not is_early and 2 * (last.asked.number + 1) <= n:
        why = "The best came in the first half of the candidates: the search looks stuck."
        yield Advice(kind="stuck", level="warning", what=what, why=why, remedy=_next_steps(store, best))
    else:
        yield Advice(kind="progress", level="note", what=what)


def _best(rows: Sequence[EvaluationRow]) -> EvaluationRow:
    """Return the trial with the best value; ties go to the earliest."""
    return max(rows, key=lambda row: (row.value or 0.0, -row.trial))


def _value_text(summary: RunSummary, row: EvaluationRow, raw: Mapping[int, float]) -> str:
    """Return the fit score that the search received."""
    note = f" ({estimate_note(raw[row.trial], SampleSize(n=row.n))})" if row.is_partial else ""
    return f"{summary.in_words(row.value or 0.0)}{note}"


def _on_fit(store: RunStore, summary: RunSummary, model: ModelResult) -> tuple[float, str]:
    """Return a fit score, estimated if only some items were scored, as a number and as text."""
    estimated, fit = estimate(store, model.trial), model.counts_on("fit")
    if estimated is not None:
        return estimated.score.score, f"{percent(estimated.score.score)} ({estimated.note})"
    assert fit is not None, "it was scored"
    return fit.score, summary.in_words(fit.score)


def _is_perfect(store: RunStore, trial: int) -> bool:
    """Return whether a trial solved all items that it was scored on."""
    evaluation = store.evaluation(trial, "fit")
    return evaluation is not None and evaluation.mean is not None and evaluation.mean >= 1 - ROUNDING


def _next_steps(store: RunStore, best: EvaluationRow) -> str:
    """Suggest to continue with as much budget again, and other ways."""
    ways = [f"with other seeds: `{seeds_command(store)}`"]
    if best.is_partial:
        ways.insert(0, "with more items per candidate (search.screen.items)")
    if not is_of_paths(store, best.search):
        ways.insert(0, "with other bounds (narrower where candidates break, wider where the best lie at one)")
    config = cast("Mapping[str, Mapping[str, float | None]]", store.fact("config") or {})
    budget = {key: math.ceil(value) for key, value in config.get("budget", {}).items() if value is not None}
    more = " ".join(f"--{key.replace('_', '-')} +{value}" for key, value in budget.items())
    return (
        f"Continue with `kingyo resume {folder_of(store)} {more}`. Or begin a new run {', or '.join(ways)}."
    )


def seed_variation(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Say how to see how much the winners of several seeds differ."""
    if summary.winner is None:
        return
    folder = store.folder.resolve()
    remedy = f"`{seeds_command(store)}` measures it."
    if folder.name.startswith(PREFIX):
        remedy = f"`kingyo show {shlex.quote(str(store.folder.parent))}` compares them."
    yield Advice(kind="seeds", level="note", what="Another seed may end elsewhere.", remedy=remedy)
