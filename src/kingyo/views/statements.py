"""What is known of a run, in sentences: they follow the intervals, and promise nothing before test."""

from collections.abc import Iterator, Mapping

from kingyo.core.io.units import counted, joined
from kingyo.core.types import Split
from kingyo.runs.config import RANDOM_SOURCES, TRAININGS, TUNED, TUNED_PARENT, WEIGHT_SEARCH
from kingyo.search.evolution.set_measures import Lead
from kingyo.stats import ROUNDING
from kingyo.store import StoredTrial
from kingyo.views.choice import choice_statements
from kingyo.views.results.model_result import MIXTURES, ModelResult, PairedComparison
from kingyo.views.results.summary import BRED, RunSummary
from kingyo.views.results.trials import (
    SHARES,
    describe_search,
    describe_trial,
    p_text,
    percent,
    row_title,
    sizes_of,
)
from kingyo.views.view import Statement

_SHARED = "on the items of fit and validation that both answered"
NOT_READ = "The test split has not been read yet."


def statements(summary: RunSummary) -> list[Statement]:
    """Return all that is known of a run but its search, in the order of a reader's questions."""
    measure, near, copied = summary.unit.measure, summary.near_duplicates, counted(summary.copied, "score")
    cost = (
        f"{counted(summary.trials, 'trial')}, {counted(summary.failures, 'failure')}; "
        f"{counted(summary.item_evaluations, 'item evaluation')} on all splits, including baselines and "
        f"controls, {f'{copied} copied from the same recipe, ' if summary.copied else ''}"
        f"{summary.seconds:,.0f} s"
    )
    is_untested = summary.winner is not None and not summary.comparisons
    by_topic: dict[str, list[str | None]] = {
        "cost": [cost],
        "choice": [*(choice_statements(summary.chosen) if summary.chosen else ())],
        "headline": [headline(summary)],
        "best": [better_than_bred(summary)],
        "deciding": [f"{measure} decides, not the mean item score." if measure else None],
        "dropped": [dropped_baselines(summary)],
        "duplicates": [f"Items: {near}." if near is not None and near.groups else None],
        "note": [f"Note: {note}." for note in summary.notes],
        "test": [summary.test_note],
        "predicted": [_predicted(summary)],
        "learned": [summary.learned],
        "trained": [None if summary.training is None else str(summary.training)],
        "tuned": [*(summary.tuning.sentences() if summary.tuning else ())],
        "untested": [NOT_READ if is_untested else None],
        "missing": [not_compared(summary)],
        "changed": [*map(str, summary.renewals)],
        "standing": [*_standing(summary)],
        "selection": [
            f"These are mean item scores. {measure} guided the search and picked the winner in their place."
            if measure
            else HOW_FLATTERED
        ],
    }
    said = [Statement(topic=topic, text=text) for topic, texts in by_topic.items() for text in texts if text]
    said += compared(summary)
    tuned = summary.tuning.comparisons if summary.tuning else ()
    return [*said, *(against(summary, each, TUNED, "tuned against") for each in tuned)]


def headline(summary: RunSummary) -> str:
    """Say what a sceptical reader may take home; first of all that the bred model is not the best, if so."""
    best, text = summary.best, ""
    if best is not None and best is not summary.winner:
        text = f"The best model of this run is {describe_trial(best.trial)}, not the bred one. "
    if summary.winner is not None and not summary.is_tested:
        return f"{text}A winner is picked, and not tested yet."
    if not summary.is_tested:
        trials = counted(summary.trials, "trial") if summary.trials else "no trials"
        return f"{text}Not finished: {trials} so far, nothing tested yet."
    by_verdict: dict[str, list[str]] = {"better": [], "worse": [], "open": []}
    for name, words in rivals(summary).items():
        comparison = summary.comparison(name)
        if comparison is not None and not (comparison.verdict == "better" and name in summary.controls):
            by_verdict[comparison.verdict].append(words)  # a control belongs here if it does as well
    return f"{text}The bred model {verdicts_in_words(by_verdict)}."


def verdicts_in_words(by_verdict: Mapping[str, list[str]]) -> str:
    """Say which models one is better than, worse than, and neither; ``by_verdict``: verdict -> models."""
    verbs: list[str] = []
    if by_verdict["better"]:
        verbs.append(f"beats {joined(by_verdict['better'])}")
    if by_verdict["worse"]:
        verbs.append(f"is worse than {joined(by_verdict['worse'])}")
    if by_verdict["open"]:
        verbs.append(f"is not shown to beat {joined(by_verdict['open'], last='or')}")
    last = "but" if len(verbs) == 2 else "and"
    return joined(verbs, last=last) or "is tested; there is nothing to compare it with"


def rivals(summary: RunSummary) -> dict[str, str]:
    """Return the models that a bred model has to beat, and the controls: name -> words for it."""
    best, words = summary.best_parent(), dict[str, str]()
    if best is not None:
        words[best.name] = f"its best parent ({best.name})"
    words |= {name: f"the {name}{' merge' if name == 'uniform' else ''}" for name in MIXTURES}
    return words | {name: describe_search(name) for name in summary.controls}


def compared(summary: RunSummary) -> Iterator[Statement]:
    """Yield how the bred model compares on test with what it has to beat; tuning has its own sentences."""
    for name in rivals(summary):
        comparison = summary.comparison(name)
        if comparison is not None and name not in (TUNED, TUNED_PARENT):
            yield against(summary, comparison)


