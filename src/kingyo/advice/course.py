"""Say how a search went: from the best baseline and its first batch to its best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from kingyo.advice.message import ENOUGH, FEW, Advice, bred_search, folder_of, is_of_paths, seeds_command
from kingyo.results.estimates import estimate, estimated, raw_means
from kingyo.results.summary import RunSummary, read_entry
from kingyo.run.extensions import read_extensions
from kingyo.stats import ROUNDING, percent
from kingyo.store import EvaluationRow, RunStore, StoredTrial

MORE = 60  # least number of candidates that advice suggests to add


@dataclass(frozen=True, kw_only=True)
class _Course:
    """The best baseline, the best of the first successful candidates and of all, and their numbers."""

    baseline: StoredTrial
    first: EvaluationRow
    n_first: int
    best: EvaluationRow
    best_trial: StoredTrial
    n: int


def course_of_search(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Say how the search went on fit; warn if it did not improve on its start, or has not for long.

    Nothing is said of a search for several objectives, whose front may grow while its mean does not.
    """
    course = None if summary.objectives else _read(store, summary)
    if course is None:
        return
    baseline, number = _on_fit(store, summary, course.baseline), course.best_trial.asked.number
    raw = raw_means(store, course.best.search)
    first, best = (_told(summary, each, raw) for each in (course.first, course.best))
    by = "" if summary.decided_by is None else f", by {summary.decided_by}"
    what = (
        f"On fit{by}: the best baseline ({course.baseline.name}) scores {baseline[1]}, the best of the first "
        f"{course.n_first} successful candidates {first[1]}, the best of all {course.n} "
        f"(trial {number}) {best[1]}."
    )
    says_little = course.n < ENOUGH or _is_perfect(store, course.best_trial)
    if not says_little and (best[0] <= baseline[0] + ROUNDING or course.best == course.first):
        why, remedy = "The search has not improved on its start.", _go_on(store, course)
        yield Advice(kind="start", level="warning", what=what, why=why, remedy=remedy)
    elif not says_little and 2 * (number + 1) <= course.n:
        why = "The best came in the first half of the candidates: the search looks stuck."
        yield Advice(kind="stuck", level="warning", what=what, why=why, remedy=_go_on(store, course))
    else:
        yield Advice(kind="progress", level="note", what=what)


def _read(store: RunStore, summary: RunSummary) -> _Course | None:
    search = bred_search(store)
    fits = [(each.counts_on("fit"), each.trial) for each in summary.baselines.values()]
    known = [(fit.score, trial) for fit, trial in fits if fit is not None]
    mine = [each for each in store.summaries("fit") if each.search == search and each.value is not None]
    if not known or not mine:
        return None
    trials = {trial.id: trial for trial in store.trials(search)}
    first = [each for each in mine if trials[each.trial].batch == trials[mine[0].trial].batch]
    if len(first) < FEW:
        first = mine[:FEW]
    best = _best(mine)
    return _Course(
        baseline=max(known, key=lambda each: each[0])[1],
        first=_best(first),
        n_first=len(first),
        best=best,
        best_trial=trials[best.trial],
        n=len(trials),
    )


def _best(rows: Sequence[EvaluationRow]) -> EvaluationRow:
    """Return the trial with the best value; the earliest of equals."""
    return max(rows, key=lambda each: (each.value or 0.0, -each.trial))


def _told(summary: RunSummary, row: EvaluationRow, raw: Mapping[int, float]) -> tuple[float, str]:
    """The score on fit that the search went by, and the same in words."""
    value = row.value or 0.0
    note = f" ({estimated(raw[row.trial], row.n)})" if row.is_partial else ""
    return value, f"{summary.in_words(value)}{note}"


def _on_fit(store: RunStore, summary: RunSummary, trial: StoredTrial) -> tuple[float, str]:
    """A score on fit, and the same in words: estimated where only some items were met."""
    found = estimate(store, trial)
    if found is not None:
        return found.score.score, f"{percent(found.score.score)} ({found.beside})"
    fit = read_entry(store, "", trial).counts_on("fit")
    assert fit is not None, "it was scored"
    return fit.score, summary.in_words(fit.score)


def _is_perfect(store: RunStore, trial: StoredTrial) -> bool:
    """Return whether a trial solved every item that it met; then no measure is expected to be better."""
    evaluation = store.evaluation(trial.id, "fit")
    return evaluation is not None and evaluation.mean is not None and evaluation.mean >= 1 - ROUNDING


def _go_on(store: RunStore, course: _Course) -> str:
    ways = [f"with other seeds: `{seeds_command(store)}`"]
    if course.best.is_partial:
        ways.insert(0, "with more items per candidate (search.screen.items)")
    if not is_of_paths(store, course.best.search):
        ways.insert(0, "with other bounds (narrower where candidates break, wider where the best lie at one)")
    more = " ".join(f"--{key.replace('_', '-')} +{amount}" for key, amount in _more(store, course.n).items())
    return f"Go on: `kingyo resume {folder_of(store)} {more}`. Or begin a new run {', or '.join(ways)}."


def _more(store: RunStore, n: int) -> dict[str, int]:
    """Return what to add to each bound of the budget: as much again, or enough for ``MORE`` candidates.

    What was added to the budget before counts as a part of it.
    """
    config = cast("Mapping[str, Mapping[str, float | None]]", store.fact("config") or {})
    amount, before = max(MORE, n), read_extensions(store)
    given = config.get("budget", {"candidates": n})
    budget = {key: value for key, value in given.items() if value is not None}
    whole = {key: value + sum(each.more.get(key, 0) for each in before) for key, value in budget.items()}
    return {
        key: amount if key == "candidates" else math.ceil(value * amount / n) for key, value in whole.items()
    }
