"""What is known: the headline and the sentences under it. Their wording follows the intervals.

Until the test split was read, they say that nothing is known yet, and why.
"""

from __future__ import annotations

import shlex

from kingyo.report import wording
from kingyo.report.findings import Findings
from kingyo.report.markup import Html, element, join, table, whole
from kingyo.results.summary import MIXTURES
from kingyo.results.trials import describe_trial
from kingyo.run.config import FRANKENMERGE
from kingyo.sizes import counted
from kingyo.stats import Interval

CHOSEN = "These scores guided the search, so they flatter it."
TILES = 5
TESTS = {
    "mcnemar": "McNemar's exact test",
    "gaffke": "Gaffke's bounds",
    "bootstrap": "1,000 sets drawn anew from the same items (paired bootstrap)",
}


def render_known(found: Findings) -> Html:
    """Render the top of the page."""
    best = found.summary.best_parent()
    return element(
        "section",
        _eyebrow(found),
        element("h1", whole(headline(found), best.name if best else "")),
        *(element("p", sentence, class_="lead") for sentence in sentences(found)),
        _tiles(found),
        _comparisons(found),
        _differences(found),
        id="known",
    )


def headline(found: Findings) -> str:
    """Say what a sceptical reader may take home; first of all that the bred model is not the best, if so."""
    best = found.summary.best
    if best is None or best is found.summary.winner:
        return _of_bred(found)
    return f"The best model of this run is {describe_trial(best.trial)}, not the bred one. {_of_bred(found)}"


def _of_bred(found: Findings) -> str:
    """Say in one sentence how the bred model did on test."""
    if not found.is_tested:
        if found.summary.winner is not None:
            return "A winner is picked, and not tested yet."
        trials = counted(found.summary.trials, "trial") if found.summary.trials else "no trials"
        return f"Not finished: {trials} so far, nothing tested yet."
    compared = [(words, found.comparison(name)) for words, name in _rivals(found)]
    verdicts: list[tuple[str, wording.Verdict]] = [
        (words, wording.verdict(each)) for words, each in compared if each is not None
    ]
    if not verdicts:
        return "The bred model is tested; there is nothing to compare it with."
    for name in found.controls:  # what does as well for the same cost belongs into the headline too
        comparison = found.comparison(name)
        verdict = None if comparison is None else wording.verdict(comparison)
        if verdict is not None and verdict != "better":
            verdicts.append((wording.search(name), verdict))
    return wording.compared("The bred model", verdicts)


def sentences(found: Findings) -> list[str]:
    """Say the numbers behind the headline."""
    winner, better = found.summary.winner, found.summary.better_than_bred()
    first = [*([] if better is None else [better]), *map(str, found.summary.renewals)]
    if winner is None or winner.test is None:
        return [*first, *_untested(found)]
    missing = found.summary.not_compared()
    return [
        *first,
        f"On {counted(winner.test.n, 'test item')} that neither the search nor the choice of the winner "
        f"had seen, the bred model {_has(found, winner.test)}.",
        *([] if missing is None else [missing]),
    ]


def _has(found: Findings, test: Interval) -> str:
    """Its score; where a measure counts, first that."""
    score, by = f"scores {wording.score(test)}", found.summary.decided_by
    if by is None or found.summary.winner is None:
        return score
    decided = found.unit.bounded(found.summary.winner.counts_on("test"))
    return f"has {by} {decided}, which decides, and {score} on average, which does not"


def _rivals(found: Findings) -> list[tuple[str, str]]:
    """What a bred model has to beat: how they are called, and their names in the summary."""
    best = found.summary.best_parent()
    parents = [(f"its best parent ({best.name})", best.name)] if best is not None else []
    stacked = [("the frankenmerge", FRANKENMERGE)] if FRANKENMERGE in found.summary.baselines else []
    return [*parents, ("the uniform merge", "uniform"), *stacked]


def _comparisons(found: Findings) -> Html | None:
    rivals = [*_rivals(found), *((wording.search(name), name) for name in found.controls)]
    lines = [line for words, name in rivals if (line := _comparison(found, words, name)) is not None]
    return element("ul", *lines, class_="against") if lines else None


