"""Sentences about a run that show, report and export share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from kingyo.evolution.best_of_run import Lead
from kingyo.io.units import joined, percent
from kingyo.results.model_result import ModelResult, interval_in_words
from kingyo.results.summary import RunSummary
from kingyo.results.trials import describe_search, describe_trial
from kingyo.stats import ROUNDING
from kingyo.store import StoredTrial

_MOST_NAMED = 6


def dropped_baselines(summary: RunSummary) -> str | None:
    """Say which baselines were dropped on validation; None if none was, or validation is not over."""
    n, dropped = summary.items["validation"], dict[int, list[str]]()
    for name, baseline in summary.baselines.items():
        score = baseline.validation
        if summary.best is not None and score is not None and score.n < n:
            dropped.setdefault(score.n, []).append(name)
    if not dropped:
        return None
    parts = [f"{', '.join(names)} after {items:,}" for items, names in sorted(dropped.items())]
    return f"Dropped on validation, as clearly behind: {'; '.join(parts)} of {n:,} items."


def estimated_on_fit(summary: RunSummary) -> str | None:
    """Say which scores on fit are estimates, and what was measured; None if all of fit was scored."""
    child = {"best so far" if summary.winner is None else "bred": summary.winner or summary.leader}
    controls = {describe_search(name): model for name, model in summary.controls.items()}
    measured = _measured(summary, child | controls)
    baselines = _measured(summary, summary.baselines)
    if len(baselines) > _MOST_NAMED:
        sizes = Counter(
            each.score.items for each in map(summary.estimate, summary.baselines.values()) if each
        )
        baselines = [f"{n} baselines on {items} each" for items, n in sizes.items()]
    if not measured + baselines:
        return None
    parts = ", ".join(measured + baselines)
    return f"≈ estimated for all {summary.items['fit']:,} items of fit; measured: {parts}."


def _measured(summary: RunSummary, models: Mapping[str, ModelResult | None]) -> list[str]:
    return [
        f"{name} {percent(each.raw)} on {each.score.items}"
        for name, model in models.items()
        if (each := summary.estimate(model)) is not None
    ]


def better_than_bred(summary: RunSummary) -> str | None:
    """Say which model is the best of the run, and why, if it is not the bred winner; else None."""
    best, winner, leads = summary.best, summary.winner, _leads(summary)
    if best is None or winner is None or best is winner:
        return None
    text = f"The best model of this run is {describe_trial(best.trial)}"
    if not leads:
        return f"{text}."
    *first, last = [_lead_in_words(summary, lead) for lead in leads]
    if best.trial.id == leads[-1].trial:
        return f"{text}: {_shared(summary)} it is {joined([*first, last])}."
    named = _named(summary, summary.model(leads[-1].trial))
    aside = f", which is {first[0]}," if first else ""
    return f"{text}: {_shared(summary)} {named}{aside} is {last}."


def ahead_on_test(summary: RunSummary) -> str | None:
    """Say which model scores higher on test than the best of the run, and that the choice did not use test.

    None if there is none, or test was not read.
    """
    best = summary.best
    scores = [(score, model) for model in summary.models if (score := model.counts_on("test")) is not None]
    own = next((score for score, model in scores if model is best), None)
    if best is None or own is None:
        return None
    score, other = max(scores, key=lambda each: each[0].score)
    if score.score <= own.score + ROUNDING:
        return None
    named = _named(summary, best)
    text = (
        f"Test played no part in this choice: there {_named(summary, other)} scores "
        f"{interval_in_words(score, summary.decided_by)} and {named}, the best by fit and validation, "
        f"{interval_in_words(own, summary.decided_by)} (n = {own.size})"
    )
    leads = [_lead_in_words(summary, lead) for lead in _leads(summary)] if best is summary.winner else []
    return f"{text}; {_shared(summary)} {named} is {leads[-1]}." if leads else f"{text}."


def _leads(summary: RunSummary) -> list[Lead]:
    """Return the leads of the winner that is best or was compared with the best baseline."""
    choice, bred = summary.choice, summary.winner
    if choice is None or bred is None or not choice.leads:
        return []
    last = choice.leads[-1]
    winner = choice.best if last.over == bred.trial.id else last.trial  # without baselines, all are over bred
    return [lead for lead in choice.leads if lead.trial == winner]


def _shared(summary: RunSummary) -> str:
    by = "" if summary.decided_by is None else f"by {summary.decided_by}, "
    return f"{by}on the items of fit and validation that both answered"


def _lead_in_words(summary: RunSummary, lead: Lead) -> str:
    size = f"{100 * lead.lead:+.1f} points" if summary.decided_by is None else f"{lead.lead:+.4g}"
    if lead.is_clear:
        verb = "ahead of" if lead.lead > ROUNDING else "equal to"
    else:
        verb = "behind" if lead.lead < -ROUNDING else "not clearly ahead of"
    return f"{verb} {_named(summary, summary.model(lead.over))} ({size}, n = {lead.size})"


def _named(summary: RunSummary, model: ModelResult) -> str:
    return "the bred model" if model is summary.winner else describe_trial(model.trial)


def beside_baselines(summary: RunSummary, trial: StoredTrial) -> str | None:
    """Say what a model and the best baseline score on test; None if test was not read for the model."""
    model = next((each for each in summary.models if each.trial == trial), None)
    own = None if model is None else model.counts_on("test")
    baselines = [(each.counts_on("test"), each.trial) for each in summary.baselines.values()]
    rivals = [(score, other) for score, other in baselines if score is not None and other != trial]
    if own is None or not rivals:
        return None
    score, other = max(rivals, key=lambda rival: rival[0].score)
    is_tie = len(rivals) > 1 and len({each.score for each, _ in rivals}) == 1
    who = "all baselines score" if is_tie else f"the best baseline, {describe_trial(other)}, scores"
    text = (
        f"On test (n = {own.size}) it scores {interval_in_words(own, summary.decided_by)}; "
        f"{who} {interval_in_words(score, summary.decided_by)}"
    )
    if own.score <= score.score:
        return f"{text}, so nothing is gained."
    compared = {each.other: each for each in summary.comparisons} if model is summary.winner else {}
    gap = compared.get(str(other.name))
    is_clear = gap is None or not gap.difference.low <= 0 <= gap.difference.high
    return f"{text}.{'' if is_clear else ' The difference may be luck.'}"


def how_picked(summary: RunSummary) -> str | None:
    """Say how the winner was picked, and which finalist came next; None if there was only one."""
    number = summary.winner and summary.winner.trial.asked.number
    own = next((finalist for finalist in summary.finalists if finalist.trial == number), None)
    others = [finalist for finalist in summary.finalists if finalist is not own]
    if own is None or not others:
        return None
    other = max(others, key=lambda finalist: finalist.together)
    score, next_score = summary.in_words(own.together), summary.in_words(other.together)
    if score == next_score:
        rest = f"trial {other.trial} is as good"
    elif other.together > own.together + ROUNDING:  # see ``Search.keep``
        rest = f"trial {other.trial}, {next_score}, is not clearly ahead on validation"
    else:
        rest = f"the next is trial {other.trial}, {next_score}"
    by = "the search's estimate on fit and the score on validation, together"
    if summary.learning is not None:
        by = "the score on validation (weights were learned from fit)"
    if summary.decided_by is not None and summary.winner is not None:
        by = f"{summary.decided_by} on validation"
        score = interval_in_words(summary.winner.counts_on("validation"), summary.decided_by)
    return f"Picked from {len(summary.finalists)} by {by} {score}; {rest}."


def not_compared(summary: RunSummary) -> str | None:
    """Say which commands run the searches of equal cost that were not run; None if there are none."""
    missing = summary.controls_to_run
    if not missing:
        return None
    what, commands = " or ".join(missing), " or ".join(missing.values())
    return f"The winner was not compared with a {what} search of equal cost. To do so: {commands}"


def estimate_beside_test(summary: RunSummary) -> str | None:
    """Say what the search estimated for the winner on fit, compared with its test score.

    None if the winner was scored on all of fit, or not on test.
    """
    winner, n_fit, estimate = summary.winner, summary.items["fit"], summary.winner_score
    if winner is None or winner.fit is None or winner.test is None or estimate is None:
        return None
    if winner.fit.n == n_fit:
        return None
    gap = round(100 * (estimate - winner.test.score), 1) + 0.0  # never -0.0
    return (
        f"The search scored the winner on {winner.fit.n:,} of the {n_fit:,} items of fit "
        f"({percent(winner.fit.score)}) and then estimated {percent(estimate)} for all of them, "
        f"{abs(gap):.1f} points {'below' if gap < 0 else 'above'} test."
    )
