"""Warn if all models score zero or the same, so that a search has no signal, or if answers were cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kingyo.evolution import BASELINES, MAIN, stored_objectives
from kingyo.io.units import counted
from kingyo.results.estimates import raw_means
from kingyo.results.model_result import token_limits
from kingyo.results.summary import RunSummary
from kingyo.results.unit import percent
from kingyo.run.prompts import NOTABLE_SHARE
from kingyo.stats import ROUNDING
from kingyo.store import EvaluationRow, RunStore
from kingyo.types import Split
from kingyo.views.advice import Advice, config_of, current_search, folder_of, is_of_paths

PAGE = "docs/zero.md goes through the causes."
MIN_ZEROS = 6
"""Number of candidates with score 0 before a warning."""
WARNING_SHARE = 0.5
"""Share of answers that were cut, for a warning."""


def uninformative_scores(store: RunStore) -> Iterator[Advice]:
    """Warn if all models have the same score on every fit item, or all candidates score 0.

    Works as soon as the baselines are scored. Nothing is reported if set measures count.
    """
    if stored_objectives(store).by_set:
        return
    search = current_search(store)
    rows = [row for row in store.summaries("fit") if row.mean is not None]
    known = [row for row in rows if row.search == BASELINES]
    bred = [row for row in rows if row.search == search]
    candidates = f" and {counted(len(bred), 'candidate')}" if bred else ""
    who = f"All {len(known)} baselines{candidates}"
    if not known or _differ(store, search):
        if known and len(bred) >= MIN_ZEROS and not any(row.mean for row in bred):
            yield _broken(store, bred, max(_means(store, [BASELINES])))
    elif any(row.mean for row in known):
        searches = [BASELINES, *([] if search is None else [search])]
        yield _equal(store, who, _means(store, searches))
    else:
        yield _zero(store, who)


def _differ(store: RunStore, search: str | None) -> bool:
    """Return whether two models differ on any item, or have no item in common."""
    ranges = store.score_ranges([BASELINES, *([] if search is None else [search])], "fit").values()
    is_flat = all(high - low <= ROUNDING for low, high, _ in ranges)
    return not is_flat or max(n for _, _, n in ranges) == 1


def _means(store: RunStore, searches: Sequence[str]) -> list[float]:
    return [mean for search in searches for mean in raw_means(store, search).values()]


def _zero(store: RunStore, who: str) -> Advice:
    correct = (
        "If they miss the question, correct the prompt or the chat template; if they are cut off or run on, "
        "max_new_tokens and stop"
    )
    if config_of(store, "task").get("kind") == "draw":
        correct = (
            "If they show nothing, correct steps, guidance_scale or scheduler; if other things, the prompt"
        )
    return Advice(
        kind="zero",
        level="warning",
        what=f"{who} score 0% on fit.",
        why="Where all models score zero, a search can only guess.",
        remedy=f"Look at answers: {_look(store)}. {correct}; if right ones are scored wrong, the grader or "
        "the column of the answer. If the task is too hard, give partial credit, or take easier items or "
        f"better models. {PAGE}",
    )


def _broken(store: RunStore, bred: Sequence[EvaluationRow], best: float) -> Advice:
    why = "The bounds may leave out every merge that works: weights that are too large break models."
    other = "narrower bounds, such as merge.parameters.weight: {from: 0, to: 0.6}"
    if is_of_paths(store, bred[0].search):
        why = "Most paths through layers break models."
        other = "paths that are known to work (dataflow.known), or with fewer layers to choose from"
    return Advice(
        kind="broken",
        level="warning",
        what=f"All candidates so far ({len(bred)}) score 0% on fit; the best baseline {percent(best)}.",
        why=why,
        remedy=f"Look at answers: {_look(store)}. If they are garbage, begin a new run with {other}. {PAGE}",
    )


def _equal(store: RunStore, who: str, means: Sequence[float]) -> Advice:
    mean = sum(means) / len(means)
    remedy = "Take harder items, since all models solve these."
    if min(means) < 1 - ROUNDING:
        remedy = (
            f"Look at answers: {_look(store)}. If they differ, let the grader tell better ones from worse, "
            f"with partial credit; if not, the models may hardly differ from one another. {PAGE}"
        )
    return Advice(
        kind="equal",
        level="warning",
        what=f"{who} score the same on every item of fit, {percent(mean)}.",
        why="Where all models score the same, a search has nothing to climb.",
        remedy=remedy,
    )


def _look(store: RunStore) -> str:
    """Return the command that shows answers of a candidate, or of a baseline before there is one."""
    ended = [row.trial for row in store.summaries("fit") if row.search == MAIN and row.mean is not None]
    known = [str(trial.name) for trial in store.trials(BASELINES)]
    trial = store.trial(ended[0]).asked.number if ended else known[-1]
    return f"`kingyo show {folder_of(store)} --trial {trial} --answers 5`"


def truncated_answers(store: RunStore, summary: RunSummary) -> Iterator[Advice]:
    """Report for each task how many answers of the winner, or of the best model so far, were cut."""
    if summary.child is not None:
        whose = "the winner" if summary.winner is not None else "the best model so far"
        yield from _truncated(store, summary.child.trial.id, whose)


def truncated_baselines(store: RunStore) -> Iterator[Advice]:
    """Report for each task how many answers of the best baseline on fit were cut."""
    means = raw_means(store, BASELINES)
    if means:
        best = max(means, key=lambda trial: means[trial])
        yield from _truncated(store, best, f"the best baseline ({store.trial(best).name})")


def _truncated(store: RunStore, trial: int, whose: str) -> Iterator[Advice]:
    splits: tuple[Split, ...] = ("fit", "validation")
    found = {split: each for split in splits if (each := store.evaluation(trial, split)) is not None}
    scores = [score for each in found.values() for score in each.scores]
    limits = token_limits(store)
    for task, limit in limits.items():
        own = [score for score in scores if len(limits) == 1 or score.item.partition("/")[0] == task]
        cut = [score for score in own if score.is_cut]
        if not cut or len(cut) < NOTABLE_SHARE * len(own):
            continue
        wrong = sum(score.score < 1 for score in cut)
        of = f" to {task}" if task else ""
        yield Advice(
            kind="cut",
            level="warning" if len(cut) >= WARNING_SHARE * len(own) and wrong else "note",
            what=f"{len(cut):,} of {counted(len(own), 'answer')} of {whose}{of} were cut at "
            f"max_new_tokens = {limit} ({' and '.join(found)}); {wrong:,} of them are not fully right.",
            remedy="Raise max_new_tokens if right answers need more; if they run on, end them with stop.",
        )