def against(
    summary: RunSummary, comparison: PairedComparison, whose: str = BRED, topic: str = "compared"
) -> Statement:
    """Say how far a model is ahead of another on test."""
    difference, other = comparison.difference, comparison.other
    name = other.replace("_", " ") if other == RANDOM_SOURCES else other
    if other in (WEIGHT_SEARCH, *TRAININGS):
        name = row_title(other)
    if comparison.is_alike:
        items = "the one item" if difference.n == 1 else f"all {difference.n} items"
        return Statement(topic=topic, text=f"{whose} answers {items} of test as {name} does")
    parent = summary.best_parent()
    if parent is not None and other == parent.name:
        name += " (best parent)"
    paired = f"{summary.unit.measure}, paired halves" if summary.unit.measure else "paired"
    verdict = ", no difference is shown" if comparison.verdict == "open" else ""
    return Statement(
        topic=topic,
        text=f"{whose} − {name}",
        lead=summary.unit.bounded_difference(difference),
        detail=f"{paired}, n = {difference.size}, {p_text(comparison.p)}{verdict}",
    )


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


def better_than_bred(summary: RunSummary) -> str | None:
    """Say which model is the best of the run, and why, if it is not the bred winner; else None."""
    best, winner, leads = summary.best, summary.winner, _leads(summary)
    if best is None or winner is None or best is winner:
        return None
    text = f"The best model of this run is {describe_trial(best.trial)}"
    if not leads:
        return f"{text}."
    shared = f"{summary.unit.by}{_SHARED}"
    *first, last = [_lead_in_words(summary, lead) for lead in leads]
    if best.trial.id == leads[-1].trial:
        return f"{text}: {shared} it is {joined([*first, last])}."
    named = _named(summary, summary.model(leads[-1].trial))
    aside = f", which is {first[0]}," if first else ""
    return f"{text}: {shared} {named}{aside} is {last}."


def _leads(summary: RunSummary) -> list[Lead]:
    choice, bred = summary.choice, summary.winner
    if choice is None or bred is None or not choice.leads:
        return []
    last = choice.leads[-1]
    winner = choice.best if last.over == bred.trial.id else last.trial  # without baselines, all are over bred
    return [lead for lead in choice.leads if lead.trial == winner]


def _lead_in_words(summary: RunSummary, lead: Lead) -> str:
    if lead.is_clear:
        verb = "ahead of" if lead.lead > ROUNDING else "equal to"
    else:
        verb = "behind" if lead.lead < -ROUNDING else "not clearly ahead of"
    named, size = _named(summary, summary.model(lead.over)), summary.unit.difference(lead.lead)
    return f"{verb} {named} ({size}, n = {lead.size})"


def _named(summary: RunSummary, model: ModelResult) -> str:
    return "the bred model" if model is summary.winner else describe_trial(model.trial)


def beside_baselines(summary: RunSummary, trial: StoredTrial) -> str | None:
    """Say what a model and the best baseline score on test; None if test was not read for the model."""
    unit, model = summary.unit, next((each for each in summary.models if each.trial == trial), None)
    own = None if model is None else model.counts_on("test")
    baselines = [(each.counts_on("test"), each.trial) for each in summary.baselines.values()]
    others = [(score, other) for score, other in baselines if score is not None and other != trial]
    if own is None or not others:
        return None
    score, other = max(others, key=lambda each: each[0].score)
    gap = summary.comparison(str(other.name)) if model is summary.winner else None
    luck = " The difference may be luck." if gap is not None and gap.verdict == "open" else ""
    return (
        f"On test (n = {own.size}) it scores {unit.bounded(own)}; the best baseline, "
        f"{describe_trial(other)}, scores {unit.bounded(score)}.{luck}"
    )


def not_compared(summary: RunSummary) -> str | None:
    """Say which commands run the searches of equal cost that were not run; None if there are none."""
    missing = summary.controls_to_run
    if not missing:
        return None
    what, commands = " or ".join(missing), " or ".join(missing.values())
    return f"The winner was not compared with a {what} search of equal cost. To do so: {commands}"


def _predicted(summary: RunSummary) -> str | None:
    winner, predicted = summary.winner, summary.predicted
    if winner is None or predicted is None:
        return None
    prediction = f"Predicted for test from the finalists' validation scores (n = {predicted.size}): "
    prediction += f"{SHARES.bounded(predicted)}."
    if winner.test is None:
        return prediction
    inside = "inside" if predicted.low <= winner.test.score <= predicted.high else "OUTSIDE"
    return f"{prediction} It scored {percent(winner.test.score)}: {inside} the interval."


def _standing(summary: RunSummary) -> Iterator[str]:
    winner, measure = summary.winner, summary.unit.measure
    if winner is not None and winner.test is not None:
        if measure:
            score = SHARES.bounded(winner.test)
            yield f"This is {measure}, which decides; the mean item score is {score} and does not."
        elif summary.test_note is None:
            yield "Neither the search nor the choice of the winner had seen these test items."
        return
    if summary.child is not None:
        kind = "The best trial so far" if winner is None else "The winner"
        yield f"{kind} is trial {summary.child.trial.asked.number}."
        flattered = "These scores guided the search, so they flatter it."
        yield f"{measure} guided the search, and not these scores." if measure else flattered
    states = {"running": "The run is under way.", "finished": "The run is marked as finished."}
    yield states.get(summary.status, f"The run was stopped: continue with `{summary.command('resume')}`")


HOW_FLATTERED = (
    "Fit guided the search, and fit and validation together picked the winner, so both flatter it."
)


def top_score(summary: RunSummary, split: Split) -> Statement | None:
    """Return what counts of the child on a split, its interval, and on how many items it rests."""
    child = summary.child
    decided = None if child is None else child.counts_on(split)
    if child is None or decided is None:
        return None
    return Statement(
        topic="score",
        lead=summary.unit.text(decided.score),
        text=summary.unit.bounds(decided),
        detail=f"95% interval, {sizes_of([decided], summary.items[split])} on {split}",
    )
