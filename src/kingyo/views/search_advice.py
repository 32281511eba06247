"""Report the progress of a search, from the best baseline to its best trial, and name what can follow it.

Each next command comes with the time that it is expected to take.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from kingyo.core.io.units import joined, time_text
from kingyo.core.types import SPLITS, Split
from kingyo.runs.adapters import read_training
from kingyo.runs.config import TRAINED, TUNED
from kingyo.runs.extensions import TUNABLE
from kingyo.runs.learning import Allowance
from kingyo.runs.settings import GROUPS, LEARNABLE, LEARNS
from kingyo.runs.tune import expected_seconds
from kingyo.search.evolution import BASELINES, MAIN
from kingyo.stats import ROUNDING, SampleSize
from kingyo.store import EvaluationRow, RunStore
from kingyo.views.advice import (
    ENOUGH,
    FEW,
    Advice,
    config_of,
    current_search,
    folder_of,
    is_of_paths,
    lost_writes,
    run_yaml,
    setup_warnings,
    truncated_answers,
    uninformative_scores,
    winners_at_bounds,
)
from kingyo.views.results.estimates import raw_means
from kingyo.views.results.summary import RunSummary
from kingyo.views.results.trials import percent

SOLVED = 0.98
"""A score on validation that leaves nothing to gain."""


def advise(store: RunStore, summary: RunSummary) -> tuple[Advice, ...]:
    """Return the advice on a run, finished or not; warnings first."""
    equal = list(uninformative_scores(store))
    advice = [*lost_writes(store), *setup_warnings(store), *equal, *winners_at_bounds(store, summary)]
    if not equal:
        advice += search_progress(store, summary)
    advice += [*truncated_answers(store, summary), *training_on_bred(store, summary)]
    return tuple(sorted(advice, key=lambda each: each.level == "note"))


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
    learned = store.lessons(rows[0].search)
    plain = [row for row in rows if row.trial not in learned] or rows
    first = [row for row in plain if trials[row.trial].batch == trials[rows[0].trial].batch]
    first = first if len(first) >= FEW else plain[:FEW]
    start, best = _best(first), _best(rows)
    n, number = len(tried), trials[best.trial].asked.number
    top, baseline = max(fits, key=lambda scored: scored[0])
    fit = baseline.on_all("fit") if baseline.estimate else baseline.counts_on("fit")
    assert fit is not None, "it was scored"
    is_tie = len(fits) > 1 and {score for score, _ in fits} == {top}
    who = "all baselines score" if is_tie else f"the best baseline ({baseline.trial.name}) scores"
    raw, by = raw_means(store, best.search), f", by {summary.unit.measure}" if summary.unit.measure else ""
    known = (
        f"{summary.unit.text(fit.score)}{_measured(baseline.estimate.raw, fit) if baseline.estimate else ''}"
    )
    what = (
        f"On fit{by}: {who} {known}, the best of the first {len(first)} successful candidates "
        f"{_value_text(summary, start, raw)}, the best of all {n} (trial {number}) "
        f"{_value_text(summary, best, raw)}."
    )
    is_early = n < ENOUGH or summary.status != "finished" or _is_perfect(store, best.trial)
    # Scores on a few items are noisy: a winner that was picked late shows that the search went on.
    winner = None if summary.winner is None else trials.get(summary.winner.trial.id)
    last = trials[best.trial]
    if winner is not None and winner.asked.number > number:
        last = winner
    begins = last.id in {row.trial for row in first}
    kind: Literal["start", "stuck", "progress"]
    kind, why = "progress", ""
    if is_early or _trained_is_ahead(summary):
        pass
    elif (best.value or 0.0) <= fit.score + ROUNDING or begins:
        kind, why = "start", "The search has not improved on its start."
    elif (unbeaten := _unbeaten_baseline(summary)) is not None:
        kind = "start"
        why = f"The run ends at a baseline ({unbeaten}), which the bred model does not clearly beat."
    elif 2 * (last.asked.number + 1) <= n:
        kind, why = "stuck", "The best came in the first half of the candidates: the search looks stuck."
    remedy = _next_steps(store, best) if why else ""
    yield Advice(kind=kind, level="warning" if why else "note", what=what, why=why, remedy=remedy)


def _best(rows: Sequence[EvaluationRow]) -> EvaluationRow:
    """Return the trial with the best value; ties go to the earliest."""
    return max(rows, key=lambda row: (row.value or 0.0, -row.trial))


def _value_text(summary: RunSummary, row: EvaluationRow, raw: Mapping[int, float]) -> str:
    measured = _measured(raw[row.trial], SampleSize(n=row.n)) if row.is_partial else ""
    return f"{summary.unit.text(row.value or 0.0)}{measured}"


def _measured(raw: float, size: SampleSize) -> str:
    return f" (estimated; {percent(raw)} on {size.items})"


def _is_perfect(store: RunStore, trial: int) -> bool:
    evaluation = store.evaluation(trial, "fit")
    return evaluation is not None and evaluation.mean is not None and evaluation.mean >= 1 - ROUNDING


def _unbeaten_baseline(summary: RunSummary) -> str | None:
    """Return the name of a baseline that the bred model is equal to, or not clearly ahead of; else None."""
    leads = () if summary.choice is None else summary.choice.leads
    if not leads or summary.winner is None or leads[-1].trial != summary.winner.trial.id:
        return None
    is_ahead = leads[-1].is_clear and leads[-1].lead > ROUNDING
    return None if is_ahead else summary.model(leads[-1].over).name


def _next_steps(store: RunStore, best: EvaluationRow) -> str:
    """Suggest finer weights, to continue with as much budget again, and other ways."""
    ways = ["more sources (`kingyo scout` finds them)"]
    if not is_of_paths(store, best.search):
        ways.append("other bounds (narrower where candidates break, wider where the best lie at one)")
    if best.is_partial:
        ways.append("more items per candidate (search.screen.items)")
    budget = {k: math.ceil(value) for k, value in config_of(store, "budget").items() if value is not None}
    more = " ".join(f"--{key.replace('_', '-')} +{value}" for key, value in budget.items())
    resume = f"`kingyo resume {folder_of(store)} {more}`{_about(_spent(store, best.search))}"
    finer = _finer_weights(store)
    first = f"Continue with {resume}." if finer is None else f"{finer} Or continue with {resume}."
    return f"{first} Or begin a new run with {joined(ways, 'or')}."


def _finer_weights(store: RunStore) -> str | None:
    """Return how a new run gets weights that this one has not: learned ones, or one for each tensor.

    None if it has them, cannot learn, or its budget is too small to.
    """
    evaluations = sum(items for items, _ in store.costs(MAIN, "fit").values())
    allowance = Allowance(search=MAIN, budget=evaluations, most_items=len(store.items()["fit"]))
    if not store.fact(LEARNABLE) or not allowance.is_enough:
        return None
    groups, name = config_of(store, "merge").get("groups"), run_yaml(store)
    if not store.fact(LEARNS):
        change = f"Write `learn: true` in {name}, so that weights are learned by gradient"
    elif groups not in (None, GROUPS):
        change = f"Delete `groups: {groups}` from {name}, so that each tensor has weights of its own"
    else:
        return None
    command = f"kingyo evolve {name} --run {shlex.quote(f'{store.folder}-finer')}"
    return f"{change}, and run `{command}`{_about(_spent(store, BASELINES, MAIN, splits=SPLITS))}."


def _has_right_answers(store: RunStore) -> bool:
    last = max(trial.id for trial in store.trials())
    return bool(store.right_answers((BASELINES, MAIN), "fit", last))


def _spent(store: RunStore, *searches: str, splits: Sequence[Split] = ("fit",)) -> float:
    """Return the seconds of searches on splits, as an estimate of what follows."""
    costs = (store.costs(search, split) for search in searches for split in splits)
    return sum(each for cost in costs for _, each in cost.values())


def _about(seconds: float) -> str:
    """Return a time in brackets; nothing if it is unknown."""
    return f" (about {time_text(max(1.0, seconds))})" if seconds else ""


def training_on_bred(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Advise to tune a finished run; warn if training alone is ahead of its bred model."""
    winner, is_tunable = summary.winner, bool(store.fact(TUNABLE))
    validation = None if winner is None else winner.validation
    if summary.status != "finished" or not is_tunable or TUNED in store.searches() or validation is None:
        return
    is_behind = _trained_is_ahead(summary)
    if not is_behind and (validation.score >= SOLVED or not _has_right_answers(store)):
        return
    time = _about(_tuning_seconds(store, summary))
    remedy = f"`kingyo tune {folder_of(store)}` trains a LoRA on the bred model{time}."
    if is_behind:
        what = "A LoRA trained on the same items is ahead of the bred model."
        yield Advice(kind="train", level="warning", what=what, why="Training is the bar here.", remedy=remedy)
    else:
        what = "Training may add to what breeding found."
        yield Advice(kind="train", level="note", what=what, remedy=remedy)


def _trained_is_ahead(summary: RunSummary) -> bool:
    """Return whether the control ``trained`` is clearly ahead of the bred model, before test."""
    trained, leads = summary.controls.get(TRAINED), () if summary.choice is None else summary.choice.leads
    return trained is not None and any(each.is_clear and each.trial == trained.trial.id for each in leads)


def _tuning_seconds(store: RunStore, summary: RunSummary) -> float:
    """Return the time that tuning is expected to take, from that of the control, or of an answer."""
    n_items = sum(n for n, _ in store.costs(MAIN, "fit").values())
    trained = read_training(store, TRAINED)
    known = None if trained is None else trained.step_seconds
    return expected_seconds(summary.items["fit"], _spent(store, MAIN) / max(1, n_items), known)