def _comparison(found: Findings, words: str, name: str) -> Html | None:
    comparison = found.comparison(name)
    entry = found.summary.baselines.get(name) or found.summary.controls.get(name)
    if comparison is None or entry is None:
        return None
    shown = {"better": "over", "worse": "behind", "open": "(no difference is shown) against"}
    return element(
        "li",
        element("b", found.unit.difference(comparison.difference)),
        whole(f" {shown[wording.verdict(comparison)]} {words}, which has ", name)
        if found.unit.measure
        else whole(f" {shown[wording.verdict(comparison)]} {words}, which scores ", name),
        f"{found.unit.bounded(entry.counts_on('test'))}; {wording.p_value(comparison.p)}.",
    )


def _untested(found: Findings) -> list[str]:
    said: list[str] = []
    if found.child is not None:
        kind = "The winner" if found.summary.winner is not None else "The best trial so far"
        place = f", trial {found.child.trial.asked.number},"
        score, by = found.child.on(found.split), found.summary.decided_by
        size = wording.sizes([score.n] if score else [], found.items[found.split])
        chosen = CHOSEN if by is None else f"{by} guided the search, and not these scores."
        said.append(f"{kind}{place} scores {wording.score(score)} on {found.split} ({size}). {chosen}")
    state = {"running": "The run is under way.", "finished": "The run is marked as finished."}
    stopped = f"The run was stopped: go on with kingyo resume {shlex.quote(str(found.summary.folder))}"
    said.append(state.get(found.summary.status, stopped))
    return said


def _tiles(found: Findings) -> Html:
    bars = found.bars()
    best = found.summary.best_parent()
    wanted = {best.name if best else "", *MIXTURES, *(wording.search(name) for name in found.controls)}
    shown = [bar for bar in bars if bar.role == "bred" or bar.name in wanted][:TILES]
    tiles = (
        element(
            "div",
            element("dt", whole(_tile_name(found, bar.name), bar.name)),
            element(
                "dd",
                element("span", wording.percent(bar.score.score), class_="big"),
                element("span", f"{wording.bounds(bar.score)} · n = {bar.score.n:,}", class_="small"),
            ),
            class_="tile bred" if bar.role == "bred" else "tile",
        )
        for bar in shown
    )
    note = element(
        "p", f"Scores on the {found.split} split, with 95% intervals and the number of items.", class_="note"
    )
    return join([element("dl", *tiles, class_="tiles"), note if shown else None])


def _tile_name(found: Findings, name: str) -> str:
    best = found.summary.best_parent()
    return f"best parent ({name})" if best is not None and best.name == name else name


def _differences(found: Findings) -> Html | None:
    if not found.summary.comparisons:
        return None
    rows = [
        (
            each.other if each.other in found.summary.baselines else wording.search(each.other),
            found.unit.difference(each.difference).replace(" points", ""),
            f"{each.difference.n:,}",
            wording.p_value(each.p),
            {"better": "bred is better", "worse": "bred is worse", "open": "not shown"}[
                wording.verdict(each)
            ],
        )
        for each in found.summary.comparisons
    ]
    tests = sorted({each.test for each in found.summary.comparisons})
    unit = "points" if found.unit.measure is None else found.unit.measure
    head = ("bred model minus", f"{unit} [95% interval]", "n", "p", "so")
    return element(
        "details",
        element("summary", "All paired differences on the test items"),
        table(head, rows, label="Paired differences between the bred model and every other model"),
        element(
            "p",
            "Both models answer the same items. “Not shown” means that the interval holds 0, and "
            f"p > 0.05, by {' or '.join(TESTS[test] for test in tests)}. "
            "Intervals and p-values are not corrected for the number of comparisons.",
            class_="note",
        ),
    )


def _eyebrow(found: Findings) -> Html:
    trials = counted(found.summary.trials, "trial")
    return element("p", f"{found.summary.status.capitalize()} · {trials}", class_="eyebrow")
